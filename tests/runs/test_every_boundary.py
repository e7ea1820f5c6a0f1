"""A training struck at each of its writes, and what is left resumed: the short form of
scripts/kill_at_every_write.py, with the writes of a training in their order, but no network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import TimecycleError
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.training.checkpoints import Checkpoint, read_newest_checkpoint, write_checkpoint
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.reporting.growing_file import GrowingFile
from llm_timecycle.training.reporting.metrics import MetricsLog
from tests.runs.conftest import SETTINGS, make_weights

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from boundaries.disk import Disk, read_state
from boundaries.ends import find_fault_of_message
from boundaries.operations import Operation, Perform, watch
from boundaries.recording import Recording, record, strike_alone, strike_those_that_went_on
from boundaries.recoveries import Ways, recover
from boundaries.strikes import FAULTS, SHORT, Fault, Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

RUN = Path("runs/my")
WAYS = Ways(RUN, new=("4",), resume=("4", "--resume"))
SHAPES = {"weights.a": (2, 3)}


def train(arguments: Sequence[str], place: Path) -> int:
    """Train a run as the command does: so many steps, its error on descriptor 2."""
    os.chdir(place)
    training = TrainingSettings(max_steps=int(arguments[0])) if arguments[0].isdigit() else None
    settings = SETTINGS.model_copy(update={"training": training or SETTINGS.training})
    try:
        is_new = "--resume" not in arguments
        run = create_run(RUN, settings, b"{}", 5, {}) if is_new else open_run(RUN)
        with run.lock():
            if training not in (None, run.settings.training):
                run = run.replace_settings(settings)
            write_as_training_does(run)
    except TimecycleError as error:
        os.write(2, f"Error: {error}".encode())
        return error.exit_code
    return 0


def write_as_training_does(run: Run) -> None:
    """A row each step; best weights, a sample and a checkpoint at every second one."""
    checkpoint = read_newest_checkpoint(run.checkpoints_path, SHAPES)
    progress = checkpoint.progress if checkpoint else Progress()
    if checkpoint:
        os.write(2, f"resuming after step {progress.step}\n".encode())
    weights = checkpoint.tensors["weights.a"] if checkpoint else np.ones((2, 3), np.float32)
    metrics = MetricsLog(run.metrics_path, progress.metrics_bytes)
    samples = GrowingFile(run.samples_path, progress.samples_bytes)
    while progress.step < (run.settings.training.max_steps or 0):
        progress.step += 1
        weights = weights * np.float32(1.1)
        metrics.append_row({"step": progress.step, "train_loss_nats": float(weights[0, 0])})
        if progress.step % 2 == 0:
            run.save_weights(make_weights(float(weights[0, 0])), {"step": progress.step})
            samples.append(f"=== step {progress.step}\n")
            progress.metrics_bytes, progress.samples_bytes = metrics.flush(), samples.flush()
            run.record_logs()
            write_checkpoint(run.checkpoints_path, Checkpoint(progress, {"weights.a": weights}), 1)
    metrics.close()
    samples.close()


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """The training of four steps; what it needs is imported before anything is forked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # noted, and not waited for
    train(WAYS.new, tmp_path)
    store = Store(tmp_path / "store")
    return Recording(WAYS.new, RUN, {}, store, execute=train, enter_child=lambda: None)


def choose(number: int) -> Sequence[Fault]:
    """One fault for every fifth operation, in rotation: the script tries all at each."""
    return FAULTS[number // 5 % len(FAULTS) :][:1] if number % 5 == 0 else ()


def test_nothing_is_lost_wherever_a_training_is_struck(
    recording: Recording, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    record(recording, place, choose)
    strikes = strike_those_that_went_on(recording, place)
    strikes.append(strike_alone(recording, SHORT, 0, place))
    losses = {
        (strike.kind, strike.operation): loss
        for recovery in recover(recording, strikes, WAYS, tmp_path, jobs=1)
        for strike in recovery.strikes
        if (loss := recovery.find_loss(strike))
    }
    assert not losses, "\n".join(f"{k}: {v}" for k, v in list(losses.items())[:30])
    unclear = {
        (strike.kind, strike.operation): wrong
        for strike in strikes
        if strike.exit_code > 0
        and (wrong := find_fault_of_message(strike.exit_code, strike.output))
    }
    assert unclear == {}
    assert recording.broken_rules == []
    assert recording.unflushed == []
    assert len(recording.operations) > 150
    assert any(operation.startswith("fsync") for operation in recording.operations)
    assert {strike.kind for strike in strikes} == {
        *("killed", "power cut", SHORT.name),
        *(fault.name for fault in FAULTS),
    }


def test_a_longer_run_is_struck_where_its_settings_are_replaced(
    recording: Recording, tmp_path: Path
) -> None:
    record(recording, tmp_path / "place", lambda number: ())
    command = ("6", "--resume")
    longer = Recording(command, RUN, recording.end, Store(tmp_path / "more"), train, lambda: None)
    record(longer, tmp_path / "place", lambda number: ())
    replacing = longer.operations.index("rename runs/my/.manifest.json* runs/my/manifest.json", 20)
    strikes = [s for s in longer.store.list_strikes() if s.number <= replacing]
    ways = Ways(RUN, new=("4",), resume=command)
    for recovery in recover(longer, strikes, ways, tmp_path, jobs=1):
        assert {recovery.find_loss(strike) for strike in recovery.strikes} == {""}


def test_what_is_not_flushed_does_not_survive_a_power_cut(tmp_path: Path) -> None:
    """The harness itself: three ways to lose a file, each found."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "a").write_bytes(b"old")
    disk = Disk(place)

    def around(operation: Operation, perform: Perform) -> object:
        result = perform()
        disk.note(operation)
        return result

    with watch(place, around):
        with (place / ".a.tmp").open("wb") as file:
            file.write(b"new")
        (place / ".a.tmp").replace(place / "a")
    assert disk.broken_rules == ["rename .a.tmp a: .a.tmp is not flushed"]
    assert [dict(cut) for cut in disk.list_cuts()] == [
        {"a": b"old"},
        {"a": b"old", ".a.tmp": b""},
        {"a": b""},
        {"a": b""},
    ]
    assert read_state(place) == {"a": b"new"}
    assert disk.list_unflushed() == ["a"]
