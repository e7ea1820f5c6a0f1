"""Prompts as they are given to `generate`: from a file or standard input, and as they are shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from llm_timecycle.errors import DataError
from llm_timecycle.text.characters import BLANK
from llm_timecycle.text.tokenizer import Tokenizer


def read_prompt(source: str) -> str:
    """The text of a file, or of standard input for `-`, without one line break at its end.

    Raises DataError where it cannot be read or is not UTF-8.
    """
    if source == "-":
        text = decode_input(sys.stdin.buffer.read()).removeprefix("\ufeff")
    else:
        from llm_timecycle.text.reading import TextFile

        text = "".join(TextFile(Path(source)).read())
    return text.replace("\r\n", "\n").removesuffix("\n")


def decode_input(content: bytes) -> str:
    """What came on standard input as text; DataError where it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"the prompt on standard input is not UTF-8 text: the byte at offset {error.start} "
            f"fits no character. Convert it first: iconv -f GB18030 -t UTF-8 (with its own "
            f"encoding in place of GB18030)"
        ) from error


def show_prompt(prompt: str, tokenizer: Tokenizer) -> str:
    """A prompt as it is printed before its continuation."""
    if tokenizer.settings.level == "word":
        return re.sub(f"[{BLANK}]+\\Z", "", prompt)  # the next word brings its own space
    return prompt
