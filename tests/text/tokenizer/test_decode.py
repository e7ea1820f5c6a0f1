"""Words to text: where a space belongs."""

from __future__ import annotations

import pytest

from llm_timecycle.text.tokenizer.decode import MarkJoiner, WordJoiner


def join(joiner: WordJoiner | MarkJoiner, words: str) -> str:
    """The text of words that are given with spaces between them."""
    return "".join(map(joiner.add, words.split()))


def test_words_are_joined_by_one_space_and_lines_by_none():
    assert join(WordJoiner(), "a , b <eos> <eos> <unk> c <eos>") == "a , b\n\n<unk> c\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("Yes , it is . <eos> No !", "Yes, it is.\nNo!"),
        ("call f ( x ) [ 1 ] : done", "call f (x) [1]: done"),
        ("it costs $ 5 or 9 %", "it costs $5 or 9%"),
        ("a well - known and / or word", "a well-known and/or word"),
        ("he said , “ hello ” and left", "he said, “hello” and left"),
        ('he said , " hello " and left', 'he said, "hello" and left'),
        ("the ` x ` and ' y '", "the `x` and 'y'"),
        ('( " a " )', '("a")'),
        ('a " b <eos> c " d', 'a "b\nc "d'),
        ("他 说 ： “ 你 好 ！ ”", "他说：“你好！”"),
        ("用 Python 写 code 。", "用Python写code。"),
        ("これ は ペ ン", "これはペン"),
        ("< unk > = 3", "< unk > = 3"),
        ("a \u0301 b", "a\u0301 b"),
        ("👨 \u200d 👩", "👨\u200d👩"),
        ("wait … what", "wait… what"),
    ],
)
def test_marks_are_joined_as_they_are_typed(words, text):
    assert join(MarkJoiner(), words) == text
