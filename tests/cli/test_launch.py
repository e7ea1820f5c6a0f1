"""`llm-timecycle launch`: what is refused before workers start, and what they are started with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.cli import launch
from llm_timecycle.cli.train import command as train
from llm_timecycle.distributed.worker_process import WorkerCommand
from llm_timecycle.errors import Interrupted, WorkersError
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]
MakeCommands = Callable[[int], Sequence[WorkerCommand]]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[MakeCommands]:
    """The jobs that would have been started."""
    made: list[MakeCommands] = []

    def note(make_commands: MakeCommands, restarts: int, *, has_terminal: bool) -> None:
        made.append(make_commands)

    monkeypatch.setattr(launch, "run_job", note)
    return made


def read(command: WorkerCommand) -> dict[str, Any]:
    """The options of `train` that a worker gets."""
    start = list(command.arguments).index("llm_timecycle")
    assert command.arguments[start + 1] == "train"
    return train.make_context("train", list(command.arguments[start + 2 :])).params


def test_each_worker_is_a_training_with_its_index(call: Call, jobs: list[MakeCommands]) -> None:
    assert call("launch", "tiny.yaml", "--workers", "3", "--set", "training.seed=5").exit_code == 0
    (make_commands,) = jobs
    commands = make_commands(0)
    options = [read(command) for command in commands]
    assert [each["worker_index"] for each in options] == [0, 1, 2]
    assert len({each["workers"] for each in options}) == 1
    assert options[0]["workers"].count("127.0.0.1:") == 3
    assert options[0]["overrides"] == ("training.seed=5",)
    assert not options[0]["resume"]
    (job,) = {command.environment["LLM_TIMECYCLE_JOB"] for command in commands}
    assert {each.environment["LLM_TIMECYCLE_JOB"] for each in make_commands(1)} != {job}
    assert {command.environment["TF_CONFIG"] for command in commands} == {""}


def test_a_restart_resumes_the_run_if_there_is_one(call: Call, jobs: list[MakeCommands]) -> None:
    """What only a new run takes is left out then."""
    given = ["--workers", "2", "tiny.yaml", "--from", "demo", "--run", "my", "--tensorboard"]
    assert call("launch", *given, "--extend-vocabulary").exit_code == 0
    (make_commands,) = jobs
    options = read(make_commands(1)[0])
    assert (options["resume"], options["from_run"]) == (False, Path("demo"))
    Path("my").mkdir()
    Path("my/manifest.json").write_text("{}")
    options = read(make_commands(1)[1])
    assert (options["resume"], options["from_run"], options["tensorboard"]) == (True, None, True)
    assert not options["extend_vocabulary"]
    assert (options["config"], options["run_path"]) == ("tiny.yaml", Path("my"))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "parts"),
    [
        (["tiny.yaml"], 2, ["--workers"]),
        (["--workers", "2"], 2, ["CONFIG"]),
        (["--workers", "0", "tiny.yaml"], 2, ["0 is not in the range"]),
        (["--workers", "2", "tiny.yaml", "--worker-index", "1"], 2, ["--worker-index: each"]),
        (["--workers", "2", "tiny.yaml", "--rnu", "a"], 2, ["--rnu", "--run"]),
        (["--workers", "2", "tiny.yaml", "--set", "training.epoch=1"], 3, ["did you mean epochs"]),
        (["--workers", "2", "missing.yaml"], 3, ["there is no file missing.yaml"]),
        (["--workers", "2", "runs/none", "--resume"], 5, ["there is no run at runs/none"]),
        (["--workers", "2", "tiny.yaml", "--run", "."], 5, ["exists already", "--run DIR"]),
        (
            ["--workers", "2", "my novel.txt"],
            2,
            [
                "llm-timecycle config suggest 'my novel.txt' --output 'my novel.yaml'",
                "llm-timecycle launch --workers 2 'my novel.yaml'",
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_before_workers_start(
    call: Call, jobs: list[MakeCommands], arguments: list[str], exit_code: int, parts: list[str]
) -> None:
    outcome = call("launch", *arguments)
    assert outcome.exit_code == exit_code
    for part in parts:
        assert part in outcome.stderr
    assert outcome.stderr.count("Error: ") == 1
    assert jobs == []


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (WorkersError("Go on with: llm-timecycle train my --resume"), 6),
        (Interrupted("Go on with: llm-timecycle train my --resume", 15), 143),
    ],
)
def test_a_message_proposes_launch(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception, exit_code: int
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(launch, "run_job", fail)
    # What ends the process at once is asked only for its words here.
    monkeypatch.setattr("llm_timecycle.cli.main._end_at_once", _raise_end)
    outcome = call("launch", "--workers", "2", "tiny.yaml")
    assert outcome.exit_code == exit_code
    assert "Go on with: llm-timecycle launch --workers 2 my --resume" in outcome.stderr


def _raise_end(message: str, exit_code: int) -> None:
    from llm_timecycle.cli.main import _end

    _end(message, exit_code)
