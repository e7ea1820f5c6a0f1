"""What this machine can do at most: matrix products, reading memory, copying memory.

Products run through TensorFlow, as a training step runs them: one in every shard at once. NumPy
reads and copies memory with a thread for each core, over arrays several times larger than the last
cache, so that nothing comes from it twice; they take at most a tenth of the free memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, get_args

import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.flops import ProductType, find_product_type
from llm_timecycle.profiling.measure.interleave import Clock, interleave
from llm_timecycle.system import (
    count_hardware_threads,
    read_free_bytes,
    read_largest_cache_bytes,
)

REPEATS = 5
_ANY_SIZE = (512, 512, 512)
_MOST_ROWS, _MOST_COLUMNS = 1024, 8192  # larger products are no faster, and take longer
_CACHES = 4  # an array is this many times the last cache
_UNKNOWN_CACHE_BYTES = 64 * 2**20
_MEMORY_SHARE = 0.1
_SHORTEST_RUN_S = 0.01  # a shorter run is repeated within one reading of the clock


def measure_machine_limits(
    settings: Settings, vocab_size: int, shards: int, now: Clock = time.perf_counter
) -> dict[str, float]:
    """FLOPs a second in `float32` and `bfloat16`; bytes a second of `read` and `copy`.

    Args:
        settings: with the precision resolved. vocab_size: V.
        shards: shards of the lanes that compute at the same time.

    Raises:
        UsageError: there is too little free memory to measure its rate, or steps run on a GPU.
    """
    from llm_timecycle.model.cudnn import has_gpu

    if has_gpu():
        raise UsageError("the limits of a processor are measured, and steps run on a GPU here")
    array_bytes = choose_array_bytes(read_largest_cache_bytes(), read_free_bytes())
    sizes = choose_products(settings, vocab_size, shards)
    limits: dict[str, float] = {}
    for type_ in get_args(ProductType):
        # The type that is not in use may be slow here; one size of it is enough.
        tried = sizes if type_ == find_product_type(settings) else sizes[:1]
        limits[type_] = max(_measure_products(size, type_, shards, now) for size in tried)
    read, copy = measure_memory_rates(array_bytes, count_hardware_threads(), now)
    return {**limits, "read": read, "copy": copy}


def choose_products(
    settings: Settings, vocab_size: int, shards: int
) -> tuple[tuple[int, int, int], ...]:
    """Sizes (M, K, N) of (M, K) x (K, N): one that suits any machine, then gates and logits.

    Those two take most of a step, but those of a small model are too small to reach the peak.

    >>> choose_products(Settings(), 10_000, 2)
    ((512, 512, 512), (1024, 512, 2048), (1024, 512, 8192))
    """
    training, H = settings.training, settings.model.hidden_units
    rows = max(1, training.batch_size // shards) * training.sequence_length
    rows = min(rows, _MOST_ROWS)
    return _ANY_SIZE, (rows, H, 4 * H), (rows, H, min(vocab_size, _MOST_COLUMNS))


def _measure_products(size: tuple[int, int, int], type_: str, shards: int, now: Clock) -> float:
    """FLOPs a second of a product that runs in every shard at once."""
    import tensorflow as tf

    M, K, N = size
    factors = [(tf.ones((M, K), type_), tf.ones((K, N), type_)) for _ in range(shards)]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def multiply(factors: Any) -> list[Any]:
        return [tf.matmul(x, w)[0, 0] for x, w in factors]

    def run() -> None:
        for value in multiply(factors):
            value.numpy()

    run()  # compiles
    return measure_rate(run, shards * 2 * M * K * N, now)


def measure_memory_rates(
    array_bytes: int, threads: int, now: Clock = time.perf_counter
) -> tuple[float, float]:
    """Bytes a second of reading an array, and of copying half of it onto the other half."""
    words = np.ones(array_bytes // 8, np.int64)  # written now, so that its pages are there
    parts = np.array_split(words, threads)
    half = len(words) // 2
    sources, targets = (np.array_split(x, threads) for x in (words[:half], words[half : 2 * half]))
    with ThreadPoolExecutor(threads) as pool:

        def read() -> Any:
            return list(pool.map(np.bitwise_or.reduce, parts))

        def copy() -> Any:
            return list(pool.map(np.copyto, targets, sources))

        read_rate = measure_rate(read, words.nbytes, now)
        copy_rate = measure_rate(copy, 16 * half, now)
    return read_rate, copy_rate


def measure_rate(
    run: Callable[[], Any], amount: float, now: Clock, repeats: int = REPEATS
) -> float:
    """How much of `amount` a run does in a second: the median of several timings.

    One run before them warms up, and says how often a short run is repeated in each timing.

    >>> ticks = iter([0, 1, 1, 3, 3, 7, 7, 8])
    >>> measure_rate(lambda: None, 12, lambda: next(ticks), repeats=3)
    6.0
    """
    (first_s,) = interleave({"first": run}, 1, now=now)["first"]
    runs = max(1, round(_SHORTEST_RUN_S / first_s)) if first_s > 0 else 1_000

    def run_several() -> None:
        for _ in range(runs):
            run()

    samples_s = interleave({"several": run_several}, repeats, now=now)["several"]
    return median(runs * amount / seconds for seconds in samples_s)


def choose_array_bytes(cache_bytes: int | None, free_bytes: int | None) -> int:
    """The size of an array that exceeds the last cache, within a tenth of the free memory.

    Args:
        cache_bytes: of the last cache; None where it is unknown: 64 MiB is assumed.
        free_bytes: of memory; None where it is unknown: no bound.

    Raises:
        UsageError: a tenth of the free memory is less than two such caches.

    >>> choose_array_bytes(32 * 2**20, 10 * 2**30) // 2**20
    128
    """
    cache = cache_bytes or _UNKNOWN_CACHE_BYTES
    wanted = _CACHES * cache
    if free_bytes is None:
        return wanted
    allowed = int(_MEMORY_SHARE * free_bytes)
    if allowed < 2 * cache:
        raise UsageError(
            f"memory: expected {2 * cache * 10 / 2**20:.0f} MiB free, to measure beyond a cache of "
            f"{cache / 2**20:.0f} MiB with a tenth of it; found {free_bytes / 2**20:.0f} MiB. "
            "Close other programs."
        )
    return min(wanted, allowed) // 16 * 16
