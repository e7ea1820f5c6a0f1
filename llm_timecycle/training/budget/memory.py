"""What a training step takes of the memory, from its settings alone, and whether it fits.

The estimate is on the high side:

    weights        each with its gradient, its moments (two, none for sgd), and its cast copy
    LSTM layer     gates of the input, of the recurrence, and their gradients; cell; outputs, also
                   normalized and added to the input where the settings say so, and their gradients
    output layer   logits and their gradient in the type of the products, exponentials in float32
    program        what TensorFlow takes to compile and run a step, whatever its size

On Linux, steps of the reference model at several sizes took 0.75 to 1.04 times the estimate,
measured from before they were built to their peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from llm_timecycle.config.settings import MOST_GROUPS, ModelSettings, Settings
from llm_timecycle.config.validation import find_contradictions
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.errors import NotEnoughMemoryError

FLOAT_BYTES = 4
LEAST_SHARE = 0.75
"""Of the estimate, which a step takes at least."""
_PROGRAM_BYTES = 170_000_000
_SIZES = ("training.batch_size", "training.sequence_length", "model.hidden_units")


def check_step_fits(
    settings: Settings,
    vocab_size: int,
    free_bytes: int | None,
    workers: int = 1,
    *,
    at_once: bool = False,
) -> None:
    """Refuse a step for which the free memory is certainly too small.

    Args:
        vocab_size: V.
        free_bytes: None where it is unknown: nothing is refused.
        workers: that share the lanes of a step.
        at_once: whether all lanes are computed at once, whatever `training.accumulate` says.

    Raises:
        NotEnoughMemoryError: it names a setting that would do: the lanes in more groups, or else a
            size halved until it fits.
    """
    free: float = math.inf if free_bytes is None else free_bytes
    if at_once:
        together = settings.training.model_copy(update={"accumulate": 1})
        settings = settings.model_copy(update={"training": together})
    if (least := find_least_bytes(settings, vocab_size, workers)) <= free:
        return
    model, training = settings.model, settings.training
    problem = (
        f"a training step takes {least / 1e9:.1f} GB or more (batch_size {training.batch_size} x "
        f"sequence_length {training.sequence_length}, num_layers {model.num_layers}, hidden_units "
        f"{model.hidden_units}, embedding_dim {model.embedding_dim}), and {free / 1e9:.1f} GB of "
        f"memory may be used"
    )
    for path, size in [*([] if at_once else _list_groups(settings)), *_list_smaller(settings)]:
        section, key = path.split(".")
        changed = getattr(settings, section).model_copy(update={key: size})
        smaller = settings.model_copy(update={section: changed})
        is_small = find_least_bytes(smaller, vocab_size, workers) <= free
        if is_small and not any(find_contradictions(smaller)):
            raise NotEnoughMemoryError(problem, f"{path}={size}")
    raise NotEnoughMemoryError(problem)


def _list_groups(settings: Settings) -> Iterator[tuple[str, int]]:
    """More groups of lanes, with which a step takes less memory and stays the same."""
    groups = settings.training.accumulate
    while (groups := 2 * groups) <= min(settings.training.batch_size, MOST_GROUPS):
        yield "training.accumulate", groups


def _list_smaller(settings: Settings) -> Iterator[tuple[str, int]]:
    """Sizes, one at a time, with which a step takes less memory."""
    for path in _SIZES:
        section, key = path.split(".")
        size: int = getattr(getattr(settings, section), key)
        while size := size // 2:
            yield path, size


def find_least_bytes(settings: Settings, vocab_size: int, workers: int = 1) -> float:
    """What a step takes at least; `auto` may turn out to be the precision that takes less."""
    training = settings.training
    if training.precision == "auto":
        training = training.model_copy(update={"precision": "mixed_bfloat16"})
        settings = settings.model_copy(update={"training": training})
    return LEAST_SHARE * estimate_step_bytes(settings, vocab_size, workers)


def estimate_step_bytes(settings: Settings, vocab_size: int, workers: int = 1) -> int:
    """Bytes that the program, the weights and one step of `settings` take together.

    Args:
        vocab_size: V. workers: that share the lanes of a step.

    >>> round(estimate_step_bytes(Settings(), 10_000) / 1e6)  # MB of the reference model
    1001
    """
    training = settings.training
    groups = workers * math.ceil(training.accumulate / workers)
    tokens = math.ceil(training.batch_size / groups) * training.sequence_length
    each = _count_token_bytes(settings.model, vocab_size, count_product_bytes(settings))
    return _PROGRAM_BYTES + estimate_weight_bytes(settings, vocab_size) + tokens * each


def estimate_weight_bytes(settings: Settings, vocab_size: int) -> int:
    """Bytes of the weights with their gradients and optimizer state, a part of the step's."""
    floats = 2 if settings.training.optimizer == "sgd" else 4
    each = floats * FLOAT_BYTES + count_product_bytes(settings)
    return each * count_parameters(settings.model, vocab_size)


def count_product_bytes(settings: Settings) -> int:
    """Bytes of a number in the matrix products: 4 for float32, 2 for bfloat16."""
    return 2 if settings.training.precision == "mixed_bfloat16" else FLOAT_BYTES


def _count_token_bytes(model: ModelSettings, vocab_size: int, p: int) -> int:
    """Bytes kept for each token of a window; p bytes per number of the products."""
    E, H = model.embedding_dim, model.hidden_units
    layer = 3 * 4 * H * p + FLOAT_BYTES * H + 3 * H * p
    layer += (model.layer_norm + model.residual) * 2 * H * p
    logits = vocab_size * (2 * p + FLOAT_BYTES)
    return E * (FLOAT_BYTES + 2 * p) + model.num_layers * layer + logits
