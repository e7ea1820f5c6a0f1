"""The prompt loop: what each line does, and the whole program in a real terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.cli import prompt_session
from llm_timecycle.cli.interactive import PromptLoop
from llm_timecycle.cli.line_input import Interruption
from llm_timecycle.cli.prompt_session import FileHistory
from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.directory import Run, create_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

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
    """A run whose weights are drawn, and which never ends a text by <eos>."""
    settings = Settings(
        tokenizer=TokenizerSettings(level="char", vocab_size=50),
        model=ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6),
        generation=GenerationSettings(length=12, seed=3, temperature=1.0),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["abc defg./中文"])
    run = create_run(
        tmp_path_factory.mktemp("runs") / "char",
        settings,
        tokenizer.to_json().encode(),
        tokenizer.vocab_size,
        {},
    )
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return run


def write(run: Run, prompt: str, samples: int = 1, **settings: object) -> list[str]:
    """What the parts say, put together without the loop."""
    tokenizer = run.load_tokenizer()
    merged = GenerationSettings(**run.settings.generation.model_dump() | settings)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    return [
        text.text for text in TextGenerator(engine, tokenizer, merged).generate(prompt, samples)
    ]


Converse = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def converse(run: Run, capsys: pytest.CaptureFixture[str]) -> Converse:
    """Give lines to a prompt loop; the lines that it prints on stdout and on stderr."""

    def give_lines(*lines: str, **settings: object) -> tuple[list[str], list[str]]:
        merged = GenerationSettings(**run.settings.generation.model_dump() | settings)
        tokenizer = run.load_tokenizer()
        engine = NumpyEngine(run.load_weights(), run.settings.model)
        PromptLoop(engine, tokenizer, merged, read_lines=lambda: iter(lines)).run()
        printed = capsys.readouterr()
        return printed.out.splitlines(), printed.err.splitlines()

    return give_lines


def test_each_line_is_a_prompt_and_an_empty_one_begins_a_text(run: Run, converse: Converse) -> None:
    (first,), (second,), (third,) = write(run, "abc"), write(run, ""), write(run, "中")
    assert converse("abc", "", "中") == ([f"abc{first}", second, f"中{third}"], [])


def test_two_slashes_begin_a_prompt_with_one(run: Run, converse: Converse) -> None:
    (text,) = write(run, "/a")
    assert converse("//a")[0] == [f"/a{text}"]


def test_a_setting_is_changed_for_what_follows(run: Run, converse: Converse) -> None:
    (text,) = write(run, "ab", temperature=0.0, length=5, stop=["中", "\n"])
    out, err = converse("/temperature 0", "/length 5", '/stop ["中", "\\n"]', "ab")
    assert out == [f"ab{text}"]
    assert err == ["temperature: 0.0", "length: 5", "stop: '中', '\\n'"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/temperature", "temperature: 1.0"),
        ("/TEMPERATURE 0.5", "temperature: 0.5"),
        ("/top-k 7", "top_k: 7"),
        ("/top_k null", "top_k: none"),
        ("/stop ab", "stop: 'ab'"),
        ("/stop 5", "stop: '5'"),
        ('/stop "a b"', "stop: 'a b'"),
        ("/stop null", "stop: none"),
        ("/ban 中", "ban: '中'"),
        ("/bias a=2.5", "bias: 'a'=2.5"),
        ("/bias {a: 1, 中: -2}", "bias: 'a'=1, '中'=-2"),
        ("/bias null", "bias: none"),
        ("/allow_unknown true", "allow_unknown: true"),
        ("/seed null", "seed: none"),
        ("/seed 5", "seed: 5"),
        ("/beams 2", "beams: 2"),
    ],
)
def test_every_setting_has_its_command(converse: Converse, line: str, said: str) -> None:
    assert converse(line) == ([], [said])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/temprature 1", "there is no command /temprature; did you mean /temperature?"),
        ("/temp 1", "there is no command /temp; did you mean /temperature?"),
        ("/contine", "there is no command /contine; did you mean /continue?"),
        ("/exxit", "there is no command /exxit; did you mean /exit?"),
        ("/quitt", "there is no command /quitt; did you mean /quit?"),
        ("/", "there is no command /; /help lists the commands"),
        ("/qqq", "there is no command /qqq; /help lists the commands"),
        ("/temperature hot", "/temperature: received hot; expected a number from 0 to 100"),
        ("/length 0", "/length: received 0; expected a whole number, 1 or more"),
        ("/length", "length: 12"),
        ("/length null", "/length: received null; expected a whole number, 1 or more"),
        ("/length TRUE", "/length: received true; expected a whole number, 1 or more"),
        ("/seed 1.5", "/seed: received 1.5; expected a whole number from 0 to"),
        ('/stop ""', "/stop: received an empty text; expected at least one character"),
        ("/stop [a", "/stop: the bracket that opens here is not closed"),
        ("/ban q", "ban: received 'q', which the model does not know; expected one token"),
        ("/bias a", "/bias: received 'a'; expected TOKEN=VALUE, such as the=2.5"),
        ("/bias a=b", "/bias: received a=b; expected for each text a number"),
        ("/retry 3", "/retry stands alone; received '3' after it"),
        ("/retry", "/retry draws again for the last prompt, and there is none yet"),
        ("/continue", "/continue goes on with a text that was drawn, and there is none yet"),
        ("/stats", "/stats are those of the last text, and there is none yet"),
        ("caf\udce9", "the text is not valid Unicode: U+DCE9 at character 3"),
    ],
)
def test_what_cannot_be_done_is_one_line(converse: Converse, line: str, said: str) -> None:
    _, err = converse(line, "/temperature")
    assert len(err) == 2
    assert said in err[0]
    assert err[1] == "temperature: 1.0"  # what was wrong changed nothing


def test_a_setting_that_would_do_nothing_with_beams_is_refused(converse: Converse) -> None:
    _, err = converse("/beams 3", "/top_k 5", "/top_k")
    assert err[1].startswith("Error: /top_k would do nothing with /beams 3, which searches")
    assert err[2] == "top_k: none"


def test_unknown_tokens_are_a_warning(converse: Converse) -> None:
    _, err = converse("axb")
    assert err == [
        "Warning: the prompt holds 1 token that the model does not know and reads as <unk>: 'x'"
    ]


def test_continue_goes_on_where_the_text_ended(run: Run, converse: Converse) -> None:
    (whole,) = write(run, "ab", length=24)
    assert converse("ab", "/continue")[0] == [f"ab{whole[:12]}", whole[12:]]


def test_retry_draws_the_next_sample_of_the_seed(run: Run, converse: Converse) -> None:
    texts = write(run, "ab", samples=3)
    assert converse("ab", "/retry", "/retry", "ab")[0] == [f"ab{n}" for n in [*texts, texts[0]]]


def test_a_beam_search_is_printed_whole_and_cannot_go_on(run: Run, converse: Converse) -> None:
    (best,) = write(run, "ab", beams=3)
    out, err = converse("/beams 3", "ab", "/continue", "/stats")
    assert out == [f"ab{best}"]
    assert err[1] == ("Error: /continue goes on with a text that was drawn, and there is none yet")
    assert err[2].startswith("prompt               2 tokens, ")


def test_stats_are_those_of_the_last_text(converse: Converse) -> None:
    _, err = converse("abc", "/retry", "/stats")
    names = [line[:20].strip() for line in err]
    assert names == ["prompt", "first token", "each token after it", "text", "ended by", "seed"]
    assert re.fullmatch(r"prompt +3 tokens, [\d,]+ tokens/s", err[0])
    assert re.fullmatch(r"each token after it +[\d.]+ ms median, [\d.]+ ms 95 %, .*", err[2])
    assert re.fullmatch(r"text +12 tokens, [\d,]+ tokens/s", err[3])
    assert err[4].split() == ["ended", "by", "length"]
    assert err[5].split() == ["seed", "3,", "draw", "2"]


def test_help_names_every_setting_and_settings_shows_it(converse: Converse) -> None:
    _, help_lines = converse("/help")
    _, shown = converse("/settings")
    for name in GenerationSettings.model_fields:
        assert re.search(rf"\b{name}\b", "\n".join(help_lines))
    assert [line.split(":")[0] for line in shown] == list(GenerationSettings.model_fields)
    assert max(map(len, help_lines)) <= 90


@pytest.mark.parametrize("leave", ["/quit", "/exit", " /quit "])
def test_quit_leaves(converse: Converse, leave: str) -> None:
    assert converse(leave, "abc") == ([], [])


def test_settings_that_cannot_work_are_said_before_the_first_prompt(converse: Converse) -> None:
    with pytest.raises(UsageError, match="ban: received 'q'"):
        converse("abc", ban=["q"])


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
    (first,), (second,) = write(run, "abc"), write(run, "ab", length=3)
    assert finished.stdout.decode() == f"abc{first}\nab{second}\n"
    assert finished.stderr.decode() == "length: 3\n"


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
    assert finished.stderr == (
        b"Error: standard input is closed, and --interactive reads it: give it a file or a pipe\n"
    )


def test_lines_from_a_pipe_must_be_utf_8(run: Run) -> None:
    finished = subprocess.run(
        [*PROGRAM, str(run.path), "--interactive"],
        input=b"caf\xe9\n",
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 4
    assert b"is not UTF-8 text: the byte at offset 3" in finished.stderr


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
    (text,) = write(run, "abc")
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


def test_pasted_lines_are_answered_one_by_one(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.wait_for(PROMPT)
    terminal.type("\x1b[200~/length 3\n/top_k 5\x1b[201~\r")
    terminal.wait_for(f"length: 3\r\ntop_k: 5{PROMPT}")


def test_a_terminal_that_cannot_move_the_cursor(
    run: Run, open_terminal: Callable[..., Terminal]
) -> None:
    (text,) = write(run, "abc")
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
    (text,) = write(run, "abc")
    out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert (out.decode(), process.returncode) == (f"abc{text}\n", 0)
