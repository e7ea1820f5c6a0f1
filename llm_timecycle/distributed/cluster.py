"""The cluster: the processes that train one model together, from arguments or `TF_CONFIG`.

Every worker is given the same list of addresses and its own index in it. The first worker is the
chief: it alone writes the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_timecycle.arguments import write_received
from llm_timecycle.errors import UsageError
from llm_timecycle.parsing import parse_json

JOB_VARIABLE = "LLM_TIMECYCLE_JOB"
MOST_WORKERS = 1024
HELLO_S, STALL_S = 60.0, 60.0
SETTINGS_NEEDED = (
    "several workers need a file of settings: those for a text are chosen by measuring one machine"
)
"""Why a text alone cannot be trained on by several workers."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+(%\w+)?\]")
_JOB = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EXAMPLE = '{"cluster": {"worker": ["a:4000", "b:4000"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, as one of them sees it; made by `parse_cluster`."""

    addresses: tuple[str, ...]
    """host:port of every worker, by index."""
    index: int
    """Of this worker, from 0."""
    job: str
    """The id of the job. Workers of different jobs do not train together."""
    hello_s: float = HELLO_S
    """How long its workers wait for each other at the start."""
    stall_s: float = STALL_S
    """How long a worker waits without progress, at least, before it gives up."""

    @property
    def size(self) -> int:
        """How many workers train together (W)."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the run."""
        return self.index == 0


def parse_cluster(workers: str | Sequence[str], index: int, job: str = "") -> Cluster:
    """The cluster of arguments.

    Args:
        workers: host:port of every worker in the same order everywhere, as a list or with commas.
        index: of this worker in it, from 0.
        job: 1 to 64 letters, digits, ".", "_" and "-"; "" makes one from the addresses.

    Raises:
        UsageError: an address, the index or the id is wrong.

    >>> parse_cluster("10.0.0.1:4000,10.0.0.2:4000", 1, job="my").addresses[1]
    '10.0.0.2:4000'
    """
    listed = workers.split(",") if isinstance(workers, str) else workers
    addresses = tuple(address.strip() for address in listed)
    if len(addresses) > MOST_WORKERS:
        raise UsageError(f"workers: received {len(addresses):,}; expected {MOST_WORKERS:,} at most")
    for position, address in enumerate(addresses):
        _check_address(address)
        if address in addresses[:position]:
            raise UsageError(
                f"workers: received {address} twice; expected a different host:port for each worker"
            )
    if not 0 <= index < len(addresses):
        raise UsageError(
            f"worker_index: received {index}; expected a whole number from 0 to "
            f"{len(addresses) - 1}, one for each of the {len(addresses)} workers"
        )
    if job and not _JOB.fullmatch(job):
        raise UsageError(
            f"job: received {write_received(job)}; expected 1 to 64 letters, digits, '.', '_', '-'"
        )
    return Cluster(addresses, index, job or _name_job(addresses))


def find_cluster(
    workers: str | Sequence[str] | None, index: int | None, environ: Mapping[str, str]
) -> Cluster | None:
    """The cluster of arguments; without them, that of `TF_CONFIG`; None where there is neither.

    Args:
        workers, index: as of `parse_cluster`, both or neither.
        environ: the environment; `LLM_TIMECYCLE_JOB` in it is the id of the job.

    Raises:
        UsageError: one argument is given without the other, or something in them is wrong.
    """
    if workers is None and index is None:
        return read_tf_config(environ)
    if workers is None or index is None:
        given, missing = ("workers", "worker_index")[:: 1 if index is None else -1]
        raise UsageError(
            f"{given} needs {missing}: the addresses of all, and which of them this is"
        )
    return parse_cluster(workers, index, environ.get(JOB_VARIABLE, ""))


def read_tf_config(environ: Mapping[str, str]) -> Cluster | None:
    """The cluster that the variable `TF_CONFIG` describes; None where it is not set, or empty.

    A `chief` in it becomes the first worker. `LLM_TIMECYCLE_JOB` is the id of the job.

    Raises:
        UsageError: the variable is no JSON, or describes no workers, or not this one.

    >>> read_tf_config({"TF_CONFIG": _EXAMPLE}).addresses
    ('a:4000', 'b:4000')
    """
    text = environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        content = parse_json(text)
    except ValueError as error:
        raise _refuse(f"it is not JSON ({error})") from None
    cluster, task = (_read_object(content, name) for name in ("cluster", "task"))
    if not cluster and not task:
        return None  # one machine of a service that sets the variable everywhere
    chiefs, workers = (_read_addresses(cluster, kind) for kind in ("chief", "worker"))
    if others := sorted(cluster.keys() - {"chief", "worker", "evaluator"}):
        raise _refuse(f"its cluster has {', '.join(map(write_received, others))}")
    kind, index = task.get("type"), task.get("index")
    if kind not in ("chief", "worker") or not isinstance(index, int) or isinstance(index, bool):
        raise _refuse("its task is not a worker with an index")
    group = chiefs if kind == "chief" else workers
    if not 0 <= index < len(group):
        raise _refuse(f"its cluster has no {kind} {index}")
    position = index if kind == "chief" else len(chiefs) + index
    return parse_cluster(chiefs + workers, position, environ.get(JOB_VARIABLE, ""))


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    is_port = re.fullmatch("[0-9]{1,5}", port) is not None and 0 < int(port) < 65536
    if not is_port or not _HOST.fullmatch(host):
        raise UsageError(
            f"workers: received {write_received(address)}; expected host:port of every worker, "
            f"such as 10.0.0.1:4000,10.0.0.2:4000"
        )


def _name_job(addresses: Sequence[str]) -> str:
    return hashlib.sha256(",".join(addresses).encode()).hexdigest()[:12]


def _read_object(content: Any, name: str) -> dict[str, Any]:
    value = content.get(name, {}) if isinstance(content, dict) else None
    if not isinstance(value, dict):
        raise _refuse(f"its {name} is not an object" if value is not None else "it is no object")
    return value


def _read_addresses(cluster: Mapping[str, Any], kind: str) -> list[str]:
    found = cluster.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(address, str) for address in found):
        raise _refuse(f"its {kind} is not a list of addresses")
    return found


def _refuse(problem: str) -> UsageError:
    return UsageError(f"TF_CONFIG is wrong: {problem}; expected an object such as {_EXAMPLE}")
