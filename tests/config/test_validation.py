"""Settings that contradict one another: found in a file, in an override and in Python."""

import pytest
from pydantic import ValidationError

from llm_timecycle.config.settings import GenerationSettings, Settings, TrainingSettings
from llm_timecycle.config.validation import find_contradictions, list_sampling_keys
from llm_timecycle.config.yaml_nodes import parse_yaml, to_python
from llm_timecycle.errors import ConfigError

CONTRADICTIONS = [
    ("data: {valid_fraction: 0.5, test_fraction: 0.4}", "data.valid_fraction", "less than 0.9"),
    ("data: {encoding: utf-9}", "data.encoding", "Python knows, such as utf-8, utf-16"),
    ("data: {encoding: hex}", "data.encoding", "expected an encoding of text that Python"),
    ("data: {encoding: idna}", "data.encoding", "expected an encoding of text that Python knows"),
    ("data: {encoding: Unicode_Escape}", "data.encoding", "an encoding of text that Python knows"),
    ("data: {field: title}", "data.field", "documents: file has no fields; set documents: record"),
    ("tokenizer: {level: byte, vocab_size: 257}", "tokenizer.vocab_size", "258 or more"),
    ("tokenizer: {level: subword, vocab_size: 257}", "tokenizer.vocab_size", "level: subword"),
    ("training: {weight_decay: 0.1}", "training.weight_decay", "optimizer to adamw or nadam"),
    (
        "training: {weight_decay: 0.1, optimizer: sgd}",
        "training.weight_decay",
        "no effect with optimizer: sgd",
    ),
    (
        "training: {temporal_activation_regularization: 1, sequence_length: 1}",
        "training.temporal_activation_regularization",
        "set sequence_length to 2 or more",
    ),
    (
        "model: {residual: true, num_layers: 1, embedding_dim: 4, hidden_units: 8}",
        "model.residual",
        "reads 4 numbers and gives 8; set embedding_dim to 8",
    ),
    ("training: {minutes: 10, max_steps: 5}", "training.minutes", "set one of the two to null"),
    (
        "training: {vary_sequence_length: true, sequence_length: 8}",
        "training.sequence_length",
        "8 is too short to vary: set sequence_length to 10 or more",
    ),
    (
        "data: {valid_fraction: 0}\ntraining: {averaging: triggered}",
        "training.averaging",
        "triggered needs validation",
    ),
    (
        "data: {valid_fraction: 0}\ntraining: {patience: 3}",
        "training.patience",
        "set data.valid",
    ),
    (
        "data: {valid_fraction: 0}\ntraining: {schedule: plateau}",
        "training.schedule",
        "plateau needs validation",
    ),
    (
        "data: {valid_fraction: 0}\ntraining: {eval_every: 5}",
        "training.eval_every",
        "data.valid_fraction above 0",
    ),
    ("generation: {beams: 4, top_k: 5}", "generation.top_k", "leave top_k out"),
    ("generation: {beams: 2, top_p: 0.9}", "generation.top_p", "0.9 has no effect with beams: 2"),
    ("generation: {beams: 2, min_p: 0.9}", "generation.min_p", "set beams to 1"),
    ("generation: {beams: 2, typical_p: 0.9}", "generation.typical_p", "beams: 2"),
    ("generation: {beams: 2, repetition_penalty: 2}", "generation.repetition_penalty", "2 has no"),
    ("generation: {beams: 2, presence_penalty: 2}", "generation.presence_penalty", "beams: 2"),
    ("generation: {beams: 2, frequency_penalty: 2}", "generation.frequency_penalty", "beams: 2"),
    ("generation: {beams: 2, xtc_probability: 0.5}", "generation.xtc_probability", "beams: 2"),
]


@pytest.mark.parametrize(("text", "path", "remedy"), CONTRADICTIONS)
def test_in_a_file(refuse, text, path, remedy):
    (problem,) = refuse(text).splitlines()[1:]
    line = text.count("\n") + 1
    assert problem.startswith(f"  my.yaml:{line}: {path}: ")
    assert remedy in problem


@pytest.mark.parametrize(("text", "path", "remedy"), CONTRADICTIONS)
def test_in_python(text, path, remedy):
    with pytest.raises(ConfigError) as caught:
        Settings(**to_python(parse_yaml(text, "x")))
    (problem,) = str(caught.value).splitlines()[1:]
    assert problem.startswith(f"  Settings: {path}: ")
    assert remedy in problem


