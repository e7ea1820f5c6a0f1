"""Values, overrides, paths and names: what comes out, and how each wrong one is refused."""

from pathlib import Path

import pytest

from llm_timecycle.config.load import read_settings
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError


def test_values_of_the_file_replace_defaults(read):
    loaded = read("training:\n  epochs: 3\n  learning_rate: 1e-2\nmodel: {tie_embeddings: true}\n")
    assert loaded.settings.training.epochs == 3
    assert loaded.settings.training.learning_rate == 0.01
    assert loaded.settings.model.tie_embeddings is True
    assert loaded.settings.training.batch_size == 64


def test_name_base_and_path(read, tmp_path):
    loaded = read("{}")
    assert (loaded.name, loaded.base, loaded.path) == ("my", tmp_path, Path("my.yaml"))
    assert loaded.settings == Settings()


def test_section_without_keys_has_its_defaults(read):
    assert read("training:\n  # epochs: 3\nmodel: ~\n").settings == Settings()


def test_whole_number_serves_as_a_number(read):
    rate = read("training: {learning_rate: 1}").settings.training.learning_rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_byte_order_mark_and_crlf_are_no_matter(read):
    text = "\ufefftraining:\r\n  epochs: 3\r\n".encode()
    assert read(text).settings.training.epochs == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "training: {epochs: three}",
            "training.epochs: received three; expected a whole number from 1 to 1000000000",
        ),
        ("training: {epochs: 0}", "received 0; expected a whole number from 1 to 1000000000"),
        (
            "training: {epochs: 1e6}",
            "received 1e6; expected a whole number from 1 to 1000000000 (write 10",
        ),
        ("training: {epochs: true}", "received true; expected a whole number"),
        ("training: {epochs: '3'}", "expected a whole number from 1 to 1000000000 (write 3,"),
        (
            "training: {batch_size: 1_000}",
            "received 1_000; expected a whole number from 1 to 65536",
        ),
        ("training: {weight_decay: '0,5'}", "(write 0.5, without quotes or marks)"),
        ("training: {seed: 2147483648}", "expected a whole number from 0 to 2147483647"),
        (f"training: {{seed: {'9' * 5000}}}", "expected a whole number from 0 to 2147483647"),
        ("training: {learning_rate: 0}", "received 0; expected a number above 0 and at most 1000"),
        ("training: {learning_rate: .nan}", "received .nan; expected a number above 0"),
        ("training: {learning_rate: .inf}", "received .inf; expected a number above 0"),
        ("model: {dropout: 1}", "received 1; expected a number from 0 to less than 1"),
        (
            "model: {hidden_units: }",
            "received nothing; expected a whole number from 1 to 65536 (le",
        ),
        ("model: {tie_embeddings: yes}", "received yes; expected true or false (write true)"),
        (
            "tokenizer: {level: Word}",
            "expected one of char, word, subword, byte (did you mean word",
        ),
        ("data: {train: 1984}", "received 1984; expected text, or a list of texts (if it is meant"),
        ("data: {train: ''}", "received ''; expected text, or a list of texts"),
        ("data: {train: [a, 3]}", "data.train: received 3 as item 2; expected text (if it is"),
        ("data: {valid: []}", "received an empty list; expected text, a list of texts, or null"),
        ("data: {train: {a: 1}}", "received a group of settings; expected text"),
        (
            "data: {train: “a.txt”}",
            "data.train: received “a.txt”, quotes included; expected a path",
        ),
        (
            'data: {train: "a\\0.txt"}',
            "a\\x00.txt cannot be the name of a file: it contains the character U+0000",
        ),
        ("generation: {stop: [a, '']}", "generation.stop: received '' as item 2; expected text"),
        ("training: {max_steps: 0}", "expected a whole number from 1 to 1000000000, or null"),
        ("training: 3", "training: received 3; expected settings on the lines below it"),
        ("training: {epochs: 3, epochs: 4}", "training.epochs: written twice; the first is on lin"),
    ],
)
def test_wrong_value(refuse, text, message):
    assert message in refuse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 3}", "training.epoch: there is no such setting; did you mean epochs?"),
        ("training: {Batch-Size: 3}", "did you mean batch_size?"),
        ("training: {vocab_size: 3}", "vocab_size belongs under tokenizer"),
        ("training: {vocab_siz: 3}", "did you mean tokenizer.vocab_size?"),
        ("training: {lr: 3}", "did you mean training.learning_rate?"),
        ("tokenizer: {zzzz: 3}", "tokenizer has level, vocab_size, lowercase, word_split"),
        ("training: {model: 3}", "model is a section: write it at the start"),
        ("epochs: 3", "epochs: there is no such section; epochs belongs under training"),
        ("seed: 3", "seed belongs under training or generation"),
        ("trainng: {}", "did you mean training?"),
        ("training.epochs: 3", "write training: on a line, and below it, indented"),
        ("zzzz: 3", "the sections are data, tokenizer, model, training, generation"),
        ("3: 3", "3: there is no such section"),
        ("? [a]\n: 3", "a list: there is no such section"),
        ("training: {1: 3}", "training.1: there is no such setting"),
    ],
)
def test_unknown_key(refuse, text, message):
    assert message in refuse(text)


def test_all_problems_come_together_in_the_order_of_the_lines(refuse):
    message = refuse(
        "training:\n  epochs: none\n  epoch: 3\nmodel:\n  dropout: 2\nextra: {}\n",
        "training.seed=-1",
        "traning.seed=1",
    )
    assert [line.split(": ")[:2] for line in message.splitlines()] == [
        ["6 problems in the settings of my.yaml"],
        ["  my.yaml:2", "training.epochs"],
        ["  my.yaml:3", "training.epoch"],
        ["  my.yaml:5", "model.dropout"],
        ["  my.yaml:6", "extra"],
        ["  override traning.seed=1", "traning.seed"],
        ["  override training.seed=-1", "training.seed"],
    ]


