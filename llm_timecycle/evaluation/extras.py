"""What `evaluate` measures beside the plain score, and the texts that it needs for that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_timecycle.errors import DataError, HeldOutTextError
from llm_timecycle.evaluation.texts import open_split, open_training_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from llm_timecycle.config.settings import Settings
    from llm_timecycle.evaluation.adaptive.result import AdaptiveScore
    from llm_timecycle.evaluation.copies.report import SampleReport
    from llm_timecycle.evaluation.unknown import SpellingCost
    from llm_timecycle.runs.directory import Run
    from llm_timecycle.text.corpus import Corpus
    from llm_timecycle.text.token_store import TokenStream
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")


@dataclass(frozen=True)
class Extras:
    """What is measured beside the plain score."""

    cache: bool = False
    """A score with the neural cache."""
    dynamic: bool = False
    """A score with dynamic evaluation."""
    samples: int = 0
    """Fresh samples to compare with the training text; 0 draws none."""


NOTHING_ELSE = Extras()


@dataclass(frozen=True)
class RunTexts:
    """A run and its texts: what else is measured needs more of them than the one that is scored."""

    run: Run
    settings: Settings
    tokenizer: Tokenizer
    cache: Path
    show_progress: bool

    def score(
        self,
        scored: TokenStream,
        spelling: SpellingCost | None,
        weights: Mapping[str, np.ndarray],
        extras: Extras,
        *,
        is_valid: bool,
        precision: str,
        exact: bool,
    ) -> tuple[AdaptiveScore | None, AdaptiveScore | None, AdaptiveScore | None]:
        """The scores with the cache, with dynamic evaluation and with both; None if not asked for.

        Args:
            scored: the text.
            spelling: what its unknown words cost.
            weights: the trained ones.
            extras: which scores.
            is_valid: whether it is the validation text itself.
            precision: of the network that the cache reads, as of `build_network`.
            exact: whether the cache reads it in one lane.
        """
        from llm_timecycle.evaluation.adaptive.api import Model, Texts, score_with_memory
        from llm_timecycle.evaluation.adaptive.reading import Text
        from llm_timecycle.evaluation.adaptive.result import make_score
        from llm_timecycle.evaluation.figures import compute_figures

        tuned = scored if is_valid else self._open_validation()
        training = self._open_gradient_text() if extras.dynamic else None
        texts = Texts(
            Text(scored.ids, scored.document_starts),
            Text(tuned.ids, tuned.document_starts),
            None if training is None else Text(training.ids, training.document_starts),
        )
        outcomes = score_with_memory(
            Model(self.run.settings, self.run.vocab_size, weights),
            texts,
            precision,
            cache=extras.cache,
            dynamic=extras.dynamic,
            is_exact=exact,
            show_progress=self.show_progress,
        )
        predicted = texts.scored.predictions

        def make(name: str) -> AdaptiveScore | None:
            if (outcome := outcomes.get(name)) is None:
                return None
            figures = compute_figures(outcome.loss_nats, predicted, scored, spelling)
            return make_score(figures, 1000 * outcome.wall_s / predicted, outcome)

        return make("cache"), make("dynamic"), make("cache_and_dynamic")

    def measure_samples(self, samples: int, held_out: TokenStream) -> SampleReport:
        """New texts of the model, compared with the training text and with a held-out one."""
        from llm_timecycle.evaluation.copies.meter import (
            TrainingText,
            draw_samples,
            measure_samples,
        )

        training: TrainingText | str
        try:
            training = TrainingText(*self._open_training())
        except DataError as error:
            training = str(error)
            log.warning("copies cannot be looked for: %s", error)
        texts, seed = draw_samples(self.run, self.tokenizer, samples)
        return measure_samples(
            self.run,
            self.tokenizer,
            texts,
            seed,
            held_out=held_out,
            training=training,
            show_progress=self.show_progress,
        )

    def _open_validation(self) -> TokenStream:
        """The validation text, whichever text is scored."""
        try:
            _, stream = open_split(
                self.run, self.settings, self.tokenizer, "valid", self.cache, self.show_progress
            )
        except HeldOutTextError as error:
            raise DataError(
                f"a score with memory is tuned on the validation text, and {error.problem}"
            ) from error
        if stream.tokens < 2:
            raise DataError("the validation text holds too little to tune a score with memory on")
        return stream

    def _open_gradient_text(self) -> TokenStream:
        try:
            return self._open_training()[1]
        except DataError as error:
            raise DataError(
                f"dynamic evaluation measures gradients on the training text, and {error}"
            ) from error

    def _open_training(self) -> tuple[Corpus, TokenStream]:
        return open_training_text(
            self.run, self.settings, self.tokenizer, self.cache, self.show_progress
        )
