"""The memory that a training step takes, estimated from the settings alone, on the high side.

    weights        each with its gradient, both of Adam's moments, and its cast copy
    LSTM layer     gates of the input, of the recurrence, and their gradients; cell; outputs
    output layer   logits and their gradient in the type of the products, exponentials in float32
    program        what TensorFlow takes to compile and run a step, whatever its size

On Linux, steps of the reference model at several sizes took 0.75 to 1.04 times the estimate,
measured from before they were built to their peak.
"""

from __future__ import annotations

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.profiling.analysis.flops import FLOAT_BYTES, PRODUCT_BYTES, find_product_type

_PROGRAM_BYTES = 170_000_000


def estimate_step_bytes(settings: Settings, vocab_size: int) -> int:
    """Bytes that the program, the weights and one step of `settings` take together.

    Args:
        vocab_size: V.

    >>> round(estimate_step_bytes(Settings(), 10_000) / 1e6)  # MB of the reference model
    1001
    """
    tokens = settings.training.batch_size * settings.training.sequence_length
    product_bytes = PRODUCT_BYTES[find_product_type(settings)]
    each = _count_token_bytes(settings.model, vocab_size, product_bytes)
    return _PROGRAM_BYTES + estimate_weight_bytes(settings, vocab_size) + tokens * each


def estimate_weight_bytes(settings: Settings, vocab_size: int) -> int:
    """Bytes of the weights with their gradients and optimizer state, a part of the step's."""
    each = 4 * FLOAT_BYTES + PRODUCT_BYTES[find_product_type(settings)]
    return each * count_parameters(settings.model, vocab_size)


def _count_token_bytes(model: ModelSettings, vocab_size: int, p: int) -> int:
    """Bytes kept for each token of a window; p bytes per number of the products."""
    E, H = model.embedding_dim, model.hidden_units
    layer = 3 * 4 * H * p + FLOAT_BYTES * H + 3 * H * p
    logits = vocab_size * (2 * p + FLOAT_BYTES)
    return E * (FLOAT_BYTES + 2 * p) + model.num_layers * layer + logits
