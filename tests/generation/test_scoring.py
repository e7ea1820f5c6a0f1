"""Scoring a given text: against the reference network, and against generation itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings, ModelSettings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import DataError, RunError, UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.generation.scoring import Score, score_text
from llm_timecycle.reference.losses import compute_token_losses
from llm_timecycle.reference.network import forward, make_zero_states
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(TokenizerSettings(level="char", vocab_size=50), ["abc defg.\n中文"])
SETTINGS = ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6)


def draw_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(SETTINGS, TOKENIZER.vocab_size)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def engine() -> NumpyEngine:
    return NumpyEngine(draw_weights(), SETTINGS)


def test_every_token_is_scored_as_the_reference_scores_it(engine: NumpyEngine) -> None:
    text = "abc 中文 xyz. gfed" * 20
    score = score_text(engine, TOKENIZER, text)
    ids = [TOKENIZER.eos_id, *TOKENIZER.encode(text).tolist()]
    assert list(score.ids) == ids[1:]
    assert score.tokens[:5] == ("a", "b", "c", " ", "中")
    assert score.tokens[7] == "<unk>"
    weights = {name: weight.astype(np.float64) for name, weight in draw_weights().items()}
    logits, _, _ = forward(weights, np.array([ids[:-1]]), make_zero_states(weights, 1))
    expected = -compute_token_losses(logits, np.array([ids[1:]]))[0]
    assert score.log_probabilities == pytest.approx(expected.tolist(), abs=2e-5)
    assert score.nats == pytest.approx(-expected.sum(), rel=1e-6)
    assert score.perplexity == pytest.approx(math.exp(-expected.mean()), rel=1e-6)


def test_a_text_that_was_generated_has_the_score_that_it_was_generated_with(
    engine: NumpyEngine,
) -> None:
    settings = GenerationSettings(length=40, seed=3, ban=["<eos>"])
    generator = TextGenerator(engine, TOKENIZER, settings, with_logprobs=True)
    (text,) = generator.generate()
    found = score_text(engine, TOKENIZER, text.text).log_probabilities
    assert found == pytest.approx(text.log_probabilities, abs=1e-5)


def test_by_hand() -> None:
    score = Score(("a", "b"), (2, 3), (math.log(0.5), math.log(0.125)))
    assert score.nats == pytest.approx(math.log(16))
    assert score.perplexity == pytest.approx(4.0)
    assert Score(("a",), (2,), (-1e4,)).perplexity == math.inf


def test_a_text_without_tokens_has_no_score(engine: NumpyEngine) -> None:
    with pytest.raises(UsageError, match="the text to score is empty"):
        score_text(engine, TOKENIZER, "")


def test_half_a_character_has_no_score(engine: NumpyEngine) -> None:
    with pytest.raises(DataError, match="not valid Unicode"):
        score_text(engine, TOKENIZER, "a\udce9")


def test_logits_that_are_not_finite_give_no_score() -> None:
    weights = draw_weights()
    weights["output.bias"][3] = np.inf
    with pytest.raises(RunError, match="the model's logits are not finite"):
        score_text(NumpyEngine(weights, SETTINGS), TOKENIZER, "a")
