"""`generate` as a process: closed streams and pipes, encodings, a full disk, light imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.random_runs import PROGRAM, call


def test_a_closed_pipe_ends_the_program_quietly(run: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), "--prompt", "abc", "--length", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == b"abc"
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == (b"", 0)


@pytest.mark.parametrize("options", [["--json"], ["--samples", "3"]])
def test_a_pipe_that_was_closed_before_is_no_fault(run: Path, options: list[str]) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == (b"", 0)


def run_with_closed(descriptor: int, *arguments: str) -> tuple[int, bytes, bytes]:
    """How the program ends, and what it prints, where the shell closed one of its streams."""
    script = f"import os, sys; os.close({descriptor}); os.execv(sys.argv[1], sys.argv[1:])"
    finished = subprocess.run(
        [sys.executable, "-c", script, *PROGRAM, *arguments], capture_output=True, check=False
    )
    return finished.returncode, finished.stdout, finished.stderr


def test_a_closed_stream_is_one_message(run: Path) -> None:
    for descriptor, options, parts in (
        (1, [], [b"standard output is closed", b"> /dev/null\n"]),
        (0, ["--prompt-file", "-"], [b"standard input is closed", b"--prompt-file - reads it"]),
    ):
        exit_code, out, error = run_with_closed(descriptor, str(run), *options)
        assert (exit_code, out, error.count(b"\n")) == (2, b"", 1)
        assert all(part in error for part in parts)


def test_without_standard_error_texts_are_still_printed(run: Path) -> None:
    options = (str(run), "--prompt", "abz", "--samples", "2")
    assert run_with_closed(2, *options) == (0, call(run, *options[1:]).stdout_bytes, b"")


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "utf-8"])
def test_what_an_encoding_lacks_is_printed_as_an_escape(run: Path, encoding: str) -> None:
    def print_prompt(*options: str) -> str:
        finished = subprocess.run(
            [*PROGRAM, str(run), "--prompt", "中\u00ff\U0001f600", "--length", "1", *options],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        return finished.stdout.decode(encoding)

    shown = "中\u00ff\U0001f600".encode(encoding, "backslashreplace").decode(encoding)
    assert print_prompt().startswith(shown)
    assert json.loads(print_prompt("--json"))["prompt"]["text"] == "中\u00ff\U0001f600"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_message(run: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [*PROGRAM, str(run)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: cannot write: the disk is full")
    assert len(finished.stderr.splitlines()) == 1


def test_tensorflow_is_never_imported(run: Path) -> None:
    code = (
        "import sys\n"
        "from llm_timecycle.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'tensorflow', 'keras'} & set(sys.modules)), file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "generate", str(run), "--prompt", "abc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.startswith("abc")
    assert finished.stderr == "[]\n"


def test_text_reaches_a_pipe_as_it_grows(run: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), "--length", "1000000000", "--prompt", "ab"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.read(200)[:2] == b"ab"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
