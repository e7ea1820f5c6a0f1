"""Stop sequences: never shown, in whole or in part, whatever the pieces of the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.generation.stop_sequences import StopSequenceFilter


def show(stop_sequences: list[str], pieces: list[str]) -> list[str]:
    """The text shown after each piece, and at the end."""
    stop = StopSequenceFilter(stop_sequences)
    return [*(stop.push(piece) for piece in pieces), stop.finish()]


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
        (["yz", "xyz"], ["w", "xyz"], ["w", "", ""]),  # the one that starts first
        (["xyzw", "yz"], ["xy", "z"], ["", "x", ""]),  # the one that is complete first
        (["\n\n"], ["a\n", "b\n", "\nc"], ["a", "\nb", "", ""]),
    ],
)
def test_by_hand(stop_sequences: list[str], pieces: list[str], shown: list[str]) -> None:
    assert show(stop_sequences, pieces) == shown


@given(
    pieces=st.lists(st.text("ab", max_size=5), max_size=20),
    stop=st.text("ab", min_size=1, max_size=6),
)
def test_a_text_ends_at_the_same_character_whatever_its_pieces(
    pieces: list[str], stop: str
) -> None:
    assert "".join(show([stop], pieces)) == "".join(pieces).split(stop)[0]
