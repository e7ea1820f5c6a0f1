"""The program called as from a shell, in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from llm_timecycle.cli.main import main
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import TEXTS, make_run

TINY = """\
data:
  train: sample-english
  valid_fraction: 0.02
tokenizer: {level: char}
model: {embedding_dim: 4, hidden_units: 8}
training:
  {batch_size: 8, sequence_length: 16, max_steps: 6, log_every: 2, checkpoint_every: 2,
   precision: float32, learning_rate: 0.01}
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run a command in an empty directory that holds `tiny.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)

    def call_main(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["llm-timecycle", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return call_main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `tiny.yaml` and the run that it makes, trained once; not to be changed."""
    place = tmp_path_factory.mktemp("trained")
    (place / "tiny.yaml").write_text(TINY)
    program = [sys.executable, "-m", "llm_timecycle"]
    subprocess.run([*program, "train", "tiny.yaml"], cwd=place, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run with random weights for each level of `TEXTS`."""
    root = tmp_path_factory.mktemp("runs")
    return {level: make_run(root / level, level) for level in TEXTS}


@pytest.fixture
def run(runs: dict[str, Run]) -> Path:
    """The one of characters."""
    return runs["char"].path
