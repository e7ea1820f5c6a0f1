"""The shell completion that docs/completion.md turns on, in the shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/completion.md").read_text(encoding="utf-8")


def complete(shell: str, script: str, tmp_path: Path) -> list[str]:
    """The lines that a script prints in a shell without the user's settings."""
    program = tmp_path / "llm-timecycle"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_timecycle "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    finished = subprocess.run(
        [shell, *options, "-c", script],
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return finished.stdout.split("\n")


def read_command(shell: str) -> str:
    """What the page says to run in a shell, without the file that it is written to."""
    (command,) = re.findall(rf"^(?:\| {shell} .*`)?(eval .*{shell}_source.*?\))\"", PAGE, re.M)
    return f'{command}"'


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    script = [read_command("bash")]
    for words in ("tr", "generate demo --temp", "evaluate demo --split t"):
        script += [
            f"COMPREPLY=(); COMP_WORDS=(llm-timecycle {words}); COMP_CWORD={len(words.split())}",
            "_llm_timecycle_completion llm-timecycle; echo ${COMPREPLY[@]}",
        ]
    lines = complete("bash", "\n".join(script), tmp_path)
    assert lines == ["train", "--temperature", "test", ""]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_registers_the_completion(tmp_path: Path) -> None:
    script = f"autoload -U compinit && compinit -u -D\n{read_command('zsh')}\n"
    (found, _) = complete("zsh", f"{script}print $_comps[llm-timecycle]", tmp_path)
    assert found == "_llm_timecycle_completion"


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_completes_commands_and_options(tmp_path: Path) -> None:
    (command,) = re.findall(r"^\| fish \| `(.+fish_source llm-timecycle) >", PAGE, re.M)
    script = [f"{command} | source"]
    script += [f'complete -C "llm-timecycle {words}"' for words in ("tr", "generate demo --temp")]
    lines = complete("fish", "\n".join(script), tmp_path)
    assert [line.split("\t")[0] for line in lines] == ["train", "--temperature", ""]
