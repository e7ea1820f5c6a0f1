"""What `lt.train` returns."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.config.settings import Settings
from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.evaluation.table import Figure, write_html_table, write_table

if TYPE_CHECKING:
    from llm_timecycle.generation.api import Model
    from llm_timecycle.training.session import TrainingSummary


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended: `print` shows the figures, and so does a notebook."""

    run: Path
    """The run directory: what `lt.load`, `lt.evaluate` and `lt.profile` take."""
    settings: Settings
    """As resolved."""
    steps: int
    """Steps of the run, over all its sessions."""
    tokens: int
    """Tokens trained on."""
    wall_s: float
    """Seconds spent training, over all sessions."""
    best_loss: float | None
    """The lowest validation loss in nats per token; None without a validation text."""
    best_step: int | None
    """The step after which it was reached."""
    advice: str | None = None
    """What stands out in the course of the training, and what would help; None where all is well,
    or too little is known."""
    copies: str | None = None
    """How much of a few new texts was copied from the training text; None after a training that was
    too short to say."""

    @property
    def perplexity(self) -> float | None:
        """exp of the best loss; None without a validation text."""
        return None if self.best_loss is None else compute_perplexity(self.best_loss)

    def load(self) -> Model:
        """The trained model, with the best weights; see `lt.load`."""
        from llm_timecycle.generation.api import load

        return load(self.run)

    def __str__(self) -> str:
        lines = [line for line in (self.advice, self.copies) if line]
        return "\n".join([write_table(self._list_figures()), *lines])

    def _repr_html_(self) -> str:
        """The figures as a table, for a notebook."""
        lines = [f"<p>{escape(line)}</p>" for line in (self.advice, self.copies) if line]
        return "".join([write_html_table("Training", self._list_figures()), *lines])

    def _list_figures(self) -> dict[str, Figure]:
        return {
            "run": str(self.run),
            "steps": self.steps,
            "tokens": self.tokens,
            "wall_s": self.wall_s,
            "best_validation_loss": self.best_loss,
            "perplexity": self.perplexity,
            "best_step": self.best_step,
        }


def summarize(summary: TrainingSummary) -> TrainingResult:
    """What a session found, for those who called it from Python."""
    progress, is_scored = summary.progress, summary.has_validation
    advice = None
    if (finding := summary.finding) is not None:
        longer = " and ".join(finding.longer)
        advice = f"{finding.text}{f': resume it with {longer}' if longer else '.'}"
    return TrainingResult(
        run=summary.run.path,
        settings=summary.run.settings,
        steps=progress.step,
        tokens=progress.tokens,
        wall_s=progress.wall_s,
        best_loss=progress.best_loss if is_scored else None,
        best_step=progress.best_step if is_scored else None,
        advice=advice,
        copies=summary.copies,
    )
