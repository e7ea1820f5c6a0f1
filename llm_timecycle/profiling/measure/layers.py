"""The forward and the backward pass of each layer by itself, at the sizes of a training step.

Inside a step the gradient of a weight may be formed at any time after its layer's turn, so no
moment of a step belongs to one layer. Here every layer runs alone, compiled, its lanes in the
shards that the step has, on inputs of the step's shapes: forward, and forward with backward, round
after round; the backward pass is the difference. The sum over the layers is close to the stages of
the step, but not equal: layers of one step share no cache, and overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.model.loss import compute_losses
from llm_timecycle.model.output import read_output
from llm_timecycle.profiling.measure.interleave import Clock, Run, interleave
from llm_timecycle.profiling.results import Durations
from llm_timecycle.text.batches import Lanes

ROUNDS = 7


def measure_layers(
    network: keras.Model, lanes: Lanes, shards: int, *, rounds: int = ROUNDS, now: Clock
) -> dict[str, dict[str, Durations]]:
    """Seconds of each layer's forward and backward pass, by layer name.

    Args:
        shards: shards of the lanes that compute at the same time.
    """
    tokens, targets, *_ = lanes.read_window(0)
    layers = [layer for layer in network.layers if layer.trainable_variables]
    runs: dict[tuple[str, str], Run] = {}
    for layer in layers:
        forward, both = _make_passes(layer, tokens, targets, shards)
        runs |= {(layer.name, "forward"): forward, (layer.name, "both"): both}
    samples_s = interleave(runs, rounds, warm_up=1, now=now)  # the first round compiles
    found = {}
    for layer in layers:
        forward_s, both_s = (samples_s[layer.name, name] for name in ("forward", "both"))
        typical_s = median(forward_s)
        found[layer.name] = {
            "forward": Durations(forward_s),
            "backward": Durations(tuple(max(s - typical_s, 0.0) for s in both_s)),
        }
    return found


def _make_passes(
    layer: keras.layers.Layer, tokens: np.ndarray, targets: np.ndarray, shards: int
) -> tuple[Run, Run]:
    """The forward pass of a layer, and forward with backward, compiled."""
    split = (np.array_split(array, shards) for array in (tokens, targets))
    inputs = [
        _make_call(layer, tf.constant(x), tf.constant(y)) for x, y in zip(*split, strict=True)
    ]
    sources = [x for _, x in inputs if x.dtype.is_floating]
    variables = [variable.value for variable in layer.trainable_variables]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run_forward() -> list[tf.Tensor]:
        return [_touch(call(x)) for call, x in inputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run_both() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = [call(x) for call, x in inputs]
        gradients = tape.gradient(outputs, [*variables, *sources])
        return [_touch(tf.convert_to_tensor(g)) for g in gradients if g is not None]

    return (
        lambda: [value.numpy() for value in run_forward()],
        lambda: [value.numpy() for value in run_both()],
    )


def _make_call(
    layer: keras.layers.Layer, tokens: tf.Tensor, targets: tf.Tensor
) -> tuple[Callable[[tf.Tensor], tf.Tensor], tf.Tensor]:
    """A layer as a function of one input, and such an input of the step's shape and type."""
    if isinstance(layer, keras.layers.Embedding):
        return (lambda x: layer(x)), tokens
    width = layer.input.shape[-1] if not isinstance(layer.input, list) else layer.input[0].shape[-1]
    x = tf.zeros((*tokens.shape, width), layer.compute_dtype)
    if layer.name == "output":
        flat_targets = tf.reshape(targets, [-1])
        return (
            lambda x: compute_losses(tf.reshape(x, (-1, width)), flat_targets, *read_output(layer))
        ), x
    if isinstance(layer, keras.layers.LSTM):
        return (lambda x: layer(x, training=True)[0]), x
    return (lambda x: layer(x)), x


def _touch(tensor: tf.Tensor) -> tf.Tensor:
    """One number of a tensor, which forces TensorFlow to compute all of it."""
    return tf.cast(tf.reshape(tensor, [-1])[0], tf.float32)
