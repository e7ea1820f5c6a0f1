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
from dataclasses import dataclass
from math import prod
from typing import Literal

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import UsageError

Stage = Literal["forward", "backward", "update", "sampling"]
ProductType = Literal["float32", "bfloat16"]

FLOAT_BYTES = 4
TOKEN_BYTES = 4
PRODUCT_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class LayerCost:
    """FLOPs and bytes of one layer in one stage."""

    layer: str
    """embedding, lstm_1 to lstm_L, projection (tied, where E differs from H), output."""
    stage: Stage
    operations: int
    """FLOPs."""
    bytes_moved: int


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


def count_step_costs(
    model: ModelSettings,
    vocab_size: int,
    *,
    batch_size: int,
    sequence_length: int,
    optimizer: Literal["adam", "nadam", "adamw", "sgd"] = "adam",
    is_clipped: bool = True,
    product_bytes: int = FLOAT_BYTES,
) -> tuple[LayerCost, ...]:
    """FLOPs and bytes of one training step: forward, backward, update, each by layer.

    Args:
        vocab_size: V. batch_size: B. sequence_length: T.
        is_clipped: whether gradients are clipped by their global norm before the update.
        product_bytes: of a number in the matrix products: 4 for float32, 2 for bfloat16.

    Raises:
        UsageError: a size below 1, or an unknown optimizer or product_bytes.

    >>> costs = count_step_costs(ModelSettings(), 10_000, batch_size=64, sequence_length=50)
    >>> round(add_costs(costs, stage="forward").operations / 1e9, 1)  # GFLOP of the reference model
    56.4
    """
    _check_sizes(vocab_size, batch_size, sequence_length, product_bytes)
    B, T, p = batch_size, sequence_length, product_bytes
    V, E, H = vocab_size, model.embedding_dim, model.hidden_units
    is_projected = model.tie_embeddings and E != H
    costs = _count_embedding(model, V, B * T, p)
    for layer in range(1, model.num_layers + 1):
        costs += _count_lstm(model, layer, B, T, p)
    if is_projected:
        costs += _count_projection(B * T, H, E, p)
    costs += _count_output(B * T, E if model.tie_embeddings else H, V, p)
    costs += _count_update(model, V, optimizer, is_clipped)
    order = ("forward", "backward", "update")
    return tuple(sorted(costs, key=lambda cost: order.index(cost.stage)))


def count_token_costs(
    model: ModelSettings, vocab_size: int, *, rows: int = 1, weight_bytes: int = FLOAT_BYTES
) -> tuple[LayerCost, ...]:
    """FLOPs and bytes of one generated token for each of `rows` texts side by side.

    The stage `forward` reads the token and gives the logits; `sampling` makes them probabilities
    (shift, exp, sum, divide). Nothing is kept for a backward pass, and nothing is dropped out.

    Args:
        vocab_size: V. rows: B. weight_bytes: of a weight in memory.

    Raises:
        UsageError: a size below 1, or unknown weight_bytes.

    >>> costs = count_token_costs(ModelSettings(), 10_000)
    >>> cost = add_costs(costs, stage="forward")
    >>> round(cost.operations / 1e6, 1), round(cost.bytes_moved / 1e6, 1)  # MFLOP, MB
    (17.6, 35.3)
    """
    _check_sizes(vocab_size, rows, 1, weight_bytes)
    B, V, E, H, w = rows, vocab_size, model.embedding_dim, model.hidden_units, weight_bytes
    row = B * FLOAT_BYTES  # one number of each row
    costs = [LayerCost("embedding", "forward", 0, B * (TOKEN_BYTES + E * w) + E * row)]
    for layer in range(1, model.num_layers + 1):
        D = E if layer == 1 else H
        weights = (D + H + 1) * 4 * H * w
        costs.append(
            LayerCost(
                f"lstm_{layer}", "forward", B * _count_cell(D, H), weights + (D + 5 * H) * row
            )
        )
    width = E if model.tie_embeddings else H
    if width != H:
        costs.append(LayerCost("projection", "forward", 2 * B * H * E, H * E * w + (H + E) * row))
    logits = LayerCost(
        "output", "forward", B * (2 * width * V + V), (width + 1) * V * w + (width + V) * row
    )
    return (*costs, logits, LayerCost("output", "sampling", 4 * B * V, 2 * V * row))


def _count_cell(D: int, H: int) -> int:
    """The FLOPs of one LSTM step of one row, forward.

    x W + h U + b, 4 gates, f c + i g, o tanh(c').
    """
    return 2 * D * 4 * H + 2 * H * 4 * H + 2 * 4 * H + 4 * H + 3 * H + 2 * H


def _count_embedding(model: ModelSettings, V: int, N: int, p: int) -> list[LayerCost]:
    """Gather N rows; scatter N gradients, onto zeros or, tied, onto the output's gradient."""
    E = model.embedding_dim
    drops = N * E * _is_dropped(model, model.input_dropout)
    written = 2 * N * E * FLOAT_BYTES if model.tie_embeddings else V * E * FLOAT_BYTES
    tokens = N * TOKEN_BYTES
    return [
        LayerCost("embedding", "forward", drops, tokens + N * E * FLOAT_BYTES + N * E * p),
        LayerCost("embedding", "backward", N * E + drops, tokens + N * E * p + written),
    ]


