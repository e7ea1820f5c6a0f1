"""Batches for training: a token stream cut into B contiguous lanes, read in windows of T tokens.

Each step reads the next T tokens of every lane, and the next step continues where it ended, so the
state of the LSTM can be carried over. The last window of an epoch holds what is left of the lanes
and may be shorter than T. At most B - 1 tokens at the end of the stream belong to no lane.

Windows may also have random widths around T (`Lanes.width_seed`), so that the gradient is not cut
off at the same tokens in every epoch.

A document begins with a fresh state: the state is set to zeros before the `<eos>` in front of its
first token is read. So the first token of a document is predicted from `<eos>` alone, as it is in
generation, whatever came before.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from llm_timecycle.errors import DataError

WINDOWS_BETWEEN_RELEASES = 512
ONE_DOCUMENT = np.zeros(0, np.int64)
"""The document starts of a stream in which no document begins after its first token."""

SHORT_SHARE, WIDTH_DEVIATION, WIDEST_ABOVE = 0.05, 5.0, 10
"""Of random widths: the share drawn around T / 2, the standard deviation and the most above T, in
tokens; AWD-LSTM's."""
MEAN_SHARE = 1.0 - SHORT_SHARE / 2
"""The mean of random widths, as a share of T."""
GRAIN = 5
"""Random widths are multiples of it, in tokens."""


@dataclass(frozen=True)
class Lanes:
    """A stream of ids (N,) as `lanes` lanes (B), read in windows of `window` tokens (T).

    `document_starts` (D,) are positions in the stream, as of `mark_kept`. With a `width_seed`, the
    windows of each epoch have widths drawn around T, see `draw_widths`; they depend on the seed and
    the epoch alone, so that a resumed run reads what the uninterrupted one would have read. With
    `own`, a range of lanes, only these are read: those of one worker. All counts are of all lanes.
    """

    ids: np.ndarray
    lanes: int
    window: int
    document_starts: np.ndarray = field(default_factory=lambda: ONE_DOCUMENT)
    width_seed: int | None = None
    own: range | None = None

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
        """Windows that cover a lane; every epoch has equally many, also of random widths."""
        mean = self.window if self.width_seed is None else MEAN_SHARE * self.window
        return math.ceil(self.lane_length / mean)

    def count_predictions(self, steps: int) -> int:
        """Tokens that the first `steps` steps predict, over all lanes."""
        start, _ = self.find_window(steps)
        return self.lanes * (steps // self.steps_per_epoch * self.lane_length + start)

    def number_window(self, step: int) -> int:
        """The number of a step's window: windows with equal numbers are the same."""
        return step % self.steps_per_epoch if self.width_seed is None else step

    def find_window(self, step: int) -> tuple[int, int]:
        """Where in each lane the window of a step begins, and its width in tokens."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self.width_seed is None:
            start = position * self.window
            return start, min(self.window, self.lane_length - start)
        ends = _find_ends(
            self.width_seed, epoch, self.steps_per_epoch, self.lane_length, self.window
        )
        start = int(ends[position - 1]) if position else 0
        return start, int(ends[position]) - start

    def scale_rate(self, step: int) -> float:
        """The factor of a step's learning rate: its window's width over T, where widths are random.

        The loss is a mean over the window, so that a short one would count for too much.
        """
        return 1.0 if self.width_seed is None else self.find_window(step)[1] / self.window

    def read_window(self, step: int) -> tuple[np.ndarray, ...]:
        """The window of a step: inputs and targets, int32 (B, width) each; B are the own lanes.

        Where documents begin in the stream, also `keep` (B, width), float32: 0 where the state is
        reset before an input is read, 1 elsewhere.
        """
        start, width = self.find_window(step)
        own = range(self.lanes) if self.own is None else self.own
        first = np.arange(own.start, own.stop) * self.lane_length + start
        window = self.ids[first[:, None] + np.arange(width + 1)].astype(np.int32)
        if step % WINDOWS_BETWEEN_RELEASES == 0:
            release_pages(self.ids)
            release_pages(self.document_starts)
        if not self.has_documents:
            return window[:, :-1], window[:, 1:]
        return window[:, :-1], window[:, 1:], mark_kept(self.document_starts, first, width)


def draw_widths(seed: int, epoch: int, windows: int, length: int, window: int) -> np.ndarray:
    """The widths of the windows of an epoch, int64 (windows,), which add up to `length`.

        m = T with probability 0.95, else T / 2
        n = m + 5 z with z from N(0, 1), rounded to a multiple of 5, from 5 to T + 10

    All are multiples of 5, but for the last one, to which up to 4 tokens are left: TensorFlow
    compiles a step for each width, and so there are few. What the drawn widths miss of `length`, or
    have too much, goes in fives to windows chosen at random.

    Args:
        seed, epoch: decide the draws.
        windows: how many; `Lanes.steps_per_epoch`. length: tokens of a lane. window: T, 10
            or more.

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models",
    section 5, with the bounds and the deviation of their code. The twin is `reference/windows.py`.

    >>> int(draw_widths(1, 0, windows=4, length=74, window=20).sum())
    74
    """
    generator = np.random.default_rng([seed, epoch])
    fives = _round_widths(window, generator.random(windows), generator.standard_normal(windows))
    most, whole = (window + WIDEST_ABOVE) // GRAIN, length // GRAIN
    while missing := whole - int(fives.sum()):
        free = np.flatnonzero(fives < most if missing > 0 else fives > 1)
        chosen = generator.choice(free, min(abs(missing), len(free)), replace=False)
        fives[chosen] += 1 if missing > 0 else -1
    widths = GRAIN * fives
    widths[-1] += length - GRAIN * whole
    return widths


def _round_widths(window: int, uniforms: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Widths in units of `GRAIN`, drawn with these numbers; see `draw_widths`."""
    means = np.where(uniforms < 1.0 - SHORT_SHARE, window, window / 2)
    fives = np.rint((means + WIDTH_DEVIATION * normals) / GRAIN)
    return np.clip(fives, 1, (window + WIDEST_ABOVE) // GRAIN).astype(np.int64)


@lru_cache(maxsize=4)  # an epoch, the next one being prepared, and that of the end of the run
def _find_ends(seed: int, epoch: int, windows: int, length: int, window: int) -> np.ndarray:
    """Where in a lane each window of an epoch ends (windows,)."""
    return np.cumsum(draw_widths(seed, epoch, windows, length, window))


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


def release_pages(numbers: np.ndarray) -> None:
    """Release the memory behind what was read of memory-mapped ids, or starts of documents.

    Otherwise the system keeps those pages and counts them as this process's memory until it runs
    short: reading a gigabyte would cost a gigabyte. Pages read again come from the system's cache.
    """
    base = numbers.base
    while isinstance(base, np.ndarray):  # of a part of them
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
