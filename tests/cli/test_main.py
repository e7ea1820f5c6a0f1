"""The end of the process: garbage, readers that left, errors that no command explains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from llm_timecycle.cli.main import group
from tests.cli.conftest import Outcome
from tests.cli.random_runs import PROGRAM as GENERATE

Call = Callable[..., Outcome]

PROGRAM = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > 10 * len(gc.get_objects())))
from llm_timecycle.cli.main import main
sys.argv = ["llm-timecycle", "--version"]
main()
"""


def test_no_garbage_is_collected_among_the_modules_at_exit() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True", done.stderr


def start_without_reader(stream: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the program with a pipe for `stdout` or `stderr` whose reader has left."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write_end}
    process = subprocess.Popen([*GENERATE[:-1], *arguments], **streams)
    os.close(write_end)
    return process


def list_pages() -> list[list[str]]:
    """The arguments of all that prints a page and ends: --version, and every command's --help."""
    context = click.Context(group)
    pages = [["--version"], ["--help"]]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        pages += [[name, *words, "--help"] for words in ([], *([word] for word in inner))]
    return pages


PRINT_PAGES = """
import json, os, sys
import click
from llm_timecycle.cli.main import group, main
for name in group.list_commands(context := click.Context(group)):
    group.get_command(context, name)
pages, ends = json.loads(sys.argv[1]), []
for page in pages:
    if os.fork() == 0:
        sys.argv = ["llm-timecycle", *page]
        main()
    ends.append([page, os.waitstatus_to_exitcode(os.wait()[1])])
open(sys.argv[2], "w").write(json.dumps(ends))
"""
"""Each page in a process that ends as any does, without the time that Python and imports take."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_every_page_ends_quietly_where_its_reader_has_left(tmp_path: Path) -> None:
    pages = list_pages()
    assert len(pages) > 10
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = [sys.executable, "-c", PRINT_PAGES, json.dumps(pages), str(tmp_path / "ends")]
    done = subprocess.run(program, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert json.loads((tmp_path / "ends").read_text()) == [[page, 0] for page in pages]


@pytest.mark.parametrize(("arguments", "exit_code"), [(["nosuch"], 2), (["generate", "none"], 5)])
def test_a_message_that_nobody_reads_leaves_the_exit_code(
    arguments: list[str], exit_code: int
) -> None:
    process = start_without_reader("stderr", *arguments)
    output, _ = process.communicate()
    assert (output, process.returncode) == (b"", exit_code)


def test_no_file_gets_the_number_of_a_stream_that_the_shell_closed(tmp_path: Path) -> None:
    """What libraries print would be written into it."""
    code = (
        "import os, sys; os.close(0); os.close(2); sys.stdin = sys.stderr = None\n"
        "sys.argv = ['llm-timecycle', 'config', 'show', 'small']\n"
        "from llm_timecycle.cli import config\n"
        "config.read_settings = lambda *_: print(open('file', 'w').fileno())\n"
        "from llm_timecycle.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path)
    assert int(done.stdout.split()[0]) > 2


def test_a_directory_that_was_deleted_is_named(tmp_path: Path) -> None:
    code = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.executable, sys.argv[1:])"
    arguments = ["config", "show", "small", "--set", "data.train=a.txt"]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, *GENERATE[:-1], *arguments],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: the current directory was deleted: change to another one, with cd\n"
    )


def test_too_little_memory_is_no_internal_error(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 8.00 GiB for an array")

    monkeypatch.setattr("llm_timecycle.generation.generator.TextGenerator.__init__", take)
    outcome = call("generate", run)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: not enough memory for what was asked for (Unable to")
