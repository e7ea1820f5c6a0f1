"""Validation during training: the validation text scored with the weights of the moment."""

from __future__ import annotations

import math

import numpy as np

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import Settings
from llm_timecycle.evaluation.stream import Sums, choose_width, make_scorer, score_stream
from llm_timecycle.text.batches import ONE_DOCUMENT
from llm_timecycle.training.budget.planning import extrapolate
from llm_timecycle.training.signals import StopRequest
from llm_timecycle.training.state import TrainState


class Validator:
    """Scores the validation stream `ids` (N,); a signal ends a validation with `Stopped`.

    Args:
        clock: ticks after each window.
        document_starts: see `text.batches.mark_kept`.
    """

    def __init__(
        self,
        train_state: TrainState,
        settings: Settings,
        ids: np.ndarray,
        clock: ActiveClock,
        stop_request: StopRequest,
        document_starts: np.ndarray = ONE_DOCUMENT,
    ) -> None:
        self._settings, self._ids, self._clock = settings, ids, clock
        self._document_starts = document_starts
        self._stop_request = stop_request
        self._scorer = make_scorer(
            train_state.network,
            train_state.shards,
            has_documents=len(document_starts) > 0,
            ahead=True,
        )
        self._lanes = settings.training.batch_size
        self._window = max(settings.training.sequence_length, 16)

    def score(self, *, show_progress: bool = False, predictions: int | None = None) -> Sums:
        """Score the stream, or the beginning of it.

        Args:
            predictions: how many tokens to predict; None is all but the first.
        """
        return score_stream(
            self._scorer,
            self._settings.model,
            self._ids if predictions is None else self._ids[: predictions + 1],
            self._document_starts,
            lanes=self._lanes,
            window=self._window,
            show_progress=show_progress,
            after_window=self._end_window,
        )

    def estimate_s(self) -> float:
        """The seconds that a validation takes, measured on the beginning of the stream."""
        whole = len(self._ids) - 1
        per_window = self._lanes * choose_width(math.ceil(whole / self._lanes), self._window)
        few, more = (min(windows * per_window, whole) for windows in (4, 12))
        self.score(predictions=few)  # compiles the scorer
        measured = {}
        for predictions in (few, more):
            began_s = self._clock.read_s()
            self.score(predictions=predictions)
            measured[predictions] = self._clock.read_s() - began_s
        return extrapolate(measured, whole)

    def _end_window(self) -> None:
        self._clock.tick("window")
        self._stop_request.check()
