"""What a file or a model says is shown on a terminal, which does not obey it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.random_runs import make_run

PROGRAM = [sys.executable, "-c", "from llm_timecycle.cli.main import main; main()"]
CONTROLS = "\x1b\x07\x08\x9b\x7f"
ESCAPES = ("\\x1b", "\\x07", "\\x08", "\\x9b", "\\x7f")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "char", "char", f"a{CONTROLS}").path


def print_to_terminal(*arguments: str | Path) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*PROGRAM, *map(str, arguments)], stdout=theirs, stderr=theirs) as ended:
        os.close(theirs)
        sent = b""
        try:
            while piece := os.read(ours, 65_536):
                sent += piece
        except OSError:  # Linux says so at the end
            pass
        os.close(ours)
    assert ended.returncode is not None
    return sent.decode()


@pytest.mark.parametrize("how", [[], ["--no-stream"], ["--samples", "2"], ["--beams", "2"]])
def test_a_text_shows_its_control_characters_on_a_terminal(run: Path, how: list[str]) -> None:
    options = ["--prompt", f"a{CONTROLS}a", "--length", "200", "--temperature", "3"]
    sent = print_to_terminal("generate", run, *(options[:4] if "--beams" in how else options), *how)
    assert "a\\x1b\\x07\\x08\\x9b\\x7fa" in sent
    assert not set(CONTROLS) & set(sent)
    if "--beams" not in how:
        assert all(sent.count(escape) > 2 for escape in ESCAPES)


def test_a_file_gets_the_text_as_it_is(run: Path) -> None:
    command = [*PROGRAM, "generate", str(run), "--prompt", f"a{CONTROLS}a", "--length", "5"]
    written = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert written.startswith(f"a{CONTROLS}a")


def test_json_escapes_them_all(run: Path) -> None:
    options = ["--prompt", f"a{CONTROLS}a", "--length", "5", "--json"]
    command = [*PROGRAM, "generate", str(run), *options]
    written = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert not set(CONTROLS) & set(written)
    assert json.loads(written)["prompt"]["text"] == f"a{CONTROLS}a"


def test_a_message_shows_them_everywhere(tmp_path: Path) -> None:
    settings = tmp_path / "my.yaml"
    settings.write_text('data: {train: "no\\e[31mne.txt"}\ntraining: {epochs: "\\e[31m\\a"}\n')
    for arguments in (["config", "check", settings], ["generate", "runs/\x1b[31m"]):
        command = [*PROGRAM, *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert ended.returncode in (3, 5)
        assert "\\x1b[31m" in ended.stderr
        assert not set(CONTROLS) & set(ended.stderr)
