"""One text as it is written: stop texts, early tokens, characters."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.serving.writing.written_text import WritingPlan, WrittenText, show_token
from tests.generation.fake_engine import BYTES, CHARACTERS, encode, make_tokenizer

NEUTRAL = SamplingPlan(GenerationSettings())
EARLY = SamplingPlan(GenerationSettings(), banned=(1,))


def begin(tokenizer=CHARACTERS, **plan: object) -> WrittenText:
    values = {"max_tokens": 100, **plan}
    return WrittenText(tokenizer, WritingPlan(NEUTRAL, EARLY, 1, **values), np.array([1]), 0)


def push_all(text: WrittenText, tokenizer, written: str) -> list[str]:
    pieces = []
    for id in encode(tokenizer, written):
        pieces.append(text.push(id))
        if text.finish_reason is not None:
            break
    return pieces


def test_part_of_a_stop_text_is_never_sent() -> None:
    text = begin(stop=("bc", "中文"))
    assert push_all(text, CHARACTERS, "aab中bca") == ["a", "a", "", "b", "中", ""]
    assert (text.finish_reason, text.stop_reason, text.text) == ("stop", "bc", "aab中")


def test_a_stop_text_is_read_as_a_prompt_is_and_named_as_it_was_given() -> None:
    tokenizer = make_tokenizer("once. the end.", lowercase=True)
    text = begin(tokenizer, stop=("The End",))
    push_all(text, tokenizer, "once. the end.")
    assert (text.text, text.stop_reason) == ("once. ", "The End")


def test_only_a_proper_prefix_is_held_back() -> None:
    text = begin(stop=("ab",))
    assert push_all(text, CHARACTERS, "cac") == ["c", "", "ac"]


def test_what_is_held_back_is_sent_at_the_end() -> None:
    text = begin(stop=("abc",), max_tokens=2)
    assert push_all(text, CHARACTERS, "ab") == ["", "ab"]
    assert (text.finish_reason, text.stop_reason) == ("length", None)


def test_a_stop_text_within_the_first_tokens_does_not_end() -> None:
    text = begin(stop=("a",), min_tokens=2)
    assert text.sampling is EARLY
    assert push_all(text, CHARACTERS, "aaba") == ["a", "a", "b", ""]
    assert text.sampling is NEUTRAL
    assert text.finish_reason == "stop"


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_a_cut_character_is_one_replacement(tokens: int) -> None:
    text = begin(BYTES, max_tokens=tokens)
    pieces = push_all(text, BYTES, "中")
    assert pieces == [""] * (tokens - 1) + ["中" if tokens == 3 else "\ufffd"]


def test_offsets_count_the_characters_before_each_token() -> None:
    text = begin(BYTES, top_logprobs=0)
    push_all(text, BYTES, "a中b")
    assert [record.offset for record in text.records] == [0, 1, 1, 1, 2]


def test_tokens_are_shown_as_their_text() -> None:
    assert [show_token(CHARACTERS, id) for id in range(3)] == ["<unk>", "<eos>", "\n"]
    first, *_ = encode(BYTES, "中")
    assert show_token(BYTES, first) == "bytes:\\xe4"
