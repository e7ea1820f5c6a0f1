"""How a model is trained on this machine: threads, shards, precision and devices."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.errors import ConfigError
from llm_timecycle.model.precision import pick_precision, race_products
from llm_timecycle.system import count_cores, read_free_bytes
from llm_timecycle.training.budget.memory import check_step_fits
from llm_timecycle.training.schedules import choose_learning_rate
from llm_timecycle.training.workers.workers import ALONE, Workers

log = logging.getLogger("llm_timecycle")

LANES_PER_SHARD = 4
TRACED_LAYERS_AT_MOST = 256
"""In all shards together. TensorFlow takes an eighth of a second and 7 MB to trace each: a thousand
threads with lanes enough for them would take minutes and 15 GB before the first step."""
RACE_ROWS = 256  # more rows give the same ratio: 0.28 to 0.30 from 128 to 2,048 rows of 512 units
RATE_SHAPE = (2048, 512, 2048)  # 64 lanes x 32 tokens, 512 units, their four gates


@dataclass(frozen=True)
class ComputePlan:
    """What this machine trains a model with; made by `resolve_machine`, and complete."""

    threads: int
    """CPU threads in all."""
    shards: int
    """Shards of the lanes that compute in parallel (`model.sharding`)."""
    threads_per_shard: int
    """Threads that split each operation of a shard."""
    precision: str
    """The Keras dtype policy: `float32` or `mixed_bfloat16`."""

    def fill_in(self, settings: Settings) -> Settings:
        """The settings with nothing left to the machine or the model's size, as a run stores them.

        A learning rate of null becomes a number; see `choose_learning_rate`.
        """
        rate = settings.training.learning_rate
        if rate is None:
            rate = choose_learning_rate(settings.training.optimizer, settings.model.hidden_units)
        changes = {"threads": self.threads, "precision": self.precision, "learning_rate": rate}
        training = settings.training.model_copy(update=changes)
        return settings.model_copy(update={"training": training})

    def count_shards(self, strategy: tf.distribute.Strategy) -> int:
        """Shards on each device; replicas are shards themselves, so theirs are not cut further."""
        return self.shards if strategy.num_replicas_in_sync == 1 else 1


def resolve_machine(
    settings: Settings, vocab_size: int, workers: Workers = ALONE, *, at_once: bool = False
) -> ComputePlan:
    """The plan for `settings` on this machine; TensorFlow is configured for it.

    A run stores its threads and its precision, so that it continues with the same arithmetic and
    the same dropout wherever it is resumed.

    Args:
        vocab_size: V. workers: those that share a step.
        at_once: whether `training.accumulate` is passed over.

    Raises:
        NotEnoughMemoryError: the machine has too little for a step, see `check_step_fits`.
    """
    check_memory(settings, vocab_size, workers, at_once=at_once)
    training = settings.training
    layers = settings.model.num_layers
    threads, lanes = training.threads or count_cores(), training.batch_size
    if training.precision != "auto":
        plan = make_plan(threads, lanes, training.precision, layers)
        configure_tensorflow(plan)
        return plan
    configure_tensorflow(make_plan(threads, lanes, "float32", layers))
    precision = choose_precision(training, settings.model, vocab_size)
    log.info("precision: %s, measured as the faster one on this machine", precision)
    return make_plan(threads, lanes, precision, layers)


def check_memory(
    settings: Settings, vocab_size: int, workers: Workers, *, at_once: bool = False
) -> None:
    """Refuse a step whose part for this worker does not fit; see `check_step_fits`."""
    if not tf.config.list_physical_devices("GPU"):
        free = read_free_bytes()
        check_step_fits(settings, vocab_size, free, workers.size, at_once=at_once)


def read_plan(settings: Settings) -> ComputePlan:
    """The plan for settings that `ComputePlan.fill_in` has completed, as those of a run are."""
    training = settings.training
    if training.threads is None or training.precision == "auto":
        raise ValueError("threads and precision are not settled: call resolve_machine first")
    layers = settings.model.num_layers
    return make_plan(training.threads, training.batch_size, training.precision, layers)


def make_plan(threads: int, lanes: int, precision: str, layers: int = 1) -> ComputePlan:
    """The plan that splits `lanes` lanes among `threads` threads in the way that measured best.

    One shard per thread if each gets `LANES_PER_SHARD` lanes or more: on two cores, that was 1.1 to
    1.9 times faster than splitting each operation, most so for small models. With a GPU the lanes
    stay together.
    """
    if tf.config.list_physical_devices("GPU"):
        return ComputePlan(threads, 1, threads, precision)
    shards = max(1, min(threads, lanes // LANES_PER_SHARD, TRACED_LAYERS_AT_MOST // layers))
    return ComputePlan(threads, shards, max(1, threads // shards), precision)


def configure_tensorflow(plan: ComputePlan) -> None:
    """Make every operation deterministic, and set the threads.

    One thread pool runs the shards, and one splits the operations of a shard; if the two had more
    threads than there are cores, they would compete. If TensorFlow is already in use, its threads
    stay as they are.

    On a CPU, graphs run as they were traced: Grappler spends 0.3 s on those of a small training,
    and then their steps compute the same numbers in the same time.
    """
    tf.config.experimental.enable_op_determinism()
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        tf.config.threading.set_inter_op_parallelism_threads(plan.shards)
        tf.config.threading.set_intra_op_parallelism_threads(plan.threads_per_shard)
    except RuntimeError:
        log.debug("TensorFlow is already running; its threads stay as they are")


def choose_strategy(batch_size: int) -> tf.distribute.Strategy:
    """MirroredStrategy for several GPUs (or logical CPUs), else the default strategy.

    Raises:
        ConfigError: the lanes cannot be distributed evenly.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    if batch_size % len(devices):
        raise ConfigError(
            f"training.batch_size: received {batch_size}; expected a multiple of the "
            f"{len(devices)} devices"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def choose_precision(
    training: TrainingSettings,
    model: ModelSettings,
    vocab_size: int,
    now: Callable[[], float] = time.perf_counter,
) -> str:
    """The precision in which this machine multiplies clearly faster.

    It times the two products that take most of a step, the inputs of an LSTM layer and the output
    layer, for a tenth of a second. The casts around bfloat16 products cost time too, so these must
    be clearly faster.

    Args:
        vocab_size: V.
        now: seconds on a clock that never goes back.
    """
    rows = min(training.batch_size * training.sequence_length, RACE_ROWS)
    widths = (4 * model.hidden_units, min(vocab_size, 8192))
    races = [race_products(rows, model.hidden_units, width, now) for width in widths]
    seconds = {dtype: sum(race[dtype] for race in races) for dtype in (tf.float32, tf.bfloat16)}
    return pick_precision(seconds)


def measure_products(
    training: TrainingSettings, now: Callable[[], float] = time.perf_counter
) -> tuple[str, float]:
    """The precision to train in and the rate of its products, for a model whose size is open.

    TensorFlow is configured for the threads and the lanes of `training`. The rate is that of all
    shards together, in FLOP/s, from the product `RATE_SHAPE` in one shard.

    Args:
        now: seconds on a clock that never goes back.
    """
    plan = make_plan(training.threads or count_cores(), training.batch_size, training.precision)
    configure_tensorflow(plan)
    rows, inner, width = RATE_SHAPE
    seconds = race_products(rows, inner, width, now)
    precision = plan.precision if plan.precision != "auto" else pick_precision(seconds)
    dtype = tf.float32 if precision == "float32" else tf.bfloat16
    return precision, plan.shards * 2 * rows * inner * width / seconds[dtype]
