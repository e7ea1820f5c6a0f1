"""What the copy meter found, as values and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_timecycle.evaluation.table import Figure

SHOWN_CHARACTERS = 100
PASSAGES_SHOWN = 5


@dataclass(frozen=True)
class Passage:
    """A passage of a sample that stands word for word in the training text."""

    text: str
    """The passage."""
    tokens: int
    """How long it is."""
    sample: int
    """The number of the sample, from 0."""
    place: str | None
    """Where it stands first: a file and a line, or a file and a document; None where the place is
    not known."""
    token_position: int
    """The token of the training text at which it begins, from 0."""


@dataclass(frozen=True)
class SampleReport:
    """Fresh samples of a model beside held-out text cut into pieces of the same lengths.

    A figure of copies is None where the training text cannot be read; `note` says why.
    """

    count: int
    """How many texts were sampled."""
    tokens: int
    """Tokens in them."""
    seed: int
    """The seed that they were sampled with."""
    run_tokens: int
    """Tokens of a run that counts as a copy: 8, or where tokens are letters, about eight words."""
    repetition: float
    """The share of 4-grams that occurred in the same sample before, the mean of all samples."""
    held_out_repetition: float | None
    """That of the held-out text; None where there is none."""
    distinct_1: float
    """Distinct tokens of all samples together, as a share of their tokens."""
    distinct_2: float
    """Distinct pairs of tokens."""
    held_out_distinct_1: float | None
    held_out_distinct_2: float | None
    copied_share: float | None = None
    """The share of the samples' runs of `run_tokens` tokens that stand in the training text."""
    held_out_copied_share: float | None = None
    """That of the held-out text."""
    passages: tuple[Passage, ...] = ()
    """The longest passages that do, longest first."""
    searched_tokens: int | None = None
    """Tokens of the training text that were searched."""
    share_in_training_text: float | None = None
    """Where the training text cannot be read: the share of the samples' text that the run's
    sample of it knows; None where that is too little to tell."""
    note: str | None = None
    """What is missing, and why."""

    def list_rows(self) -> dict[str, Figure]:
        """What a table shows."""
        rows: dict[str, Figure] = {
            "samples": f"{self.count:,} of {self.tokens:,} tokens, seed {self.seed}",
            "repetition": _write_beside(self.repetition, self.held_out_repetition),
            "distinct_1": _write_beside(self.distinct_1, self.held_out_distinct_1),
            "distinct_2": _write_beside(self.distinct_2, self.held_out_distinct_2),
        }
        if self.copied_share is not None:
            name = f"copied_{self.run_tokens}-grams"
            rows[name] = _write_beside(self.copied_share, self.held_out_copied_share)
            for passage in self.passages[:PASSAGES_SHOWN]:
                number = len(rows) - 4
                rows[f"longest_copy_{number}"] = describe_passage(passage)
        if self.share_in_training_text is not None:
            rows["share_copied"] = f"about {100 * self.share_in_training_text:.1f} %"
        if self.note is not None:
            rows["note"] = self.note
        return rows


def describe_passage(passage: Passage) -> str:
    """A passage in one line, with its length and place."""
    text = " ".join(passage.text.split())
    if len(text) > SHOWN_CHARACTERS:
        text = f"{text[:SHOWN_CHARACTERS]}..."
    place = passage.place or f"token {passage.token_position:,} of the training text"
    return f'{passage.tokens:,} tokens, {place}: "{text}"'


def _write_beside(share: float, held_out: float | None) -> str:
    beside = "" if held_out is None else f" (held-out text {100 * held_out:.1f} %)"
    return f"{100 * share:.1f} %{beside}"


def mean(shares: Sequence[float]) -> float:
    """The mean of a few shares; 0 of none."""
    return sum(shares) / len(shares) if shares else 0.0
