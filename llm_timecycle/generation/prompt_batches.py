"""Texts for many prompts, written to a file as they are done, so that a killed program goes on.

Beside OUT.jsonl, `OUT.jsonl.request.json` says which model, settings and prompts it is made from.
Called again with the same, the program continues after the last line that is there; with others, it
refuses. Lines are added a batch at a time and flushed to the disk; half a line, which a kill may
leave, is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llm_timecycle import __version__
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import DataError, UsageError
from llm_timecycle.files import (
    explain_os_error,
    flush_directory,
    open_regular,
    read_regular,
    write_durably,
)
from llm_timecycle.generation.decoding import SEED_BYTES
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.generator import GeneratedText, TextGenerator
from llm_timecycle.generation.json_form import describe_text
from llm_timecycle.generation.prompt_file import PromptFile, PromptLine
from llm_timecycle.generation.sample import SampleRequest
from llm_timecycle.parsing import parse_json
from llm_timecycle.sealed_json import read_sealed, write_sealed
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

FORMAT_VERSION = 2
"""Since 2, the request file covers itself."""
BATCH_PROMPTS = 32
"""Texts that are generated together; a kill loses at most these."""
REQUEST_BYTES_AT_MOST = 16 << 20
LINE_BYTES_AT_MOST = 1 << 30


class PromptBatches:
    """Generates a text for each prompt of a file.

    The text of the n-th prompt is sample n of the seed, so that a prompt that occurs twice gets two
    texts; where its line names a seed, it is the first sample of that one.

    Args:
        engine, tokenizer: the model.
        prompts: the prompts.
        settings: those of the request; a seed of None draws one, which the request file records.
        weights_sha256: of the model, in hex.
        top_logprobs: of how many of the likeliest tokens to record the log-probability.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        prompts: PromptFile,
        settings: GenerationSettings,
        *,
        weights_sha256: str,
        top_logprobs: int = 0,
    ) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self._prompts, self._settings = prompts, settings
        self._top_logprobs = top_logprobs
        self._generators: dict[str, TextGenerator] = {}
        self._request: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "program_version": __version__,
            "weights_sha256": weights_sha256,
            "prompts": {"file": prompts.path.name, "sha256": prompts.sha256},
            "top_logprobs": top_logprobs,
            "settings": settings.model_dump(),
        }

    def write(self, output: Path, note_done: Callable[[int], object] = lambda done: None) -> int:
        """Generate the texts that `output` lacks, and add them to it, in order.

        Args:
            output: the file of results, JSON Lines.
            note_done: called with the number of prompts that are done, at first and after each
                batch.

        Returns how many of them were done before.

        Raises:
            UsageError: `output` was begun with something else, or belongs to another process.
            DataError: it cannot be read or written, or was edited.
            RunError: the model's logits are not finite.
        """
        lines = self._prompts.lines
        if not output.parent.is_dir():  # or the lock would make it
            raise DataError(f"cannot write {output}: there is no directory {output.parent}")
        try:
            with _lock(output):
                seed = self._begin(output)
                before = _find_done(output, lines)
                note_done(before)
                with output.open("ab") as file:
                    for start in range(before, len(lines), BATCH_PROMPTS):
                        end = min(start + BATCH_PROMPTS, len(lines))
                        file.write(self._generate(start, end, seed).encode())
                        file.flush()
                        os.fsync(file.fileno())
                        note_done(end)
                return before
        except OSError as error:
            raise DataError(f"cannot write {output}: {explain_os_error(error)}") from error

    def _begin(self, output: Path) -> int:
        """Make the request file, or compare with the one that is there; the seed."""
        file = output.with_name(f"{output.name}.request.json")
        request = self._request
        is_empty = output.is_file() and output.stat().st_size == 0
        if output.exists() and not is_empty:
            stored = _read_request(file, output)
            if self._settings.seed is None:
                request["settings"] = {**self._settings.model_dump(), "seed": _find_seed(stored)}
            if changes := _list_changes(stored, request):
                raise UsageError(
                    f"{output} was begun with something else: {'; '.join(changes)}. Give the same "
                    f"as then to go on, or write to another file"
                )
            return _find_seed(stored)
        if self._settings.seed is None:
            drawn = int.from_bytes(os.urandom(SEED_BYTES), "big")
            request["settings"] = {**self._settings.model_dump(), "seed": drawn}
        if output.is_symlink() and not output.exists():
            raise DataError(f"cannot write {output}: it is a link that leads to nothing. Delete it")
        write_durably(file, write_sealed(request))
        output.touch()
        flush_directory(output.parent)
        return _find_seed(request)

    def _generate(self, start: int, end: int, seed: int) -> str:
        """The lines of the prompts from `start` to `end`."""
        groups: dict[str, list[int]] = {}  # those that can be generated together
        for number in range(start, end):
            groups.setdefault(self._prompts.lines[number].settings.model_dump_json(), []).append(
                number
            )
        texts: dict[int, GeneratedText] = {}
        for key, numbers in groups.items():
            first = self._prompts.lines[numbers[0]]
            generator = self._generators.get(key) or self._make_generator(first, seed)
            self._generators[key] = generator
            requests = [self._request_sample(number) for number in numbers]
            texts |= dict(zip(numbers, generator.generate_each(requests), strict=True))
        self._generators = {key: self._generators[key] for key in groups}  # lets go of the others
        return "".join(
            _write_line(self._prompts.lines[number], texts[number]) for number in range(start, end)
        )

    def _request_sample(self, number: int) -> SampleRequest:
        line = self._prompts.lines[number]
        return SampleRequest(line.prompt, 0 if line.has_seed else number)

    def _make_generator(self, line: PromptLine, seed: int) -> TextGenerator:
        settings = line.settings
        if not line.has_seed:
            settings = settings.model_copy(update={"seed": seed})
        return TextGenerator(
            self._engine,
            self._tokenizer,
            settings,
            with_logprobs=True,
            top_logprobs=self._top_logprobs,
        )


