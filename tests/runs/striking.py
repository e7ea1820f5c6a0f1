"""A training struck at its writes, in a program without TensorFlow: it is forked at each of them.

    python -m tests.runs.striking new|longer PLACE

Prints what was found, as JSON. The training writes as a real one does, in that order.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.config import sources
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

from boundaries.ends import find_fault_of_message
from boundaries.recording import Recording, record, strike_alone, strike_those_that_went_on
from boundaries.recoveries import Ways, recover
from boundaries.strikes import FAULTS, SHORT, Fault, Store, Strike

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


def choose(number: int) -> Sequence[Fault]:
    """One fault for every fifth operation, in rotation: the script tries all at each."""
    return FAULTS[number // 5 % len(FAULTS) :][:1] if number % 5 == 0 else ()


def begin(place: Path) -> Recording:
    """The training of four steps; what it needs is imported before anything is forked."""
    train(WAYS.new, place)
    parse_once()
    open_run(place / RUN)
    store = Store(place / "store")
    return Recording(WAYS.new, RUN, {}, store, execute=train, enter_child=lambda: None)


def parse_once() -> None:
    """From here on, parse settings once, here and in what is forked: it is most of the time."""
    parse = sources.parse_yaml
    parsed: dict[str, Any] = {}

    def find(text: str, origin: str) -> Any:
        if text not in parsed:
            parsed[text] = parse(text, origin)
        return parsed[text]

    sources.parse_yaml = find


def strike_new_run(place: Path) -> dict[str, Any]:
    """Strike at a new run."""
    recording = begin(place)
    record(recording, place / "place", choose)
    strikes = strike_those_that_went_on(recording, place / "place")
    strikes.append(strike_alone(recording, SHORT, 0, place / "place"))
    return {
        "lost": list_losses(recording, strikes, WAYS, place),
        "unclear": [
            f"{strike.kind}, {strike.operation}: {wrong}"
            for strike in strikes
            if strike.exit_code > 0
            and (wrong := find_fault_of_message(strike.exit_code, strike.output))
        ],
        "broken_rules": recording.broken_rules,
        "unflushed": recording.unflushed,
        "operations": recording.operations,
        "kinds": sorted({strike.kind for strike in strikes}),
    }


def strike_longer_run(place: Path) -> dict[str, Any]:
    """Strike at a run that is made longer, until its settings are replaced."""
    recording = begin(place)
    record(recording, place / "place", lambda number: ())
    command = ("6", "--resume")
    longer = Recording(command, RUN, recording.end, Store(place / "more"), train, lambda: None)
    record(longer, place / "place", lambda number: ())
    replacing = longer.operations.index("rename runs/my/.manifest.json* runs/my/manifest.json", 20)
    strikes = [s for s in longer.store.list_strikes() if s.number <= replacing]
    ways = Ways(RUN, new=("4",), resume=command)
    return {"lost": list_losses(longer, strikes, ways, place), "strikes": len(strikes)}


def list_losses(
    recording: Recording, strikes: Sequence[Strike], ways: Ways, place: Path
) -> list[str]:
    """What was lost, and where."""
    return [
        f"{strike.kind}, {strike.operation}: {loss}"
        for recovery in recover(recording, strikes, ways, place, jobs=1)
        for strike in recovery.strikes
        if (loss := recovery.find_loss(strike))
    ]


if __name__ == "__main__":
    os.fsync = lambda fd: None  # noted, and not waited for
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow is imported: forking takes three times as long")
    strike = {"new": strike_new_run, "longer": strike_longer_run}[sys.argv[1]]
    sys.stdout.write(json.dumps(strike(Path(sys.argv[2]))) + "\n")
