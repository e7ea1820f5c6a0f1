"""The figures of an evaluation, and how they follow from the sums over a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llm_timecycle.evaluation.figures import compute_figures
from llm_timecycle.evaluation.table import Figure, write_figure, write_html_table, write_table

if TYPE_CHECKING:
    from llm_timecycle.evaluation.adaptive.result import AdaptiveScore
    from llm_timecycle.evaluation.copies.report import SampleReport
    from llm_timecycle.evaluation.stream import Sums
    from llm_timecycle.evaluation.unknown import SpellingCost
    from llm_timecycle.text.shingles import Overlap
    from llm_timecycle.text.token_store import TokenStream

BITS = ("bits_per_character", "bits_per_byte")
NOT_CHARGED = "unknown words not charged"
MEMORY_LABELS = {"cache": "cache", "dynamic": "dynamic", "cache_and_dynamic": "both"}
"""What the table calls the scores with memory, by field."""


@dataclass(frozen=True)
class EvaluationResult:
    """How well a model predicts a text: `print` shows a table, and so does a notebook.

    A figure whose name ends in `with_spelling` also charges for the spelling of unknown words, so
    that a small vocabulary does not look better than it is: compare by these. Where nothing is
    unknown they equal the others; they are None where unknown words occur and the run, made by an
    older version, has no spelling model.
    """

    split: str
    """"valid", "test", or the text that was given."""
    loss_nats_per_token: float
    """The mean negative log-likelihood."""
    perplexity: float
    """exp of the mean loss; infinite where that is beyond a float."""
    perplexity_per_word: float
    """exp(nats / words), without the spelling of unknown words."""
    bits_per_character: float
    """nats / ln 2 / characters, without the spelling of unknown words."""
    bits_per_byte: float
    """nats / ln 2 / bytes of UTF-8, without the spelling of unknown words."""
    accuracy: float
    """The share of tokens that were the most likely one."""
    tokens: int
    """Tokens in the text; all but the first are predicted."""
    words: int
    """Words in the text."""
    characters: int
    """Characters in the text."""
    bytes: int
    """Bytes of UTF-8 in the text."""
    unknown_tokens: int
    """Tokens that are `<unk>`."""
    perplexity_per_word_with_spelling: float | None
    """2^((nats / ln 2 + spelling bits) / words): comparable between models."""
    bits_per_character_with_spelling: float | None
    """(nats / ln 2 + spelling bits) / characters: comparable between models."""
    spelling_bits_per_character: float | None
    """The part of it that unknown words cost beyond their `<unk>`."""
    bits_per_byte_with_spelling: float | None
    """(nats / ln 2 + spelling bits) / bytes of UTF-8: comparable between models."""
    spelled_tokens: int | None
    """Unknown tokens that paid for their spelling; a `<unk>` of the text itself does not."""
    share_in_training_text: float | None
    """The share of the text that occurs word for word in the training text, from a sample; None
    where the text is too short to tell, or the run was made by an older version."""
    method: str
    """How the text was read: in one lane and in float32 ("exact"), or in several, each after a
    warm-up."""
    ms_per_token: float | None = field(default=None, compare=False)
    """Milliseconds for each token, in the lanes that `method` names."""
    cache: AdaptiveScore | None = None
    """The score with the neural cache, if it was asked for."""
    dynamic: AdaptiveScore | None = None
    """The score with dynamic evaluation, if it was asked for."""
    cache_and_dynamic: AdaptiveScore | None = None
    """The score with both, if both were asked for."""
    samples: SampleReport | None = None
    """What the copy meter says of fresh samples, if it was asked for."""

    def __str__(self) -> str:
        return write_table(self._list_rows())

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        return write_html_table("Evaluation", self._list_rows())

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints: every figure by name; None for one that is not finite."""
        values: dict[str, Any] = _drop_infinite(asdict(self))
        return values

    def _list_rows(self) -> dict[str, Figure]:
        """What the table shows: figures that charge for unknown words in place of those without."""
        rows: dict[str, Any] = asdict(self)
        charged = {f"{name}_with_spelling": name for name in ("perplexity_per_word", *BITS)}
        for key, name in charged.items():
            if rows[key] is not None:
                rows[name] = rows[key]
            elif self.unknown_tokens:
                rows[name] = f"{write_figure(rows[name]):>16}, {NOT_CHARGED}"
        if self.spelled_tokens:
            share = 100 * self.spelled_tokens / self.tokens
            cost = write_figure(self.spelling_bits_per_character)
            total = write_figure(rows["bits_per_character"])
            rows["bits_per_character"] = (
                f"{total:>16}, of which {cost} for {share:.1f} % unknown words"
            )
        hidden = {*charged, "spelling_bits_per_character", "spelled_tokens"}
        hidden |= {*MEMORY_LABELS, "samples"}
        shown = {name: figure for name, figure in rows.items() if name not in hidden}
        for name, label in MEMORY_LABELS.items():
            score: AdaptiveScore | None = getattr(self, name)
            if score is not None:
                shown |= {f"{label}_{key}": figure for key, figure in score.list_rows().items()}
        if self.samples is not None:
            shown |= self.samples.list_rows()
        return shown


def summarize(
    split: str,
    sums: Sums,
    stream: TokenStream,
    method: str,
    spelling: SpellingCost | None = None,
    overlap: Overlap | None = None,
) -> EvaluationResult:
    """The figures of a scored text, from its sums and its size.

    Args:
        split: the name of the text.
        sums: of the scoring.
        stream: the text.
        method: how it was read.
        spelling: what its unknown words cost; None where the run does not say.
        overlap: what it has in common with the training text, where that is known.
    """
    figures = compute_figures(sums.loss_nats, sums.predicted, stream, spelling)
    characters = max(stream.characters, 1)
    return EvaluationResult(
        **asdict(figures),
        split=split,
        spelling_bits_per_character=None if spelling is None else spelling.bits / characters,
        accuracy=sums.accuracy,
        tokens=stream.tokens,
        words=stream.words,
        characters=stream.characters,
        bytes=stream.bytes,
        unknown_tokens=stream.unknown,
        spelled_tokens=None if spelling is None else spelling.tokens,
        share_in_training_text=None if overlap is None else overlap.share,
        method=method,
    )


def _drop_infinite(value: Any) -> Any:
    """The value with None for every number in it that is not finite."""
    if isinstance(value, Mapping):
        return {key: _drop_infinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_drop_infinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
