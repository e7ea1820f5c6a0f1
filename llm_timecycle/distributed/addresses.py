"""The addresses of workers: taken apart, listened on, chosen, and judged by who can reach them."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress

from llm_timecycle.errors import UsageError, WorkersError

Family = Sequence[tuple[int, int, int, str, tuple[object, ...]]]

_BACKLOG = 1024
_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that are kept for documents, far from every network."""
_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_767
"""Below those that systems give to outgoing connections: a port chosen here stays free."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port; the brackets of an IPv6 address belong to neither.

    >>> split_address("[::1]:4000")
    ('::1', 4000)
    """
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listen(address: str) -> socket.socket:
    """A socket that listens on an address of this machine.

    TensorFlow listens on the same port later: connections that are still closing do not prevent it.

    Raises:
        UsageError: it is no address of this machine. WorkersError: the port is in use.
        socket.gaierror: the name is not known (yet).
    """
    host, port = split_address(address)
    family, kind, protocol, _, place = _look_up(host, port)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise WorkersError(
                f"another program uses {address}: end it if it is left over from another training, "
                f"or choose other ports"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"{address} is no address of this machine: give each worker the index of the "
                f"address of its machine, from 0"
            ) from None
        raise UsageError(f"cannot listen on {address}: {error.strerror}") from None
    return listener


def find_exposed(addresses: Sequence[str]) -> list[str]:
    """The addresses that machines anywhere on the internet may reach.

    What is spoken between workers is neither secret nor signed. A name that is not known is left
    out.

    >>> find_exposed(["10.0.0.1:4000", "127.0.0.1:4000", "8.8.8.8:4000", "[fd00::1]:4000"])
    ['8.8.8.8:4000']
    """
    return [address for address in addresses if any(map(_is_global, _list_ips(address)))]


def find_exposed_ips() -> list[str]:
    """The addresses of this machine, among those by which it reaches others, that are global.

    Nothing is sent: the system is asked which address it would send from.
    """
    found = []
    for family, target in _PROBES:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            found.append(str(probe.getsockname()[0]))
    return [ip for ip in found if _is_global(ip)]


def choose_local_addresses(
    count: int, draw: random.Random, is_free: Callable[[int], bool] | None = None
) -> list[str]:
    """Different free addresses of this machine that no other machine can reach.

    Args:
        draw: draws where the search begins, so that two jobs seldom try the same ports.
        is_free: whether nobody listens on a port; None tries it.

    Raises:
        WorkersError: there are too few free ports.

    >>> choose_local_addresses(2, random.Random(1), is_free=lambda port: port % 2 == 0)
    ['127.0.0.1:22202', '127.0.0.1:22204']
    """
    ports = range(_LOWEST_PORT, _HIGHEST_PORT + 1)
    first = draw.randrange(len(ports))
    found: list[str] = []
    for step in range(len(ports)):
        port = ports[(first + step) % len(ports)]
        if (is_free or _is_free)(port):
            found.append(f"127.0.0.1:{port}")
        if len(found) == count:
            return found
    raise WorkersError(
        f"{count} free ports from {_LOWEST_PORT} to {_HIGHEST_PORT} are needed; {len(found)} are "
        f"there"
    )


def _is_free(port: int) -> bool:
    with ExitStack() as opened:
        try:
            opened.enter_context(listen(f"127.0.0.1:{port}"))
        except (UsageError, WorkersError):
            return False
        return True


def _look_up(host: str, port: int) -> Family:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise UsageError(f"{host} is no name that a machine can have") from None


def _list_ips(address: str) -> Iterator[str]:
    try:
        found = _look_up(*split_address(address))
    except (OSError, UsageError):
        return
    yield from (str(place[0]) for *_, place in found)


def _is_global(ip: str) -> bool:
    return ipaddress.ip_address(ip.partition("%")[0]).is_global
