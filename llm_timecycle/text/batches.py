"""Contiguous lanes: a stream of tokens cut into B pieces that are read side by side.

A step takes the next T tokens of every lane, and the next step goes on where it ended, so that the
state of the LSTM can be carried. The last step of an epoch takes what is left of the lanes, which
may be fewer than T. Fewer than B tokens at the end of the stream belong to no lane.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

from llm_timecycle.errors import DataError

WINDOWS_BETWEEN_RELEASES = 512


@dataclass(frozen=True)
class Lanes:
    """A stream of ids (N,) as `lanes` lanes (B) read in windows of `window` tokens (T)."""

    ids: np.ndarray
    lanes: int
    window: int

    @property
    def lane_length(self) -> int:
        """Predictions that each lane holds: a token's successor must be in the stream."""
        return (len(self.ids) - 1) // self.lanes

    @property
    def steps_per_epoch(self) -> int:
        """Windows that cover a lane; the last may be shorter."""
        return -(-self.lane_length // self.window)

    def read_window(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Window number `position` of an epoch: tokens and their successors, int32 (B, <= T)."""
        start = position * self.window
        width = min(self.window, self.lane_length - start) + 1
        first = np.arange(self.lanes)[:, None] * self.lane_length + start
        window = self.ids[first + np.arange(width)].astype(np.int32)
        if position % WINDOWS_BETWEEN_RELEASES == 0:
            release_pages(self.ids)
        return window[:, :-1], window[:, 1:]


def cut_lanes(ids: np.ndarray, lanes: int, window: int) -> Lanes:
    """Lanes over a training stream; DataError where it is too short for one whole step.

    Args:
        ids: the stream (N,). lanes: `training.batch_size` (B). window: `training.sequence_length`.
    """
    needed = lanes * window + 1
    if len(ids) < needed:
        largest_batch = max((len(ids) - 1) // window, 0)
        largest_window = max((len(ids) - 1) // lanes, 0)
        fits = [
            f"training.{key}={value}"
            for key, value in (("batch_size", largest_batch), ("sequence_length", largest_window))
            if value >= 1
        ]
        advice = f"; {' or '.join(fits)} would fit" if fits else ""
        raise DataError(
            f"the training text is too short: one step takes {needed:,} tokens (batch_size {lanes}"
            f" x sequence_length {window} + 1), the text has {len(ids):,}, {needed - len(ids):,} "
            f"too few. Give a longer text{advice}"
        )
    return Lanes(ids, lanes, window)


def count_tokens(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each id is in a stream (N,), read a piece at a time: counts (V,), int64."""
    counts = np.zeros(vocab_size, np.int64)
    piece = 1 << 22
    for start in range(0, len(ids), piece):
        counts += np.bincount(ids[start : start + piece], minlength=vocab_size)
        release_pages(ids)
    return counts


def release_pages(ids: np.ndarray) -> None:
    """Let go of the memory that holds what was read of a memory-mapped stream.

    The system would keep it, and count it as this process's, until it runs short; a stream of a
    gigabyte is to cost no gigabyte. What is read again comes from the system's own cache.
    """
    if isinstance(ids.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        ids.base.madvise(mmap.MADV_DONTNEED)
