"""How much a text repeats itself: repetition of one sample, distinct n-grams of many.

A model that loops writes the same words again and again, and neither loss nor perplexity shows it:
these two figures do. Neither is good or bad by itself; people repeat themselves too. Compare them
with those of held-out text, cut into windows as long as the samples, with the same tokenizer.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence


def measure_repetition(tokens: Sequence[Hashable], n: int = 4) -> float:
    """The share of the n-grams of a sample that occurred in the same sample before.

        repetition = 1 - |distinct n-grams| / |n-grams|,      |n-grams| = T - n + 1

    0 if no n-gram occurs twice, as in a sample of fewer than n tokens, which has none.

    Args:
        tokens: the sample, (T,): ids or texts of tokens, without the prompt.
        n: tokens of an n-gram, 1 or more.

    Source: Welleck et al. 2019, "Neural Text Generation with Unlikelihood Training", section 6,
    "seq-rep-n".

    >>> measure_repetition("a b c d e a b c d".split())  # 1 of 6: "a b c d"
    0.16666666666666666
    >>> measure_repetition([7] * 10)  # all but the first of 7
    0.8571428571428571
    """
    ngrams = max(len(tokens) - n + 1, 0)
    distinct = len(set(_list_ngrams(tokens, n)))
    return (ngrams - distinct) / ngrams if ngrams else 0.0


def measure_distinct(samples: Sequence[Sequence[Hashable]], n: int) -> float:
    """Distinct-n: the share of distinct n-grams among all n-grams of all samples.

        distinct = |distinct n-grams of all samples together| / sum over the samples of (T - n + 1)

    1 if no n-gram occurs twice, as where there is none. It falls with the number and the length of
    the samples: compare only what has the same of both.

    Args:
        samples: tokens of each, (T,).
        n: tokens of an n-gram, 1 or more.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation
    Models", section 5.1.

    >>> measure_distinct(["a b c".split(), "a b d".split()], 2)  # ab, bc, bd of 4
    0.75
    """
    ngrams = sum(max(len(tokens) - n + 1, 0) for tokens in samples)
    distinct = {ngram for tokens in samples for ngram in _list_ngrams(tokens, n)}
    return len(distinct) / ngrams if ngrams else 1.0


def _list_ngrams(tokens: Sequence[Hashable], n: int) -> Iterator[tuple[Hashable, ...]]:
    return zip(*(tokens[start:] for start in range(n)), strict=False)