def _count_lstm(model: ModelSettings, layer: int, B: int, T: int, p: int) -> list[LayerCost]:
    """One LSTM layer over a window, with the dropout of its result and of its weights."""
    E, H = model.embedding_dim, model.hidden_units
    D, N = E if layer == 1 else H, B * T
    own_rate = model.layer_dropout if layer < model.num_layers else model.output_dropout
    drops = N * H * _is_dropped(model, own_rate) + 4 * H * H * (model.weight_drop > 0)
    # Per row: dh of two ways; dc' 6 with its tanh; dz_i 4, dz_f 4, dz_g 4, dz_o 4; dc_before 1.
    elementwise = 24 * H
    products = 2 * (2 * D * 4 * H + 2 * H * 4 * H)  # dx and dW, dh and dU
    kernels, bias = (D + H) * 4 * H * FLOAT_BYTES, 4 * H * FLOAT_BYTES
    state = B * H * FLOAT_BYTES
    kept = N * 4 * H * p + N * H * FLOAT_BYTES  # gates and cells
    inputs_and_outputs = N * (D + H) * p
    return [
        LayerCost(
            f"lstm_{layer}",
            "forward",
            N * _count_cell(D, H) + drops,
            kernels + bias + 4 * state + kept + inputs_and_outputs,
        ),
        LayerCost(
            f"lstm_{layer}",
            "backward",
            N * (elementwise + products + 4 * H) + drops,  # 4 H: db
            2 * kernels + bias + 2 * state + kept + 2 * inputs_and_outputs,
        ),
    ]


def _count_projection(N: int, H: int, E: int, p: int) -> list[LayerCost]:
    """y P, and on the way back dP and dy."""
    product, weights = 2 * N * H * E, H * E * FLOAT_BYTES
    return [
        LayerCost("projection", "forward", product, weights + N * (H + E) * p),
        LayerCost("projection", "backward", 2 * product, 2 * weights + N * (2 * H + E) * p),
    ]


def _count_output(N: int, K: int, V: int, p: int) -> list[LayerCost]:
    """Logits y W + b of y (N, K), softmax and cross-entropy; on the way back dW, db and dy."""
    product, kernel, bias = 2 * N * K * V, K * V * FLOAT_BYTES, V * FLOAT_BYTES
    targets = N * TOKEN_BYTES
    # Of the logits: bias, shift, exp, sum. Of a row: log, less the target's, into the mean.
    loss = 4 * N * V + 3 * N
    # softmax = exp / sum, 1 off at the target, times 1 / n; and db.
    gradient = 3 * N * V + N
    return [
        LayerCost(
            "output",
            "forward",
            product + loss,
            kernel + bias + targets + N * K * p + N * V * p + N * FLOAT_BYTES,
        ),
        LayerCost(
            "output",
            "backward",
            2 * product + gradient,
            2 * kernel + bias + targets + 2 * N * K * p + N * V * p,
        ),
    ]


def _count_update(
    model: ModelSettings, V: int, optimizer: str, is_clipped: bool
) -> list[LayerCost]:
    """Clipping and the optimizer, by the layer whose weights they change.

    Clipping: square, sum, scale. Adam: m 3, v 4, both corrections 2, theta 5; its bytes: theta, m
    and v read and written, g read. AdamW pulls every matrix with 2 more. Descent: scale, subtract.
    """
    operations = {"adam": 14, "nadam": 17, "adamw": 14, "sgd": 2}
    arrays = {"adam": 7, "nadam": 7, "adamw": 7, "sgd": 3}
    if optimizer not in operations:
        raise UsageError(
            f"optimizer: expected one of {', '.join(operations)}, received {optimizer}."
        )
    costs: dict[str, LayerCost] = {}
    for name, shape in compute_parameter_shapes(model, V).items():
        each = operations[optimizer] + 3 * is_clipped
        each += 2 * (optimizer == "adamw" and len(shape) == 2)
        numbers, layer = prod(shape), name.split(".")[0]
        before = costs.get(layer, LayerCost(layer, "update", 0, 0))
        costs[layer] = LayerCost(
            layer,
            "update",
            before.operations + each * numbers,
            before.bytes_moved + (arrays[optimizer] + is_clipped) * FLOAT_BYTES * numbers,
        )
    return list(costs.values())


def _is_dropped(model: ModelSettings, own_rate: float | None) -> bool:
    return (model.dropout if own_rate is None else own_rate) > 0


def _check_sizes(vocab_size: int, rows: int, steps: int, number_bytes: int) -> None:
    """Raise UsageError for sizes that no step has."""
    if min(vocab_size, rows, steps) < 1:
        raise UsageError(
            "vocab_size, rows and steps: expected at least 1, "
            f"received {vocab_size}, {rows} and {steps}."
        )
    if number_bytes not in (2, 4):
        raise UsageError(f"expected numbers of 2 or 4 bytes, received {number_bytes}.")
