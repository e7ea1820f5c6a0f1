"""Prompts of `generate`: from files, pipes and standard input, and as they are shown."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_timecycle.cli.prompting import prompts
from llm_timecycle.errors import DataError
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.files import streams
from llm_timecycle.text.files.streams import STREAM_BYTES_AT_MOST
from tests.cli.random_runs import call, generate_directly
from tests.generation.fake_engine import make_tokenizer


@pytest.mark.parametrize(
    ("prompt", "shown"), [("once upon \t", "once upon "), ("a cat\n", "a cat\n"), (" ", "")]
)
def test_at_word_level_one_space_joins_prompt_and_text(
    runs: dict[str, Run], prompt: str, shown: str
) -> None:
    (text,) = generate_directly(runs["word"], prompt, length=3, seed=4)
    result = call(runs["word"].path, "--prompt", prompt, "--length", "3", "--seed", "4")
    assert result.stdout == f"{shown}{text.lstrip(' ')}\n"


@pytest.mark.parametrize("content", [b"abc", b"abc\n", b"abc\r\n", b"\xef\xbb\xbfabc\n"])
def test_a_prompt_from_a_file_or_standard_input(run: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prompt.txt").write_bytes(content)
    expected = call(run, "--prompt", "abc").stdout
    assert call(run, "--prompt-file", str(tmp_path / "prompt.txt")).stdout == expected
    assert call(run, "--prompt-file", "-", stdin=content).stdout == expected


def test_a_prompt_from_a_pipe_or_a_device(run: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, b"\xef\xbb\xbfabc\r\n")
        result = call(run, "--prompt-file", str(pipe))
    assert result.stdout == call(run, "--prompt", "abc").stdout
    assert call(run, "--prompt-file", os.devnull).stdout == call(run).stdout


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_a_prompt_without_end_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_BYTES_AT_MOST", 1000)
    for source, stdin in (("/dev/zero", None), ("-", b"a" * 1001)):
        result = call(run, "--prompt-file", source, stdin=stdin)
        assert isinstance(result.exception, DataError)
        assert str(result.exception).endswith(
            "cannot be read: it has more than 1,000 bytes. Use a shorter prompt"
        )


@pytest.mark.parametrize("name", ["prompt.txt", "prompt.gz"])
def test_a_file_is_a_prompt_up_to_the_length_of_a_stream(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A few megabytes of gzip hold gigabytes."""
    monkeypatch.setattr(prompts, "STREAM_BYTES_AT_MOST", 1000)
    pack = gzip.compress if name.endswith(".gz") else bytes
    file = tmp_path / name
    file.write_bytes(pack("文".encode() * 333))
    assert call(run, "--prompt-file", str(file)).exit_code == 0
    file.write_bytes(pack("文".encode() * 334))
    result = call(run, "--prompt-file", str(file))
    assert isinstance(result.exception, DataError)
    assert f"the prompt in {file} has more than 1,000 bytes" in str(result.exception)


def test_a_bomb_is_not_unpacked(run: Path, tmp_path: Path) -> None:
    """Reading stops at the bound; a tenth of a second is not enough for a gigabyte."""
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"a" * 10_000_000, 9) * 100)
    tracemalloc.start()
    try:
        result = call(run, "--prompt-file", str(bomb))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(result.exception, DataError)
    assert peak_bytes < 4 * STREAM_BYTES_AT_MOST


def test_only_one_line_break_is_taken_off_a_file(run: Path) -> None:
    result = call(run, "--prompt-file", "-", stdin=b"abc\r\n\n")
    assert result.stdout == call(run, "--prompt", "abc\n").stdout


def test_a_prompt_file_that_is_not_there(run: Path, tmp_path: Path) -> None:
    result = call(run, "--prompt-file", str(tmp_path / "gone.txt"))
    assert isinstance(result.exception, DataError)
    assert str(result.exception) == f"there is no file {tmp_path}/gone.txt"


def test_a_prompt_that_is_not_utf_8(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    result = call(run, "--prompt-file", str(tmp_path / "latin.txt"))
    assert isinstance(result.exception, DataError)
    assert "latin.txt is not UTF-8 text: the byte at offset 3" in str(result.exception)
    result = call(run, "--prompt-file", "-", stdin=b"caf\xe9 au lait")
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(
        "the prompt on standard input is not UTF-8 text: the byte at offset 3 is invalid"
    )


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (
            "从前有一个人".encode("gb18030"),
            "would then read “从前有一个人”. If that is right, convert",
        ),
        (
            "从前有一个人".encode("utf-16"),
            "would then read “从前有一个人”. If that is right, convert",
        ),
        ("有一天，一个人。".encode("utf-16-le"), "It looks like utf-16-le"),
        ("从前有一个人".encode("utf-16-le"), "is invalid. Convert it: iconv -f GB18030 -t UTF-8"),
        (b"\xff".join(["从前有一个人".encode()] * 2), "so the file is damaged, in one place"),
    ],
)
def test_the_advice_for_a_prompt_is_to_convert_it(
    run: Path, tmp_path: Path, content: bytes, advice: str
) -> None:
    """`data.encoding` is that of the training text, and a run whose settings change is refused."""
    (tmp_path / "prompt.txt").write_bytes(content)
    error = call(run, "--prompt-file", str(tmp_path / "prompt.txt")).exception
    assert isinstance(error, DataError)
    assert advice in str(error)
    assert "data.encoding" not in str(error)
    assert " -t UTF-8 < " in str(error)


def test_a_prompt_argument_that_is_not_utf_8(run: Path) -> None:
    result = call(run, "--prompt", "caf\udce9")
    assert isinstance(result.exception, DataError)
    assert "U+DCE9 at character 3 is half of a character" in str(result.exception)


@pytest.mark.parametrize(("word_split", "shown"), [("whitespace", "the"), ("unicode", "the ")])
def test_a_space_after_a_prompt_is_shown_if_it_is_a_token(word_split: str, shown: str) -> None:
    tokenizer = make_tokenizer("the cat", "word", word_split=word_split)
    assert prompts.show_prompt("the ", tokenizer) == shown
