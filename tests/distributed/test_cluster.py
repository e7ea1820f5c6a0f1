"""Who trains together, from arguments and from TF_CONFIG."""

import json
from typing import Any

import pytest

from llm_timecycle.distributed.cluster import (
    Cluster,
    find_cluster,
    parse_cluster,
    read_tf_config,
)
from llm_timecycle.errors import UsageError

TWO = ("10.0.0.1:4000", "10.0.0.2:4000")


def read(cluster: Any, task: Any, **more: str) -> Cluster | None:
    return read_tf_config({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task}), **more})


def test_the_first_worker_is_the_chief() -> None:
    first, second = (parse_cluster(",".join(TWO), index, "my") for index in (0, 1))
    assert first == Cluster(TWO, 0, "my")
    assert (first.size, first.is_chief, second.is_chief) == (2, True, False)


def test_addresses_make_an_id_that_all_their_workers_have() -> None:
    ids = [parse_cluster(list(TWO), index).job for index in (0, 1)]
    assert ids[0] == ids[1] != parse_cluster([*TWO, "10.0.0.3:4000"], 0).job


@pytest.mark.parametrize("address", ["a:4000", "my-host.local:1", "[::1]:65535", "node_1:80"])
def test_hosts_have_names_or_numbers(address: str) -> None:
    assert parse_cluster(address, 0).addresses == (address,)


@pytest.mark.parametrize(
    ("workers", "index", "expected"),
    [
        ("", 0, "received ''; expected host:port"),
        ("a", 0, "received 'a'"),
        ("a:0", 0, "received 'a:0'"),
        ("a:65536", 0, "received 'a:65536'"),
        ("a:4000,", 0, "received ''"),
        ("http://a:4000", 0, "received 'http://a:4000'"),
        ("a:4000,b:4000,a:4000", 0, "a:4000 twice"),
        ("a:4000,b:4000", 2, "worker_index: received 2; expected a whole number from 0 to 1"),
        ("a:4000,b:4000", -1, "worker_index: received -1"),
        ([f"a:{port}" for port in range(1, 1026)], 0, "received 1,025; expected 1,024 at most"),
    ],
)
def test_a_wrong_argument_is_named(workers: Any, index: int, expected: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_cluster(workers, index)
    assert expected in str(error.value)


def test_an_id_is_checked() -> None:
    with pytest.raises(UsageError, match="job: received 'a b'"):
        parse_cluster("a:4000", 0, "a b")


def test_tf_config_describes_workers() -> None:
    task = {"type": "worker", "index": 1}
    found = read({"worker": list(TWO)}, task, LLM_TIMECYCLE_JOB="my")
    assert found == Cluster(TWO, 1, "my")


@pytest.mark.parametrize(("kind", "index", "expected"), [("chief", 0, 0), ("worker", 0, 1)])
def test_a_chief_in_tf_config_comes_first(kind: str, index: int, expected: int) -> None:
    found = read({"worker": [TWO[1]], "chief": [TWO[0]]}, {"type": kind, "index": index})
    assert found is not None
    assert (found.addresses, found.index) == (TWO, expected)


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"environment": "cloud"}'])
def test_tf_config_may_describe_nothing(text: str) -> None:
    assert read_tf_config({"TF_CONFIG": text}) is None
    assert read_tf_config({}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it is no object"),
        ('{"cluster": 1, "task": {}}', "its cluster is not an object"),
        ('{"cluster": {"worker": "a:1"}, "task": {}}', "its worker is not a list of addresses"),
        ('{"cluster": {"worker": ["a:1"]}}', "its task is not a worker with an index"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
            "its task is not a worker with an index",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": true}}',
            "its task is not a worker with an index",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "its cluster has no worker 1",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {}}',
            "its cluster has 'ps'",
        ),
    ],
)
def test_what_is_wrong_in_tf_config_is_said(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as error:
        read_tf_config({"TF_CONFIG": text})
    assert str(error.value).startswith("TF_CONFIG is wrong: ")
    assert expected in str(error.value)


def test_arguments_come_before_tf_config() -> None:
    environ = {"TF_CONFIG": "{", "LLM_TIMECYCLE_JOB": "my"}
    assert find_cluster(list(TWO), 1, environ) == Cluster(TWO, 1, "my")


@pytest.mark.parametrize(
    ("workers", "index", "expected"),
    [("a:1,b:1", None, "workers needs worker_index"), (None, 0, "worker_index needs workers")],
)
def test_an_argument_alone_is_refused(workers: Any, index: int | None, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        find_cluster(workers, index, {})
