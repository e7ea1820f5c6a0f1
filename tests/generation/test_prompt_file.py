"""Files of prompts: what a line may be, and the message for every line that is wrong."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import DataError, UsageError
from llm_timecycle.generation import prompt_file
from llm_timecycle.generation.prompt_file import PromptFile, read_prompt_file
from llm_timecycle.text.files import streams
from tests.generation.fake_engine import CHARACTERS

SETTINGS = GenerationSettings(length=9)


def read(tmp_path: Path, content: str | bytes) -> PromptFile:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_prompt_file(path, SETTINGS, CHARACTERS)


def test_a_line_is_a_text_or_an_object(tmp_path: Path) -> None:
    content = '"abc"\n\n{"prompt": "b\\n", "id": "x", "length": 3, "ban": ["a"]}\r\n{"prompt": ""}'
    prompts = read(tmp_path, content)
    assert prompts.sha256 == hashlib.sha256(content.encode()).hexdigest()
    assert [(line.line, line.prompt, line.id) for line in prompts.lines] == [
        (1, "abc", None),
        (3, "b\n", "x"),
        (4, "", None),
    ]
    first, second, third = (line.settings for line in prompts.lines)
    assert first is third is SETTINGS
    assert second == SETTINGS.model_copy(update={"length": 3, "ban": ["a"]})


def test_a_seed_is_that_of_the_line_or_of_all(tmp_path: Path) -> None:
    prompts = read(tmp_path, '"a"\n{"prompt": "a", "seed": 5}\n{"prompt": "a", "seed": null}')
    assert [line.has_seed for line in prompts.lines] == [False, True, False]


def test_only_lines_that_name_tokens_are_held_to_the_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than all else that is checked of a line."""
    planned: list[GenerationSettings] = []
    monkeypatch.setattr(prompt_file, "make_plan", lambda settings, _: planned.append(settings))
    lines = [f'{{"prompt": "a", "seed": {n}}}' for n in range(9)]
    prompts = read(tmp_path, "\n".join([*lines, '{"prompt": "a", "ban": ["b"]}']))
    assert planned == [SETTINGS, prompts.lines[-1].settings]


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert read(tmp_path, '\ufeff"中"\n').lines[0].prompt == "中"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Once upon", "not JSON (Expecting value at character 1); expected an object such as"),
        ('"Once', "not JSON (Unterminated string"),
        ("5", 'expected an object with a text as prompt, such as {"prompt": "Once upon a time"}'),
        ('{"text": "a"}', "expected an object with a text as prompt"),
        ('{"prompt": 5}', "expected an object with a text as prompt"),
        ('{"prompt": "a", "id": [1]}', "id: received [1]; expected a text or a whole number"),
        ('{"prompt": "a", "temprature": 1}', "temprature: there is no such setting; did you mean"),
        ('{"prompt": "a", "temperature": "hot"}', 'temperature: received "hot"; expected a number'),
        ('{"prompt": "a", "ban": ["q"]}', "ban: received 'q', which the model does not know"),
        ('{"prompt": "a", "dry_base": 2.0}', "dry_base has no effect without DRY"),
        ('{"prompt": "\\ud800"}', "the text is not valid Unicode: U+D800"),
        ('{"prompt": "a", "id": "\\ud83d"}', 'id: received "\\ud83d", which is not UTF-8'),
        ('{"prompt": "a", "stop": ["\\ud83d"]}', "stop: received '\\ud83d', which is not UTF-8"),
        ('{"prompt": "a", "bias": {"\\ud83d": 1}}', "bias: received '\\ud83d', which is not UTF-8"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, f'"a"\n\n{line}\n')
    assert str(caught.value).startswith(f"{tmp_path / 'p.jsonl'}, line 3: {message}")


def test_a_line_that_records_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('"a"\n{"prompt": "a", "beams": 4}\n')
    assert len(read_prompt_file(path, SETTINGS, CHARACTERS).lines) == 2
    with pytest.raises(DataError) as caught:
        read_prompt_file(path, SETTINGS, CHARACTERS, top_logprobs=3)
    assert str(caught.value).startswith(f"{path}, line 2: top_logprobs: a beam search (beams: 4)")


@pytest.mark.parametrize(
    ("settings", "top_logprobs", "message"),
    [
        ({"ban": ["q"]}, 0, "ban: received 'q', which the model does not know"),
        ({"bias": {"q": 1.0}}, 0, "bias: received 'q', which the model does not know"),
        ({}, 99, "top_logprobs: received 99; expected a whole number from 1 to 8"),
    ],
)
def test_a_wrong_setting_of_the_request_is_an_error_too(
    tmp_path: Path, settings: dict[str, Any], top_logprobs: int, message: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('"a"\n')
    with pytest.raises(UsageError, match=message):
        read_prompt_file(path, GenerationSettings(**settings), CHARACTERS, top_logprobs)


def test_every_wrong_line_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_file, "PROBLEMS_NAMED", 2)
    with pytest.raises(DataError) as caught:
        read(tmp_path, '1\n"a"\n2\n3\n4\n')
    first, second, rest = str(caught.value).splitlines()
    assert (", line 1: " in first, ", line 3: " in second) == (True, True)
    assert rest == "... and 2 more lines like these"


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_prompts_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"p\.jsonl has no prompt; expected one a line, such as"):
        read(tmp_path, content)


def test_what_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"line 2: not UTF-8\. Convert the file first: iconv"):
        read(tmp_path, b'"a"\n"\xd6\xd0"\n')
    with pytest.raises(DataError, match=r"none\.jsonl cannot be read: No such file"):
        read_prompt_file(tmp_path / "none.jsonl", SETTINGS, CHARACTERS)
    monkeypatch.setattr(streams, "STREAM_BYTES_AT_MOST", 3)
    with pytest.raises(DataError, match=r"it has 5 bytes, .* Split it into several files"):
        read(tmp_path, '"abc"')


def test_more_prompts_than_fit_in_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_file, "PROMPTS_AT_MOST", 2)
    assert len(read(tmp_path, '"a"\n"b"\n').lines) == 2
    with pytest.raises(DataError, match="has more than 2 prompts: split it into several files"):
        read(tmp_path, '"a"\n"b"\n"a"\n')


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_prompts_come_through_a_pipe_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        pool.submit((tmp_path / "pipe").write_bytes, b'"a"\n')
        found = read_prompt_file(tmp_path / "pipe", SETTINGS, CHARACTERS)
    assert [line.prompt for line in found.lines] == ["a"]


@pytest.mark.parametrize("line", ["[" * 50_000, "1" * 5000, '{"prompt": "a", "id": 1' + "0" * 5000])
def test_what_json_cannot_hold_is_a_wrong_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"p\.jsonl, line 1: not JSON"):
        read(tmp_path, line)
