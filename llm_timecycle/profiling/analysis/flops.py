"""FLOPs and bytes of a training step and of a generated token, by layer and stage: exact counts.

FLOPs: an addition, subtraction, multiplication or division counts 1, and so does an exp, log,
square root, tanh or sigmoid. A product (M, K) x (K, N) counts 2 M K N, a sum of n numbers n (both
begin at 0). Comparisons, copies, signs, casts, random draws, and work on single numbers of a whole
step (1 / n of a mean, the root of a norm) count 0.

Counted are the formulas of `reference`, each value computed once in a pass. So these differ from
what the reference itself executes, which computes some values again to read like its formulas:

    lstm backward    tanh(c') of a step once, and dW, dU, db as one sum over all B T rows, where
                     the reference adds up T of them
    output forward   -log softmax at the target only, from max, exp and sum; one sum for the mean
    output backward  softmax from the exps and sums of the forward pass; 1 subtracted at the target
                     only. Tied, the embedding's gradient begins as this product, not as zeros.
    projection       its result is kept, not projected again in the backward pass

Bytes: the fewest that must move between memory and processor. Every tensor that goes into or comes
out of a layer's stage is read or written once, and so is what one stage keeps for another; what
lives within a stage stays in a cache, and so do weights that every time step uses. Weights,
gradients, cell states and losses take 4 bytes, tokens 4, all other activations `product_bytes`.
Dropout masks are drawn again, not kept. An embedding row is read for every token.

The update is dense: all V rows of the embedding are clipped and updated.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden units, D numbers of a layer's input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from math import prod
from typing import Literal

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes, is_residual
from llm_timecycle.training.budget.memory import FLOAT_BYTES, count_product_bytes

Stage = Literal["forward", "backward", "update"]
ProductType = Literal["float32", "bfloat16"]

TOKEN_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """FLOPs and bytes of one layer in one stage."""

    layer: str
    """embedding, layer_norm_2 to layer_norm_L and layer_norm_output (with layer norm), lstm_1 to
    lstm_L, projection (tied, where E differs from H), output."""
    stage: Stage
    operations: int
    """FLOPs."""
    bytes_moved: int
    products: int = 0
    """FLOPs of its matrix products, a part of `operations`."""


@dataclass(frozen=True)
class Cost:
    """FLOPs and bytes together."""

    operations: int
    """FLOPs."""
    bytes_moved: int


def add_costs(
    costs: Iterable[LayerCost], *, layer: str | None = None, stage: str | None = None
) -> Cost:
    """The sum of all costs, or only those of one layer, one stage, or both.

    >>> costs = [LayerCost("output", "forward", 5, 8), LayerCost("output", "backward", 9, 2)]
    >>> add_costs(costs), add_costs(costs, stage="forward").operations
    (Cost(operations=14, bytes_moved=10), 5)
    """
    chosen = [w for w in costs if layer in (None, w.layer) and stage in (None, w.stage)]
    return Cost(sum(w.operations for w in chosen), sum(w.bytes_moved for w in chosen))


def find_product_type(settings: Settings) -> ProductType:
    """The type of the factors of a step's matrix products, with the precision resolved."""
    return "bfloat16" if settings.training.precision == "mixed_bfloat16" else "float32"


def count_step_costs(settings: Settings, vocab_size: int) -> tuple[LayerCost, ...]:
    """FLOPs and bytes of one training step: forward, backward, update, each by layer.

    Args:
        settings: with the precision resolved. vocab_size: V.

    >>> costs = count_step_costs(Settings(), 10_000)
    >>> round(add_costs(costs, stage="forward").operations / 1e9, 1)  # GFLOP of the reference model
    56.4
    """
    model, training = settings.model, settings.training
    B, T, p = training.batch_size, training.sequence_length, count_product_bytes(settings)
    V, E, H = vocab_size, model.embedding_dim, model.hidden_units
    is_projected = model.tie_embeddings and E != H
    costs = _count_embedding(model, V, B * T, p)
    for layer in range(1, model.num_layers + 1):
        if model.layer_norm and layer > 1:
            costs += _count_layer_norm(f"layer_norm_{layer}", B * T, H, p)
        penalty = _count_penalty(training, B, T, H) if layer == model.num_layers else 0
        costs += _count_lstm(model, layer, B, T, p, penalty)
    if model.layer_norm:
        costs += _count_layer_norm("layer_norm_output", B * T, H, p)
    if is_projected:
        costs += _count_projection(B * T, H, E, p)
    costs += _count_output(B * T, E if model.tie_embeddings else H, V, p)
    costs += _count_update(model, V, training)
    order = ("forward", "backward", "update")
    return tuple(sorted(costs, key=lambda cost: order.index(cost.stage)))


