"""DRY, no_repeat_ngram and XTC as their definitions read, for one text: the twins of the filters.

They compare token by token, which takes time quadratic in the length of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def compute_dry_penalties(
    tokens: Sequence[int],
    multiplier: float,
    base: float,
    allowed_length: int,
    breakers: Collection[int] = (),
    longest: int = 50,
) -> dict[int, float]:
    """What DRY subtracts from the logit of each token: multiplier * base ** (m - allowed_length).

    m is the largest number of last tokens, without a breaker and at most `longest`, that stood in
    front of the token before. Tokens with m < allowed_length, and breakers, are not penalized.

    Args:
        tokens: the text so far, prompt included.
        multiplier, base, allowed_length: see the settings dry_multiplier and so on.
        breakers: the tokens that end a passage.
        longest: the longest passage that counts.

    Source: Weidmann (p-e-w) 2024, pull request 5677 of text-generation-webui.

    >>> compute_dry_penalties([1, 2, 3, 9, 1, 2], 0.5, 2.0, 1)  # 1 2 again; 3 followed
    {3: 1.0}
    """
    longest_match: dict[int, int] = {}
    for place in range(1, len(tokens)):
        token, match = tokens[place], 0
        while (
            match < min(longest, place)
            and tokens[place - 1 - match] == tokens[-1 - match]
            and tokens[-1 - match] not in breakers
        ):
            match += 1
        longest_match[token] = max(match, longest_match.get(token, 0))
    return {
        token: multiplier * base ** (match - allowed_length)
        for token, match in longest_match.items()
        if match >= allowed_length and token not in breakers
    }


def list_repeated_ngram_ends(tokens: Sequence[int], n: int) -> set[int]:
    """The tokens that would complete an n-gram that occurred before.

    >>> sorted(list_repeated_ngram_ends([1, 2, 3, 1, 2, 4, 1, 2], 3))
    [3, 4]
    """
    ngrams = {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}
    begun = tuple(tokens[len(tokens) - n + 1 :])
    return {ngram[-1] for ngram in ngrams if ngram[:-1] == begun}


def exclude_top_choices(
    probabilities: Mapping[int, float], threshold: float, protected: Collection[int] = ()
) -> set[int]:
    """The tokens that XTC removes: of those that reach the threshold, all but the least likely.

    None if a protected token is among them. Of the equally likely, the one with the lowest id is
    the one that stays.

    Args:
        probabilities: of each token, in order of their ids.
        threshold: a probability.
        protected: tokens, such as the end of a line.

    Source: Weidmann (p-e-w) 2024, pull request 6335 of text-generation-webui.

    >>> exclude_top_choices({0: 0.5, 1: 0.25, 2: 0.15, 3: 0.1}, 0.15)
    {0, 1}
    """
    likely = [token for token, p in probabilities.items() if p >= threshold]
    if not likely:
        return set()
    least = min(likely, key=lambda token: probabilities[token])
    removed = set(likely) - {least}
    return set() if removed & set(protected) else removed
