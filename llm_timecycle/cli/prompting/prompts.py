"""Prompts of `generate`: one, from a file or standard input and shown before its text, or many."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import DataError, Interrupted, UsageError
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.files.streams import (
    STREAM_BYTES_AT_MOST,
    is_stream,
    read_given,
    read_stream,
    read_stream_line,
)
from llm_timecycle.text.tokenizer.characters import BLANK
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

STANDARD_INPUT = "standard input"
SHORTER = "Use a shorter prompt"
MARK = "\ufeff"


def read_prompt(source: str) -> str:
    """The text of a file, or of standard input for `-`, without one line break at its end.

    A pipe or a device is read to its end, like standard input.

    Raises DataError if it cannot be read, is not UTF-8, or is longer than a stream may be.
    """
    path = Path(source)
    if source == "-":
        stream = open_standard_input("--prompt-file -")
        with _explain(STANDARD_INPUT):
            content = read_stream(stream)
        text = decode_input(content).removeprefix(MARK)
    elif _is_stream(path):
        with _explain(source):
            content = read_given(path)
        text = decode_input(content, source).removeprefix(MARK)
    else:
        text = _read_text(path)
    return text.replace("\r\n", "\n").removesuffix("\n")


def _read_text(path: Path) -> str:
    from llm_timecycle.text.text_file import TextFile

    pieces, size = [], 0
    try:
        for piece in TextFile(path, may_be_html=True).read():
            size += len(piece.encode())
            if size > STREAM_BYTES_AT_MOST:
                raise DataError(
                    f"the prompt in {path} has more than {STREAM_BYTES_AT_MOST:,} bytes. {SHORTER}"
                )
            pieces.append(piece)
    except DataError as error:
        raise DataError(_leave_out_setting(str(error))) from error
    return "".join(pieces)


def _leave_out_setting(message: str) -> str:
    """A message about a text without the advice to set `data.encoding`: prompts are UTF-8.

    They are not read in an encoding that is guessed, either: of a few characters, it is often
    another one.
    """
    advice = r"([Ss])et data\.encoding to [^,]+, or c"
    return re.sub(advice, lambda found: "C" if found[1] == "S" else "c", message)


def open_standard_input(reader: str) -> BinaryIO:
    """Standard input for `reader` (an option); UsageError if the shell closed it."""
    if sys.stdin is None:
        raise UsageError(
            f"standard input is closed, and {reader} reads it: connect it to a file or a pipe"
        )
    return sys.stdin.buffer


def _is_stream(path: Path) -> bool:
    try:
        return is_stream(path)
    except OSError:  # opening it reports the reason
        return False


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Raise DataError where a stream cannot be read or is too long."""
    try:
        yield
    except OSError as error:
        advice = f". {SHORTER}" if error.errno == errno.EFBIG else ""
        raise DataError(f"{name} cannot be read: {error.strerror or error}{advice}") from error


def read_input_line(stream: BinaryIO) -> str:
    """The next line of standard input, with its line break; "" at the end.

    Raises DataError as `read_prompt` does.
    """
    with _explain(STANDARD_INPUT):
        line = read_stream_line(stream)
    return decode_input(line)


def decode_input(content: bytes, name: str = STANDARD_INPUT) -> str:
    """Bytes from standard input, or another stream, as text; DataError if they are not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"the prompt on {name} is not UTF-8 text: the byte at offset {error.start} "
            f"is invalid. Convert it first: iconv -f GB18030 -t UTF-8 (with its encoding in "
            f"place of GB18030)"
        ) from error


def show_prompt(prompt: str, tokenizer: Tokenizer) -> str:
    """A prompt as printed before its continuation."""
    settings = tokenizer.settings
    if settings.level == "word" and settings.word_split == "whitespace":
        return re.sub(f"[{BLANK}]+\\Z", "", prompt)  # the next word brings its own space
    return prompt


def continue_prompts(
    run: Run,
    tokenizer: Tokenizer,
    settings: GenerationSettings,
    prompts_path: Path,
    output: Path,
    *,
    engine: str,
    top_logprobs: int,
) -> None:
    """Write a text for each prompt of a file, with a progress bar if stderr is a terminal.

    Raises:
        Interrupted: by Ctrl-C, after what was done was written.
        UsageError, DataError, RunError: as `read_prompt_file` and `PromptBatches.write`.
    """
    from tqdm import tqdm

    from llm_timecycle.generation.prompt_batches import BATCH_PROMPTS, PromptBatches
    from llm_timecycle.generation.prompt_file import read_prompt_file

    prompts = read_prompt_file(prompts_path, settings, tokenizer, top_logprobs)
    total = len(prompts.lines)
    batches = PromptBatches(
        make_engine(run, engine, rows=min(total, BATCH_PROMPTS), tokens=settings.length),
        tokenizer,
        prompts,
        settings,
        weights_sha256=run.read_manifest()["files"]["model.safetensors"]["sha256"],
        top_logprobs=top_logprobs,
    )
    done = 0
    with tqdm(total=total, unit="prompt", leave=False, disable=not sys.stderr.isatty()) as bar:

        def note_done(count: int) -> None:
            nonlocal done
            done = count
            bar.update(count - bar.n)

        try:
            before = batches.write(output, note_done)
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped after {done:,} of {total:,} prompts; the same command goes on."
            ) from None
    again = f", {before:,} of them there before" if before else ""
    click.echo(f"{output}: {total:,} texts{again}", err=True)
