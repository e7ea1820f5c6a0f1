"""The output layer and the loss in one, with a hand-written gradient.

    l = h K + b,    loss = -log softmax(l)[target],    dl = softmax(l) - onehot(target)

The gradient of the logits is computed together with the loss, in the same passes over memory, and
kept in the type of the matrix products: nothing of size B x T x V stays in float32 under
`mixed_bfloat16`. The weight of a token is multiplied into the rows of h, which are V / H times
smaller than those of dl. `reference/losses.py` is the NumPy twin.

Shapes: N rows (tokens), H hidden units, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from llm_timecycle.model.activation_penalty import ActivationPenalty, add_gradient
from llm_timecycle.model.embedding import Embedding
from llm_timecycle.model.lane_masks import LaneLayout, apply_lane_mask, draw_lane_mask, list_dropout
from llm_timecycle.model.lstm import LSTM
from llm_timecycle.model.output import read_output

NOTHING_DRAWN: Mapping[str, tf.Tensor] = {}


class _Activations(NamedTuple):
    """What the layers before the output layer give for a window."""

    last: tf.Tensor
    """What the output layer reads (B, T, H); with a projection (B, T, E)."""
    unprojected: tf.Tensor
    """The same before the projection (B, T, H)."""
    last_lstm: tf.Tensor
    """What the last LSTM layer gives (B, T, H)."""
    states: list[tf.Tensor]
    """The states after the last token."""


class LossNetwork:
    """A network that ends in its loss: the same layers and weights, without logits as an output.

    Args:
        penalty: what training adds to the gradient of the losses; None adds nothing.

    Shapes: tokens and targets (B, T), states as in `model.network.build_network`; keep (B, T), as
    in `model.lstm.run_lstm`, is 0 where a document begins, and None where none does.
    """

    def __init__(self, network: keras.Model, penalty: ActivationPenalty | None = None) -> None:
        self._penalty = penalty
        self._output = network.get_layer("output")
        self._layers = [
            layer
            for layer in network.layers
            if layer is not self._output and not isinstance(layer, keras.layers.InputLayer)
        ]

    def draw_step(self) -> dict[str, tf.Tensor]:
        """What a training step drops in all its shards: words and recurrent weights, by layer."""
        drawn = {layer.name: layer.draw_step() for layer in self._list_with_draws()}
        return {name: value for name, value in drawn.items() if value is not None}

    def draw_masks(self) -> dict[str, tf.Tensor]:
        """The same as masks, by layer: `drop` makes of them, more than once, what a step takes."""
        drawn = {layer.name: layer.draw_mask() for layer in self._list_with_draws()}
        return {name: value for name, value in drawn.items() if value is not None}

    def drop(self, masks: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What `draw_step` would have given with the masks of `draw_masks`."""
        layers = [layer for layer in self._list_with_draws() if layer.name in masks]
        return {layer.name: layer.drop(masks[layer.name]) for layer in layers}

    def draw_lane_masks(self, layout: LaneLayout, width: tf.Tensor) -> dict[str, tf.Tensor]:
        """The masks of dropout for the layout's own lanes, by layer; see `draw_lane_mask`."""
        layers = list_dropout(self._layers)
        return {layer.name: draw_lane_mask(layer, layout, width) for layer in layers}

    def _list_with_draws(self) -> list[Embedding | LSTM]:
        return [layer for layer in self._layers if isinstance(layer, (Embedding, LSTM))]

    def compute_losses(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        states: Sequence[tf.Tensor],
        training: bool,
        keep: tf.Tensor | None = None,
        drawn: Mapping[str, tf.Tensor] = NOTHING_DRAWN,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The loss of every token in nats (B, T), and the states after the last.

        In training the gradient of the losses includes that of the penalty.

        Args:
            drawn: what `draw_step` gave, and `draw_lane_masks`; a layer that is left out draws
                anew.
        """
        found = self._run_layers(tokens, states, training, keep, drawn)
        flat = self._flatten(found.last)
        losses = compute_losses(flat, tf.reshape(targets, [-1]), *read_output(self._output))
        losses = tf.reshape(losses, tf.shape(targets))
        if training and self._penalty is not None:
            penalties = self._penalty.compute(found.unprojected, found.last_lstm, keep)
            losses = add_gradient(losses, penalties)
        return losses, found.states

    def score(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        states: Sequence[tf.Tensor],
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """As `compute_losses`, and 1 where the target is the most likely token, else 0 (B, T)."""
        found = self._run_layers(tokens, states, False, keep)
        flat = self._flatten(found.last)
        scores = score_tokens(flat, tf.reshape(targets, [-1]), *read_output(self._output))
        losses, is_right = (tf.reshape(score, tf.shape(targets)) for score in scores)
        return losses, is_right, found.states

    def advance(
        self, tokens: tf.Tensor, states: Sequence[tf.Tensor], keep: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """The states after the last token, as of `score`; no logits are computed."""
        return self._run_layers(tokens, states, False, keep).states

    def compute_hidden(
        self, tokens: tf.Tensor, states: Sequence[tf.Tensor], keep: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """What goes into the output layer (B, T, H), as of `score`, and the states after it."""
        found = self._run_layers(tokens, states, False, keep)
        return found.last, found.states

    def read_output(self) -> tuple[tf.Tensor, tf.Tensor, bool]:
        """Kernel and bias of the output layer, and whether it is tied: see `score_tokens`."""
        return read_output(self._output)

    def _flatten(self, hidden: tf.Tensor) -> tf.Tensor:
        """hidden (B, T, H) as rows, in the type of the output layer's products.

        Keras' call of the layer would cast it: dropout is computed in float32.
        """
        return tf.cast(tf.reshape(hidden, (-1, hidden.shape[-1])), self._output.compute_dtype)

    def _run_layers(
        self,
        tokens: tf.Tensor,
        states: Sequence[tf.Tensor],
        training: bool,
        keep: tf.Tensor | None,
        drawn: Mapping[str, tf.Tensor] = NOTHING_DRAWN,
    ) -> _Activations:
        x = unprojected = h = before = stream = tokens
        states_after: list[tf.Tensor] = []
        for layer in self._layers:
            if isinstance(layer, Embedding):
                x = stream = layer(x, training=training, drawn=drawn.get(layer.name))
            elif isinstance(layer, LSTM):
                state = states[len(states_after) : len(states_after) + 2]
                own = drawn.get(layer.name)
                h, *after = layer(x, initial_state=state, training=training, keep=keep, drawn=own)
                states_after += after
                before, stream, x = stream, h, h
            elif isinstance(layer, keras.layers.Add):  # residual, right after its LSTM layer
                x = stream = layer([before, h])
            elif layer.name in drawn:  # dropout
                x = apply_lane_mask(layer, x, drawn[layer.name])
            else:
                x = layer(x, training=training)
            if layer.name != "projection":
                unprojected = x
        return _Activations(x, unprojected, h, states_after)


def compute_losses(
    hidden: tf.Tensor, targets: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, is_tied: bool
) -> tf.Tensor:
    """The cross-entropy of every token in nats (N,), float32.

    The same numbers as `keras.losses.SparseCategoricalCrossentropy(from_logits=True,
    reduction="none")` over the logits h K + b. To mask a token, multiply its loss by 0: it then
    contributes to no gradient.

    Args:
        hidden: h (N, H), in the type of the matrix products.
        targets: (N,), int32, each in [0, V).
        kernel: K (H, V), or the embedding (V, H) if tied.
        bias: b (V,), float32.
        is_tied: whether the kernel is the embedding.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def compute(h: tf.Tensor, K: tf.Tensor, b: tf.Tensor) -> Any:
        logits = tf.matmul(h, K, transpose_b=is_tied)
        losses, d_logits = differentiate_logits(logits, b, targets)

        def compute_gradients(d_losses: tf.Tensor) -> Any:
            weights = d_losses[:, None]
            with tf.control_dependencies([weights]):  # the backward pass begins with its gradient
                dh = tf.matmul(d_logits, K, transpose_b=not is_tied)
            dh, weighted_transposed = _weigh_rows(dh, h, weights)
            if is_tied:
                dK = tf.matmul(d_logits, weighted_transposed, transpose_a=True, transpose_b=True)
            else:
                dK = tf.matmul(weighted_transposed, d_logits)
            db = tf.matmul(tf.cast(weights, h.dtype), d_logits, transpose_a=True)
            return dh, dK, tf.cast(db[0], tf.float32)

        return losses, compute_gradients

    return compute(hidden, tf.cast(kernel, hidden.dtype), bias)


def score_tokens(
    hidden: tf.Tensor, targets: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, is_tied: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """The losses of `compute_losses`, and 1 where the target is the most likely token, else 0 (N,).

    Among equally likely tokens, the one with the lowest id counts as the most likely.
    """
    logits = tf.matmul(hidden, tf.cast(kernel, hidden.dtype), transpose_b=is_tied)
    losses, is_right = _score_logits(logits, bias, targets)
    return losses, is_right


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def differentiate_logits(products: tf.Tensor, b: tf.Tensor, targets: tf.Tensor) -> Any:
    """From h K (N, V): the losses (N,), float32, and their gradient by the logits (N, V)."""
    logits = tf.cast(products, tf.float32) + b
    highest, exponentials, sums = _exponentiate(logits)
    losses = highest[:, 0] + tf.math.log(sums[:, 0]) - _read_targets(products, b, targets)
    is_target = tf.range(logits.shape[1])[None] == targets[:, None]
    d_logits = exponentials * (1.0 / sums) - tf.cast(is_target, tf.float32)
    return losses, tf.cast(d_logits, products.dtype)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _weigh_rows(dh: tf.Tensor, h: tf.Tensor, weights: tf.Tensor) -> Any:
    """dh (N, H) and, transposed, h (H, N), each row times its weight (N, 1).

    A product with a matrix that is already transposed is faster than one that transposes it
    itself: 87 ms against 106 for 1,600 rows, 512 units and 10,000 tokens in bfloat16 on one core.
    """
    dh, h = (tf.cast(tf.cast(rows, tf.float32) * weights, rows.dtype) for rows in (dh, h))
    return dh, tf.transpose(h)


@tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
def _score_logits(products: tf.Tensor, b: tf.Tensor, targets: tf.Tensor) -> Any:
    """From h K (N, V): the losses (N,), and whether each target is the top token (N,), float32."""
    logits = tf.cast(products, tf.float32) + b
    target = _read_targets(products, b, targets)
    highest, _, sums = _exponentiate(logits)
    is_earlier = tf.range(logits.shape[1])[None] < targets[:, None]
    is_likelier = (logits > target[:, None]) | ((logits == target[:, None]) & is_earlier)
    likelier = tf.reduce_sum(tf.cast(is_likelier, tf.float32), axis=1)
    losses = highest[:, 0] + tf.math.log(sums[:, 0]) - target
    return losses, tf.cast(likelier == 0.0, tf.float32)


def _exponentiate(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """max l (N, 1), exp(l - max l) (N, V), which cannot overflow, and its sums (N, 1)."""
    highest = tf.reduce_max(logits, axis=1, keepdims=True)
    exponentials = tf.exp(logits - highest)
    return highest, exponentials, tf.reduce_sum(exponentials, axis=1, keepdims=True)


def _read_targets(products: tf.Tensor, b: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The logit of each row's target (N,)."""
    return tf.cast(tf.gather(products, targets, batch_dims=1), tf.float32) + tf.gather(b, targets)
