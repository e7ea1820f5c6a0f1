"""The TensorFlow engine against the reference, the NumPy engine, and sampling step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings, ModelSettings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation import decoding
from llm_timecycle.generation.engines import tensorflow_engine
from llm_timecycle.generation.engines.engine import BlockEngine, Engine
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.engines.tensorflow_engine import TensorFlowEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.generation.sampling.pipeline import (
    SamplingPlan,
    compute_logprobs,
    sample_tokens,
)
from llm_timecycle.reference.network import forward, make_zero_states
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

V = 40
SETTINGS = ModelSettings(embedding_dim=4, hidden_units=6, num_layers=2)


def draw_weights(settings: ModelSettings = SETTINGS, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = compute_parameter_shapes(settings, V)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def traced() -> TensorFlowEngine:
    """Whoever reads a text with it first takes the time to trace that."""
    return TensorFlowEngine(draw_weights(), SETTINGS)


@pytest.fixture
def engine(traced: TensorFlowEngine) -> TensorFlowEngine:
    traced.reset()
    return traced


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("E", [4, 6])
@pytest.mark.parametrize("options", [{}, {"layer_norm": True, "residual": True}])
def test_logits_are_those_of_the_reference(
    is_tied: bool, E: int, options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorflow_engine, "PREFILL_WINDOW", 3)
    settings = ModelSettings(
        embedding_dim=E, hidden_units=6, num_layers=2, tie_embeddings=is_tied, **options
    )
    weights = draw_weights(settings)
    ids = np.random.default_rng(2).integers(0, V, (3, 10))
    exact = {name: weight.astype(np.float64) for name, weight in weights.items()}
    states = make_zero_states(exact, 3)
    expected, _, _ = forward(exact, ids, states, residual=settings.residual)
    engine = TensorFlowEngine(weights, settings)
    logits = [engine.prefill(ids[:, :7]), engine.step(ids[:, 7])]
    np.testing.assert_allclose(np.stack(logits, 1), expected[:, 6:8], 1e-4, 1e-4)
    np.testing.assert_allclose(engine.read(ids[:, 8:]), expected[:, 8:], 1e-4, 1e-4)


PLANS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.3, "top_k": 30, "top_p": 0.8},
    {"temperature": 1.0, "top_p": 0.5, "min_p": 0.1},
    {"temperature": 1.0, "typical_p": 0.6},
    {"temperature": 1.0, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.9},
    {"temperature": 0.9, "repetition_penalty": 1.5},
    {"temperature": 1.1, "presence_penalty": 0.5, "frequency_penalty": 0.7, "top_k": 10},
    {"temperature": 0.0, "repetition_penalty": 2.0},
    {"temperature": 1.0, "xtc_probability": 0.6, "xtc_threshold": 0.1},
    {"temperature": 1.0, "xtc_probability": 1.0, "xtc_threshold": 0.05, "top_k": 12, "min_p": 0.01},
]


@pytest.mark.parametrize(
    ("options", "with_ban"),
    [*((plan, True) for plan in PLANS), *((plan, False) for plan in PLANS[::6])],
)
def test_a_block_equals_sampling_token_by_token(
    engine: TensorFlowEngine, options: dict[str, Any], with_ban: bool
) -> None:
    banned = (3, 7) if with_ban else ()
    bias = ((5, 2.0), (6, -1.0)) if with_ban else ()
    plan = SamplingPlan(GenerationSettings(**options), banned, bias, ends=(1, 9))
    assert engine.can_decode(plan)
    prompt = np.array([[1, 2, 3], [4, 5, 6], [1, 1, 1]])
    uniforms = np.random.default_rng(3).random((12, 3))
    counts = [np.bincount(row, minlength=V) for row in prompt]
    logits = engine.prefill(prompt)
    expected, logprobs, counted = [], [], [row.copy() for row in counts]
    for row_of_uniforms in uniforms:
        ids = sample_tokens(logits, row_of_uniforms, plan, counted)
        expected.append(ids)
        logprobs.append(compute_logprobs(logits, ids))
        for row, token in enumerate(ids):
            counted[row][token] += 1
        logits = engine.step(ids)
    engine.reset()
    engine.prefill(prompt)
    first = engine.decode_block(uniforms[:5], plan, counts, with_logprobs=True)
    for row in range(3):
        np.add.at(counts[row], first.ids[:, row], 1)
    second = engine.decode_block(uniforms[5:], plan, counts, with_logprobs=True)
    assert np.array_equal(np.concatenate([first.ids, second.ids]), np.stack(expected))
    assert first.logprobs is not None
    assert second.logprobs is not None
    found = np.concatenate([first.logprobs, second.logprobs])
    np.testing.assert_allclose(found, np.stack(logprobs), 1e-5, 1e-5)
    np.testing.assert_allclose(engine.step(expected[-1]).shape, (3, V))


def test_a_block_is_decoded_with_norms_and_residual_connections() -> None:
    settings = SETTINGS.model_copy(
        update={"layer_norm": True, "residual": True, "embedding_dim": 6, "num_layers": 3}
    )
    engine = TensorFlowEngine(draw_weights(settings), settings)
    logits = engine.prefill(np.array([[1, 2], [3, 4]]))
    expected = []
    for _ in range(6):
        ids = logits.argmax(axis=1)
        expected.append(ids)
        logits = engine.step(ids)
    engine.reset()
    engine.prefill(np.array([[1, 2], [3, 4]]))
    plan = SamplingPlan(GenerationSettings(temperature=0.0))
    block = engine.decode_block(np.zeros((6, 2)), plan)
    assert np.array_equal(block.ids, np.stack(expected))


def test_equal_logits_are_kept_from_the_lowest_id_on() -> None:
    weights = {name: np.zeros_like(weight) for name, weight in draw_weights().items()}
    engine = TensorFlowEngine(weights, SETTINGS)
    engine.prefill(np.array([[0]]))
    plan = SamplingPlan(GenerationSettings(temperature=1.0, top_k=4))
    uniforms = np.arange(50.0)[:, np.newaxis] / 50
    assert set(engine.decode_block(uniforms, plan).ids.ravel().tolist()) == {0, 1, 2, 3}


def test_a_plan_that_sorts_the_vocabulary_is_sampled_by_numpy(
    engine: TensorFlowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(engine, BlockEngine)
    monkeypatch.setattr("llm_timecycle.generation.sampling.tensorflow_pipeline.SORTED_AT_MOST", 10)

    def can(**options: Any) -> bool:
        return engine.can_decode(SamplingPlan(GenerationSettings(**options)))

    assert not can(top_p=0.9)
    assert not can(typical_p=0.9, top_k=11)
    assert can(top_p=0.9, top_k=10)
    assert can(top_p=0.9, temperature=0.0)
    assert can(min_p=0.1)
    assert can(xtc_probability=0.5)
    assert not can(beams=2)
    assert not can(dry_multiplier=0.8)
    assert not can(no_repeat_ngram=3)


def test_rows_are_selected_and_repeated(engine: TensorFlowEngine) -> None:
    plan = SamplingPlan(GenerationSettings(temperature=1.0))
    uniforms = np.random.default_rng(3).random((4, 2))
    engine.prefill(np.array([[1, 2], [3, 4], [5, 6]]))
    engine.select_rows([2, 0])
    found = engine.decode_block(uniforms, plan).ids
    engine.reset()
    engine.prefill(np.array([[5, 6], [1, 2]]))
    assert np.array_equal(engine.decode_block(uniforms, plan).ids, found)


def test_wrong_numbers_of_rows_are_refused() -> None:
    engine = TensorFlowEngine(draw_weights(), SETTINGS)
    plan = SamplingPlan(GenerationSettings())
    with pytest.raises(UsageError, match="no text to continue: call prefill first"):
        engine.decode_block(np.zeros((1, 1)), plan)
    engine.prefill(np.array([[1], [2]]))
    with pytest.raises(UsageError, match="uniform numbers for 2 rows, received 3"):
        engine.decode_block(np.zeros((1, 3)), plan)
    with pytest.raises(UsageError, match=r"expected ids for 2 rows, received 1; call reset\(\)"):
        engine.step(np.array([1]))
    engine.reset()
    with pytest.raises(UsageError, match="expected a prompt of at least one token"):
        engine.prefill(np.zeros((1, 0), np.int64))


def test_logits_that_are_not_finite_are_an_error() -> None:
    weights = draw_weights()
    weights["output.bias"][3] = np.inf
    engine = TensorFlowEngine(weights, SETTINGS)
    engine.prefill(np.array([[1]]))
    with pytest.raises(RunError, match=r"not finite: 1 of 40 are infinite"):
        engine.decode_block(np.zeros((2, 1)), SamplingPlan(GenerationSettings()))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    text = "".join(chr(ord("a") + n) for n in range(26)) + "0123456789 .\n"
    tokenizer = Tokenizer.train(TokenizerSettings(level="char"), [text])
    assert tokenizer.vocab_size <= V + 10
    return tokenizer


@pytest.fixture(scope="module")
def engines(tokenizer: Tokenizer) -> list[Engine]:
    """One of each kind; texts end early with them."""
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(SETTINGS, tokenizer.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = 1.5
    return [NumpyEngine(weights, SETTINGS), TensorFlowEngine(weights, SETTINGS)]


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize(
    "against_loops",
    [{}, {"dry_multiplier": 0.8, "no_repeat_ngram": 4}, {"xtc_probability": 0.5}],
    ids=["plain", "dry and no_repeat_ngram", "xtc"],
)
def test_both_engines_write_the_same_texts(
    engines: list[Engine],
    tokenizer: Tokenizer,
    temperature: float,
    samples: int,
    against_loops: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where texts end at different tokens, in the middle of a block."""
    monkeypatch.setattr(decoding, "BLOCK_TOKENS", 7)
    settings = GenerationSettings(
        length=60,
        temperature=temperature,
        seed=4,
        stop=["zz", "a"],
        repetition_penalty=1.1,
        **against_loops,
    )
    texts = []
    for engine in engines:
        generator = TextGenerator(engine, tokenizer, settings, with_logprobs=True)
        texts.append(generator.generate("abc", samples))
        assert generator.times is not None
        assert generator.times.tokens == sum(len(text.ids) for text in texts[-1])
    for ours, theirs in zip(*texts, strict=True):
        assert (ours.text, ours.ids, ours.finish_reason) == (
            theirs.text,
            theirs.ids,
            theirs.finish_reason,
        )
        assert ours.log_probabilities == pytest.approx(theirs.log_probabilities, abs=1e-4)
    if samples > 1 and temperature:
        assert len({len(text.ids) for text in texts[0]}) > 1


def test_texts_of_different_lengths_are_each_the_same_alone(engine: TensorFlowEngine) -> None:
    texts = [np.array(text) for text in ([1, 2, 3], [4], [5, 6, 7], [8, 9])]
    together = engine.prefill_each(texts)
    next_ids = np.array([1, 2, 3, 4])
    after = engine.step(next_ids)
    for row, text in enumerate(texts):
        engine.reset()
        np.testing.assert_allclose(engine.prefill(text[np.newaxis])[0], together[row], 1e-5, 1e-5)
        np.testing.assert_allclose(engine.step(next_ids[[row]])[0], after[row], 1e-5, 1e-5)
