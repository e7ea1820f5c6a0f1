"""One training step, compiled: forward pass, loss, backward pass, clipping, update.

It runs under any `tf.distribute` strategy that keeps a copy of the weights on each device: every
replica takes its shard of the lanes, and the gradients are added before they are clipped.

The names of operations begin with their pass: forward, backward (TensorFlow names its gradients
gradient_tape) or update. They make a trace of TensorFlow's profiler readable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from llm_timecycle.model.activation_penalty import ActivationPenalty
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.training.optimizers import apply_scaled

TrainStep = Callable[..., tuple[Any, Any, Any]]
"""See `make_train_step`."""


class PassMarkers(Protocol):
    """Observes the ends of the passes of a step; see `profiling.measure.stages`."""

    def end_forward(self, losses: tf.Tensor) -> tf.Tensor:
        """Called with the losses (B, T); returns the losses to continue with."""

    def end_backward(self, gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Called with all gradients; returns the gradients to continue with."""


def make_train_step(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    clip_norm: float | None,
    shards: int = 1,
    marks: PassMarkers | None = None,
    *,
    has_documents: bool = False,
    penalty: ActivationPenalty | None = None,
) -> TrainStep:
    """A compiled (tokens (B, T), targets (B, T), states) -> (mean loss, gradient norm, new states).

    Arguments and results are values of the strategy, one per replica. Where documents begin in the
    text, a fourth argument is `keep` (B, T), float32: 0 where the state is reset before a token.

    Args:
        shards: shards of the lanes that compute in parallel on each device.
        clip_norm: maximum global norm of the gradients, or None; what is returned is not clipped.
        marks: observes the ends of the passes; None adds nothing to the graph.
        has_documents: whether the step takes `keep`.
        penalty: what is added to the gradient; the returned loss is without it.
    """
    replicas, variables = strategy.num_replicas_in_sync, network.trainable_variables
    loss_network = LossNetwork(network, penalty)

    def run_replica(
        tokens: tf.Tensor, targets: tf.Tensor, states: list[tf.Tensor], keep: tf.Tensor | None
    ) -> Any:
        with tf.name_scope("forward"), tf.GradientTape() as tape:
            drawn = loss_network.draw_step()
            results = [
                loss_network.compute_losses(x, y, before, training=True, keep=kept, drawn=drawn)
                for x, y, kept, *before in split_lanes([tokens, targets, keep, *states], shards)
            ]
            losses, *new_states = join_lanes([[loss, *after] for loss, after in results])
            if marks is not None:
                losses = marks.end_forward(losses)
            loss = tf.reduce_mean(losses)
            if replicas > 1:
                loss /= replicas
        with tf.name_scope("backward"):
            gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
            if marks is not None:
                gradients = list(marks.end_backward(gradients))
        with tf.name_scope("update"):
            if replicas > 1:
                context = tf.distribute.get_replica_context()
                gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                loss = context.all_reduce(tf.distribute.ReduceOp.SUM, loss)
            # Keras' optimizer adds the replicas' gradients again; they are equal by now.
            norm = update_weights(optimizer, gradients, variables, clip_norm, 1.0 / replicas)
        return loss, norm, new_states

    def run_all(tokens: Any, targets: Any, states: Any, keep: Any = None) -> Any:
        return strategy.run(run_replica, (tokens, targets, states, keep))

    step: Any
    if replicas > 1:
        step = tf.function(run_all, reduce_retracing=True, autograph=False)
    else:
        step = compile_step(run_all, network, has_documents=has_documents)
    train_step: TrainStep = step
    return train_step


def compile_step(step: TrainStep, network: keras.Model, *, has_documents: bool) -> TrainStep:
    """A step as one graph for windows of every length."""
    window = tf.TensorSpec((None, None), tf.int32)
    states = [tf.TensorSpec(state.shape, tf.float32) for state in network.inputs[1:]]
    keep = (tf.TensorSpec((None, None), tf.float32),) if has_documents else ()
    signature = (window, window, states, *keep)
    compiled = tf.function(step, input_signature=signature, autograph=False)
    compiled.get_concrete_function()  # traced now: its first call leaves Python free meanwhile
    train_step: TrainStep = compiled
    return train_step


def update_weights(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    clip_norm: float | None,
    scale: float = 1.0,
) -> tf.Tensor:
    """Update the variables with gradients, clipped together; returns their norm before that.

    Args:
        clip_norm: maximum global norm of the gradients, or None.
        scale: multiplies the gradients after their norm was taken.
    """
    norm = tf.linalg.global_norm(gradients)
    if clip_norm is not None:
        scale *= tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-30))
    apply_scaled(optimizer, gradients, variables, tf.convert_to_tensor(scale))
    return norm
