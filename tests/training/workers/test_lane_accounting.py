"""Which tokens each worker reads: all lanes once, whatever the number of workers."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.workers import join
from llm_timecycle.training.workers.workers import Workers


class Member(Workers):
    """A worker that is not connected."""

    def __init__(self, index: int, size: int) -> None:
        self.index, self.size = index, size


IDS = np.arange(8 * 37 + 1)  # each token is its position
SESSIONS = ((2, 3), (1, 4), (4, 3))
"""Workers, and the steps that they do before others go on: two epochs of 5 windows in all."""


@pytest.mark.parametrize("width_seed", [None, 3])
def test_two_one_and_four_workers_read_every_token_once_an_epoch(width_seed: int | None) -> None:
    lanes = Lanes(IDS, 8, 8 if width_seed is None else 10, width_seed=width_seed)
    steps = 2 * lanes.steps_per_epoch
    sizes = [size for size, count in SESSIONS for _ in range(count)][:steps]
    sizes += [2] * (steps - len(sizes))
    read: Counter[int] = Counter()
    for step, size in enumerate(sizes):
        for index in range(size):
            own = replace(lanes, own=Member(index, size).own_lanes(8))
            inputs, targets = own.read_window(step)
            assert len(inputs) == 8 // size
            assert np.array_equal(targets, inputs + 1)
            read.update(inputs.ravel().tolist())
    assert read == Counter(dict.fromkeys(range(8 * 37), 2))


def test_a_lane_is_read_at_its_place_in_the_batch() -> None:
    lanes = Lanes(IDS, 8, 10)
    (whole, _), parts = lanes.read_window(1), []
    for index in range(4):
        own = replace(lanes, own=Member(index, 4).own_lanes(8))
        assert own.count_predictions(3) == lanes.count_predictions(3)
        parts.append(own.read_window(1)[0])
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_document_begins_where_it_does_for_all_lanes() -> None:
    lanes = Lanes(IDS, 8, 10, np.array([3, 40, 80, 200]))
    *_, whole = lanes.read_window(0)
    parts = [
        replace(lanes, own=Member(index, 2).own_lanes(8)).read_window(0)[2] for index in range(2)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert 0.0 in whole


@pytest.mark.parametrize(
    ("addresses", "cores", "threads", "expected"),
    [
        (("a:1", "b:1"), 8, None, 8),
        (("a:1", "a:2"), 8, None, 4),
        (("a:1", "a:2", "a:3"), 2, None, 1),
        (("a:1", "a:2", "b:1"), 8, 3, 3),
        (("a:1", "a:2"), 8, 6, 4),
        (("[::1]:1", "[::1]:2"), 4, None, 2),
    ],
)
def test_workers_on_one_machine_share_its_cores(
    addresses: tuple[str, ...],
    cores: int,
    threads: int | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join, "count_cores", lambda: cores)
    assert join.count_own_threads(Cluster(addresses, 0, "my"), threads) == expected
