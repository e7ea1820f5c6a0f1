"""Words are counted as `str.split` finds them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.text import counting
from llm_timecycle.text.counting import count_words

SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]


@given(
    st.text(st.sampled_from(["a", ",", "é", "中", " ", "\n", "\x1c", "\x1b", "\u200b", *SPACES]))
)
def test_it_is_the_length_of_the_split(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SPLIT_BELOW", 0)
        for each in (text, f"{text} plain words around it {text}"):
            assert count_words(each, each.encode()) == len(each.split())


@pytest.mark.parametrize("space", SPACES)
def test_every_space_separates(space: str) -> None:
    text = f"a{space}b " * 1000
    assert count_words(text, text.encode()) == 2000


def test_a_long_text_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_WIDE_SPACES", "")
    text = "one\u3000word " * 1000  # which the quick way takes for one word
    assert count_words(text, text.encode()) == 1000
