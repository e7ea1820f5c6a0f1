"""The hello between workers, over real sockets of this machine."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from llm_timecycle.distributed import hello
from llm_timecycle.distributed.addresses import choose_local_addresses, split_address
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.hello import exchange_hello, warn_of_exposed
from llm_timecycle.distributed.messages import HELLO_BYTES_AT_MOST, read_answer, read_greeting
from llm_timecycle.errors import TimecycleError, UsageError, WorkersError

FACTS = {"version": "1.2", "settings": "ab", "corpus": "cd", "processor": "x86_64"}
PLAN = {"precision": "float32", "threads": 2}
LONG_S, SHORT_S = 20.0, 0.3


@pytest.fixture
def addresses() -> list[str]:
    return choose_local_addresses(3, random.Random())


def make_cluster(
    addresses: Sequence[str], index: int, timeout_s: float = LONG_S, job: str = "my"
) -> Cluster:
    return Cluster(tuple(addresses), index, job, hello_s=timeout_s)


def meet(
    addresses: list[str],
    facts: Mapping[int, Mapping[str, str]],
    timeout_s: float = LONG_S,
) -> dict[int, object]:
    """What each of these workers gets: the plan, or its error."""

    def greet(index: int) -> object:
        cluster = make_cluster(addresses, index, timeout_s)
        plan = PLAN if index == 0 else None
        try:
            return exchange_hello(cluster, facts[index], plan=plan)
        except TimecycleError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(facts, pool.map(greet, facts), strict=True))


def check_all(found: Mapping[int, object], kind: type[TimecycleError], *parts: str) -> None:
    """Every worker ends with the same error, and it has these parts."""
    messages = {str(error) for error in found.values()}
    assert {type(error) for error in found.values()} == {kind}
    (message,) = messages
    for part in parts:
        assert part in message


def test_everybody_gets_the_plan_of_the_chief(addresses: list[str]) -> None:
    assert meet(addresses, dict.fromkeys(range(3), FACTS)) == dict.fromkeys(range(3), PLAN)


def test_the_port_is_free_afterwards_and_the_next_job_can_meet_there(addresses: list[str]) -> None:
    for _ in range(3):
        assert set(meet(addresses, dict.fromkeys(range(3), FACTS))) == {0, 1, 2}


def test_a_worker_that_does_not_come_is_named_to_everybody(addresses: list[str]) -> None:
    found = meet(addresses, {0: FACTS, 2: FACTS}, timeout_s=SHORT_S)
    check_all(found, WorkersError, f"worker 1 ({addresses[1]}) did not come within 0.3 s")


def test_without_a_chief_its_address_is_named(addresses: list[str]) -> None:
    found = meet(addresses, {1: FACTS, 2: FACTS}, timeout_s=SHORT_S)
    check_all(found, WorkersError, f"worker 0 ({addresses[0]})", "connection refused", "Start it")


@pytest.mark.parametrize(
    ("key", "name", "advice"),
    [
        ("version", "version", "Install the same version"),
        ("settings", "settings", "the same settings"),
        ("corpus", "text", "the same text on every machine"),
        ("processor", "processor", "machines of one kind"),
        ("precision", "precision", "training.precision"),
        ("colour", "colour", "Give every worker the same"),
    ],
)
def test_a_worker_that_differs_is_named(
    addresses: list[str], key: str, name: str, advice: str
) -> None:
    facts = {0: {**FACTS, key: "one"}, 1: {**FACTS, key: "two"}, 2: {**FACTS, key: "one"}}
    found = meet(addresses, facts)
    check_all(found, UsageError, f"worker 1 has {name} two, workers 0 and 2 have one", advice)


def test_two_programs_with_one_index_are_refused(addresses: list[str]) -> None:
    chief, *others = addresses
    absent = "127.0.0.1:9"  # so that the chief still waits when the second program comes
    clusters = [Cluster((chief, own, absent), 1, "my") for own in others]
    clusters.append(Cluster((chief, others[0], absent), 0, "my"))

    def greet(cluster: Cluster) -> object:
        with pytest.raises(UsageError, match="two programs are worker 1") as caught:
            exchange_hello(cluster, FACTS)
        return caught.value

    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(greet, clusters))) == 3


def test_a_worker_of_another_job_is_sent_away_and_disturbs_nobody(addresses: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        other = pool.submit(exchange_hello, make_cluster(addresses, 1, job="other"), FACTS)
        chief = pool.submit(exchange_hello, make_cluster(addresses, 0), FACTS, plan=PLAN)
        with pytest.raises(UsageError, match="belongs to job my, this worker to job other"):
            other.result()
        rest = [
            pool.submit(exchange_hello, make_cluster(addresses, index), FACTS) for index in (1, 2)
        ]
        assert [each.result() for each in (chief, *rest)] == [PLAN] * 3


def test_another_number_of_workers_is_refused(addresses: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        chief = pool.submit(exchange_hello, make_cluster(addresses, 0, SHORT_S), FACTS)
        with pytest.raises(UsageError, match="was given 2 addresses, the first worker 3"):
            exchange_hello(make_cluster(addresses[:2], 1), FACTS)
        with pytest.raises(WorkersError, match="workers 1"):
            chief.result()


def test_a_port_in_use_and_an_address_of_another_machine(addresses: list[str]) -> None:
    with socket.create_server(split_address(addresses[0])):
        for index in (0, 1):
            swapped = make_cluster([addresses[index], addresses[1 - index]], index, SHORT_S)
            with pytest.raises(WorkersError, match=f"another program uses {addresses[0]}"):
                exchange_hello(swapped, FACTS)
    for index in (0, 1):
        foreign = Cluster(("198.51.100.1:4000", "198.51.100.2:4000"), index, "my")
        with pytest.raises(
            UsageError, match=r"198\.51\.100\.\d:4000 is no address of this machine"
        ):
            exchange_hello(foreign, FACTS)


def test_a_name_that_nobody_has_is_refused_after_the_time(addresses: list[str]) -> None:
    nameless = ["no-such-machine.invalid:4000", addresses[1]]
    cluster = make_cluster(nameless, 0, SHORT_S)
    with pytest.raises(UsageError, match=r"no-such-machine\.invalid is the name of no machine"):
        exchange_hello(cluster, FACTS)
    with pytest.raises(WorkersError, match="its name is not known"):
        exchange_hello(make_cluster(nameless, 1, SHORT_S), FACTS)


def test_a_worker_that_leaves_may_come_again(addresses: list[str]) -> None:
    greeting = {"job": "my", "size": 3, "index": 1, "facts": {**FACTS, "version": "old"}}
    trio = tuple(addresses)
    with ThreadPoolExecutor(3) as pool:
        chief = pool.submit(exchange_hello, Cluster(trio, 0, "my"), FACTS, plan=PLAN)
        with connect(addresses[0]) as connection:
            connection.sendall(json.dumps(greeting).encode() + b"\n")
        other = pool.submit(exchange_hello, Cluster(trio, 2, "my"), FACTS)
        assert exchange_hello(Cluster(trio, 1, "my"), FACTS) == PLAN
        assert [chief.result(), other.result()] == [PLAN, PLAN]


STRANGERS: dict[str, bytes] = {
    "HTTP/2, as gRPC begins": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no JSON": b"\xff\xfe\n",
    "a number": b"1\n",
    "another object": b'{"job": "my"}\n',
    "an index that is no number": b'{"job": "my", "size": 2, "index": true, "facts": {}}\n',
    "facts that are numbers": b'{"job": "my", "size": 2, "index": 1, "facts": {"version": 1}}\n',
    "a long fact": b'{"job": "my", "size": 2, "index": 1, "facts": {"a": "%s"}}\n' % (b"x" * 300),
    "nested deeply": b"[" * 60_000 + b"\n",
    "a line without end": b" " * (3 * HELLO_BYTES_AT_MOST),
    "nothing": b"",
}


def test_strangers_are_left_aside(addresses: list[str]) -> None:
    pair = tuple(addresses[:2])
    with ThreadPoolExecutor(2) as pool:
        chief = pool.submit(exchange_hello, Cluster(pair, 0, "my"), FACTS, plan=PLAN)
        opened = [connect(addresses[0]) for _ in range(100)]  # more than may be open
        for content in STRANGERS.values():
            with connect(addresses[0]) as connection:
                try:
                    connection.sendall(content)
                    connection.settimeout(0.02)
                    assert connection.recv(100) == b""
                except (TimeoutError, ConnectionError):
                    pass
        assert exchange_hello(Cluster(pair, 1, "my"), FACTS) == PLAN
        assert chief.result() == PLAN
        for connection in opened:
            connection.close()


@pytest.mark.parametrize("content", [each for each in STRANGERS.values() if b"\n" in each])
def test_what_is_no_hello_is_a_value_error(content: bytes) -> None:
    for read in (read_greeting, read_answer):
        with pytest.raises(ValueError):  # noqa: PT011  # whatever the parser says
            read(content.partition(b"\n")[0])


@pytest.mark.parametrize("content", [b"no answer\n", b"\xff\n", b"{}\n", b"x" * 100_000, b""])
def test_a_chief_that_is_another_program(addresses: list[str], content: bytes) -> None:
    with socket.create_server(split_address(addresses[0])) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, server, content, SHORT_S)
        with pytest.raises(WorkersError, match=r"another program|ended before|reset") as caught:
            exchange_hello(make_cluster(addresses, 1, SHORT_S), FACTS)
        assert addresses[0] in str(caught.value)
        served.result()


def connect(address: str) -> socket.socket:
    """A connection to a chief that is about to listen."""
    while True:
        try:
            return socket.create_connection(split_address(address), timeout=5)
        except ConnectionRefusedError:
            continue


def serve(server: socket.socket, content: bytes, seconds: float) -> None:
    """Answer whoever connects with the same."""
    server.settimeout(seconds)
    while True:
        try:
            with server.accept()[0] as connection:
                connection.recv(HELLO_BYTES_AT_MOST)
                connection.sendall(content)
        except TimeoutError:
            return
        except OSError:
            continue


EXPOSED = "llm_timecycle.distributed.addresses._is_global"


def test_an_exposed_address_is_warned_of(
    addresses: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXPOSED, lambda ip: ip == "127.0.0.1")
    warn_of_exposed(make_cluster(addresses, 0))
    warn_of_exposed(make_cluster(addresses, 1))
    (message,) = caplog.messages
    assert f"workers 0 ({addresses[0]}), 1" in message
    assert "can be reached from the internet" in message
    assert "private network, or a firewall" in message


def test_an_exposed_machine_is_warned_of_once(
    addresses: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello, "find_exposed_ips", lambda: ["1.1.1.1"])
    for index in range(3):
        warn_of_exposed(make_cluster(addresses, index))
    (message,) = caplog.messages
    assert message.startswith("worker 0, at 1.1.1.1, can be reached from the internet")
    warn_of_exposed(make_cluster([addresses[0], "other:4000"], 1))
    assert caplog.messages[1].startswith("worker 1, at 1.1.1.1, can be reached")


def test_private_addresses_are_not_warned_of(
    addresses: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXPOSED, lambda ip: False)
    warn_of_exposed(make_cluster(addresses, 0))
    assert caplog.messages == []
