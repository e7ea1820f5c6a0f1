"""TensorFlow as this program needs it: quiet, repeatable, and right for the machine."""

from __future__ import annotations

import logging
import time

import tensorflow as tf

from llm_timecycle.config.tree import ModelSettings, TrainingSettings
from llm_timecycle.errors import ConfigError

log = logging.getLogger("llm_timecycle")


def configure_tensorflow() -> None:
    """Make every operation repeatable, and let one operation at a time have all cores.

    On a CPU the operations of an LSTM are small and depend on each other: a second pool of threads
    that runs operations side by side only fights over the cores. Does nothing about the threads
    where TensorFlow is in use already.
    """
    tf.config.experimental.enable_op_determinism()
    if not tf.config.list_physical_devices("GPU"):
        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
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


def choose_precision(settings: TrainingSettings, model: ModelSettings) -> str:
    """The precision to train in; `auto` measures which one this machine multiplies faster in.

    The product is that of one recurrent step and of the output layer's size, half a second at most.
    """
    if settings.precision != "auto":
        return settings.precision
    rows, H = settings.batch_size * settings.sequence_length, model.hidden_units
    rates = {
        "float32": _measure_product_s(rows, H, tf.float32),
        "mixed_bfloat16": _measure_product_s(rows, H, tf.bfloat16),
    }
    # Half the time of a product is what makes up for the casts around it.
    faster = rates["mixed_bfloat16"] < 0.6 * rates["float32"]
    return "mixed_bfloat16" if faster else "float32"


def _measure_product_s(rows: int, H: int, dtype: tf.DType) -> float:
    """Seconds of the fastest of several products (rows, H) x (H, 4H)."""
    rows = max(min(rows, 4096), 64)
    x, w = tf.ones((rows, H), dtype), tf.ones((H, 4 * H), dtype)
    times: list[float] = []
    end = time.perf_counter() + 0.2
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 50):
        start = time.perf_counter()
        tf.matmul(x, w).numpy()
        times.append(time.perf_counter() - start)
    return min(times)
