"""Texts as they grow: matches with their ends, against a comparison token by token."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.generation.sampling.history import TextHistory

TEXTS = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=4)


def list_matches(text: list[int], longest: int) -> list[tuple[int, int]]:
    """Each token that followed a match of one token or more, and its length, in order."""
    found = []
    for place in range(len(text) - 1):
        length = 0
        while length < min(longest, place + 1) and text[place - length] == text[-1 - length]:
            length += 1
        if length:
            found.append((text[place + 1], length))
    return found


def list_repeats(history: TextHistory, text: int, least: int = 1) -> list[tuple[int, int]]:
    texts, followers, lengths = history.find_repeats(least)
    return [
        (int(token), int(length))
        for row, token, length in zip(texts, followers, lengths, strict=True)
        if row == text
    ]


def test_matches_by_hand() -> None:
    history = TextHistory([[1, 2, 3, 1, 2]], longest=9)  # 1 2 at the start, followed by 3
    assert list_repeats(history, 0) == [(3, 2)]
    history.push(np.array([3]))
    assert list_repeats(history, 0) == [(1, 3)]
    history.push(np.array([2]))  # after 3 1 2 3 2: only 2 itself, followed by 3
    assert list_repeats(history, 0) == [(3, 1), (3, 1)]


def test_of_no_tokens_every_token_follows() -> None:
    history = TextHistory([[4, 5], [6]], longest=9)
    assert [list_repeats(history, row, least=0) for row in (0, 1)] == [[(4, 0), (5, 0)], [(6, 0)]]


@given(texts=TEXTS, longest=st.integers(1, 5), more=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_matches_are_those_of_a_comparison_token_by_token(
    texts: list[list[int]], longest: int, more: int, seed: int
) -> None:
    """Of texts of different lengths, at first and after any number of tokens."""
    history = TextHistory(texts, longest)
    grown = [list(text) for text in texts]
    for ids in np.random.default_rng(seed).integers(0, 3, (more, len(texts))):
        history.push(ids)
        for text, token in zip(grown, ids.tolist(), strict=True):
            text.append(token)
    for row, text in enumerate(grown):
        assert list_repeats(history, row) == list_matches(text, longest)


@given(texts=TEXTS, seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_text_that_grows_equals_one_that_is_there(texts: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(texts), 3).tolist()
    ids = rng.integers(0, 3, (70, 3))  # beyond the first capacity
    history = TextHistory(texts, 50, breakers=[2])
    history.select_rows(rows)
    for column in ids:
        history.push(column)
    fresh = TextHistory(
        [[*texts[row], *ids[:, n].tolist()] for n, row in enumerate(rows)], 50, breakers=[2]
    )
    assert history.unbroken.tolist() == fresh.unbroken.tolist()
    for n in range(3):
        assert list_repeats(history, n) == list_repeats(fresh, n)


def test_what_is_unbroken_ends_at_a_breaker() -> None:
    history = TextHistory([[7, 1, 2], [1, 7], [], [1, 2]], longest=9, breakers=[7])
    assert history.unbroken.tolist() == [2, 0, 0, 2]
    history.push(np.array([7, 1, 1, 1]))
    assert history.unbroken.tolist() == [0, 1, 1, 3]
