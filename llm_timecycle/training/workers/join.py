"""How a process joins the workers of its cluster, before TensorFlow computes anything in it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from llm_timecycle.config.dump import write_value
from llm_timecycle.config.settings import Settings
from llm_timecycle.distributed.addresses import split_address
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.hello import exchange_hello
from llm_timecycle.distributed.watchdog import Watchdog
from llm_timecycle.errors import ConfigError, UsageError, WorkersError
from llm_timecycle.system import count_cores, read_processor, read_versions
from llm_timecycle.training.devices import configure_tensorflow, make_plan
from llm_timecycle.training.workers.collective import LOST, CollectiveWorkers
from llm_timecycle.training.workers.workers import ALONE, Workers

log = logging.getLogger("llm_timecycle")

CONNECTING_S = 60.0
"""How long TensorFlow's own connections may take at least, once all workers have said hello."""


@contextmanager
def join_workers(cluster: Cluster | None, settings: Settings, *, resume: bool) -> Iterator[Workers]:
    """Meet the workers of a cluster, and connect with them until the end of the context.

    Args:
        cluster: None, or of one worker: this process trains alone.
        settings: as they were loaded.
        resume: whether a run is resumed.

    Raises:
        ConfigError: the lanes cannot be divided evenly among the workers.
        UsageError: workers differ, or TensorFlow is already in use in this process.
        WorkersError: a worker did not come, or was lost, in the context too.
    """
    if cluster is None or cluster.size == 1:
        yield ALONE
        return
    lanes = settings.training.batch_size
    if lanes % cluster.size:
        raise ConfigError(
            f"training.batch_size: received {lanes}; expected a multiple of the {cluster.size} "
            f"workers"
        )
    _check_devices()
    exchange_hello(cluster, list_facts(settings, resume=resume))
    threads = count_own_threads(cluster, settings.training.threads)
    lanes_each = lanes // cluster.size
    configure_tensorflow(make_plan(threads, lanes_each, "float32", settings.model.num_layers))
    with Watchdog(cluster) as watchdog:
        with watchdog.allow("connecting to the other workers", CONNECTING_S, blocks_python=True):
            strategy = _connect(cluster)
        _take_back_sigterm()
        workers = CollectiveWorkers(cluster, strategy, watchdog, threads)
        role = ", the chief" if workers.is_chief else ""
        log.info("this is worker %d of %d%s", cluster.index, cluster.size, role)
        try:
            yield workers
        except LOST as error:
            raise workers.explain_lost(error) from error


def list_facts(settings: Settings, *, resume: bool) -> dict[str, str]:
    """What all workers must have in common: by the keys of `distributed.facts.FACTS`, and settings.

    Where the texts are, and how many threads a machine has, may differ.
    """
    versions = read_versions()
    version = versions.pop("llm_timecycle")
    named = {
        f"{section}.{key}": write_value(value)
        for section in ("tokenizer", "model", "training")
        for key, value in getattr(settings, section)
        if key != "threads"
    }
    return named | {
        "version": version,
        "libraries": " ".join(f"{name} {number}" for name, number in versions.items()),
        "resume": "resumed" if resume else "new",
        "processor": read_processor() + (" with a GPU" if _list_gpus() else ""),
    }


def count_own_threads(cluster: Cluster, threads: int | None) -> int:
    """CPU threads of this worker: `threads`, or fewer where workers share the cores of a machine.

    Workers are on one machine if their addresses have the same host.

    >>> count_own_threads(Cluster(("a:1", "b:1"), 0, "my"), threads=1)
    1
    """
    hosts = [split_address(address)[0] for address in cluster.addresses]
    share = max(count_cores() // hosts.count(hosts[cluster.index]), 1)
    return share if threads is None else min(threads, share)


def _list_gpus() -> list[tf.config.PhysicalDevice]:
    gpus: list[tf.config.PhysicalDevice] = tf.config.list_physical_devices("GPU")
    return gpus


def _take_back_sigterm() -> None:
    """Let SIGTERM do what it did before TensorFlow connected, which notes it and goes on."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


def _check_devices() -> None:
    if len(_list_gpus()) > 1:
        raise UsageError(
            "a worker trains on one GPU, and this process has several: start a worker for each, "
            "with the environment variable CUDA_VISIBLE_DEVICES=0, 1 and so on"
        )


def _connect(cluster: Cluster) -> tf.distribute.Strategy:
    """TensorFlow's strategy over the cluster; it waits until all workers are connected."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.AUTO if _list_gpus() else kinds.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    except RuntimeError as error:  # collective operations are set up before all others
        raise UsageError(
            "TensorFlow has already computed something in this process: start the workers in new "
            "processes, and let each train first"
        ) from error
    except LOST as error:
        raise WorkersError(
            f"worker {cluster.index} cannot connect with the others: {str(error).splitlines()[0]}"
        ) from error
