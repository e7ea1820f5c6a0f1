"""TensorFlow as this program needs it: quiet, repeatable, and right for the machine."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.errors import ConfigError

log = logging.getLogger("llm_timecycle")

LANES_PER_SHARD = 4


@dataclass(frozen=True)
class Threads:
    """How the cores share the work of a step: `shards` of the lanes side by side."""

    shards: int
    """Parts that the lanes are cut into (`model.sharding`)."""
    threads_per_shard: int
    """Threads that share each operation of a shard."""


def choose_threads(threads: int, lanes: int) -> Threads:
    """The sharing of `threads` threads among `lanes` lanes that measured best.

    A shard for each thread where it gets `LANES_PER_SHARD` lanes or more: on two cores that was 1.1
    to 1.9 times faster than sharing each operation, more so the smaller the model. With a GPU the
    lanes stay together.
    """
    if tf.config.list_physical_devices("GPU"):
        return Threads(1, threads)
    shards = max(1, min(threads, lanes // LANES_PER_SHARD))
    return Threads(shards, max(1, threads // shards))


def configure_tensorflow(threads: Threads) -> None:
    """Make every operation repeatable, and set the threads.

    One pool runs the shards side by side and one shares an operation of a shard; with more threads
    than cores in the two together they would fight. Changes no threads where TensorFlow is in use
    already.
    """
    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_inter_op_parallelism_threads(threads.shards)
        tf.config.threading.set_intra_op_parallelism_threads(threads.threads_per_shard)
    except RuntimeError:
        log.debug("TensorFlow runs already; its threads stay as they are")


def choose_strategy(batch_size: int) -> tf.distribute.Strategy:
    """MirroredStrategy where there are several GPUs (or logical CPUs), else the default strategy.

    Raises ConfigError where the lanes cannot be shared out evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise ConfigError(
            f"training.batch_size should be a multiple of the {len(devices)} devices, "
            f"found {batch_size}"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def choose_precision(settings: TrainingSettings, model: ModelSettings, vocab_size: int) -> str:
    """The precision to train in; `auto` measures which one this machine multiplies faster in.

    It takes in turn the two products that a step spends most of its time on, the inputs of an LSTM
    layer and the output layer, about a second in all. The casts around bfloat16 products cost time
    too, so these must be clearly faster.
    """
    if settings.precision != "auto":
        return settings.precision
    rows = min(settings.batch_size * settings.sequence_length, 2048)
    widths = (4 * model.hidden_units, min(vocab_size, 8192))
    races = [_race_products(rows, model.hidden_units, width) for width in widths]
    seconds = {dtype: sum(race[dtype] for race in races) for dtype in (tf.float32, tf.bfloat16)}
    is_clear = seconds[tf.bfloat16] < 0.7 * seconds[tf.float32]
    return "mixed_bfloat16" if is_clear else "float32"


def _race_products(rows: int, inner: int, width: int) -> dict[tf.DType, float]:
    """Seconds of the fastest of several products (rows, inner) x (inner, width), by type."""
    factors = {
        dtype: (tf.ones((rows, inner), dtype), tf.ones((inner, width), dtype))
        for dtype in (tf.float32, tf.bfloat16)
    }
    times: dict[tf.DType, list[float]] = {dtype: [] for dtype in factors}
    end = time.perf_counter() + 0.5
    while min(len(taken) for taken in times.values()) < 3 or time.perf_counter() < end:
        for dtype, (x, w) in factors.items():
            start = time.perf_counter()
            tf.matmul(x, w).numpy()
            times[dtype].append(time.perf_counter() - start)
    return {dtype: min(taken) for dtype, taken in times.items()}
