"""The memory that a training step takes, from the settings alone: an estimate, on the high side.

    weights        each with its gradient, its two means (Adam), and its cast copy
    LSTM layer     gates of the input, of the recurrence and their gradients; cell; outputs
    output layer   logits and their gradient in the type of the products, exponentials in float32

    program        what TensorFlow takes to compile and to run a step, whatever its size

On Linux, steps of the reference model at several sizes took 0.75 to 1.04 times as much, from before
they were built to their peak.
"""

from __future__ import annotations

from math import prod

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes

_FLOAT_BYTES = 4
_PROGRAM_BYTES = 170_000_000


def estimate_step_bytes(settings: Settings, vocab_size: int) -> int:
    """Bytes that the program, the weights and one step of `settings` take together.

    Args:
        vocab_size: V.

    >>> round(estimate_step_bytes(Settings(), 10_000) / 1e6)  # MB of the reference model
    1001
    """
    tokens = settings.training.batch_size * settings.training.sequence_length
    each = _count_token_bytes(settings.model, vocab_size, _find_product_bytes(settings))
    return _PROGRAM_BYTES + estimate_weight_bytes(settings, vocab_size) + tokens * each


def estimate_weight_bytes(settings: Settings, vocab_size: int) -> int:
    """The part of `estimate_step_bytes` that stays between steps, and the gradients."""
    shapes = compute_parameter_shapes(settings.model, vocab_size)
    each = 4 * _FLOAT_BYTES + _find_product_bytes(settings)
    return each * sum(prod(shape) for shape in shapes.values())


def _count_token_bytes(model: ModelSettings, vocab_size: int, p: int) -> int:
    """What is kept of each token of a window, p bytes a number of the products."""
    E, H = model.embedding_dim, model.hidden_units
    layer = 3 * 4 * H * p + _FLOAT_BYTES * H + 3 * H * p
    logits = vocab_size * (2 * p + _FLOAT_BYTES)
    return E * (_FLOAT_BYTES + 2 * p) + model.num_layers * layer + logits


def _find_product_bytes(settings: Settings) -> int:
    return 2 if settings.training.precision == "mixed_bfloat16" else _FLOAT_BYTES
