"""Lines from a pipe, and Ctrl-C that is noted."""

from __future__ import annotations

import io
import signal
import subprocess
import sys

import pytest

from llm_timecycle.cli.prompting.line_input import Interruption, _read_lines
from llm_timecycle.errors import DataError
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.files import streams
from tests.cli.random_runs import generate_directly, make_run

PROGRAM = [sys.executable, "-c", "from llm_timecycle.cli.main import main; main()", "generate"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "char", "char", "abc defg./中文")


def test_the_first_ctrl_c_is_noted_and_the_second_is_raised() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        interruption.is_noted_only = True
        assert not interruption.has_come
        signal.raise_signal(signal.SIGINT)
        assert interruption.has_come
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_lines_from_a_pipe_are_answered_without_a_prompt(run: Run) -> None:
    finished = subprocess.run(
        [*PROGRAM, str(run.path), "--interactive"],
        input=b"abc\r\n/length 3\nab",
        capture_output=True,
        check=True,
    )
    (first,), (second,) = generate_directly(run, "abc"), generate_directly(run, "ab", length=3)
    assert finished.stdout.decode() == f"abc{first}\nab{second}\n"
    assert finished.stderr.decode() == "length: 3\n"


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_BYTES_AT_MOST", 5)
    lines = _read_lines(io.BytesIO(b"abcd\nabcdefghij"))
    assert next(lines) == "abcd"
    with pytest.raises(DataError, match="standard input cannot be read: it has more than 5 bytes"):
        next(lines)


def test_standard_input_that_is_closed_is_one_message(run: Run) -> None:
    closed = [
        sys.executable,
        "-c",
        "import os, sys; os.close(0); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    finished = subprocess.run(
        [*closed, *PROGRAM, str(run.path), "--interactive"], capture_output=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (2, b"")
    assert b"standard input is closed, and --interactive reads it" in finished.stderr
    assert finished.stderr.count(b"\n") == 1


def test_lines_from_a_pipe_must_be_utf_8(run: Run) -> None:
    finished = subprocess.run(
        [*PROGRAM, str(run.path), "--interactive"],
        input=b"caf\xe9\n",
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 4
    assert b"is not UTF-8 text: the byte at offset 3" in finished.stderr


def test_without_a_terminal_prompt_toolkit_is_not_imported(run: Run) -> None:
    code = (
        "import sys\n"
        "from llm_timecycle.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print('prompt_toolkit' in sys.modules, file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "generate", str(run.path), "--interactive"],
        input=b"abc\n",
        capture_output=True,
        check=True,
    )
    assert finished.stderr == b"False\n"
