"""The feed gives every window once asked for, and the next one is ready when its step comes."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.text.batches import Lanes
from llm_timecycle.training.prefetch import WindowFeed

LANES = Lanes(np.arange(47, dtype=np.uint8), lanes=2, window=5)  # 23 predictions a lane: 5 windows


def test_it_gives_the_lanes_windows_in_any_order() -> None:
    with closing(WindowFeed(LANES, tf.distribute.get_strategy())) as feed:
        for position in (0, 1, 2, 3, 4, 0, 1, 3, 3, 0):
            tokens, targets = feed.take(position)
            expected_tokens, expected_targets = LANES.read_window(position)
            np.testing.assert_array_equal(tokens, expected_tokens)
            np.testing.assert_array_equal(targets, expected_targets)


def test_the_next_window_is_prepared_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[tuple[int, str]] = []
    is_read = threading.Semaphore(0)
    read = Lanes.read_window

    def watch(lanes: Lanes, position: int) -> tuple[np.ndarray, np.ndarray]:
        readers.append((position, threading.current_thread().name))
        window = read(lanes, position)
        is_read.release()
        return window

    monkeypatch.setattr(Lanes, "read_window", watch)
    with closing(WindowFeed(LANES, tf.distribute.get_strategy())) as feed:
        feed.take(0)
        assert is_read.acquire(timeout=10)
        assert is_read.acquire(timeout=10)  # window 1 is read, and has not been asked for
        assert [position for position, _ in readers] == [0, 1]
        assert threading.current_thread().name not in {name for _, name in readers}
        feed.take(1)
        assert is_read.acquire(timeout=10)
        assert [position for position, _ in readers] == [0, 1, 2]


def test_the_time_of_preparing_is_that_of_reading_each_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Lanes.read_window

    def read_slowly(lanes: Lanes, position: int) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(0.02)
        return read(lanes, position)

    monkeypatch.setattr(Lanes, "read_window", read_slowly)
    with closing(WindowFeed(LANES, tf.distribute.get_strategy())) as feed:
        for position in range(5):
            feed.take(position)
        assert feed.preparing_s >= 5 * 0.02


def test_what_goes_wrong_while_preparing_is_raised_to_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(lanes: Lanes, position: int) -> tuple[np.ndarray, np.ndarray]:
        raise OSError("the disk is gone")

    feed = WindowFeed(LANES, tf.distribute.get_strategy())
    monkeypatch.setattr(Lanes, "read_window", fail)
    with closing(feed), pytest.raises(OSError, match="the disk is gone"):
        feed.take(0)
