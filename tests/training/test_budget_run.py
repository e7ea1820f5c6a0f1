"""A run with a budget, trained for real on a clock that the test moves."""

from __future__ import annotations

import json
import logging
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import pytest

from llm_timecycle.errors import Interrupted, RunError
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.training import loop as loop_module
from llm_timecycle.training import validation as validation_module
from llm_timecycle.training.checkpoints import list_checkpoints
from llm_timecycle.training.loop import TrainingLoop
from llm_timecycle.training.signals import StopRequest
from tests.runs.conftest import change_manifest
from tests.training.test_loop import (
    StopAfter,
    make_loop,
    make_run,
    read_final_tensors,
    read_losses,
    read_rows,
)

BUDGET: dict[str, Any] = {
    "minutes": 0.5,
    "eval_every": None,
    "checkpoint_every": 3,
    "keep_checkpoints": 1000,
    "schedule": "cosine",
    "warmup_steps": 1000,
    "log_every": 1,
}
SELDOM = {**BUDGET, "checkpoint_every": 1000}
"""For what needs no checkpoint but the last."""
START_S, STEP_S, VALIDATION_S, CHECKPOINT_S = 4.0, 0.25, 0.2, 0.01
PLANNED_S = 30.0 - 0.05 * START_S - 0.01 * 30.0
"""When training is to end: before new texts are compared with its text, and the process ends."""


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now_s, self.step_s = 100.0, STEP_S

    def __call__(self) -> float:
        return self.now_s


class PassTime(keras.callbacks.Callback):
    """Let the time of a step pass."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._clock.now_s += self._clock.step_s


def slow_down(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass in a validation and in a checkpoint too."""
    score, write = validation_module.score_stream, loop_module.write_checkpoint

    def score_slowly(scorer: Any, model: Any, ids: Any, *starts: Any, **options: Any) -> Any:
        clock.now_s += VALIDATION_S * len(ids) / 100
        return score(scorer, model, ids, *starts, **options)

    def write_slowly(*arguments: Any) -> Any:
        clock.now_s += CHECKPOINT_S
        return write(*arguments)

    monkeypatch.setattr(validation_module, "score_stream", score_slowly)
    monkeypatch.setattr(loop_module, "write_checkpoint", write_slowly)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    slow_down(clock, monkeypatch)
    return clock


