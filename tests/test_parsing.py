"""Parsing what a user was handed ends in a value or a ValueError."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from llm_timecycle.parsing import call_library, parse_json

PANIC = """{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%s"}, "pre_tokenizer": null,
"post_processor": null, "decoder": null,
"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"""


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff", b"nope"])
def test_what_is_no_json_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)


def test_a_number_of_thousands_of_digits_is_called_that() -> None:
    with pytest.raises(ValueError, match=r"^a number in it has too many digits$"):
        parse_json('{"a": ' + "9" * 5000 + "}")


def test_json_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("characters", ["AAAA", ""])
def test_a_panic_of_a_library_is_a_value_error(characters: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        call_library(lambda: Tokenizer.from_str(PANIC % characters))


def test_what_a_user_asks_for_is_no_error_of_a_library() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_library(stop)
