"""How the time of a training step, or of a generated text, grows along one axis.

    T  sequence_length   B  batch_size   E  embedding_dim   H  hidden_units   L  num_layers
    V  vocabulary        length  tokens of a generated text

A geometric range of sizes is timed round after round. It ends at the configured size where it can,
since smaller sizes cost less; batches go up to twice that, to find out what larger ones would save;
the number of layers goes up from 1, the length both ways, to `LONGEST_TEXT` tokens at most. What
does not fit in memory is refused before anything is built (`check_memory`).

The number of shards stays that of the configured size, so batches are no smaller than they allow.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import NotEnoughMemoryError
from llm_timecycle.profiling.analysis.estimators import FEWEST_REPEATS
from llm_timecycle.profiling.analysis.flops import (
    add_costs,
    count_step_costs,
    count_token_operations,
)
from llm_timecycle.profiling.analysis.power_law import explain_growth, fit_counts, fit_growth
from llm_timecycle.profiling.measure.interleave import Clock, Run, interleave
from llm_timecycle.profiling.measure.stages import TrialStep
from llm_timecycle.profiling.results import Growth
from llm_timecycle.training.budget.memory import estimate_step_bytes, estimate_weight_bytes
from llm_timecycle.training.devices import LANES_PER_SHARD, read_plan

WINDOW_AXES = ("T", "B")  # all sizes use the same weights
SIZES = 5
RANGE = 16  # the largest size over the smallest
LONGEST_TEXT = 2_000  # tokens; each length is written several times
MOST_ROUNDS = 15
MEMORY_SHARE = 0.8  # of the free memory

_KEYS = {
    "T": "training.sequence_length",
    "B": "training.batch_size",
    "E": "model.embedding_dim",
    "H": "model.hidden_units",
    "L": "model.num_layers",
    "V": "tokenizer.vocab_size",
    "length": "generation.length",
}


def measure_growth(
    settings: Settings,
    vocab_size: int,
    axis: str,
    *,
    budget_s: float = 6.0,
    now: Clock = time.perf_counter,
) -> Growth:
    """Time five sizes of `axis` and fit their growth.

    TensorFlow must be configured, and precision and threads resolved, as for
    `stages.measure_training`.

    Args:
        vocab_size: V. axis: one of `GROWTH_AXES`.
        budget_s: no round begins after this long, once there are enough.
    """
    sizes = choose_sizes(settings, vocab_size, axis)
    make = _make_texts if axis == "length" else _make_steps
    samples_s = interleave(
        make(settings, vocab_size, axis, sizes),
        MOST_ROUNDS,
        warm_up=2,  # the first compiles, the second fills caches and pools
        fewest=FEWEST_REPEATS,
        budget_s=budget_s,
        now=now,
    )
    counts = {float(n): count_operations(settings, vocab_size, axis, n) for n in sizes}
    fit, expected = fit_growth(samples_s), fit_counts(counts)
    explanation = explain_growth(fit, expected, axis)
    if axis == "length" and settings.generation.length > sizes[-1]:
        explanation += f"; texts of more than {sizes[-1]:,} tokens are not timed"
    return Growth(
        axis=axis,
        fit=fit,
        predicted_exponent=expected.exponent,
        explanation=explanation,
        samples_s=samples_s,
        counts=counts,
    )


def choose_sizes(settings: Settings, vocab_size: int, axis: str) -> tuple[int, ...]:
    """Five sizes of `axis`, ascending, about evenly spaced in their logarithms.

    >>> choose_sizes(Settings(), 10_000, "T"), choose_sizes(Settings(), 10_000, "L")
    ((3, 6, 12, 25, 50), (1, 2, 3, 4, 5))
    """
    size, least = _read_size(settings, vocab_size, axis), 1
    if axis == "length":
        least = max(min(size // 2, LONGEST_TEXT // RANGE), 2)
        size = min(8 * size, LONGEST_TEXT)
    elif axis == "V":
        least = min(8, size)
    elif axis == "B":
        least, size = min(read_plan(settings).shards * LANES_PER_SHARD, size), 2 * size
    low = max(round(size / RANGE), least)
    high = max(size, low + SIZES - 1, 2 * low)
    sizes: list[int] = []
    for size in np.geomspace(low, high, SIZES).round().astype(int).tolist():
        sizes.append(max(size, sizes[-1] + 1) if sizes else size)
    return tuple(sizes)


def check_memory(settings: Settings, vocab_size: int, free_bytes: int | None, axis: str) -> None:
    """Raise NotEnoughMemoryError where the sizes of `axis` do not fit in free memory.

    It names a setting that would: the configured size, halved until it fits.

    Args:
        free_bytes: None where it is unknown: nothing is refused.
    """
    allowed = np.inf if free_bytes is None else MEMORY_SHARE * free_bytes
    if (needed := estimate_growth_bytes(settings, vocab_size, axis)) <= allowed:
        return
    sizes = ", ".join(map(str, choose_sizes(settings, vocab_size, axis)))
    problem = (
        f"growth along {axis}: the sizes {sizes} take about {needed / 1e9:.1f} GB, and "
        f"{allowed / 1e9:.1f} GB of memory may be used"
    )
    size = _read_size(settings, vocab_size, axis)
    while size := size // 2:
        if estimate_growth_bytes(*_resize(settings, vocab_size, axis, size), axis) <= allowed:
            raise NotEnoughMemoryError(problem, f"{_KEYS[axis]}={size}")
    raise NotEnoughMemoryError(problem)


def estimate_growth_bytes(settings: Settings, vocab_size: int, axis: str) -> int:
    """Bytes that all sizes of `axis` take: the largest step, and the weights of the others."""
    if axis == "length":
        return 2 * estimate_weight_bytes(settings, vocab_size)
    resized = [
        _resize(settings, vocab_size, axis, n) for n in choose_sizes(settings, vocab_size, axis)
    ]
    largest = max(estimate_step_bytes(*each) for each in resized)
    others = [] if axis in WINDOW_AXES else resized[:-1]
    return largest + sum(estimate_weight_bytes(*each) for each in others)


def count_operations(settings: Settings, vocab_size: int, axis: str, size: int) -> float:
    """FLOPs of one timing at a size of `axis`."""
    if axis == "length":
        return size * count_token_operations(settings.model, vocab_size)
    return add_costs(count_step_costs(*_resize(settings, vocab_size, axis, size))).operations


def _make_steps(
    settings: Settings, vocab_size: int, axis: str, sizes: Sequence[int]
) -> dict[float, Run]:
    """A training step of each size; all of one network where only its windows differ."""
    shards = read_plan(settings).shards
    shared = TrialStep(settings, vocab_size, shards) if axis in WINDOW_AXES else None
    runs = {}
    for size in sizes:
        resized, V = _resize(settings, vocab_size, axis, size)
        step = shared or TrialStep(resized, V, shards)
        training = resized.training
        runs[float(size)] = step.prepare(training.batch_size, training.sequence_length)
    return runs


def _make_texts(
    settings: Settings, vocab_size: int, axis: str, sizes: Sequence[int]
) -> dict[float, Run]:
    """A generated text of each length, from one prompt token, with random weights."""
    from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
    from llm_timecycle.generation.sampling.pipeline import SamplingPlan, sample_tokens

    random = np.random.default_rng(0)
    engine = NumpyEngine(make_weights(settings.model, vocab_size), settings.model)
    neutral = {  # whatever looks at the text before
        **{"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
        **{"dry_multiplier": 0.0, "no_repeat_ngram": 0},
    }
    generation = settings.generation.model_copy(update=neutral)
    plan = SamplingPlan(generation)

    def write(length: int) -> None:
        engine.reset()
        logits = engine.prefill(np.array([[0]]))
        for left in range(length, 0, -1):
            ids = sample_tokens(logits, random.random(1), plan)
            if left > 1:
                logits = engine.step(ids)

    return {float(size): partial(write, size) for size in sizes}


def make_weights(model: ModelSettings, vocab_size: int) -> dict[str, np.ndarray]:
    """Random weights by name, for what takes the same time with trained ones."""
    random = np.random.default_rng(0)
    return {
        name: 0.05 * random.standard_normal(shape, np.float32)
        for name, shape in compute_parameter_shapes(model, vocab_size).items()
    }


def _read_size(settings: Settings, vocab_size: int, axis: str) -> int:
    """The configured size of an axis."""
    if axis == "V":
        return vocab_size
    section, key = _KEYS[axis].split(".")
    value: Any = getattr(getattr(settings, section), key)
    return int(value)


def _resize(settings: Settings, vocab_size: int, axis: str, size: int) -> tuple[Settings, int]:
    """Settings and V with another size of an axis."""
    if axis == "V":
        return settings, size
    section, key = _KEYS[axis].split(".")
    changed = getattr(settings, section).model_copy(update={key: size})
    return settings.model_copy(update={section: changed}), vocab_size
