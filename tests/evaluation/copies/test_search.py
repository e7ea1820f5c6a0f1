"""The copy meter's search: planted passages are found, the longest exactly, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.evaluation.copies import search
from llm_timecycle.evaluation.copies.search import Match, find_copies, hash_runs
from llm_timecycle.reference.text.overlap import compute_overlap_share, find_longest_copy

V, RUN = 5000, 8


def test_all_of_fifty_planted_passages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHUNK_TOKENS", 1000)  # so that passages lie across chunks
    rng = np.random.default_rng(1)
    text = rng.integers(2, V, 30_000).astype(np.uint16)
    samples = [rng.integers(2, V, 200).astype(np.int64) for _ in range(50)]
    planted = []
    for number, sample in enumerate(samples):
        tokens = int(rng.integers(RUN, 150))
        start = int(rng.integers(0, 200 - tokens + 1))
        position = number * 600 + int(rng.integers(0, 600 - tokens))
        text[position : position + tokens] = sample[start : start + tokens]
        planted.append(Match(number, start, tokens, position))
    found = find_copies(samples, text, run=RUN, most=50)
    assert set(found.matches) == {*planted}
    assert [match.tokens for match in found.matches] == sorted(
        (match.tokens for match in planted), reverse=True
    )
    assert found.copied == tuple(match.tokens - RUN + 1 for match in planted)
    assert found.runs == (193,) * 50


@settings(max_examples=60)
@given(
    sample=st.lists(st.integers(0, 2), min_size=1, max_size=30),
    text=st.lists(st.integers(0, 2), min_size=1, max_size=80),
    run=st.integers(1, 9),
    chunk=st.sampled_from([3, 7, 1000]),
)
def test_it_finds_what_comparing_everything_finds(
    sample: list[int], text: list[int], run: int, chunk: int
) -> None:
    """Of three letters, so that most passages come again and again and overlap."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "CHUNK_TOKENS", chunk)
        patch.setattr(search, "PAIRS_AT_MOST", 20)
        found = find_copies([np.array(sample)], np.array(text, np.uint8), run=run, most=5)
    runs = max(len(sample) - run + 1, 0)
    assert found.runs == (runs,)
    if runs:
        share = compute_overlap_share(bytes(sample), bytes(text), run)
        assert found.copied[0] == pytest.approx(share * runs)
    _, tokens, _ = find_longest_copy(sample, text)
    if tokens < run:
        assert found.matches == ()
    else:
        longest = found.matches[0]
        assert longest.tokens == tokens
        here = sample[longest.start : longest.start + tokens]
        assert text[longest.position : longest.position + tokens] == here


def test_a_loop_is_found_in_its_whole_length() -> None:
    loop = np.tile([5, 6, 7], 100)
    text = np.concatenate([np.arange(100, 900), np.tile([5, 6, 7], 90), np.arange(900, 999)])
    found = find_copies([loop], text, run=RUN, most=3)
    assert found.matches[0].tokens == 270


def test_unknown_words_are_no_copy() -> None:
    text = np.arange(1, 40)
    sample = np.arange(5, 35)
    found = find_copies([sample], text, run=RUN, most=3, barred=[20])
    assert [(match.start, match.tokens, match.position) for match in found.matches] == [
        (0, 15, 4),
        (16, 14, 20),
    ]
    assert found.copied == (15 - 7 + 14 - 7,)


def test_only_the_first_samples_are_listed_and_all_are_counted() -> None:
    text = np.arange(100)
    found = find_copies([np.arange(200, 220), text[:20]], text, run=RUN, most=3, listed=1)
    assert found.matches == ()
    assert found.copied == (0, 13)


@pytest.mark.parametrize("length", [0, 3])
def test_samples_and_texts_that_are_too_short(length: int) -> None:
    short = np.arange(length)
    assert find_copies([short], np.arange(50), run=RUN, most=3).matches == ()
    assert find_copies([np.arange(50)], short, run=RUN, most=3).matches == ()
    assert find_copies([], np.arange(50), run=RUN, most=3).copied == ()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 40])
def test_equal_runs_have_equal_hashes_and_others_have_others(length: int) -> None:
    tokens = np.random.default_rng(2).integers(0, 3, 400)
    hashes = hash_runs(tokens, length)
    assert len(hashes) == 400 - length + 1
    runs = [tokens[start : start + length].tobytes() for start in range(len(hashes))]
    pairs = {*zip(runs, hashes.tolist(), strict=True)}
    assert len(set(hashes.tolist())) == len(set(runs)) == len(pairs)