def begin(run: Run, clock: Clock, **options: Any) -> TrainingLoop:
    """A session that took `START_S` to get here."""
    began_at_s = clock.now_s
    clock.now_s += START_S
    callbacks = [PassTime(clock), *options.pop("callbacks", [])]
    return make_loop(run, callbacks=callbacks, began_at_s=began_at_s, now=clock, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run; not to be changed."""
    run, clock = make_run(tmp_path_factory.mktemp("whole") / "run", **BUDGET), Clock()
    with pytest.MonkeyPatch.context() as monkeypatch:
        slow_down(clock, monkeypatch)
        begin(run, clock).train()
    return run


def read_plans(run: Run) -> list[dict[str, Any]]:
    plans: list[dict[str, Any]] = run.read_manifest()["plans"]
    return plans


def set_minutes(run: Run, minutes: float) -> Run:
    training = run.settings.training.model_copy(update={"minutes": minutes})
    return run.replace_settings(run.settings.model_copy(update={"training": training}))


def return_to(run: Run, path: Path, step: int) -> Run:
    """A copy of a run whose checkpoints after `step` are lost, as after a kill."""
    shutil.copytree(run.path, path)
    for checkpoint in list_checkpoints(path / "checkpoints"):
        if int(checkpoint.name[5:]) > step:
            shutil.rmtree(checkpoint)
    return open_run(path)


def test_it_ends_when_the_budget_does(whole: Run) -> None:
    newest = list_checkpoints(whole.checkpoints_path)[-1]
    progress = json.loads((newest / "state.json").read_text())["progress"]
    # The time is noted before the last checkpoint is written.
    assert progress["active_s"] == pytest.approx(PLANNED_S, abs=STEP_S)
    # The first plan comes so late that the mark of a quarter, 7.5 s, is left out.
    used_s = [plan["used_s"] for plan in read_plans(whole)]
    assert used_s == pytest.approx([START_S + 3 * STEP_S + 8 * STEP_S, 15.0, 22.5], abs=0.7)


def test_manifest_metrics_and_checkpoint_have_the_plans(whole: Run) -> None:
    plans = read_plans(whole)
    state = json.loads((list_checkpoints(whole.checkpoints_path)[-1] / "state.json").read_text())
    assert state["progress"]["plans"] == plans
    assert state["progress"]["step"] == plans[-1]["steps"]
    for row in read_rows(whole):
        made = [plan["steps"] for plan in plans if plan["step"] <= int(row["step"])]
        assert row["planned_steps"] == (str(made[-1]) if made else "")


def test_the_rate_leaves_its_warm_up_and_is_annealed_without_a_jump(whole: Run) -> None:
    plans, rows = read_plans(whole), read_rows(whole)
    rates = [float(row["learning_rate"]) for row in rows]
    first, warmup_steps = plans[0]["step"], plans[0]["warmup_steps"]
    assert warmup_steps == max(plans[0]["steps"] // 10, first) < 1000
    after = rates[max(first, warmup_steps) :]
    assert after[0] == pytest.approx(0.02)
    falls = [before - now for before, now in pairwise(after)]
    assert min(falls) >= 0.0
    assert max(falls) < 2.0 * math.pi / 2 * 0.02 / len(after)
    assert after[-1] < 0.001


def test_validations_come_by_plan_and_not_by_epoch(whole: Run) -> None:
    validated = [int(row["step"]) for row in read_rows(whole) if row["valid_loss_nats"]]
    assert 2 <= len(validated) <= 6  # one takes 0.2 s, 3 % of 6.7 s
    assert validated[-1] == read_plans(whole)[-1]["steps"]


@pytest.mark.parametrize(
    ("place", "step_s"),
    [("before the first plan", 1.0), ("before the last", 0.01), ("at the end", 1.0)],
)
def test_a_resumed_run_repeats_the_plans_on_any_machine(
    whole: Run, tmp_path: Path, clock: Clock, place: str, step_s: float
) -> None:
    plans = read_plans(whole)
    steps = {"before the first plan": 3, "before the last": plans[-1]["step"] - 1}
    run = return_to(whole, tmp_path / "again", steps.get(place, plans[-1]["steps"] - 1))
    clock.step_s = step_s
    begin(run, clock).train()
    assert read_plans(run) == plans
    assert read_losses(run) == read_losses(whole)
    assert read_final_tensors(run) == read_final_tensors(whole)
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()


def test_a_run_stopped_in_its_middle_goes_on_with_its_time(tmp_path: Path, clock: Clock) -> None:
    run, request = make_run(tmp_path / "run", **SELDOM), StopRequest()
    stop = StopAfter(request, 40, 2)
    with pytest.raises(Interrupted):
        begin(run, clock, callbacks=[stop], request=request).train()
    used_s = clock.now_s - 100.0
    assert used_s < 16.0
    clock.now_s += 1e6
    began_s = clock.now_s
    begin(run, clock).train()
    assert used_s + clock.now_s - began_s == pytest.approx(PLANNED_S, abs=STEP_S)


def test_a_longer_budget_goes_on(
    whole: Run, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "llm_timecycle")
    run = return_to(whole, tmp_path / "run", 10**6)
    begin(run, clock).train()
    assert "to train it further: llm-timecycle train" in caplog.text
    assert "--resume --set training.minutes=1\n" in caplog.text
    plans = read_plans(run)
    used_s = 30.0 - 0.05 * START_S
    run = set_minutes(run, 1.0)
    began_s = clock.now_s
    begin(run, clock).train()
    assert used_s + clock.now_s - began_s == pytest.approx(60.0 - 0.05 * START_S, abs=0.5)
    scaled, measured = read_plans(run)[len(plans) :][:2]
    assert (scaled["step"], scaled["annealed"]) == (plans[-1]["steps"], 0.5)
    assert (scaled["minutes"], scaled["used_s"], measured["minutes"]) == (1.0, 0.0, 1.0)
    assert scaled["step"] < measured["step"] <= scaled["step"] + 12


def test_a_run_of_epochs_goes_on_with_a_budget(tmp_path: Path, clock: Clock) -> None:
    run = make_run(tmp_path / "run", **{**SELDOM, "minutes": None, "epochs": 2})
    begin(run, clock).train()
    begin(set_minutes(run, 0.5), clock).train()
    assert read_plans(run)[0]["annealed"] == pytest.approx((4 + 16 * 0.25) / 30, rel=0.2)
    assert read_plans(run)[-1]["steps"] > 60


def test_a_process_that_was_stopped_for_an_hour_loses_nothing(
    whole: Run, tmp_path: Path, clock: Clock
) -> None:
    class Sleep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not self.slept and clock.now_s > start_s + 18:
                self.slept = True
                clock.now_s += 3600.0

        slept = False

    start_s = clock.now_s
    run = make_run(tmp_path / "run", **SELDOM)
    begin(run, clock, callbacks=[Sleep()]).train()
    assert clock.now_s - start_s - 3600.0 == pytest.approx(30.0, abs=3 * STEP_S)
    assert read_plans(run)[-1]["steps"] == pytest.approx(read_plans(whole)[-1]["steps"], abs=2)


def test_keras_callbacks_see_every_epoch_end(tmp_path: Path, clock: Clock) -> None:
    seen: list[tuple[str, int]] = []

    class Watcher(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append(("begin", epoch))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert logs["loss"] > 0
            seen.append(("end", epoch))

    begin(make_run(tmp_path / "run", **SELDOM), clock, callbacks=[Watcher()]).train()
    epochs = sorted({epoch for _, epoch in seen})
    pairs = [(word, epoch) for epoch in epochs for word in ("begin", "end")]
    assert seen == pairs[: len(seen)]
    assert len(epochs) > 8


def test_patience_ends_it_early(tmp_path: Path, clock: Clock) -> None:
    still = {"optimizer": "sgd", "learning_rate": 1e-30, "schedule": "constant"}
    run = make_run(tmp_path / "run", **{**SELDOM, **still, "warmup_steps": 0, "patience": 1})
    begin(run, clock).train()
    assert clock.now_s - 100.0 < 28.0


def test_a_long_budget_on_a_small_text_ends_when_the_text_is_learned(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """120 s would read it 60 times; nothing is learned, so ten validations are enough."""
    caplog.set_level(logging.INFO, "llm_timecycle")
    still = {"optimizer": "sgd", "learning_rate": 1e-30, "schedule": "constant", "warmup_steps": 0}
    run = make_run(tmp_path / "run", **{**SELDOM, **still, "minutes": 2.0, "log_every": 50})
    begin(run, clock).train()
    assert clock.now_s - 100.0 < 90.0
    assert "10 validations without improvement" in caplog.text
    assert len([row for row in read_rows(run) if row["valid_loss_nats"]]) == 11


GOOD = {
    "step": 8, "steps": 90, "warmup_steps": 0, "annealed": 0.0,
    "eval_every": 20, "minutes": 0.5, "used_s": 7.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("plans", "problem"),
    [
        ("none", "should be a list"),
        ([8], "plan 1"),
        ([{**GOOD, "steps": 7}], "plan 1"),
        ([{**GOOD, "steps": 90.5}], "plan 1"),
        ([{**GOOD, "step": True}], "plan 1"),
        ([{**GOOD, "eval_every": -1}], "plan 1"),
        ([{**GOOD, "annealed": 1.5}], "plan 1"),
        ([{**GOOD, "minutes": 0}], "plan 1"),
        ([{**GOOD, "used_s": None}], "plan 1"),
        ([{**GOOD, "more": 1}], "plan 1"),
        ([GOOD, {**GOOD, "step": 7}], "plan 2"),
    ],
)
def test_damaged_plans_are_refused(tmp_path: Path, clock: Clock, plans: Any, problem: str) -> None:
    run = make_run(tmp_path / "run", **BUDGET)
    change_manifest(run, plans=plans)
    with pytest.raises(RunError, match=r"the manifest of .*Restore it from a copy") as caught:
        begin(run, clock)
    assert problem in str(caught.value)


def test_plans_that_are_not_those_of_the_checkpoint_are_refused(
    whole: Run, tmp_path: Path, clock: Clock
) -> None:
    plans = read_plans(whole)
    run = return_to(whole, tmp_path / "run", 10**6)
    run.record_plans([{**plans[0], "steps": plans[0]["steps"] + 1}, *plans[1:]])
    with pytest.raises(RunError, match="are not those of its checkpoint"):
        begin(run, clock)
