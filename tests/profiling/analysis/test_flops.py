"""The counts of operations and bytes, against an instrumented run of the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.profiling.analysis.flops import (
    add_costs,
    count_token_operations,
)
from llm_timecycle.reference import losses, lstm, network, optimizers
from llm_timecycle.reference.activation_penalty import (
    PenaltyWeights,
    differentiate_activation_penalty,
)
from tests.profiling.counting import CountingArray, instrument
from tests.profiling.profiles import count_step

V, B = 11, 3


def make_array(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape).view(CountingArray)


def make_parameters(model: ModelSettings) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {n: make_array(random, s) for n, s in compute_parameter_shapes(model, V).items()}


def make_masks(model: ModelSettings, T: int) -> dict[str, np.ndarray]:
    """Masks for whatever the settings drop."""
    E, H, L = model.embedding_dim, model.hidden_units, model.num_layers
    shapes: dict[str, tuple[int, ...]] = {}
    if model.dropout:
        shapes = {"input_dropout": (B, T, E), "output_dropout": (B, T, H)}
        shapes |= {f"layer_dropout_{layer}": (B, T, H) for layer in range(1, L)}
    if model.embedding_dropout:
        shapes["embedding.embeddings"] = (V, 1)
    if model.weight_drop:
        shapes |= {f"lstm_{layer}.recurrent_kernel": (H, 4 * H) for layer in range(1, L + 1)}
    return {name: np.ones(shape).view(CountingArray) for name, shape in shapes.items()}


MODELS = [
    ModelSettings(embedding_dim=4, num_layers=2, hidden_units=5),
    ModelSettings(embedding_dim=4, num_layers=1, hidden_units=5, tie_embeddings=True),
    ModelSettings(embedding_dim=5, num_layers=3, hidden_units=5, tie_embeddings=True),
    ModelSettings(embedding_dim=4, num_layers=2, hidden_units=5, dropout=0.5, weight_drop=0.5),
    ModelSettings(embedding_dim=3, num_layers=2, hidden_units=2, dropout=0.1, tie_embeddings=True),
    ModelSettings(
        embedding_dim=3, num_layers=3, hidden_units=4, residual=True, embedding_dropout=0.5
    ),
    ModelSettings(embedding_dim=4, num_layers=2, hidden_units=4, layer_norm=True, residual=True),
    ModelSettings(
        embedding_dim=3, num_layers=1, hidden_units=4, layer_norm=True, tie_embeddings=True
    ),
]


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Any:
    return instrument(monkeypatch)


def test_the_instrument_counts_by_the_convention(counter: Any) -> None:
    x, y = (np.ones(shape).view(CountingArray) for shape in ((2, 3), (3, 4)))
    for result, operations in [
        (lambda: x @ y, 2 * 2 * 3 * 4),
        (lambda: np.tensordot(x, y, axes=([1], [0])), 2 * 2 * 3 * 4),
        (lambda: x + 1, 6),
        (lambda: np.exp(-x) / 2, 6 + 6),
        (lambda: x.sum(axis=0), 6),
        (lambda: np.max(x, axis=-1) > 0, 0),
        (lambda: x**2, 6),
        (lambda: lstm.sigmoid(x), 6),
        (lambda: lstm.np.empty((2, 2)) * 0, 4),
        (lambda: np.add.at(x, np.array([[0, 1, 1, 1]]), np.ones((1, 4, 3))), 12),
    ]:
        result()
        assert counter.take() == operations


@pytest.mark.parametrize("T", [1, 6])
@pytest.mark.parametrize(("D", "H"), [(4, 5), (5, 5), (1, 1)])
def test_an_lstm_layer_is_what_the_reference_runs(counter: Any, D: int, H: int, T: int) -> None:
    random = np.random.default_rng(0)
    shapes = ((D, 4 * H), (H, 4 * H), (4 * H,))
    weights = lstm.LSTMWeights(*(make_array(random, shape) for shape in shapes))
    zeros = np.zeros((B, H)).view(CountingArray)
    *_, steps = lstm.run_forward(make_array(random, (B, T, D)), zeros, zeros, weights)
    forward = counter.take()
    lstm.run_backward(make_array(random, (B, T, H)), zeros, zeros, steps, weights)
    backward = counter.take()

    model = ModelSettings(embedding_dim=D, num_layers=1, hidden_units=H)
    costs = count_step(model, V, batch_size=B, sequence_length=T)
    assert add_costs(costs, layer="lstm_1", stage="forward").operations == forward
    # The reference takes tanh(c') twice a step, and adds up T gradients of W, U and b.
    again = B * T * H + T * (D + H + 1) * 4 * H
    assert add_costs(costs, layer="lstm_1", stage="backward").operations == backward - again


@pytest.mark.parametrize("T", [1, 6])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_is_what_the_reference_runs(counter: Any, model: ModelSettings, T: int) -> None:
    random = np.random.default_rng(2)
    params, masks = make_parameters(model), make_masks(model, T)
    tokens, targets = random.integers(0, V, (2, B, T))
    states = [x.view(CountingArray) for x in network.make_zero_states(params, B)]
    counter.take()
    logits, _, cache = network.forward(params, tokens, states, masks, residual=model.residual)
    losses.compute_cross_entropy(logits, targets)
    forward = counter.take()
    network.backward(params, cache, losses.differentiate_cross_entropy(logits, targets), masks)
    backward = counter.take()

    costs = count_step(model, V, batch_size=B, sequence_length=T)
    E, H, L, N = model.embedding_dim, model.hidden_units, model.num_layers, B * T
    # log softmax of all logits, not of the targets alone (N V - N); n counted (N), 1 / n at each
    # position (N), and times it (N).
    assert add_costs(costs, stage="forward").operations == forward - (N * V - N) - 3 * N
    lstm_again = sum(N * H + T * (D + H + 1) * 4 * H for D in (E, *[H] * (L - 1)))
    # log softmax once more (4 N V + N) and its exp (N V), where exp / sum is 1; one-hot subtracted
    # everywhere (N V), where one place is enough (N); n and 1 / n at each position (2 N).
    loss_again = (4 * N * V + N) + (N * V - N * V) + (N * V - N) + 2 * N
    tied_again = 0
    if model.tie_embeddings:
        tied_again = V * E + (2 * N * H * E) * (H != E)  # onto zeros; y P once more
    masked_again = L * 4 * H * H * (model.weight_drop > 0)  # U * mask once more
    again = lstm_again + loss_again + tied_again + masked_again
    assert add_costs(costs, stage="backward").operations == backward - again


@pytest.mark.parametrize("T", [1, 6])
def test_penalties_are_what_the_reference_runs(counter: Any, T: int) -> None:
    model = MODELS[0]
    params, random = make_parameters(model), np.random.default_rng(3)
    tokens, targets = random.integers(0, V, (2, B, T))
    states = [x.view(CountingArray) for x in network.make_zero_states(params, B)]
    logits, _, cache = network.forward(params, tokens, states)
    dlogits = losses.differentiate_cross_entropy(logits, targets)
    weights = {"activation_regularization": 2.0, "temporal_activation_regularization": 1.0}
    counts = []
    for penalty in (None, PenaltyWeights(2.0, 1.0)):
        counter.take()
        dy, dh = (None, None)
        if penalty is not None:
            dy, dh = differentiate_activation_penalty(cache.y, cache.h, penalty)
        network.backward(params, cache, dlogits, dy=dy, dh=dh)
        options = weights if penalty else {}
        costs = count_step(model, V, batch_size=B, sequence_length=T, **options)
        counts.append((counter.take(), add_costs(costs, stage="backward").operations))
    (plain, expected_plain), (penalized, expected) = counts
    assert penalized - plain == expected - expected_plain > 0


@pytest.mark.parametrize("model", [*MODELS[:3], *MODELS[5:]])
def test_an_update_is_what_the_reference_runs(counter: Any, model: ModelSettings) -> None:
    params = make_parameters(model)

    def count(optimizer: str, is_clipped: bool, decay: float = 0.0) -> int:
        costs = count_step(
            model, V, batch_size=B, sequence_length=2,
            optimizer=optimizer, gradient_clip_norm=1.0 if is_clipped else None,
            weight_decay=decay,
        )  # fmt: skip
        return add_costs(costs, stage="update").operations

    state = optimizers.start_adam(params)
    counter.take()
    optimizers.step_adam(params, params, state)
    assert count("adam", False) == counter.take()
    optimizers.descend(params, params, 0.1)
    assert count("sgd", False) == counter.take()
    optimizers.clip_by_global_norm(params, 1.0)
    assert count("adam", True) - count("adam", False) == counter.take()
    optimizers.step_adam(params, params, state, matrix_decay=0.1)
    assert count("adamw", False, 0.1) == counter.take()
    optimizers.step_adam(params, params, state, matrix_decay=0.1, nesterov=True)
    assert count("nadam", False, 0.1) == counter.take()
    assert count("adamw", False) == count("adam", False)


def test_bytes_of_a_step_by_hand() -> None:
    # V 10, E 2, H 3, one layer, B 2, T 4: N = 8 tokens, D + H = 5, 4H = 12.
    model = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    costs = count_step(model, 10, batch_size=2, sequence_length=4, precision="mixed_bfloat16")
    found = {(work.layer, work.stage): work.bytes_moved for work in costs}
    assert found == {
        # 8 tokens of 4 bytes, 8 rows of 2 float32, 8 rows of 2 bfloat16
        ("embedding", "forward"): 32 + 64 + 32,
        # tokens, 8 rows of gradients, 10 x 2 gradients written
        ("embedding", "backward"): 32 + 32 + 80,
        # W, U 240, b 48; h, c in and out 4 x 24; gates 8 x 12 bfloat16, cells 8 x 3 float32;
        # x and h 8 x 5 bfloat16
        ("lstm_1", "forward"): 288 + 96 + 192 + 96 + 80,
        # W, U read, dW, dU, db written; h, c before; gates, cells; x, h, dx, dh
        ("lstm_1", "backward"): 240 + 288 + 48 + 192 + 96 + 160,
        # W 120, b 40; targets 32; y 8 x 3, kept 8 x 10 bfloat16; losses 8 float32
        ("output", "forward"): 160 + 32 + 48 + 160 + 32,
        # W read, dW, db written; targets; y, dy; kept
        ("output", "backward"): 120 + 160 + 32 + 96 + 160,
        # 7 arrays, and the gradients once more for their norm
        ("embedding", "update"): 8 * 4 * 20,
        ("lstm_1", "update"): 8 * 4 * (60 + 12),
        ("output", "update"): 8 * 4 * 40,
    }


def test_a_tied_embedding_adds_its_rows_to_the_gradient_of_the_output() -> None:
    model = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3, tie_embeddings=True)
    costs = count_step(model, 10, batch_size=2, sequence_length=4, optimizer="sgd")
    found = {(work.layer, work.stage): work.bytes_moved for work in costs}
    # tokens; rows read; rows of the gradient read and written
    assert found["embedding", "backward"] == 32 + 64 + 128
    # P 6; y 8 x 3 and its product 8 x 2
    assert found["projection", "forward"] == 24 + 96 + 64
    # P read, dP written; y, dy of both sides
    assert found["projection", "backward"] == 48 + 96 + 64 + 96
    assert found["output", "update"] == 4 * 4 * 10  # the bias alone


def test_a_generated_token_by_hand() -> None:
    # V 10, E 2, H 3, one layer. 2 x 5 x 12 products, 2 x 12 biases, 12 gates, 5 x 3 for the cell;
    # logits 2 x 3 x 10 and their 10 biases; 4 x 10 for the probabilities.
    model = ModelSettings(embedding_dim=2, num_layers=1, hidden_units=3)
    assert count_token_operations(model, 10) == 120 + 24 + 12 + 15 + 60 + 10 + 40


def test_a_generated_token_is_one_step_of_the_reference(counter: Any) -> None:
    for model in (*MODELS[:3], *MODELS[5:]):
        params = make_parameters(model)
        states = [x.view(CountingArray) for x in network.make_zero_states(params, 1)]
        counter.take()
        network.forward(params, np.zeros((1, 1), int), states, residual=model.residual)
        assert count_token_operations(model, V) - 4 * V == counter.take()
