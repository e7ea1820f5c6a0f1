"""Stop texts: never shown in whole or in part, however the text is cut into pieces."""

from __future__ import annotations

import random

import pytest

from llm_timecycle.generation.stop_sequences import StopSequenceFilter


def show(stop_sequences: list[str], pieces: list[str]) -> list[str]:
    """What is shown after each piece, and at the end."""
    watch = StopSequenceFilter(stop_sequences)
    return [*(watch.push(piece) for piece in pieces), watch.finish()]


@pytest.mark.parametrize(
    ("stop_sequences", "pieces", "shown"),
    [
        ([], ["one ", "two"], ["one ", "two", ""]),
        (["END"], ["one END two"], ["one ", ""]),
        (["END"], ["one E", "N", "D", " two"], ["one ", "", "", "", ""]),
        (["END"], ["E", "N", "Ce"], ["", "", "ENCe", ""]),
        (["END"], ["one EN"], ["one ", "EN"]),
        (["aab"], ["aa", "a", "b"], ["", "a", "", ""]),  # the second a is the first of the stop
        (["。"], ["好", "。", "他"], ["好", "", "", ""]),
        (["yz", "xyz"], ["w", "xyz"], ["w", "", ""]),  # the one that begins first
        (["xyzw", "yz"], ["xy", "z"], ["", "x", ""]),  # the one that is complete first
        (["\n\n"], ["a\n", "b\n", "\nc"], ["a", "\nb", "", ""]),
    ],
)
def test_by_hand(stop_sequences: list[str], pieces: list[str], shown: list[str]) -> None:
    assert show(stop_sequences, pieces) == shown


@pytest.mark.parametrize("seed", range(50))
def test_one_stop_text_cuts_the_same_however_the_text_is_cut_into_pieces(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choices("ab", k=40))
    stop = "".join(rng.choices("ab", k=rng.randint(1, 6)))
    pieces, rest = [], text
    while rest:
        size = rng.randint(1, 5)
        pieces, rest = [*pieces, rest[:size]], rest[size:]
    assert "".join(show([stop], pieces)) == text.split(stop)[0]
