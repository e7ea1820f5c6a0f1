"""Dynamic evaluation: a copy of the weights follows the text; `reference/dynamic_evaluation.py`.

A segment is scored with the weights of the moment, and only then do its gradients change them, so
no token is predicted by weights that have seen it. One lane reads the text from its start to its
end, as in the paper.

Shapes: T tokens of a segment, H what goes into the output layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.evaluation.adaptive.reading import Block, Text
from llm_timecycle.model.loss import LossNetwork, differentiate_logits
from llm_timecycle.model.network import list_parameters, make_zero_states
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.batches import Lanes

STATISTICS_LANES, STATISTICS_BATCHES = 100, 50
"""Segments of the training text that the sizes of gradients are measured on, side by side (as in
the paper) and one after another."""
EPSILON_SHARE = 0.5
"""epsilon, as a share of the mean size of the gradients."""


@dataclass(frozen=True)
class Adaptation:
    """How the weights follow a text; see `reference/dynamic_evaluation.py`."""

    rate: float
    """How far a gradient of the usual size moves a weight."""
    decay: float
    """How much of the way back to the trained weights is gone after each segment."""


class DynamicNetwork:
    """A network whose weights change while it reads; `reset` brings the trained ones back.

    Args:
        network: a float32 network with trained weights; it is changed, and belongs to this object.
    """

    def __init__(self, network: keras.Model) -> None:
        self._loss_network = LossNetwork(network)
        parameters = list_parameters(network)
        self._variables = [variable.value for variable in parameters.values()]
        *_, is_tied = self._loss_network.read_output()
        names = ("embedding.embeddings" if is_tied else "output.kernel", "output.bias")
        self._kernel, self._bias = (list(parameters).index(name) for name in names)
        self._trained = [tf.identity(variable) for variable in self._variables]
        self._sizes = [tf.zeros_like(variable) for variable in self._trained]
        self._mean_size = tf.constant(1.0)
        ids = tf.TensorSpec((None, None), tf.int32)
        keep = tf.TensorSpec((None, None), tf.float32)
        states = [tf.TensorSpec(state.shape, tf.float32) for state in network.inputs[1:]]
        sizes = [tf.TensorSpec(size.shape, tf.float32) for size in self._sizes]
        self._add_segment = tf.function(
            self._add_squares, input_signature=(ids, ids, keep, states, sizes), autograph=False
        )
        # One for each array, so that none is traced twice.
        self._adapt = [
            tf.function(_adapt, jit_compile=True, autograph=False) for _ in self._variables
        ]
        self._read = tf.function(self._read_segment, autograph=False)  # for each length of segment

    def measure_gradients(self, training: Lanes, settings: ModelSettings) -> int:
        """Measure the sizes of the gradients, RMS, on the beginning of each lane of a text.

        Args:
            training: the training text, in windows of a segment.
            settings: of the network.

        Returns:
            How many tokens were read.
        """
        self.reset()
        batches = min(STATISTICS_BATCHES, training.lane_length // training.window)
        squares = [tf.zeros_like(size) for size in self._sizes]
        states = make_zero_states(settings, training.lanes)
        for position in range(batches):
            tokens, targets, *keep = training.read_window(position)
            kept = keep[0] if keep else np.ones(tokens.shape, np.float32)
            squares, states = self._add_segment(tokens, targets, kept, states, squares)
        self._sizes = [tf.sqrt(total / batches) for total in squares]
        self._mean_size = tf.reduce_mean([tf.reduce_mean(size) for size in self._sizes])
        return training.count_predictions(batches)

    def reset(self) -> None:
        """Bring back the trained weights."""
        for variable, trained in zip(self._variables, self._trained, strict=True):
            variable.assign(trained)

    def read(
        self,
        settings: ModelSettings,
        text: Text,
        adaptation: Adaptation,
        *,
        segment: int,
        show_progress: bool = False,
    ) -> Iterator[Block]:
        """Score a text in one lane, the weights following it.

        The LSTM state is reset where documents begin, and the weights are not.

        Args:
            settings: of the network.
            text: the text.
            adaptation: how the weights follow it.
            segment: tokens between two changes of the weights.
            show_progress: whether to draw a progress bar.
        """
        self.reset()
        states = make_zero_states(settings, 1)
        numbers = (adaptation.rate, adaptation.decay, EPSILON_SHARE * float(self._mean_size))
        constants = [tf.constant(number, tf.float32) for number in numbers]
        with tqdm(
            total=text.predictions,
            unit="tok",
            unit_scale=True,
            disable=not show_progress,
            leave=False,
        ) as bar:
            for start in range(0, text.predictions, segment):
                positions = np.arange(start, min(start + segment, text.predictions))[None]
                tokens, targets, keep = text.read(positions)
                losses, hidden, states = self._read(
                    tokens, targets, keep, states, self._sizes, *constants
                )
                yield Block(
                    hidden.numpy(),
                    targets,
                    text.number_documents(positions),
                    losses.numpy(),
                    np.ones(positions.shape, np.bool_),
                )
                bar.update(positions.size)

    def _compute_gradients(
        self, tokens: tf.Tensor, targets: tf.Tensor, keep: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[list[_Gradient], tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """The gradients of the mean loss; losses (B, T), hidden (B, T, H) and the states."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            hidden, after = self._loss_network.compute_hidden(tokens, states, keep)
        h = tf.reshape(hidden, (targets.shape.num_elements() or -1, hidden.shape[-1]))
        kernel, bias, is_tied = self._loss_network.read_output()
        logits = tf.matmul(h, kernel, transpose_b=is_tied)
        losses, d_logits = differentiate_logits(logits, bias, tf.reshape(targets, [-1]))
        share = 1.0 / tf.cast(tf.size(targets), tf.float32)
        dh = share * tf.matmul(d_logits, kernel, transpose_b=not is_tied)
        below = tape.gradient(hidden, self._variables, tf.reshape(dh, tf.shape(hidden)))
        gradients = [_Gradient(gradient) for gradient in below]
        factors = (d_logits, share * h) if is_tied else (share * h, d_logits)
        gradients[self._kernel] = gradients[self._kernel]._replace(factors=factors)
        gradients[self._bias] = _Gradient(share * tf.reduce_sum(d_logits, axis=0))
        return gradients, tf.reshape(losses, tf.shape(targets)), hidden, after

    def _add_squares(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        keep: tf.Tensor,
        states: list[tf.Tensor],
        squares: list[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Squares of gradients with those of a window added, and the states after it."""
        gradients, _, _, after = self._compute_gradients(tokens, targets, keep, states)
        pairs = zip(squares, (gradient.add_up() for gradient in gradients), strict=True)
        return [square + gradient * gradient for square, gradient in pairs], after

    def _read_segment(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        keep: tf.Tensor,
        states: list[tf.Tensor],
        sizes: list[tf.Tensor],
        rate: tf.Tensor,
        decay: tf.Tensor,
        epsilon: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Score a segment, then let the weights follow it."""
        gradients, losses, hidden, after = self._compute_gradients(tokens, targets, keep, states)
        scale = decay * EPSILON_SHARE / epsilon  # decay / mean RMS
        for adapt, variable, trained, size, gradient in zip(
            self._adapt, self._variables, self._trained, sizes, gradients, strict=True
        ):
            variable.assign(adapt(variable, trained, size, gradient, rate, scale, epsilon))
        return losses, hidden, after


class _Gradient(NamedTuple):
    """The gradient of an array of weights, the sum of what is given.

    An output layer of many words is most of a model, and its gradient is a product of two narrow
    matrices, to which a tied one adds the rows of a few words. They are first put together where
    the weights change, so that no array of that size is written for them.
    """

    below: tf.Tensor | tf.IndexedSlices | None
    """What comes through the layers below the output layer."""
    factors: tuple[tf.Tensor, tf.Tensor] | None = None
    """L (N, a) and R (N, b) of the gradient L^T R."""

    def add_up(self) -> tf.Tensor:
        """The whole array."""
        parts = [] if self.below is None else [tf.convert_to_tensor(self.below)]
        if self.factors is not None:
            parts.append(tf.matmul(*self.factors, transpose_a=True))
        return tf.add_n(parts)


def _adapt(
    theta: tf.Tensor,
    trained: tf.Tensor,
    size: tf.Tensor,
    gradient: _Gradient,
    rate: tf.Tensor,
    decay_per_size: tf.Tensor,
    epsilon: tf.Tensor,
) -> tf.Tensor:
    """One array of weights after a segment, in one pass over memory."""
    below, factors = gradient
    dense = 0.0
    if factors is not None:  # XLA makes no pass over memory for this sum, as for a product
        left, right = factors
        dense = sum(left[n][:, None] * right[n] for n in range(left.shape[0]))
    if isinstance(below, tf.Tensor):
        dense += below
    back = tf.minimum(decay_per_size * size, 1.0) * (trained - theta)
    after = theta - rate * dense / (size + epsilon) + back
    if isinstance(below, tf.IndexedSlices):
        moves = rate * below.values / (tf.gather(size, below.indices) + epsilon)
        after = tf.tensor_scatter_nd_sub(after, below.indices[:, None], moves)
    return after
