"""`section.key=value`: what it gives, and how a wrong one is refused."""

import shlex

import pytest


def test_override_wins_over_the_file_and_a_later_one_over_an_earlier(read):
    settings = read(
        "training: {epochs: 3, seed: 7}", "training.epochs=4", "training.epochs = 5"
    ).settings
    assert (settings.training.epochs, settings.training.seed) == (5, 7)


def test_override_values_are_yaml(read):
    settings = read(
        "training: {patience: 3}",
        "training.patience=null",
        "training.learning_rate=1e-3",
        'generation.stop=["\\n", "a = b"]',
        "generation.ban=['part #1']",
        "model.tie_embeddings=true",
    ).settings
    assert settings.training.patience is None
    assert settings.training.learning_rate == 0.001
    assert settings.generation.stop == ["\n", "a = b"]
    assert settings.generation.ban == ["part #1"]
    assert settings.model.tie_embeddings is True


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "expected KEY=VALUE, such as training.epochs=3"),
        ("training=3", "this is a section; set one of its keys, such as training.epochs=..."),
        ("epochs=3", "there is no such setting; epochs belongs under training"),
        ("training.epoch=3", "there is no such setting; did you mean epochs?"),
        ("training.epochs.a=3", "there is no such setting; did you mean epochs?"),
        ("training.epochs=", "no value after the =; write null for none"),
        ("training.epochs=---", "no value after the =; write null for none. If it is text"),
        ("training.epochs=&a", "no value after the =; write null for none. If it is text"),
        ("training.epochs=\ufeff", "no value after the =; write null for none. If it is text"),
        ("training.epochs=#3", "received #3; expected a whole number from 1 to 1000000000"),
        ("training.epochs=3 # more", "received 3 # more; expected a whole number from 1 to"),
        ('data.train="a.txt" # mine', 'received more after the closing "; a value here has no'),
        ("data.train=['a #1.txt'] # mine", "leave out what follows the ]"),
        ("training.epochs=x", "received x; expected a whole number from 1 to 1000000000"),
        ("training.epochs=３", "received ３; expected a whole number from 1 to 1000000000"),
        ("data.valid=[a, b", "the bracket that opens here is not closed"),
        ("data.valid=!!python/name:os.system x", "a tag (tag:yaml.org,2002:python/name:os.system"),
        ("=3", "?: there is no such setting"),
    ],
)
def test_wrong_override(refuse, override, message):
    refused = refuse("{}", override)
    assert refused.splitlines()[1].startswith(f"  override {override}: ")
    assert message in refused


@pytest.mark.parametrize(
    ("override", "proposed"),
    [
        ("data.field=2020", 'data.field="2020"'),
        ("data.train=1984", 'data.train="1984"'),
        ("data.train=[a b, 3, c]", 'data.train=[a b, "3", c]'),
        ("data.train=['a', true]", "data.train=['a', \"true\"]"),
        ("data.train=@home", 'data.train="@home"'),
        ("data.train=[@a, `b]", 'data.train=["@a", `b]'),
        ("data.train=[a, *.txt]", 'data.train=[a, "*.txt"]'),
        ("data.train=[a, * b]", 'data.train=[a, "* b"]'),
        ("data.train=a: b: c", 'data.train="a: b: c"'),
        ("data.train=---", 'data.train="---"'),
        ("data.field=&a", 'data.field="&a"'),
        ("data.train=[a,\n3]", 'data.train=[a,\n"3"]'),
        ("generation.ban=[it's, 3]", 'generation.ban=[it\'s, "3"]'),
    ],
)
def test_quotes_that_an_override_lacks_are_proposed_so_that_the_shell_keeps_them(
    refuse, override, proposed
):
    """What is proposed for the first of several problems may lead to the next one."""
    message = refuse("{}", override)
    _, found, argument = message.partition("put it in quotes that the shell keeps: ")
    assert found
    assert next(iter(shlex.split(argument.removesuffix(")")))) == proposed


def test_quotes_are_not_proposed_at_length(refuse):
    message = refuse("{}", f"data.train=[{'a' * 300}, 3]")
    assert "put it in double quotes, and the whole argument in single quotes" in message
    assert len(message) < 600


@pytest.mark.parametrize("override", ["training.epochs" * 1000, "training." + "e" * 9999 + "=3"])
def test_a_long_override_is_shown_by_its_start(refuse, override):
    refused = refuse("{}", override)
    assert f"override {override[:77]}...: {override[:77]}...: " in refused
    assert len(refused) < 1000


def test_glob_in_an_override_needs_no_quotes_of_its_own(read, tmp_path):
    assert read("{}", "data.train=*.txt").settings.data.train == f"{tmp_path}/*.txt"


def test_a_key_that_an_override_repeats_is_refused(refuse):
    message = refuse("{}", "generation.bias={a: 1, 'a': 2}")
    assert message.endswith("'a': 2}: generation.bias.a: written twice. Keep one")


def test_bias_from_an_override(read):
    settings = read("{}", "generation.bias={the: 2}", "generation.ban=[a, b]").settings
    assert (settings.generation.bias, settings.generation.ban) == ({"the": 2.0}, ["a", "b"])


def test_a_value_of_an_override_has_no_comments(read, tmp_path):
    settings = read("{}", "data.train=in/tx #2", "data.valid=#1.txt", "data.test=['a #1.txt']")
    data = settings.settings.data
    assert (data.train, data.valid) == (f"{tmp_path}/in/tx #2", f"{tmp_path}/#1.txt")
    assert data.test == [f"{tmp_path}/a #1.txt"]