def count_token_operations(model: ModelSettings, vocab_size: int) -> int:
    """FLOPs of one generated token: all layers forward, and probabilities from its logits.

    Those take a shift, exp, sum and division each. Nothing is dropped out.

    >>> round(count_token_operations(ModelSettings(), 10_000) / 1e6, 1)  # MFLOP
    17.6
    """
    V, E, H = vocab_size, model.embedding_dim, model.hidden_units
    cells = _count_cell(E, H) + (model.num_layers - 1) * _count_cell(H, H)
    norms = model.num_layers * (7 * H + 4) * model.layer_norm
    sums = H * sum(is_residual(model, layer) for layer in range(1, model.num_layers + 1))
    width = E if model.tie_embeddings else H
    projection = 2 * H * E * (width != H)
    return cells + norms + sums + projection + 2 * width * V + V + 4 * V


def _count_cell(D: int, H: int) -> int:
    """The FLOPs of one LSTM step of one row, forward.

    x W + h U + b, 4 gates, f c + i g, o tanh(c').
    """
    return 2 * D * 4 * H + 2 * H * 4 * H + 2 * 4 * H + 4 * H + 3 * H + 2 * H


def _count_embedding(model: ModelSettings, V: int, N: int, p: int) -> list[LayerCost]:
    """Gather N rows; scatter N gradients, onto zeros or, tied, onto the output's gradient."""
    E = model.embedding_dim
    drops = N * E * (_is_dropped(model, model.input_dropout) + (model.embedding_dropout > 0))
    written = 2 * N * E * FLOAT_BYTES if model.tie_embeddings else V * E * FLOAT_BYTES
    tokens = N * TOKEN_BYTES
    return [
        LayerCost("embedding", "forward", drops, tokens + N * E * FLOAT_BYTES + N * E * p),
        LayerCost("embedding", "backward", N * E + drops, tokens + N * E * p + written),
    ]


def _count_lstm(
    model: ModelSettings, layer: int, B: int, T: int, p: int, penalty: int
) -> list[LayerCost]:
    """One LSTM layer over a window, with the dropout of its result and of its weights.

    A residual connection adds its input to its result, and on the way back its gradient to that of
    its input. `penalty` is what the backward pass has more to do for AR and TAR.
    """
    E, H = model.embedding_dim, model.hidden_units
    D, N = E if layer == 1 else H, B * T
    own_rate = model.layer_dropout if layer < model.num_layers else model.output_dropout
    drops = N * H * _is_dropped(model, own_rate) + 4 * H * H * (model.weight_drop > 0)
    added = N * H * is_residual(model, layer)
    # Per row: dh of two ways; dc' 6 with its tanh; dz_i 4, dz_f 4, dz_g 4, dz_o 4; dc_before 1.
    elementwise = 24 * H
    products = 2 * D * 4 * H + 2 * H * 4 * H  # twice as much backward: dx and dW, dh and dU
    backward = N * (elementwise + 2 * products + 4 * H) + drops + added + penalty  # 4 H: db
    kernels, bias = (D + H) * 4 * H * FLOAT_BYTES, 4 * H * FLOAT_BYTES
    state = B * H * FLOAT_BYTES
    kept = N * 4 * H * p + N * H * FLOAT_BYTES  # gates and cells
    inputs_and_outputs = N * (D + H) * p + added * p
    name, cell = f"lstm_{layer}", _count_cell(D, H)
    forward_bytes = kernels + bias + 4 * state + kept + inputs_and_outputs
    backward_bytes = 2 * kernels + bias + 2 * state + kept + 2 * inputs_and_outputs
    return [
        LayerCost(name, "forward", N * cell + drops + added, forward_bytes, N * products),
        LayerCost(name, "backward", backward, backward_bytes, 2 * N * products),
    ]


