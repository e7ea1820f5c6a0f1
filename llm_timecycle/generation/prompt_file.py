"""A file of prompts, JSON Lines: one text in quotes, or one object with `prompt`, a line.

    "Once upon a time"
    {"prompt": "The dragon", "id": "d1", "temperature": 0.6, "length": 80}

An object may have an `id`, which comes back with the text, and settings of `generation`, which
replace those of the run for this prompt. Empty lines are passed over.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import DataError, UsageError
from llm_timecycle.generation.generator import check_top_logprobs
from llm_timecycle.generation.options import override_settings
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.parsing import is_unicode, parse_json
from llm_timecycle.text.files.streams import read_given
from llm_timecycle.text.tokenizer.characters import check_characters
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

PROMPTS_AT_MOST = 1_000_000
PROBLEMS_NAMED = 10
OWN_KEYS = ("prompt", "id")
TOKEN_KEYS = ("ban", "bias", "allow_unknown")
"""Settings that may not fit the vocabulary, or leave no token to draw."""
EXAMPLE = '{"prompt": "Once upon a time"}'


@dataclass(frozen=True, slots=True)
class PromptLine:
    """One prompt of the file."""

    line: int
    """The number of its line, from 1."""
    prompt: str
    id: str | int | None
    """What the user calls it; None if it has no name."""
    settings: GenerationSettings
    """Those of the request, with what the line replaces."""
    has_seed: bool
    """Whether the seed is one that the line names."""


@dataclass(frozen=True)
class PromptFile:
    """All prompts of a file, in order, checked."""

    path: Path
    sha256: str
    """Of its content, in hex."""
    lines: tuple[PromptLine, ...]


def read_prompt_file(
    path: Path, settings: GenerationSettings, tokenizer: Tokenizer, top_logprobs: int = 0
) -> PromptFile:
    """Read and check every line, before anything is generated.

    Args:
        path: the file, in UTF-8.
        settings: those of the request.
        tokenizer: the model's; tokens in `ban` and `bias` must be in its vocabulary.
        top_logprobs: of how many of the likeliest tokens the log-probability will be recorded.

    Raises:
        UsageError: the settings of the request, or `top_logprobs`, do not fit the model.
        DataError: the file cannot be read or has no prompt, or names every line that is wrong.
    """
    make_plan(settings, tokenizer)
    check_top_logprobs(top_logprobs, tokenizer.vocab_size, settings.beams)
    content = _read(path)
    lines: list[PromptLine] = []
    problems: list[str] = []
    more = 0
    for number, text in _list_lines(path, content):
        if len(lines) == PROMPTS_AT_MOST:
            raise DataError(
                f"{path} has more than {PROMPTS_AT_MOST:,} prompts: split it into several files"
            )
        try:
            line = _read_line(number, text, settings, tokenizer)
            check_top_logprobs(top_logprobs, tokenizer.vocab_size, line.settings.beams)
            lines.append(line)
        except (DataError, UsageError) as error:
            if len(problems) < PROBLEMS_NAMED:
                problems.append(f"{path}, line {number}: {error}")
            else:
                more += 1
    if problems:
        rest = [f"... and {more:,} more lines like these"] if more > 0 else []
        raise DataError("\n".join([*problems, *rest]))
    if not lines:
        raise DataError(f"{path} has no prompt; expected one a line, such as {EXAMPLE}")
    return PromptFile(path, hashlib.sha256(content).hexdigest(), tuple(lines))


def _read(path: Path) -> bytes:
    try:
        return read_given(path)
    except OSError as error:
        advice = ". Split it into several files" if error.errno == errno.EFBIG else ""
        raise DataError(f"{path} cannot be read: {error.strerror or error}{advice}") from error


def _list_lines(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, each with its number."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {number}: not UTF-8. Convert the file first: iconv -f GB18030 -t UTF-8 "
            f"(with its encoding in place of GB18030)"
        ) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _read_line(
    number: int, text: str, settings: GenerationSettings, tokenizer: Tokenizer
) -> PromptLine:
    try:
        value = parse_json(text)
    except ValueError as error:
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} at character {error.pos + 1}"
        raise DataError(
            f"not JSON ({reason}); expected an object such as {EXAMPLE}, or a text in double quotes"
        ) from None
    given = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("prompt"), str):
        raise DataError(f"expected an object with a text as prompt, such as {EXAMPLE}")
    id = given.get("id")
    if isinstance(id, bool) or not isinstance(id, (str, int, type(None))):
        raise DataError(f"id: received {json.dumps(id)}; expected a text or a whole number")
    if isinstance(id, str) and not is_unicode(id):
        raise DataError(
            f"id: received {json.dumps(id)}, which is not UTF-8; expected text in UTF-8"
        )
    check_characters(given["prompt"])
    changes = {key: item for key, item in given.items() if key not in OWN_KEYS}
    changed = _change_settings(settings, changes, tokenizer)
    has_seed = changes.get("seed") is not None
    return PromptLine(number, given["prompt"], id, changed, has_seed)


def _change_settings(
    settings: GenerationSettings, changes: Mapping[str, Any], tokenizer: Tokenizer
) -> GenerationSettings:
    if not changes:
        return settings
    changed = override_settings(settings, changes, write_value=json.dumps)
    if not changes.keys().isdisjoint(TOKEN_KEYS):
        make_plan(changed, tokenizer)  # names tokens that are not in the vocabulary
    return changed
