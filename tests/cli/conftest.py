"""The program called as from a shell, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from llm_timecycle.cli.main import main
from llm_timecycle.cli.train import command as train
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import TEXTS, make_run

# One layer and one thread, so one shard: what TensorFlow traces takes most of such a training.
TINY = """\
data:
  train: sample-english
  valid_fraction: 0.02
tokenizer: {level: char}
model: {embedding_dim: 4, hidden_units: 8, num_layers: 1}
training:
  {batch_size: 8, sequence_length: 16, max_steps: 6, log_every: 2, checkpoint_every: 2,
   precision: float32, learning_rate: 0.01, threads: 1}
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
    train_in(place, "tiny.yaml")
    return place


def train_in(place: Path, *arguments: str) -> None:
    """Run `train` in a directory, for a fixture that has no function of `call`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run with random weights for each level of `TEXTS`."""
    root = tmp_path_factory.mktemp("runs")
    return {level: make_run(root / level, level) for level in TEXTS}


@pytest.fixture
def run(runs: dict[str, Run]) -> Path:
    """The one of characters."""
    return runs["char"].path
