"""Classes of characters that decide where text may be split.

Each constant is the inside of a character class `[...]`, written with the characters themselves,
so that Python's `re` and the `tokenizers` library read it the same way.
"""

from __future__ import annotations

from llm_timecycle.errors import DataError

BLANK = "\t\x0b\x0c\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space except the line feed."""

WHITE_SPACE = f"\n{BLANK}"
"""What `str.split` splits on."""

HAN = (
    "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003fffd"
)
HAN_LETTERS = (
    "\u3005\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d\ufa70-\ufad9\U00020000-\U0002a6df"
)
"""The common letters among them: no zero (〇), numerals or radicals, nothing unassigned."""

KANA = "\u3041-\u3096\u309b-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"


def lower_text(text: str) -> str:
    """The text in lower case, character by character (a capital sigma always becomes σ).

    `str.lower` looks at the neighbours of a sigma, so a text and its pieces could differ.
    """
    return text.replace("Σ", "σ").lower()


def check_characters(text: str) -> None:
    """Raise DataError if `text` contains half of a surrogate pair, which is not a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text is not valid Unicode: U+{ord(text[error.start]):04X} at character "
            f"{error.start} is half of a character. Was it read as UTF-8?"
        ) from None