def _write_line(line: PromptLine, text: GeneratedText) -> str:
    name = {} if line.id is None else {"id": line.id}
    result = {**name, "prompt": line.prompt, **describe_text(text)}
    return json.dumps(result, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def _lock(output: Path) -> Iterator[None]:
    """Hold the output for one process; the system releases it when the process ends."""
    from filelock import FileLock, Timeout  # tens of milliseconds that only this needs

    path = output.with_name(f".{output.name}.lock")
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"{output} is being written by another process: wait for it, or write to another file"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


class _StoredPrompts(BaseModel):
    model_config = ConfigDict(strict=True)
    sha256: str


class _StoredSettings(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    seed: int = Field(ge=0, lt=2**63)


class _StoredRequest(BaseModel):
    """What is used of a request file."""

    model_config = ConfigDict(strict=True)
    format_version: int
    weights_sha256: str
    prompts: _StoredPrompts
    top_logprobs: int
    settings: _StoredSettings


def _read_request(file: Path, output: Path) -> dict[str, Any]:
    try:
        stored = read_sealed(read_regular(file, REQUEST_BYTES_AT_MOST))
        _StoredRequest.model_validate(stored)
        return stored
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{output} exists, and {file.name} beside it does not say how it was made: write to "
            f"another file, or delete this one first"
        ) from error


def _find_seed(request: Mapping[str, Any]) -> int:
    seed: int = request["settings"]["seed"]
    return seed


def _list_changes(stored: Mapping[str, Any], request: Mapping[str, Any]) -> list[str]:
    """What differs between two requests, in words."""
    changes = []
    if stored["format_version"] != request["format_version"]:
        changes.append("another version of this program wrote it")
    if stored["weights_sha256"] != request["weights_sha256"]:
        changes.append("the model is another one, or was trained further")
    if stored["prompts"]["sha256"] != request["prompts"]["sha256"]:
        changes.append(f"{request['prompts']['file']} has changed")
    before = {**stored["settings"], "top_logprobs": stored["top_logprobs"]}
    now = {**request["settings"], "top_logprobs": request["top_logprobs"]}
    changes += [
        f"{key} was {json.dumps(before.get(key), ensure_ascii=False)} and is now "
        f"{json.dumps(value, ensure_ascii=False)}"
        for key, value in now.items()
        if before.get(key) != value
    ]
    return changes


def _find_done(output: Path, lines: Sequence[PromptLine]) -> int:
    """How many prompts the output has texts for; half a line at its end is cut off."""
    done = whole_bytes = 0
    with open_regular(output) as file:
        while (written := file.readline(LINE_BYTES_AT_MOST)).endswith(b"\n"):
            if done == len(lines) or _read_written_prompt(written) != lines[done].prompt:
                raise _refuse_edited(output, done + 1)
            done += 1
            whole_bytes += len(written)
    if len(written) == LINE_BYTES_AT_MOST:
        raise _refuse_edited(output, done + 1)
    if written:
        with output.open("r+b") as file:
            file.truncate(whole_bytes)
    return done


def _refuse_edited(output: Path, number: int) -> DataError:
    return DataError(
        f"{output}, line {number} is not the text of prompt {number}: the file was edited. Write "
        f"to another file"
    )


def _read_written_prompt(line: bytes) -> object:
    try:
        return parse_json(line)["prompt"]
    except (ValueError, KeyError, TypeError):
        return None
