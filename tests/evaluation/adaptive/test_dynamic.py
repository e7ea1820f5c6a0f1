"""Weights that follow a text: each step is the twin's, scored before it is taken."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.adaptive.dynamic import EPSILON_SHARE, Adaptation, DynamicNetwork
from llm_timecycle.evaluation.adaptive.reading import Block, Text
from llm_timecycle.model.network import build_network, build_trained_network, read_parameters
from llm_timecycle.reference import dynamic_evaluation as twin
from llm_timecycle.reference import losses
from llm_timecycle.reference import network as twin_network
from llm_timecycle.text.batches import Lanes

V = 7
RNG = np.random.default_rng(3)
TRAINING = RNG.integers(0, V, 200).astype(np.uint8)
TEXT = Text(RNG.integers(0, V, 12).astype(np.uint8))
SHAPES = {
    "tied with projection": ModelSettings(
        embedding_dim=3, hidden_units=5, num_layers=2, tie_embeddings=True
    ),
    "plain": ModelSettings(embedding_dim=3, hidden_units=5, num_layers=1),
}
LANES, SEGMENT = 4, 3


@pytest.fixture(params=[*SHAPES], scope="module")
def made(request: pytest.FixtureRequest) -> tuple[ModelSettings, dict[str, np.ndarray]]:
    """Settings, and weights that are far from where they started."""
    settings = SHAPES[request.param]
    weights = read_parameters(build_network(settings, V, seed=2))
    return settings, {name: 2 * w for name, w in weights.items()}


@pytest.fixture(scope="module")
def network(made: tuple[ModelSettings, dict[str, np.ndarray]]) -> DynamicNetwork:
    settings, weights = made
    network = DynamicNetwork(build_trained_network(settings, V, weights))
    network.measure_gradients(Lanes(TRAINING, LANES, SEGMENT), settings)
    return network


def measure_sizes(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The sizes of gradients on the training text, by the twin."""
    params = {name: w.astype(np.float64) for name, w in weights.items()}
    lanes, states = Lanes(TRAINING, LANES, SEGMENT), twin_network.make_zero_states(params, LANES)
    gradients = []
    for position in range(lanes.lane_length // SEGMENT):
        tokens, targets = lanes.read_window(position)
        _, gradient, states = twin_network.loss_and_gradients(params, tokens, targets, states)
        gradients.append(gradient)
    return twin.compute_gradient_sizes(gradients)


def read(
    network: DynamicNetwork, settings: ModelSettings, adaptation: Adaptation, text: Text = TEXT
) -> np.ndarray:
    """The losses of a text's tokens."""
    blocks: list[Block] = list(network.read(settings, text, adaptation, segment=SEGMENT))
    return np.concatenate([block.losses[0] for block in blocks if block.losses is not None])


def test_the_losses_and_the_weights_are_those_of_the_twin(
    made: tuple[ModelSettings, dict[str, np.ndarray]], network: DynamicNetwork
) -> None:
    settings, weights = made
    sizes = measure_sizes(weights)
    trained = {name: w.astype(np.float64) for name, w in weights.items()}
    rate, decay = 0.02, 0.05
    epsilon = EPSILON_SHARE * twin.compute_mean_size(sizes)
    params, states = trained, twin_network.make_zero_states(trained, 1)
    expected = []
    for start in range(0, TEXT.predictions, SEGMENT):
        tokens = TEXT.ids[None, start : start + SEGMENT].astype(np.int64)
        targets = TEXT.ids[None, start + 1 : start + 1 + SEGMENT].astype(np.int64)
        tokens = tokens[:, : targets.shape[1]]
        logits, *_ = twin_network.forward(params, tokens, states)
        expected += losses.compute_token_losses(logits, targets)[0].tolist()
        _, gradients, states = twin_network.loss_and_gradients(params, tokens, targets, states)
        params = twin.adapt(
            params, gradients, trained, sizes, rate=rate, decay=decay, epsilon=epsilon
        )
    found = read(network, settings, Adaptation(rate, decay))
    assert found == pytest.approx(np.array(expected), rel=2e-4)
    plain = read(network, settings, Adaptation(0.0, 0.0))
    assert found[:SEGMENT] == pytest.approx(plain[:SEGMENT], rel=1e-6)  # scored before the change
    assert np.abs(found[SEGMENT:] - plain[SEGMENT:]).max() > 1e-3  # so the test can fail


def test_without_a_rate_nothing_follows(
    made: tuple[ModelSettings, dict[str, np.ndarray]], network: DynamicNetwork
) -> None:
    settings, weights = made
    params = {name: w.astype(np.float64) for name, w in weights.items()}
    tokens, targets = (
        TEXT.ids[None, part].astype(np.int64) for part in (slice(-1), slice(1, None))
    )
    logits, *_ = twin_network.forward(params, tokens, twin_network.make_zero_states(params, 1))
    expected = losses.compute_token_losses(logits, targets)[0]
    read(network, settings, Adaptation(0.1, 0.0))  # whose changes are forgotten
    assert read(network, settings, Adaptation(0.0, 0.0)) == pytest.approx(expected, rel=1e-4)


def test_full_decay_brings_the_trained_weights_back_each_time(
    made: tuple[ModelSettings, dict[str, np.ndarray]], network: DynamicNetwork
) -> None:
    settings, _ = made
    far, back = (read(network, settings, Adaptation(0.02, decay)) for decay in (0.0, 1e9))
    assert np.abs(far - back).max() > 1e-4


def test_a_repeated_text_is_learned(network: DynamicNetwork, made: tuple) -> None:  # type: ignore[type-arg]
    settings, _ = made
    text = Text(np.tile(np.array([1, 2, 3, 4, 5], np.uint8), 30))
    found = read(network, settings, Adaptation(0.02, 0.0), text)
    assert found[-20:].mean() < 0.7 * found[:20].mean()


def test_the_state_is_reset_where_a_document_begins(network: DynamicNetwork, made: tuple) -> None:  # type: ignore[type-arg]
    settings, _ = made
    document = [1, 2, 3, 4, 1]
    text = Text(np.array([1, *document[1:], *document[1:]], np.uint8), np.array([1, 5]))
    found = read(network, settings, Adaptation(0.0, 0.0), text)
    assert found[:4] == pytest.approx(found[4:], rel=1e-5)