@pytest.mark.parametrize(
    "text",
    [
        "data: {valid_fraction: 0.5, test_fraction: 0.39}",
        "data: {valid_fraction: 0.5, test_fraction: 0.5, test: t.txt}",
        "tokenizer: {level: byte, vocab_size: 258}",
        "tokenizer: {level: char, vocab_size: 3}",
        "training: {weight_decay: 0.1, optimizer: adamw}",
        "training: {weight_decay: 0.1, optimizer: nadam}",
        "training: {temporal_activation_regularization: 1, sequence_length: 2}",
        "training: {activation_regularization: 1, sequence_length: 1}",
        "model: {residual: true, num_layers: 1, embedding_dim: 8, hidden_units: 8}",
        "model: {residual: true, num_layers: 2, embedding_dim: 4, hidden_units: 8}",
        "training: {weight_decay: 0}",
        "training: {schedule: plateau, warmup_steps: 10, patience: 3}",
        "data: {valid_fraction: 0, valid: v.txt}\ntraining: {patience: 3, eval_every: 5}",
        "data: {valid_fraction: 0}",
        "generation: {beams: 4, temperature: 0.5, seed: 3, length_penalty: 1}",
        "generation: {beams: 4, no_repeat_ngram: 3}",
        "generation: {beams: 4, dry_multiplier: 0.8, dry_allowed_length: 4}",
        "generation: {top_k: 5, top_p: 0.9}",
    ],
)
def test_no_contradiction(read, text):
    assert read(text).name == "my"
    assert list(find_contradictions(Settings(**to_python(parse_yaml(text, "x"))))) == []


def test_an_override_is_held_against_the_file(refuse):
    message = refuse("tokenizer: {level: byte}", "tokenizer.vocab_size=100")
    assert "override tokenizer.vocab_size=100: tokenizer.vocab_size: received 100" in message


def test_a_wrong_value_is_not_held_against_the_others(refuse):
    message = refuse("training: {weight_decay: 0.1, optimizer: admw}")
    assert "1 problem in" in message
    assert "did you mean adamw?" in message


def test_contradictions_come_with_the_other_problems(refuse):
    message = refuse("training: {weight_decay: 0.1, epochs: 0}")
    assert "2 problems in" in message
    assert "training.epochs: received 0" in message
    assert "training.weight_decay: 0.1 has no effect" in message


def test_python_names_wrong_values_and_contradictions_together():
    with pytest.raises(ConfigError) as caught:
        Settings(
            training={"weight_decay": 0.1, "epochs": -1, "epoch": 3, "seed": object()},
            generation=GenerationSettings(beams=2, top_k=5),
            data={"train": ["a.txt", 3]},
            extra={},
            model=3,
        )
    first, *lines = str(caught.value).splitlines()
    assert first == "8 problems in the settings of Settings(...)"
    problems = {line.split(": ")[1]: line.partition(": ")[2] for line in lines}
    assert problems.pop("training.seed").startswith("training.seed: received <object object")
    assert problems == {
        "training.epoch": "training.epoch: there is no such setting; did you mean epochs?",
        "extra": "extra: there is no such section; the sections are data, tokenizer, model, "
        "training, generation",
        "model": "model: received 3; expected a mapping of settings",
        "training.epochs": "training.epochs: received -1; expected a whole number "
        "from 1 to 1000000000",
        "data.train": "data.train: received 3 as item 2; expected text (if it is meant as text, "
        'put it in quotes: "3")',
        "training.weight_decay": "training.weight_decay: 0.1 has no effect with optimizer: adam; "
        "set optimizer to adamw or nadam, or weight_decay to 0",
        "generation.top_k": "generation.top_k: 5 has no effect with beams: 2, because a beam "
        "search does not sample; set beams to 1, or leave top_k out",
    }


def test_what_is_no_settings_at_all_is_refused():
    with pytest.raises(ValidationError, match="dictionary"):
        Settings.model_validate([1])


def test_sections_may_be_mappings_or_sections():
    expected = Settings(training=TrainingSettings(epochs=3))
    assert Settings(training={"epochs": 3}) == expected
    assert Settings.model_validate(expected.model_dump()) == expected


def test_a_new_sampling_setting_counts_as_unused_by_beam_search():
    class Longer(GenerationSettings):
        new_filter: float = 0.0

    assert "new_filter" in list_sampling_keys(Longer)
    assert list_sampling_keys(GenerationSettings)[:2] == ["temperature", "top_k"]
