"""The cache around an engine: its distribution is the twin's, whatever the rows and the engine."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.generation.engines.cached_engine import CachedEngine
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.engines.tensorflow_engine import TensorFlowEngine
from llm_timecycle.reference import network as twin_network
from llm_timecycle.reference.neural_cache import compute_cache_distribution, mix_with_cache

V, WEIGHT, THETA = 9, 0.3, 0.8
SHAPES = {
    "tied with projection": ModelSettings(
        embedding_dim=3, hidden_units=5, num_layers=2, tie_embeddings=True
    ),
    "plain": ModelSettings(embedding_dim=3, hidden_units=5, num_layers=1),
}
IDS = np.random.default_rng(8).integers(0, V, (3, 40))


def make_weights(settings: ModelSettings) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings, V)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def compute_expected(
    settings: ModelSettings, ids: np.ndarray, window: int, theta: float | None = THETA
) -> np.ndarray:
    """The distribution after all ids (T,) by the twins."""
    params = {name: w.astype(np.float64) for name, w in make_weights(settings).items()}
    states = twin_network.make_zero_states(params, 1)
    logits, _, left = twin_network.forward(params, ids[np.newaxis], states)
    hidden = left.y[0]
    if "projection.kernel" in params:
        hidden = hidden @ params["projection.kernel"]
    p_model = np.exp(logits[0, -1]) / np.exp(logits[0, -1]).sum()
    if theta is None:
        theta = 16 / np.square(hidden[:-1][-window:]).sum(axis=1).mean()
    p_cache = compute_cache_distribution(
        hidden[:-1], ids[1:], hidden[-1], vocab_size=V, window=window, theta=theta
    )
    return mix_with_cache(p_model, p_cache, WEIGHT)


@pytest.fixture(params=[*SHAPES])
def settings(request: pytest.FixtureRequest) -> ModelSettings:
    return SHAPES[request.param]


@pytest.mark.parametrize("kind", [NumpyEngine, TensorFlowEngine])
def test_after_a_prompt_and_after_each_step_it_is_the_twins(
    settings: ModelSettings, kind: type[NumpyEngine | TensorFlowEngine]
) -> None:
    engine: Engine = kind(make_weights(settings), settings)
    cached = CachedEngine(engine, WEIGHT, THETA, window=7)
    found = cached.prefill(IDS[:, :5])
    for length in range(5, 40):
        if length > 5:
            found = cached.step(IDS[:, length - 1])
        assert np.exp(found).sum(axis=1) == pytest.approx(1.0)
        if length % 9 == 5:
            for row in range(3):
                expected = compute_expected(settings, IDS[row, :length], window=7)
                assert np.exp(found[row]) == pytest.approx(expected, rel=1e-4)


def test_a_theta_left_open_suits_the_hidden_vectors(settings: ModelSettings) -> None:
    cached = CachedEngine(NumpyEngine(make_weights(settings), settings), WEIGHT)
    found = cached.prefill(IDS[:1, :20])
    expected = compute_expected(settings, IDS[0, :20], window=2000, theta=None)
    assert np.exp(found[0]) == pytest.approx(expected, rel=1e-4)


def test_rows_keep_their_caches_when_they_are_chosen_and_repeated(settings: ModelSettings) -> None:
    cached = CachedEngine(NumpyEngine(make_weights(settings), settings), WEIGHT, THETA)
    cached.prefill(IDS[:, :10])
    cached.select_rows([2, 0, 2])
    found = cached.step(np.array([1, 2, 3]))
    for row, (source, token) in enumerate([(2, 1), (0, 2), (2, 3)]):
        expected = compute_expected(settings, np.append(IDS[source, :10], token), window=2000)
        assert np.exp(found[row]) == pytest.approx(expected, rel=1e-4)


def test_after_the_first_token_nothing_is_remembered(settings: ModelSettings) -> None:
    engine = NumpyEngine(make_weights(settings), settings)
    cached = CachedEngine(engine, WEIGHT, THETA)
    logits = cached.prefill(IDS[:1, :1])
    cached.reset()
    assert np.exp(cached.prefill(IDS[:1, :1])) == pytest.approx(np.exp(logits))
    engine.reset()
    plain = engine.prefill(IDS[:1, :1])
    assert np.exp(logits) == pytest.approx(np.exp(plain) / np.exp(plain).sum(), rel=1e-5)


def test_texts_of_different_lengths_begin_together(settings: ModelSettings) -> None:
    cached = CachedEngine(NumpyEngine(make_weights(settings), settings), WEIGHT, THETA)
    found = cached.prefill_each([IDS[0, :4], IDS[1, :9]])
    for row, length in enumerate((4, 9)):
        expected = compute_expected(settings, IDS[row, :length], window=2000)
        assert np.exp(found[row]) == pytest.approx(expected, rel=1e-4)
