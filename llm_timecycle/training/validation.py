"""Validation during training: the validation text scored, and a sample written, as of now."""

from __future__ import annotations

import math
import statistics

import numpy as np

from llm_timecycle.clock import ActiveClock
from llm_timecycle.config.settings import Settings
from llm_timecycle.evaluation.stream import Sums, choose_width, make_scorer, score_stream
from llm_timecycle.text.batches import ONE_DOCUMENT
from llm_timecycle.training.reporting.samples import Sampler
from llm_timecycle.training.signals import StopRequest
from llm_timecycle.training.state import TrainState

TIMED_WINDOWS = 12  # to estimate the time of all


class Validator:
    """Scores the validation stream `ids` (N,); a signal ends a validation with `Stopped`.

    Each worker scores its lanes, and all get the sums over all lanes.

    Args:
        ids: None where there is no validation text.
        clock: ticks after each window and each sample.
        document_starts: see `text.batches.mark_kept`.
        sampler: writes samples; None writes none.
    """

    def __init__(
        self,
        train_state: TrainState,
        settings: Settings,
        ids: np.ndarray | None,
        clock: ActiveClock,
        stop_request: StopRequest,
        document_starts: np.ndarray = ONE_DOCUMENT,
        sampler: Sampler | None = None,
    ) -> None:
        self._settings, self._ids, self._clock = settings, ids, clock
        self._document_starts, self._sampler = document_starts, sampler
        self._stop_request, self._network = stop_request, train_state.network
        if ids is not None:
            self._scorer = make_scorer(
                train_state.network,
                train_state.shards,
                has_documents=len(document_starts) > 0,
                ahead=True,
            )
        self._window_s: list[float] = []
        self._workers = train_state.workers
        self._lanes = settings.training.batch_size
        self._window = max(settings.training.sequence_length, 16)

    def score(self, *, show_progress: bool = False, predictions: int | None = None) -> Sums | None:
        """Score the stream, or the beginning of it; None where there is none.

        Args:
            predictions: how many tokens to predict; None is all but the first.
        """
        if self._ids is None:
            return None
        sums = score_stream(
            self._scorer,
            self._settings.model,
            self._ids if predictions is None else self._ids[: predictions + 1],
            self._document_starts,
            lanes=self._lanes,
            window=self._window,
            show_progress=show_progress,
            after_window=self._end_window,
            own_lanes=self._workers.own_lanes,
        )
        loss_nats, correct = self._workers.add_numbers([sums.loss_nats, sums.correct])
        return Sums(loss_nats, int(correct), sums.predicted)

    def sample(self) -> str | None:
        """A text that the network writes now; None where no samples are written."""
        if self._sampler is None:
            return None
        text = self._sampler.sample(self._network)
        self._clock.tick("sample")
        return text

    def estimate_s(self) -> float:
        """The seconds that a validation takes, its sample included.

        Scoring is measured on the beginning of the stream.
        """
        began_s = self._clock.read_s()
        self.sample()
        sample_s = self._clock.read_s() - began_s
        if self._ids is None:
            return sample_s
        whole = len(self._ids) - 1
        per_window = self._lanes * choose_width(math.ceil(whole / self._lanes), self._window)
        self.score(predictions=min(4 * per_window, whole))  # compiles the scorer
        began_s, self._window_s = self._clock.read_s(), []
        self.score(predictions=min(TIMED_WINDOWS * per_window, whole))
        spent_s = self._clock.read_s() - began_s
        left = math.ceil(whole / per_window) - len(self._window_s)
        # The median, because a moment's other work on the machine would count for every window.
        return sample_s + spent_s + max(left, 0) * statistics.median(self._window_s or [0.0])

    def _end_window(self) -> None:
        self._window_s.append(self._clock.tick("window"))
        self._workers.note_work()
        self._stop_request.check()
