"""Machines with addresses, made of network namespaces: a switch, and a cable to each of them.

Needs root, and `ip` and `tc` of iproute2. Nothing of it can be seen outside its namespaces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

PREFIX = "10.77.0"


class Network:
    """A switch with a machine at each of its ports; machine i has the address 10.77.0.(i + 1).

    Args:
        machines: how many.
    """

    def __init__(self, machines: int) -> None:
        self._name = f"faults{os.getpid()}of{machines}"
        self.addresses = [f"{PREFIX}.{index + 1}" for index in range(machines)]

    def make(self) -> None:
        """Make it."""
        switch = f"{self._name}s"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for index, address in enumerate(self.addresses):
            machine, port = self._name_machine(index), f"port{index}"
            _ip("netns", "add", machine)
            cable = ["type", "veth", "peer", "name", "eth0", "netns", machine]
            _ip("-n", switch, "link", "add", port, *cable)
            _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", machine, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", machine, "link", "set", device, "up")

    def remove(self) -> None:
        """Remove it; what still runs in it keeps a network without cables."""
        names = [f"{self._name}s", *(self._name_machine(i) for i in range(len(self.addresses)))]
        for name in names:
            _ip("netns", "del", name, check=False)

    def enter(self, index: int) -> list[str]:
        """What a command begins with to run on a machine."""
        return ["ip", "netns", "exec", self._name_machine(index)]

    def set_cable(self, index: int, *, is_up: bool) -> None:
        """Pull the cable of a machine out of the switch, or put it in."""
        _ip("-n", f"{self._name}s", "link", "set", f"port{index}", "up" if is_up else "down")

    def slow_down(self, index: int, rate: str) -> None:
        """Let a machine send no more than this, such as 10mbit."""
        queue = ["root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms"]
        _run("tc", "-n", self._name_machine(index), "qdisc", "add", "dev", "eth0", *queue)

    def repair(self) -> None:
        """Every cable in, and every machine as fast as it can be."""
        for index in range(len(self.addresses)):
            self.set_cable(index, is_up=True)
            where = ["-n", self._name_machine(index), "qdisc", "del", "dev", "eth0", "root"]
            _run("tc", *where, check=False)

    def _name_machine(self, index: int) -> str:
        return f"{self._name}m{index}"


@contextmanager
def open_network(machines: int) -> Iterator[Network]:
    """A network, until the end of the context."""
    network = Network(machines)
    try:
        network.make()
        yield network
    finally:
        network.remove()


@contextmanager
def open_small_disk(place: str, size: str) -> Iterator[None]:
    """A file system of this size (1M) at a directory, until the end of the context."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", place)
    try:
        yield
    finally:
        _run("umount", "--lazy", place)


def _ip(*arguments: str, check: bool = True) -> None:
    _run("ip", *arguments, check=check)


def _run(*command: str, check: bool = True) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and finished.returncode:
        raise SystemExit(f"{_join(command)}: {finished.stderr.strip()}")


def _join(command: Sequence[str]) -> str:
    return " ".join(command)