def test_endless_problems_are_counted_not_listed(refuse):
    message = refuse("".join(f"key{number}: 1\n" for number in range(100)))
    assert message.splitlines()[0] == "100 problems in the settings of my.yaml"
    assert message.splitlines()[-1] == "  and 70 more"


def test_paths_start_from_the_file_or_for_overrides_from_here(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", "/home/me")
    file = Path("../there/my.yaml")
    file.write_text("data: {train: [./a.txt, b/*.txt, /c.txt, ~/d.txt], valid: v.txt}")

    data = read_settings(file, ["data.test=t.txt"]).settings.data

    there = f"{tmp_path}/here/../there"
    assert data.train == [f"{there}/a.txt", f"{there}/b/*.txt", "/c.txt", "/home/me/d.txt"]
    assert data.valid == f"{there}/v.txt"
    assert data.test == f"{tmp_path}/here/t.txt"


def test_glob_means_only_its_own_stars(tmp_path):
    directory = tmp_path / "a[1]"
    directory.mkdir()
    (directory / "my.yaml").write_text('data: {train: "*.txt", valid: v.txt}')
    data = read_settings(directory / "my.yaml").settings.data
    assert data.train == f"{tmp_path}/a[[]1]/*.txt"
    assert data.valid == f"{tmp_path}/a[1]/v.txt"


def test_names_of_built_in_corpora_are_no_paths(read, tmp_path):
    data = read("data: {train: [python-docs, ./python-docs]}", "data.valid=sample-chinese")
    assert data.settings.data.train == ["python-docs", f"{tmp_path}/python-docs"]
    assert data.settings.data.valid == "sample-chinese"


@pytest.mark.parametrize("text", ["", "# epochs: 3\n", "---\n", "~"])
def test_file_without_settings(refuse, text):
    if text == "~":
        assert "expected sections (data, tokenizer" in refuse(text)
    else:
        assert "my.yaml holds no settings. Write a file to start from with" in refuse(text)


@pytest.mark.parametrize(("text", "found"), [("- a", "a list"), ("epochs", "epochs"), ("3", "3")])
def test_file_that_is_no_mapping(refuse, text, found):
    message = refuse(text)
    assert "my.yaml:1: expected sections (data, tokenizer, model, training, generation)" in message
    assert message.endswith(f"received {found}")


def test_wrong_settings_are_a_configuration_error(read):
    with pytest.raises(ConfigError) as caught:
        read("training: {epochs: 0}")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "text",
    [
        "generation:\n  bias: {the: 2, 5: -1.5, null: 0, 1e-3: 1}\n",
        "generation:\n  bias:\n    the: 2\n    '5': -1.5\n    \"null\": 0\n    1e-3: 1\n",
    ],
)
def test_a_key_of_bias_is_text_whatever_it_looks_like(read, text):
    expected = {"the": 2.0, "5": -1.5, "null": 0.0, "1e-3": 1.0}
    assert read(text).settings.generation.bias == expected


@pytest.mark.parametrize(
    "text", ['generation:\n  bias: {"\'s": -3, "s": 2, \'"\': 1, "\'": 0}\n', "{}"]
)
def test_keys_that_differ_by_quotes_are_different(read, text):
    overrides = [] if "bias" in text else ["""generation.bias={"'s": -3, s: 2, '"': 1, "'": 0}"""]
    expected = {"'s": -3.0, "s": 2.0, '"': 1.0, "'": 0.0}
    assert read(text, *overrides).settings.generation.bias == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "generation:\n  bias: {a: 1, b: 2, a: 3}\n",
            "my.yaml:2: generation.bias.a: written twice; the first is on line 2. Keep one",
        ),
        (
            "generation:\n  bias: {a: x}\n",
            "my.yaml:2: generation.bias: received a group of settings; expected a mapping from "
            "text to a number from -1000 to 1000",
        ),
        (
            "generation:\n  bias: 3\n",
            "my.yaml:2: generation.bias: received 3; expected a mapping from text to a number",
        ),
        ("generation:\n  ban: the\n", "generation.ban: received the; expected a list of texts"),
    ],
)
def test_wrong_bias_and_ban(refuse, text, message):
    assert message in refuse(text)


@pytest.mark.parametrize("is_cut_there", [True, False])
@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("data:\n  train: tx #2\n", "data.train", 2),
        ("data:\n  train: tx #2  # mine\n", "data.train", 2),
        ("data:\n  valid:\n    - a.txt\n    - tx #2\n", "data.valid", 4),
    ],
)
def test_a_path_in_a_file_that_a_comment_cut_off_is_named(
    refuse, tmp_path, text, path, line, is_cut_there
):
    (tmp_path / "tx #2").mkdir()
    if is_cut_there:
        (tmp_path / "tx").mkdir()
    message = refuse(text)
    assert f'my.yaml:{line}: {path}: received tx, because YAML reads what follows " #"' in message
    assert 'and there is also tx #2. If that is meant, put it in quotes: "tx #2"; if' in message


@pytest.mark.parametrize(
    "text", ["data: {train: 'tx #2'}", 'data:\n  train: "tx" #2', "data:\n  train: tx # mine"]
)
def test_a_comment_after_a_path_is_a_comment(read, tmp_path, text):
    (tmp_path / "tx #2").mkdir()
    name = "tx #2" if "'" in text else "tx"
    assert read(text).settings.data.train == f"{tmp_path}/{name}"
