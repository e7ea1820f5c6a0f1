"""What the unknown words of a text cost beyond their `<unk>`: their spelling."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import load_spelling
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.token_store import TokenStream
from llm_timecycle.text.tokenizer.pipelines import UNKNOWN
from llm_timecycle.text.tokenizer.spelling import SpellingModel
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")


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
            words = Counter(word for text in chunk.split() for word in tokenizer.list_unknown(text))
            words.pop(UNKNOWN, None)
            bits += sum(count * spelling.compute_bits(word) for word, count in words.items())
            tokens += words.total()
    return SpellingCost(bits, tokens)


def charge_unknown(
    run: Run, tokenizer: Tokenizer, corpus: Corpus, stream: TokenStream
) -> SpellingCost | None:
    """What the unknown words of a text cost; None where the run does not say."""
    if not stream.unknown:
        return SpellingCost(0.0, 0)
    share = stream.unknown / stream.tokens
    log.info("%s tokens (%.2f %%) are unknown to the model", f"{stream.unknown:,}", 100 * share)
    spelling = load_spelling(run)
    if spelling is None:
        log.warning(
            "%s was made by an older version and cannot charge for the spelling of unknown words: "
            "its bits per character and perplexity per word look better than they are. To compare "
            "them with those of other models, train it again",
            run.path,
        )
        return None
    return compute_spelling_cost(tokenizer, spelling, corpus)