def _count_layer_norm(name: str, N: int, H: int, p: int) -> list[LayerCost]:
    """N rows of H numbers to mean 0 and variance 1, scaled and shifted; and back.

    Forward, for each number: mean 1, less it 1, its square and their mean 2, divided 1, gamma and
    beta 2. Backward: dz 1, its mean 1, the mean of z dz 2, both taken off 3, divided 1; dgamma 2,
    dbeta 1.
    """
    weights = 2 * H * FLOAT_BYTES
    forward, backward = N * (7 * H + 4), N * (11 * H + 2)
    return [
        LayerCost(name, "forward", forward, weights + N * 2 * H * p),
        LayerCost(name, "backward", backward, weights + weights // 2 + N * 3 * H * p),
    ]


def _count_penalty(training: TrainingSettings, B: int, T: int, H: int) -> int:
    """FLOPs of the gradients of AR and TAR; their values are not needed.

    AR: dy 1 and its sum with the gradient 1. TAR: the difference 1, its slope 1, to both tokens 2,
    and the sum 1.
    """
    ar = 2 * B * T * H * (training.activation_regularization > 0)
    tar = (4 * (T - 1) + T) * B * H * (training.temporal_activation_regularization > 0)
    return ar + tar


def _count_projection(N: int, H: int, E: int, p: int) -> list[LayerCost]:
    """y P, and on the way back dP and dy."""
    product, weights = 2 * N * H * E, H * E * FLOAT_BYTES
    backward_bytes = 2 * weights + N * (2 * H + E) * p
    return [
        LayerCost("projection", "forward", product, weights + N * (H + E) * p, product),
        LayerCost("projection", "backward", 2 * product, backward_bytes, 2 * product),
    ]


def _count_output(N: int, K: int, V: int, p: int) -> list[LayerCost]:
    """Logits y W + b of y (N, K), softmax and cross-entropy; on the way back dW, db and dy."""
    product, kernel, bias = 2 * N * K * V, K * V * FLOAT_BYTES, V * FLOAT_BYTES
    targets = N * TOKEN_BYTES
    # Of the logits: bias, shift, exp, sum. Of a row: log, less the target's, into the mean.
    loss = 4 * N * V + 3 * N
    # softmax = exp / sum, 1 off at the target, times 1 / n; and db.
    gradient = 3 * N * V + N
    forward_bytes = kernel + bias + targets + N * K * p + N * V * p + N * FLOAT_BYTES
    backward_bytes = 2 * kernel + bias + targets + 2 * N * K * p + N * V * p
    return [
        LayerCost("output", "forward", product + loss, forward_bytes, product),
        LayerCost("output", "backward", 2 * product + gradient, backward_bytes, 2 * product),
    ]


def _count_update(model: ModelSettings, V: int, training: TrainingSettings) -> list[LayerCost]:
    """Clipping and the optimizer, by the layer whose weights they change.

    Clipping: square, sum, scale. Adam: m 3, v 4, both corrections 2, theta 5; its bytes: theta, m
    and v read and written, g read. NAdam looks ahead with 3 more; weight decay pulls
    every matrix with 2 more. Descent: scale, subtract.
    """
    operations = {"adam": 14, "nadam": 17, "adamw": 14, "sgd": 2}
    arrays = {"adam": 7, "nadam": 7, "adamw": 7, "sgd": 3}
    optimizer, is_clipped = training.optimizer, training.gradient_clip_norm is not None
    costs: list[LayerCost] = []
    for name, shape in compute_parameter_shapes(model, V).items():
        each = operations[optimizer] + 3 * is_clipped
        decays = training.weight_decay > 0 and len(shape) == 2
        each += 2 * decays
        numbers, moved = prod(shape), (arrays[optimizer] + is_clipped) * FLOAT_BYTES
        costs.append(LayerCost(name.split(".")[0], "update", each * numbers, moved * numbers))
    layers = dict.fromkeys(cost.layer for cost in costs)
    sums = {layer: add_costs(costs, layer=layer) for layer in layers}
    return [LayerCost(layer, "update", *astuple(total)) for layer, total in sums.items()]


def _is_dropped(model: ModelSettings, own_rate: float | None) -> bool:
    return (model.dropout if own_rate is None else own_rate) > 0
