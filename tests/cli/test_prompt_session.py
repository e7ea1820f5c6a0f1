"""The whole program in a real terminal: prompts, history, completion, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from llm_timecycle.cli.prompting import prompt_session
from llm_timecycle.cli.prompting.prompt_session import FileHistory
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import generate_directly, make_run

PROGRAM = [sys.executable, "-c", "from llm_timecycle.cli.main import main; main()", "generate"]


PATIENCE_S = 60.0


# A terminal that the first process of a session opens becomes the one whose Ctrl-C it gets.
IN_A_TERMINAL = """
import os
os.close(os.open(os.ttyname(0), os.O_RDWR))
from llm_timecycle.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "char", "char", "abc defg./中文")


CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x08")


class Terminal:
    """The program in a terminal, and the person in front of it.

    Attributes:
        seen: what was printed since the last match, without the sequences that move the cursor.
    """

    def __init__(self, arguments: Sequence[str], state: Path, term: str = "xterm") -> None:
        self.seen = ""
        self._unread = ""
        self._file, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **os.environ,
                **{"XDG_STATE_HOME": str(state), "TERM": term, "PROMPT_TOOLKIT_NO_CPR": "1"},
            },
            start_new_session=True,
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._file, text.encode())

    def wait_for(self, pattern: str) -> str:
        """Read until `pattern` matches in what was not matched before; the text up to its end."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.seen, re.DOTALL)):
            left_s = max(deadline_s - time.monotonic(), 0)
            ready, _, _ = select.select([self._file], [], [], left_s)
            try:
                block = os.read(self._file, 65536) if ready else b""
            except OSError:  # the other end is closed
                block = b""
            assert block, f"waited for {pattern!r}, saw {self.seen!r}"
            self._unread += block.decode(errors="replace")
            whole, escape, rest = self._unread.rpartition("\x1b")
            if escape and not CONTROL_SEQUENCE.match(escape + rest):
                self._unread = escape + rest  # cut inside a sequence
            else:
                whole, self._unread = self._unread, ""
            self.seen += CONTROL_SEQUENCE.sub("", whole).replace("\r\r\n", "\r\n")
        until, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return until

    def wait_for_end(self) -> int:
        """The exit code."""
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()
        os.close(self._file)


@pytest.fixture
def open_terminal(run: Run, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_one(*options: str, term: str = "xterm") -> Terminal:
        terminal = Terminal(["generate", str(run.path), "--interactive", *options], tmp_path, term)
        terminals.append(terminal)
        return terminal

    yield open_one
    for terminal in terminals:
        terminal.close()


CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"
PROMPT = "\r\n>"


def test_a_session_in_a_terminal(run: Run, open_terminal: Callable[..., Terminal]) -> None:
    (text,) = generate_directly(run, "abc")
    terminal = open_terminal()
    terminal.wait_for(rf"or /help\. Ctrl-D leaves\.{PROMPT}")
    terminal.type("abc\r")
    terminal.wait_for(re.escape(f"abc\r\nabc{text}") + PROMPT)
    terminal.type("/temprature 1\r")
    terminal.wait_for(rf"did you mean /temperature\?{PROMPT}")
    terminal.type(CTRL_C)
    terminal.wait_for(rf"To leave, press Ctrl-D or type /quit\.{PROMPT}")
    terminal.type(CTRL_D)
    assert terminal.wait_for_end() == 0


def test_ctrl_c_stops_a_text_and_not_the_program(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--length", "1000000000")
    terminal.wait_for(PROMPT)
    terminal.type("abc\r")
    terminal.wait_for("abc\r\nabc.{200}")
    terminal.type(CTRL_C)
    terminal.wait_for(PROMPT)
    terminal.type("/stats\r")
    terminal.wait_for(rf"ended by +Ctrl-C\r\n.*{PROMPT}")
    terminal.type("/continue\r")
    terminal.wait_for("/continue\r\n.{200}")
    terminal.type(CTRL_C)
    terminal.wait_for(PROMPT)
    terminal.type("/length 3\r")
    terminal.wait_for(f"length: 3{PROMPT}")
    terminal.type("ab\r")
    terminal.wait_for(f"ab\r\nab.{{3}}{PROMPT}")
    terminal.type("/quit\r")
    assert terminal.wait_for_end() == 0


def test_history_outlives_the_session(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = open_terminal("--length", "1")
    terminal.wait_for(PROMPT)
    terminal.type("/temperature 0.25\r")
    terminal.wait_for(f"temperature: 0.25{PROMPT}")
    terminal.type(CTRL_D)
    assert terminal.wait_for_end() == 0
    (history,) = tmp_path.rglob("history")
    assert history.read_text() == "/temperature 0.25\n"
    terminal = open_terminal("--length", "1")
    terminal.wait_for(PROMPT)
    terminal.type(UP)
    terminal.wait_for("/temperature 0.25")
    terminal.type("\r")
    terminal.wait_for(f"temperature: 0.25{PROMPT}")


def test_tab_completes_a_command(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.wait_for(PROMPT)
    terminal.type("/len" + TAB)
    terminal.wait_for("gth")
    terminal.type(" 3\r")
    terminal.wait_for(f"length: 3{PROMPT}")
    terminal.type(CTRL_D)
    assert terminal.wait_for_end() == 0


def test_pasted_lines_are_answered_one_by_one(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.wait_for(PROMPT)
    terminal.type("\x1b[200~/length 3\n/top_k 5\x1b[201~\r")
    terminal.wait_for(f"length: 3\r\ntop_k: 5{PROMPT}")
    terminal.type(CTRL_D)
    assert terminal.wait_for_end() == 0


def test_a_terminal_that_cannot_move_the_cursor(
    run: Run, open_terminal: Callable[..., Terminal]
) -> None:
    (text,) = generate_directly(run, "abc")
    terminal = open_terminal(term="dumb")
    terminal.wait_for(PROMPT)
    terminal.type("abc\r")
    terminal.wait_for(re.escape(f"abc{text}") + PROMPT)
    terminal.type("/quit\r")
    assert terminal.wait_for_end() == 0


@pytest.mark.parametrize("content", [None, b"", b"old\n\xff\nnew\n"])
def test_a_history_is_loaded_newest_first(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state/history"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    history = FileHistory(path)
    loaded = ["new", "\ufffd", "old"] if content else []
    assert list(history.load_history_strings()) == loaded
    history.store_string("中")
    assert list(FileHistory(path).load_history_strings()) == ["中", *loaded]


def test_only_the_last_lines_of_a_history_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_session, "HISTORY_LINES", 2)
    (tmp_path / "history").write_text("a\nb\nc\n")
    assert list(FileHistory(tmp_path / "history").load_history_strings()) == ["c", "b"]


def test_a_history_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    history = FileHistory(tmp_path / "state/history")
    history.store_string("abc")
    assert list(history.load_history_strings()) == []


def test_a_history_that_is_no_file_is_no_error(tmp_path: Path) -> None:
    """Nobody reads from the pipe, or writes to it."""
    os.mkfifo(tmp_path / "history")
    history = FileHistory(tmp_path / "history")
    history.store_string("abc")
    assert list(history.load_history_strings()) == []


def test_only_the_end_of_a_history_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_session, "HISTORY_BYTES", 8)
    (tmp_path / "history").write_text("abcdefghij\nklm\nno\n")
    assert list(FileHistory(tmp_path / "history").load_history_strings()) == ["no", "klm"]


def test_prompts_do_not_go_where_texts_go(run: Run, tmp_path: Path) -> None:
    # stdin and stderr are a terminal, stdout is a pipe.
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, str(run.path), "--interactive"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    os.close(theirs)
    os.write(ours, b"abc\n/quit\n")
    (text,) = generate_directly(run, "abc")
    out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert (out.decode(), process.returncode) == (f"abc{text}\n", 0)
