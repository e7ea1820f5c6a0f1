"""The hello: before TensorFlow connects them, the workers of a job compare what they would train.

TensorFlow waits for a missing worker without saying for whom, and lets workers with different texts
train together. So every worker first connects to the chief, on the address where TensorFlow will
listen afterwards, and sends one line of JSON: its job, its index, its facts. When all have come or
the time is up, the chief answers everybody with the same line: its plan, or what is wrong.

There is no proof of who sends what: see SECURITY.md.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from llm_timecycle.distributed.addresses import (
    find_exposed,
    find_exposed_ips,
    listen,
    split_address,
)
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.facts import name_workers
from llm_timecycle.distributed.messages import (
    CHARACTERS_AT_MOST,
    HELLO_BYTES_AT_MOST,
    Greeting,
    Plan,
    read_answer,
    write_line,
)
from llm_timecycle.distributed.reception import Reception
from llm_timecycle.errors import UsageError, WorkersError

log = logging.getLogger("llm_timecycle")

_PAUSE_S = 0.2  # between attempts
_ANSWER_S = 10.0  # beyond the chief's own limit


def exchange_hello(
    cluster: Cluster,
    facts: Mapping[str, str],
    *,
    plan: Plan | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Plan:
    """Meet the other workers, and compare facts with them; returns the chief's plan.

    Args:
        facts: what all workers must have in common, by the keys of `FACTS`.
        plan: what the chief has decided for all; others leave it out.
        now: seconds on a clock that never goes back.

    Raises:
        WorkersError: a worker did not come, or left.
        UsageError: workers differ, two have one index, or an address is wrong.
    """
    facts = {key: value[:CHARACTERS_AT_MOST] for key, value in facts.items()}
    warn_of_exposed(cluster)
    if cluster.is_chief:
        return _receive(cluster, facts, plan or {}, now)
    with suppress(socket.gaierror), closing(listen(cluster.addresses[cluster.index])):
        pass  # TensorFlow will listen here: what is in its way is told better now
    return _visit(cluster, facts, now)


def warn_of_exposed(cluster: Cluster) -> None:
    """Log a warning where machines anywhere can reach a worker."""
    if exposed := _name_exposed(cluster):
        log.warning(
            "%s can be reached from the internet: workers trust whoever connects to them, and send "
            "weights and texts unencrypted. Use a private network, or a firewall that lets only "
            "the workers in",
            exposed,
        )


def _name_exposed(cluster: Cluster) -> str:
    """Workers with such an address; else this one, where its machine has one; "" for none.

    TensorFlow listens on all addresses of a machine, whatever address it is given.
    """
    addresses = cluster.addresses
    if cluster.is_chief and (exposed := find_exposed(addresses)):
        return name_workers([addresses.index(each) for each in exposed], addresses)
    hosts = [split_address(address)[0] for address in addresses]
    is_first_here = hosts.index(hosts[cluster.index]) == cluster.index  # one tells for a machine
    if is_first_here and (ips := find_exposed_ips()):
        return f"{name_workers([cluster.index])}, at {' and '.join(ips)},"
    return ""


def _receive(
    cluster: Cluster, facts: Mapping[str, str], plan: Plan, now: Callable[[], float]
) -> Plan:
    """The chief's side."""
    timeout_s = cluster.hello_s
    listener = _listen_until(cluster.addresses[0], now() + timeout_s, now)
    with closing(Reception(cluster, facts, listener)) as reception:
        reception.wait(now() + timeout_s, now)
        answer = reception.judge(timeout_s, plan)
        reception.answer(answer)
    return answer.accept()


def _listen_until(address: str, until_s: float, now: Callable[[], float]) -> socket.socket:
    """As `listen`; a name that is not known yet, as that of a new container, is asked for again."""
    while True:
        try:
            return listen(address)
        except socket.gaierror as error:
            if now() >= until_s:
                raise _refuse_name(address, error) from None
            time.sleep(_PAUSE_S)


def _refuse_name(address: str, error: socket.gaierror) -> UsageError:
    return UsageError(f"{split_address(address)[0]} is the name of no machine: {error.strerror}")


def _visit(cluster: Cluster, facts: Mapping[str, str], now: Callable[[], float]) -> Plan:
    """The side of every other worker."""
    timeout_s = cluster.hello_s
    began_s, problem = now(), "nobody answers"
    greeting = write_line(Greeting(cluster.job, cluster.size, cluster.index, facts))
    place = split_address(cluster.addresses[0])
    while (left_s := began_s + timeout_s - now()) > 0:
        try:
            with _connect(place, max(left_s, _PAUSE_S)) as connection:
                connection.sendall(greeting)
                line = _read_line(connection, now() + timeout_s + _ANSWER_S, now)
            return read_answer(line).accept()
        except socket.gaierror as error:
            problem = f"its name is not known ({error.strerror})"
        except TimeoutError:
            problem = "nobody answers"
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
        except ValueError:
            problem = "another program answers there"
        time.sleep(_PAUSE_S)
    raise WorkersError(
        f"{name_workers([0], cluster.addresses)} could not be reached within {timeout_s:g} s: "
        f"{problem}. Start it, and let this machine reach its address"
    )


def _connect(place: tuple[str, int], timeout_s: float) -> socket.socket:
    try:
        return socket.create_connection(place, timeout=timeout_s)
    except UnicodeError:
        raise UsageError(f"{place[0]} is no name that a machine can have") from None


def _read_line(connection: socket.socket, until_s: float, now: Callable[[], float]) -> bytes:
    """The one line of an answer; OSError where the chief leaves or does not answer in time."""
    heard = b""
    while not heard.endswith(b"\n"):
        connection.settimeout(max(until_s - now(), _PAUSE_S))
        received = connection.recv(HELLO_BYTES_AT_MOST)
        heard += received
        if not received:
            raise ConnectionError("it ended before it answered")
        if now() > until_s:
            raise TimeoutError
        if len(heard) > HELLO_BYTES_AT_MOST:
            raise ValueError("the answer is too long")
    return heard
