"""Batches for training: a token stream cut into B contiguous lanes, read in windows of T tokens.

Each step reads the next T tokens of every lane, and the next step continues where it ended, so the
state of the LSTM can be carried over. The last window of an epoch holds what is left of the lanes
and may be shorter than T. At most B - 1 tokens at the end of the stream belong to no lane.

A document begins with a fresh state: the state is set to zeros before the `<eos>` in front of its
first token is read. So the first token of a document is predicted from `<eos>` alone, as it is in
generation, whatever came before.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field

import numpy as np

from llm_timecycle.errors import DataError

WINDOWS_BETWEEN_RELEASES = 512
ONE_DOCUMENT = np.zeros(0, np.int64)
"""The document starts of a stream in which no document begins after its first token."""


@dataclass(frozen=True)
class Lanes:
    """A stream of ids (N,) as `lanes` lanes (B), read in windows of `window` tokens (T).

    `document_starts` (D,) are positions in the stream, as of `mark_kept`.
    """

    ids: np.ndarray
    lanes: int
    window: int
    document_starts: np.ndarray = field(default_factory=lambda: ONE_DOCUMENT)

    @property
    def has_documents(self) -> bool:
        """Whether the state is ever reset inside the stream."""
        return len(self.document_starts) > 0

    @property
    def lane_length(self) -> int:
        """Predictions per lane: a token counts only if its successor is in the stream too."""
        return (len(self.ids) - 1) // self.lanes

    @property
    def steps_per_epoch(self) -> int:
        """Windows that cover a lane; the last one may be shorter than T."""
        return -(-self.lane_length // self.window)

    def count_predictions(self, steps: int) -> int:
        """Tokens that the first `steps` steps predict, over all lanes."""
        epochs, position = divmod(steps, self.steps_per_epoch)
        length = self.lane_length
        return self.lanes * (epochs * length + min(position * self.window, length))

    def read_window(self, position: int) -> tuple[np.ndarray, ...]:
        """Window number `position` of an epoch: inputs and targets, int32 (B, <= T) each.

        Where documents begin in the stream, also `keep` (B, <= T), float32: 0 where the state is
        reset before an input is read, 1 elsewhere.
        """
        start = position * self.window
        width = min(self.window, self.lane_length - start) + 1
        first = np.arange(self.lanes) * self.lane_length + start
        window = self.ids[first[:, None] + np.arange(width)].astype(np.int32)
        if position % WINDOWS_BETWEEN_RELEASES == 0:
            release_pages(self.ids)
        if not self.has_documents:
            return window[:, :-1], window[:, 1:]
        return window[:, :-1], window[:, 1:], mark_kept(self.document_starts, first, width - 1)


def mark_kept(document_starts: np.ndarray, first: np.ndarray, width: int) -> np.ndarray:
    """Where the state is kept in the windows of all lanes: float32 (B, width).

    0 where the input is the `<eos>` in front of a document, before which the state is reset.

    Args:
        document_starts: positions in the stream of the first tokens of documents, sorted (D,).
        first: the position of the first input of each lane (B,).
        width: inputs of a window.

    >>> mark_kept(np.array([3, 8]), np.array([0, 5]), width=4)
    array([[1., 1., 0., 1.],
           [1., 1., 0., 1.]], dtype=float32)
    """
    keep = np.ones((len(first), width), np.float32)
    bounds = np.searchsorted(document_starts, [first + 1, first + width + 1])
    for lane, (start, stop) in enumerate(bounds.T):
        keep[lane, document_starts[start:stop] - 1 - first[lane]] = 0.0
    return keep


def cut_lanes(
    ids: np.ndarray, lanes: int, window: int, document_starts: np.ndarray = ONE_DOCUMENT
) -> Lanes:
    """Lanes over a training stream; DataError if it is too short for one full step.

    Args:
        ids: the stream (N,). lanes: `training.batch_size` (B). window: `training.sequence_length`.
        document_starts: see `mark_kept`.
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
            f" x sequence_length {window} + 1), and the text has {len(ids):,}, "
            f"{needed - len(ids):,} too few. Use a longer text{advice}"
        )
    return Lanes(ids, lanes, window, document_starts)


def count_tokens(ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each id occurs in a stream (N,), read piece by piece: int64 (V,)."""
    counts = np.zeros(vocab_size, np.int64)
    piece = 1 << 22
    for start in range(0, len(ids), piece):
        counts += np.bincount(ids[start : start + piece], minlength=vocab_size)
        release_pages(ids)
    return counts


def release_pages(ids: np.ndarray) -> None:
    """Release the memory behind the part of a memory-mapped stream that was read.

    Otherwise the system keeps those pages and counts them as this process's memory until it runs
    short: reading a gigabyte would cost a gigabyte. Pages read again come from the system's cache.
    """
    if isinstance(ids.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        ids.base.madvise(mmap.MADV_DONTNEED)
