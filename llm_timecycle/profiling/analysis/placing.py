"""The stages and layers of a training step under this machine's roof.

The peak is that of matrix products in the type in use, run as a step runs them: as many side by
side as the lanes have parts. The bandwidth is what reading or copying reached, whichever is more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.profiling.analysis.flops import LayerWork, Work, add_work, count_step_work
from llm_timecycle.profiling.analysis.roofline import place_under_roof
from llm_timecycle.profiling.measure.machine_limits import (
    ProductSize,
    ProductType,
    choose_array_bytes,
    measure_memory_rates,
    measure_rate,
)
from llm_timecycle.profiling.results import Roofline, RooflinePoint, TrainingCycle
from llm_timecycle.system import count_hardware_threads, read_free_bytes, read_largest_cache_bytes

Clock = Callable[[], float]

_ROWS_AT_MOST, _WIDTH_AT_MOST = 1024, 8192  # larger products are no faster, and take longer
_ANY_SIZE = (512, 512, 512)
_REPEATS = 5
_PASSES = ("forward", "backward")


def measure_machine_ceilings(
    settings: Settings, vocab_size: int, parts: int, now: Clock = time.perf_counter
) -> dict[str, float]:
    """Operations a second in `float32` and `bfloat16`; bytes a second of `read` and `copy`.

    Args:
        vocab_size: V. parts: parts of the lanes that compute side by side.

    Raises:
        UsageError: there is too little free memory to measure its rate.
    """
    array_bytes = choose_array_bytes(read_largest_cache_bytes(), read_free_bytes())
    in_use = find_product_type(settings)
    types: tuple[ProductType, ...] = ("float32", "bfloat16")
    ceilings: dict[str, float] = {}
    for type_ in types:
        sizes = choose_products(settings, vocab_size, parts, type_)
        # The type that is not in use may be slow here, and needs no more than a look.
        ceilings[type_] = max(
            _measure_products(size, parts, now)
            for size in (sizes if type_ == in_use else sizes[:1])
        )
    read, copy = measure_memory_rates(array_bytes, count_hardware_threads(), now, _REPEATS)
    return {**ceilings, "read": read.median, "copy": copy.median}


def choose_products(
    settings: Settings, vocab_size: int, parts: int, type_: ProductType
) -> tuple[ProductSize, ...]:
    """One that suits any machine, then the two that a part of a step spends most of its time on.

    These are the gates and the logits. Of a small model they are too small for what a machine can.

    >>> [(size.M, size.K, size.N) for size in choose_products(Settings(), 10_000, 2, "float32")]
    [(512, 512, 512), (1024, 512, 2048), (1024, 512, 8192)]
    """
    training, H = settings.training, settings.model.hidden_units
    rows = max(1, training.batch_size // parts) * training.sequence_length
    rows = min(rows, _ROWS_AT_MOST)
    return (
        ProductSize(*_ANY_SIZE, type_),
        ProductSize(rows, H, 4 * H, type_),
        ProductSize(rows, H, min(vocab_size, _WIDTH_AT_MOST), type_),
    )


def place_step(
    cycle: TrainingCycle, settings: Settings, vocab_size: int, ceilings: dict[str, float]
) -> tuple[RooflinePoint, ...]:
    """Forward, backward and update under the roof, then each layer's passes.

    Args:
        cycle: the measured times. vocab_size: V. ceilings: from `measure_machine_ceilings`.
    """
    training, type_ = settings.training, find_product_type(settings)
    works = count_step_work(
        settings.model,
        vocab_size,
        batch_size=cycle.batch_size,
        sequence_length=cycle.sequence_length,
        optimizer=training.optimizer,
        is_clipped=training.gradient_clip_norm is not None,
        product_bytes=2 if type_ == "bfloat16" else 4,
    )
    roof = Roofline(ceilings[type_], max(ceilings["read"], ceilings["copy"]))
    timed: list[tuple[str, Work, float]] = [
        (stage, add_work(works, stage=stage), cycle.stages[stage].median_s)  # type: ignore[arg-type]
        for stage in (*_PASSES, "update")
    ]
    for layer, passes in cycle.layers.items():
        for stage in _PASSES:
            timed.append((f"{layer} {stage}", _add(works, layer, stage), passes[stage].median_s))
    return tuple(
        place_under_roof(name, work.operations, work.bytes_moved, measured_s, roof)
        for name, work, measured_s in timed
        # A backward pass is a difference of two times, which noise can make nothing of.
        if measured_s > 0 and work.bytes_moved > 0
    )


def find_product_type(settings: Settings) -> ProductType:
    """The type of the factors of a step's products."""
    return "bfloat16" if settings.training.precision == "mixed_bfloat16" else "float32"


def _add(works: tuple[LayerWork, ...], layer: str, stage: str) -> Work:
    return add_work([w for w in works if w.layer == layer and w.stage == stage])


def _measure_products(size: ProductSize, parts: int, now: Clock) -> float:
    """Operations a second of a product, in every part at once."""
    import tensorflow as tf

    factors = [
        (tf.ones((size.M, size.K), size.type), tf.ones((size.K, size.N), size.type))
        for _ in range(parts)
    ]

    @tf.function  # type: ignore[untyped-decorator]
    def multiply(factors: Any) -> list[Any]:
        return [tf.matmul(x, w)[0, 0] for x, w in factors]

    def run() -> None:
        for value in multiply(factors):
            value.numpy()

    run()  # compiles
    return measure_rate(run, parts * size.operations, now, _REPEATS).median
