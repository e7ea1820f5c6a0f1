"""Settings that are at odds with one another."""

import pytest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data:\n  valid_fraction: 0.5\n  test_fraction: 0.4\n",
            "my.yaml:2: data.valid_fraction: valid_fraction (0.5) and test_fraction (0.4) must be "
            "less than 0.9 together",
        ),
        (
            "tokenizer: {level: byte, vocab_size: 257}",
            "my.yaml:1: tokenizer.vocab_size: received 257, but level: byte needs 258 or more",
        ),
        ("tokenizer: {level: subword, vocab_size: 257}", "but level: subword needs 258 or more"),
        (
            "training: {weight_decay: 0.1}",
            "training.weight_decay: 0.1 would do nothing with optimizer: adam; set optimizer to "
            "adamw, or weight_decay to 0",
        ),
        ("training: {weight_decay: 0.1, optimizer: sgd}", "nothing with optimizer: sgd"),
        (
            "data: {valid_fraction: 0}\ntraining: {patience: 3}",
            "my.yaml:2: training.patience: 3 goes by validation, and there is no validation text",
        ),
        (
            "data: {valid_fraction: 0}\ntraining: {schedule: plateau}",
            "training.schedule: plateau goes by validation",
        ),
        (
            "data: {valid_fraction: 0}\ntraining: {eval_every: 5}",
            "training.eval_every: 5 goes by validation",
        ),
        (
            "generation: {beams: 4, top_k: 5}",
            "my.yaml:1: generation.top_k: 5 would do nothing with beams: 4, which searches and "
            "does not draw; set beams to 1, or leave top_k out",
        ),
        ("generation: {beams: 2, top_p: 0.9}", "generation.top_p: 0.9 would do nothing with beams"),
        ("generation: {beams: 2, min_p: 0.9}", "generation.min_p: 0.9 would do nothing with beams"),
        ("generation: {beams: 2, typical_p: 0.9}", "generation.typical_p: 0.9 would do nothing"),
        ("generation: {beams: 2, repetition_penalty: 2}", "repetition_penalty: 2 would do nothing"),
        ("generation: {beams: 2, presence_penalty: 2}", "presence_penalty: 2 would do nothing"),
        ("generation: {beams: 2, frequency_penalty: 2}", "frequency_penalty: 2 would do nothing"),
    ],
)
def test_conflict(refuse, text, message):
    assert message in refuse(text)


@pytest.mark.parametrize(
    "text",
    [
        "data: {valid_fraction: 0.5, test_fraction: 0.39}",
        "data: {valid_fraction: 0.5, test_fraction: 0.5, test: t.txt}",
        "tokenizer: {level: byte, vocab_size: 258}",
        "tokenizer: {level: char, vocab_size: 3}",
        "training: {weight_decay: 0.1, optimizer: adamw}",
        "training: {weight_decay: 0}",
        "training: {schedule: plateau, warmup_steps: 10, patience: 3}",
        "data: {valid_fraction: 0, valid: v.txt}\ntraining: {patience: 3, eval_every: 5}",
        "data: {valid_fraction: 0}",
        "generation: {beams: 4, temperature: 0.5, seed: 3, length_penalty: 1}",
        "generation: {top_k: 5, top_p: 0.9}",
    ],
)
def test_no_conflict(read, text):
    assert read(text).name == "my"


def test_override_is_held_against_the_file(refuse):
    message = refuse("tokenizer: {level: byte}", "tokenizer.vocab_size=100")
    assert "--set tokenizer.vocab_size=100: tokenizer.vocab_size: received 100, but" in message


def test_a_wrong_value_is_not_held_against_the_others(refuse):
    message = refuse("training: {weight_decay: 0.1, optimizer: admw}")
    assert "1 problem in" in message
    assert "did you mean adamw?" in message


def test_conflicts_come_with_the_other_problems(refuse):
    message = refuse("training: {weight_decay: 0.1, epochs: 0}")
    assert "2 problems in" in message
    assert "training.epochs: received 0" in message
    assert "training.weight_decay: 0.1 would do nothing" in message
