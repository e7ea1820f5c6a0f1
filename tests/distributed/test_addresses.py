"""Addresses of workers: split, chosen, and judged."""

from __future__ import annotations

import random
import socket

import pytest

from llm_timecycle.distributed.addresses import (
    choose_local_addresses,
    find_exposed,
    listen,
    split_address,
)
from llm_timecycle.errors import UsageError, WorkersError


def test_local_addresses_are_reached_from_this_machine_only() -> None:
    addresses = choose_local_addresses(4, random.Random(1))
    assert len(set(addresses)) == 4
    for host, port in map(split_address, addresses):
        assert host == "127.0.0.1"
        assert 20_000 <= port < 32_768  # no system gives these to outgoing connections


def test_a_port_in_use_is_not_chosen() -> None:
    first, second = choose_local_addresses(2, random.Random(1))
    with socket.create_server(split_address(first)):
        assert choose_local_addresses(1, random.Random(1)) == [second]


def test_too_few_free_ports_are_a_message() -> None:
    with pytest.raises(WorkersError, match="2 free ports from 20000 to 32767 are needed; 1 are"):
        choose_local_addresses(2, random.Random(1), is_free=lambda port: port == 25_000)


@pytest.mark.parametrize(
    ("address", "is_exposed"),
    [
        ("10.1.2.3:1", False),
        ("192.168.1.1:1", False),
        ("100.64.0.1:1", False),  # shared by a provider, not the internet
        ("169.254.1.1:1", False),
        ("[::1]:1", False),
        ("[fe80::1]:1", False),
        ("localhost:1", False),
        ("no-such-machine.invalid:1", False),
        ("1.1.1.1:1", True),
        ("[2606:4700::1111]:1", True),
    ],
)
def test_what_the_internet_reaches(address: str, is_exposed: bool) -> None:
    assert find_exposed([address]) == ([address] if is_exposed else [])


def test_a_name_that_no_machine_can_have() -> None:
    with pytest.raises(UsageError, match="no name that a machine can have"):
        listen(f"{'a' * 70}.example:4000")
