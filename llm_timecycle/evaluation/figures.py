"""The figures that follow from the loss over a text and from the size of the text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from llm_timecycle.evaluation.unknown import SpellingCost


class TextSize(Protocol):
    """How long a text is, as `text.token_store.TokenStream` says it."""

    @property
    def words(self) -> int:
        """Words between white space."""

    @property
    def characters(self) -> int:
        """Characters."""

    @property
    def bytes(self) -> int:
        """Bytes of UTF-8."""


def compute_perplexity(loss_nats: float) -> float:
    """exp(loss), infinite where that is beyond a float.

    >>> round(compute_perplexity(math.log(50)), 6)
    50.0
    """
    try:
        return math.exp(loss_nats)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Figures:
    """How well a text was predicted; `EvaluationResult` says what each one is."""

    loss_nats_per_token: float
    perplexity: float
    perplexity_per_word: float
    bits_per_character: float
    bits_per_byte: float
    perplexity_per_word_with_spelling: float | None
    bits_per_character_with_spelling: float | None
    bits_per_byte_with_spelling: float | None


def compute_figures(
    loss_nats: float, predicted: int, size: TextSize, spelling: SpellingCost | None
) -> Figures:
    """The figures of a scored text.

    perplexity_per_word = exp(nats / words), bits_per_character = nats / ln 2 / characters

    Args:
        loss_nats: the negative log-likelihood of all predicted tokens.
        predicted: how many they are.
        size: of the text.
        spelling: what its unknown words cost; None where the run does not say.
    """
    words, characters, size_bytes = (max(n, 1) for n in (size.words, size.characters, size.bytes))
    bits = loss_nats / math.log(2)
    spelled_nats = None if spelling is None else loss_nats + spelling.bits * math.log(2)
    spelled_bits = None if spelling is None else bits + spelling.bits
    return Figures(
        loss_nats_per_token=loss_nats / predicted,
        perplexity=compute_perplexity(loss_nats / predicted),
        perplexity_per_word=compute_perplexity(loss_nats / words),
        bits_per_character=bits / characters,
        bits_per_byte=bits / size_bytes,
        perplexity_per_word_with_spelling=None
        if spelled_nats is None
        else compute_perplexity(spelled_nats / words),
        bits_per_character_with_spelling=None
        if spelled_bits is None
        else spelled_bits / characters,
        bits_per_byte_with_spelling=None if spelled_bits is None else spelled_bits / size_bytes,
    )
