"""`lt.evaluate`: its figures, its forms, and what it says of a run that cannot be scored."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import llm_timecycle as lt
from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import HeldOutTextError, RunError, UsageError
from llm_timecycle.evaluation.api import choose_precision
from llm_timecycle.evaluation.result import summarize
from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.evaluation.unknown import SpellingCost
from llm_timecycle.model import precision
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import SPELLING
from llm_timecycle.text.token_store import TokenStream
from llm_timecycle.text.tokenizer.spelling import learn_spelling
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SETTINGS = Settings(
    tokenizer=TokenizerSettings(level="char"),
    model=ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1),
)
STREAM = TokenStream(
    np.zeros(4, np.uint8), tokens=4, unknown=1, words=2, characters=3, bytes=6, corpus_sha256=""
)


def make_run(
    place: Path, bad: float = 0.0, added: int = 0, learned: dict[str, bytes] | None = None
) -> Run:
    """A run whose weights are zero, so that it predicts every token with probability 1 / V."""
    tokenizer = Tokenizer.train(SETTINGS.tokenizer, ["abc"])
    vocab_size = tokenizer.vocab_size + added
    json = tokenizer.to_json().encode()
    run = create_run(place / "run", SETTINGS, json, vocab_size, {}, learned=learned)
    shapes = compute_parameter_shapes(SETTINGS.model, vocab_size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["output.bias"][2] = bad
    run.save_weights(weights, {})
    (place / "text.txt").write_text("abcabca?")
    return run


def test_figures_are_the_sums_over_the_size_of_the_text() -> None:
    result = summarize("valid", Sums(loss_nats=6.0, correct=1, predicted=3), STREAM, "exact")
    assert result.loss_nats_per_token == 2.0
    assert result.perplexity == pytest.approx(math.e**2)
    assert result.perplexity_per_word == pytest.approx(math.e**3)
    assert result.bits_per_character == pytest.approx(2 / math.log(2))
    assert result.bits_per_byte == pytest.approx(1 / math.log(2))
    assert result.accuracy == pytest.approx(1 / 3)
    assert (result.tokens, result.words, result.characters, result.bytes) == (4, 2, 3, 6)
    assert result.unknown_tokens == 1


def test_the_dictionary_has_the_keys_of_the_json_object_and_only_finite_numbers() -> None:
    result = summarize("valid", Sums(loss_nats=3000.0, correct=1, predicted=3), STREAM, "exact")
    assert math.isinf(result.perplexity)
    assert list(result.to_dict()) == [
        *("split", "loss_nats_per_token", "perplexity", "perplexity_per_word"),
        *("bits_per_character", "bits_per_byte", "accuracy"),
        *("tokens", "words", "characters", "bytes", "unknown_tokens"),
        *("perplexity_per_word_with_spelling", "bits_per_character_with_spelling"),
        *("spelling_bits_per_character", "bits_per_byte_with_spelling", "spelled_tokens"),
        *("share_in_training_text", "method", "ms_per_token"),
        *("cache", "dynamic", "cache_and_dynamic", "samples"),
    ]
    assert result.to_dict()["perplexity"] is None
    assert result.to_dict()["loss_nats_per_token"] == 1000.0


def test_it_is_a_table_when_printed_and_in_a_notebook() -> None:
    result = summarize("<valid>", Sums(loss_nats=6.0, correct=1, predicted=3), STREAM, "exact")
    assert "\nloss nats per token               2.0000\n" in str(result)
    assert "<td>&lt;valid&gt;</td>" in result._repr_html_()
    assert "<tr><th>loss nats per token</th><td>2.0000</td></tr>" in result._repr_html_()


def test_a_text_is_scored_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = lt.evaluate(run.path, Path("text.txt"), show_progress=False)
    assert isinstance(result, lt.EvaluationResult)
    assert result.perplexity == pytest.approx(run.vocab_size)
    assert (result.split, result.characters, result.unknown_tokens) == ("text.txt", 8, 1)
    assert lt.evaluate("run", "text.txt", show_progress=False) == result


@pytest.mark.parametrize(
    ("bad", "added", "message"),
    [
        (np.nan, 0, "the loss of .* is nan, not a finite number.*train it again"),
        (0.0, 1, "has 5 tokens, and the manifest of the run says 6"),
    ],
)
def test_a_run_that_cannot_be_scored(tmp_path: Path, bad: float, added: int, message: str) -> None:
    run = make_run(tmp_path, bad, added)
    with pytest.raises(RunError, match=message):
        lt.evaluate(run.path, tmp_path / "text.txt", show_progress=False)


def test_a_run_without_held_out_text_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HeldOutTextError, match=r"no test text.*data\.test_fraction is 0.*as data"):
        lt.evaluate(make_run(tmp_path).path, split="test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "split: received 'train'; expected 'valid' or 'test'"),
        ({"split": "valid", "data": "x.txt"}, "not both"),
        ({"data": ""}, "data is empty"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lt.evaluate("runs/none", **arguments)


def test_bfloat16_only_for_a_model_trained_in_it_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {tf.float32: 1.0, tf.bfloat16: 0.5}
    monkeypatch.setattr(precision, "race_products", lambda *shape: seconds)
    trained = {
        policy: Settings(training={"precision": policy}) for policy in ("float32", "mixed_bfloat16")
    }
    assert choose_precision(trained["mixed_bfloat16"], lanes=64) == "mixed_bfloat16"
    assert choose_precision(trained["mixed_bfloat16"], lanes=1) == "float32"
    assert choose_precision(trained["float32"], lanes=64) == "float32"
    seconds[tf.bfloat16] = 0.9
    assert choose_precision(trained["mixed_bfloat16"], lanes=64) == "float32"


def test_figures_with_the_spelling_of_unknown_words_stand_beside_those_without() -> None:
    sums = Sums(loss_nats=6.0, correct=1, predicted=3)
    plain = summarize("valid", sums, STREAM, "exact")
    result = summarize("valid", sums, STREAM, "exact", SpellingCost(bits=3.0, tokens=1))
    bits = 6 / math.log(2)
    assert result.bits_per_character == plain.bits_per_character == pytest.approx(bits / 3)
    assert result.bits_per_character_with_spelling == pytest.approx((bits + 3) / 3)
    assert result.spelling_bits_per_character == 1.0
    assert result.bits_per_byte_with_spelling == pytest.approx((bits + 3) / 6)
    assert result.perplexity_per_word == plain.perplexity_per_word
    assert result.perplexity_per_word_with_spelling == pytest.approx(2 ** ((bits + 3) / 2))
    assert result.spelled_tokens == 1
    line = "\nbits per character                3.8854, of which 1.0000 for 25.0 % unknown words\n"
    assert line in str(result)
    assert "with spelling" not in str(result)
    assert "<td>3.8854, of which 1.0000 for 25.0 % unknown words</td>" in result._repr_html_()


@given(st.floats(1e-3, 1e6))
def test_where_nothing_is_unknown_both_figures_are_the_same_to_the_bit(loss_nats: float) -> None:
    sums = Sums(loss_nats=loss_nats, correct=1, predicted=3)
    result = summarize("valid", sums, replace(STREAM, unknown=0), "exact", SpellingCost(0.0, 0))
    assert result.bits_per_character_with_spelling == result.bits_per_character
    assert result.bits_per_byte_with_spelling == result.bits_per_byte
    assert result.perplexity_per_word_with_spelling == result.perplexity_per_word
    assert f"\nbits per character  {result.bits_per_character:>20,.4f}\n" in str(result)


def test_a_run_of_an_older_version_marks_its_figures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(tmp_path)
    with caplog.at_level(logging.WARNING):
        result = lt.evaluate(run.path, tmp_path / "text.txt", show_progress=False)
    assert result.bits_per_character_with_spelling is None
    assert result.perplexity_per_word_with_spelling is None
    assert f"{result.bits_per_character:.4f}, unknown words not charged" in str(result)
    assert "made by an older version and cannot charge for the spelling" in caplog.text
    assert "train it again" in caplog.text


def test_a_run_charges_by_the_words_of_its_training_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, learned={SPELLING: learn_spelling("abc").to_json().encode()})
    result = lt.evaluate(run.path, tmp_path / "text.txt", show_progress=False)
    assert result.spelled_tokens == result.unknown_tokens == 1
    # "?" was never seen: p(? | start) = 3 p(?) / 6 and p(end | ?) = p(end), where n(end) = 3 of 6,
    # four different symbols, so that p(?) = 4 / 10 A and p(end) = (3 + 4 / A) / 10.
    A = 1_112_065
    bits = -math.log2(0.5 * 0.4 / A * (3 + 4 / A) / 10)
    assert result.spelling_bits_per_character == pytest.approx(bits / 8)


def test_a_spelling_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, learned={SPELLING: learn_spelling("abc").to_json().encode()})
    (run.path / SPELLING).write_bytes(learn_spelling("abcd").to_json().encode())
    with pytest.raises(RunError, match=r"spelling\.json is not what the manifest says"):
        lt.evaluate(run.path, tmp_path / "text.txt", show_progress=False)
