"""What this machine can do at most: matrix products, reading memory, copying memory.

Products run through TensorFlow, which is what a training step runs. Memory is read and copied by
NumPy with a thread for each core, over arrays several times larger than the last cache, so that
nothing comes from it twice; their size never exceeds a tenth of the memory that is free.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.system import (
    count_hardware_threads,
    read_free_bytes,
    read_largest_cache_bytes,
)

ProductType = Literal["float32", "bfloat16"]
Clock = Callable[[], float]

REPEATS = 7
_CACHES = 4  # how many times the last cache an array is
_UNKNOWN_CACHE_BYTES = 64 * 2**20
_MEMORY_SHARE = 0.1
_SHORTEST_RUN_S = 0.01  # a shorter run is repeated within one reading of the clock


@dataclass(frozen=True)
class Rate:
    """A rate a second, from several repeats."""

    median: float
    low: float
    """The quartile below."""
    high: float
    """The quartile above."""


@dataclass(frozen=True)
class ProductSize:
    """A product (M, K) x (K, N), of numbers of a type."""

    M: int
    K: int
    N: int
    type: ProductType = "float32"

    @property
    def operations(self) -> int:
        """A multiplication and an addition for each triple."""
        return 2 * self.M * self.K * self.N

    @property
    def bytes_moved(self) -> int:
        """Both factors read and the product written."""
        numbers = self.M * self.K + self.K * self.N + self.M * self.N
        return numbers * (4 if self.type == "float32" else 2)


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of a machine; bytes of a copy count both ways, read and written."""

    products: dict[ProductSize, Rate]
    """Operations a second of each size and type."""
    read_bytes_per_s: Rate
    copy_bytes_per_s: Rate
    threads: int
    """The threads that read and copied."""
    array_bytes: int
    """The size of the array that was read."""

    @property
    def peak_operations_per_s(self) -> float:
        """The fastest of the products."""
        return max(rate.median for rate in self.products.values())


def measure_ceilings(sizes: Sequence[ProductSize], now: Clock = time.perf_counter) -> Ceilings:
    """Measure all ceilings, in a second or two beside the products' own time.

    Args:
        sizes: the products to run, at least one. now: seconds on a clock that never goes back.

    Raises:
        UsageError: no sizes, or too little free memory.
    """
    if not sizes:
        raise UsageError("sizes: expected at least one product to measure, received none.")
    threads = count_hardware_threads()
    array_bytes = choose_array_bytes(read_largest_cache_bytes(), read_free_bytes())
    products = {size: measure_product_rate(size, now) for size in sizes}
    read, copy = measure_memory_rates(array_bytes, threads, now)
    return Ceilings(products, read, copy, threads, array_bytes)


def measure_product_rate(
    size: ProductSize, now: Clock = time.perf_counter, repeats: int = REPEATS
) -> Rate:
    """Operations a second of one matrix product in TensorFlow, on whatever device it chooses.

    Raises:
        UsageError: the factors do not fit in a tenth of the free memory.
    """
    free = read_free_bytes()
    if free is not None and size.bytes_moved > _MEMORY_SHARE * free:
        raise UsageError(
            f"a product of ({size.M}, {size.K}) x ({size.K}, {size.N}): expected at most a tenth "
            f"of the {free / 2**20:.0f} MiB that are free, it takes "
            f"{size.bytes_moved / 2**20:.0f} MiB. Choose a smaller size."
        )
    import tensorflow as tf

    random = np.random.default_rng(0)
    factors = [
        tf.cast(tf.constant(random.standard_normal(shape, np.float32)), size.type)
        for shape in ((size.M, size.K), (size.K, size.N))
    ]

    def multiply() -> None:
        # One number is fetched, so that a device that works on its own is waited for.
        tf.matmul(*factors)[0, 0].numpy()

    return measure_rate(multiply, size.operations, now, repeats)


def measure_memory_rates(
    array_bytes: int, threads: int, now: Clock = time.perf_counter, repeats: int = REPEATS
) -> tuple[Rate, Rate]:
    """Bytes a second of reading an array, and of copying half of it onto the other half."""
    words = np.ones(array_bytes // 8, np.int64)  # written now, so that its pages are there
    half = len(words) // 2
    parts = [
        slice(i * len(words) // threads, (i + 1) * len(words) // threads) for i in range(threads)
    ]
    halves = [slice(i * half // threads, (i + 1) * half // threads) for i in range(threads)]
    source, target = words[:half], words[half : 2 * half]
    with ThreadPoolExecutor(threads) as pool:

        def read(part: slice) -> Any:
            return np.bitwise_or.reduce(words[part])

        def copy(part: slice) -> Any:
            return np.copyto(target[part], source[part])

        read_rate = measure_rate(lambda: list(pool.map(read, parts)), words.nbytes, now, repeats)
        copy_rate = measure_rate(lambda: list(pool.map(copy, halves)), 16 * half, now, repeats)
    return read_rate, copy_rate


def measure_rate(run: Callable[[], Any], amount: float, now: Clock, repeats: int = REPEATS) -> Rate:
    """How much of `amount` a run does in a second; one run first, to warm up and to be sized up.

    >>> ticks = iter([0, 1, 1, 3, 3, 7, 7, 8])
    >>> measure_rate(lambda: None, 12, lambda: next(ticks), repeats=3)
    Rate(median=6.0, low=4.5, high=9.0)

    Raises:
        UsageError: the clock does not move.
    """
    start = now()
    run()
    first_s = now() - start
    runs = max(1, round(_SHORTEST_RUN_S / first_s)) if first_s > 0 else 1_000
    rates = []
    for _ in range(repeats):
        start = now()
        for _ in range(runs):
            run()
        wall_s = now() - start
        if wall_s <= 0:
            raise UsageError("now: expected a clock that moves, received the same time twice.")
        rates.append(runs * amount / wall_s)
    low, median, high = np.percentile(rates, [25, 50, 75]).tolist()
    return Rate(median, low, high)


def choose_array_bytes(cache_bytes: int | None, free_bytes: int | None) -> int:
    """The size of an array well beyond the last cache, within a tenth of the free memory.

    Args:
        cache_bytes: of the last cache; None where it is not known, which takes 64 MiB for it.
        free_bytes: of memory; None where it is not known, which sets no bound.

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
