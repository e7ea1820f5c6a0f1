"""What the unknown words of a text cost beyond their `<unk>`: their spelling."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.tokenizer.pipelines import UNKNOWN
from llm_timecycle.text.tokenizer.spelling import SpellingModel
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class SpellingCost:
    """The cost of the unknown words of a text."""

    bits: float
    """-log2 s(word), added over them."""
    tokens: int
    """How many there are."""


def compute_spelling_cost(
    tokenizer: Tokenizer, spelling: SpellingModel, corpus: Corpus
) -> SpellingCost:
    """The cost of spelling every unknown word of a text, which is read once.

    A `<unk>` that the text itself spells, as those of the Penn Treebank and WikiText do, is a word
    that the model knows: it costs nothing more than its token.

    Args:
        tokenizer: decides which words are unknown.
        spelling: s, of the tokenizer's training text.
        corpus: the text.

    Raises:
        DataError: the text cannot be read.
    """
    bits, tokens = 0.0, 0
    for document in corpus.documents():
        for chunk in document.chunks():
            words = Counter(tokenizer.list_unknown(chunk))
            words.pop(UNKNOWN, None)
            bits += sum(count * spelling.compute_bits(word) for word, count in words.items())
            tokens += words.total()
    return SpellingCost(bits, tokens)
