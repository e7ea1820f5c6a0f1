"""Where the chief receives the other workers: it listens until all have come or the time is up."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.distributed.facts import compare_facts, name_workers
from llm_timecycle.distributed.messages import (
    HELLO_BYTES_AT_MOST,
    Answer,
    Greeting,
    Plan,
    read_greeting,
    write_line,
)

_CONNECTIONS_BESIDE = 64
"""That may be open beside one for each worker, so that strangers cannot take all of the memory."""
_OTHERS_S = 2.0  # that others have to come, once it is known that something is wrong
_SEND_S = 0.2


class Reception:
    """Where the chief listens until everybody is there.

    Args:
        facts: the chief's.
        listener: is closed with this.
    """

    def __init__(self, cluster: Cluster, facts: Mapping[str, str], listener: socket.socket) -> None:
        self._cluster = cluster
        self._facts: dict[int, Mapping[str, str]] = {0: facts}
        self._twice: set[int] = set()
        self._listener = listener
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._heard: dict[socket.socket, bytearray] = {}
        self._workers: dict[socket.socket, int] = {}

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._heard):
            self._drop(connection)
        self._listener.close()
        self._selector.close()

    def wait(self, until_s: float, now: Callable[[], float]) -> None:
        """Listen until all workers have come or the time is up."""
        while len(self._facts) < self._cluster.size or self._twice:
            if self._twice or compare_facts(self._facts):
                until_s = min(until_s, now() + _OTHERS_S)
            if (left_s := until_s - now()) <= 0:
                return
            for key, _ in self._selector.select(min(left_s, 1.0)):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._hear(key.fileobj)

    def judge(self, timeout_s: float, plan: Plan) -> Answer:
        """The answer to everybody."""
        cluster = self._cluster
        if self._twice:
            twice = name_workers(sorted(self._twice), cluster.addresses)
            return Answer(differ=f"two programs are {twice}: give each its own index")
        if problem := compare_facts(self._facts):
            return Answer(differ=problem)
        if missing := sorted(set(range(cluster.size)) - self._facts.keys()):
            return Answer(
                missing=f"{name_workers(missing, cluster.addresses)} did not come within "
                f"{timeout_s:g} s. Start every worker, and let all of them reach "
                f"{cluster.addresses[0]}"
            )
        return Answer(plan=plan)

    def answer(self, answer: Answer) -> None:
        """Send everybody the same, after the port is free for TensorFlow."""
        self._selector.unregister(self._listener)
        self._listener.close()
        for connection in list(self._workers):
            self._send(connection, answer)

    def _accept(self) -> None:
        with suppress(OSError):  # who left again at once
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._heard[connection] = bytearray()
            self._selector.register(connection, selectors.EVENT_READ)
        strangers = [each for each in self._heard if each not in self._workers]
        if len(strangers) > self._cluster.size + _CONNECTIONS_BESIDE:
            self._drop(strangers[0])

    def _hear(self, connection: socket.socket) -> None:
        try:
            received = connection.recv(HELLO_BYTES_AT_MOST)
        except OSError:
            received = b""
        heard = self._heard[connection]
        heard += received
        is_known = connection in self._workers
        if not received or is_known or len(heard) > HELLO_BYTES_AT_MOST:
            self._drop(connection)
        elif b"\n" in heard:
            try:
                self._greet(connection, read_greeting(bytes(heard.partition(b"\n")[0])))
            except ValueError:
                self._drop(connection)

    def _greet(self, connection: socket.socket, greeting: Greeting) -> None:
        cluster, index = self._cluster, greeting.index
        if greeting.job != cluster.job:
            self._send(connection, Answer(differ=self._explain_job(greeting)))
            self._drop(connection)
        elif greeting.size != cluster.size or index >= cluster.size:
            problem = (
                f"a worker was given {greeting.size} addresses, the first worker {cluster.size}: "
                f"give every worker the same list"
            )
            self._send(connection, Answer(differ=problem))
            self._drop(connection)
        elif index in self._facts:
            self._twice.add(index)
            self._workers[connection] = index
        else:
            self._facts[index] = greeting.facts
            self._workers[connection] = index

    def _explain_job(self, greeting: Greeting) -> str:
        return (
            f"{self._cluster.addresses[0]} belongs to job {self._cluster.job}, this worker to job "
            f"{greeting.job}: two trainings have the same address. Give each its own addresses"
        )

    def _drop(self, connection: socket.socket) -> None:
        """Forget a connection, and the worker at its end."""
        index = self._workers.pop(connection, None)
        if index is not None and index not in self._workers.values():
            self._facts.pop(index, None)
        self._selector.unregister(connection)
        del self._heard[connection]
        connection.close()

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        with suppress(OSError):  # it has left, which it says itself
            connection.settimeout(_SEND_S)
            connection.sendall(write_line(answer))
