"""One of two workers of the tests, as a process: it does everything that they ask about.

Its arguments are INDEX ADDRESSES DIRECTORY. It writes DIRECTORY/INDEX.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.distributed.cluster import parse_cluster
from llm_timecycle.errors import DataError, TimecycleError
from llm_timecycle.model.network import build_network
from llm_timecycle.training.session import TrainingSummary, train_with
from llm_timecycle.training.starting.start import Order
from llm_timecycle.training.workers.communication import (
    count_added_bytes,
    count_sent_bytes,
    make_exchange,
)
from llm_timecycle.training.workers.join import join_workers
from llm_timecycle.training.workers.workers import Moment, Workers

SETTINGS = Settings(
    data={"train": "text.txt", "valid_fraction": 0.2},
    tokenizer={"level": "char"},
    model={
        "embedding_dim": 4,
        "num_layers": 1,
        "hidden_units": 6,
        "dropout": 0.2,
        "weight_drop": 0.1,
        "embedding_dropout": 0.1,
    },
    training={
        "batch_size": 4,
        "sequence_length": 7,
        "max_steps": 9,
        "eval_every": 4,
        "checkpoint_every": 5,
        "keep_checkpoints": 3,
        "log_every": 1,
        "precision": "float32",
        "threads": 2,
        "learning_rate": 0.05,
    },
)
"""68 windows of a lane make an epoch; of the last one, a part."""
STOPPED_AFTER = 5


def write_texts(place: Path) -> None:
    """The text of the trainings, and another one."""
    draw = np.random.default_rng(1)
    words = np.array(["the", "fox", "jumps", "over", "lazy", "dogs"])
    for name in ("text.txt", "other.txt"):
        (place / name).write_text(" ".join(draw.choice(words, 600)), encoding="utf-8")


def make_order(place: Path, run: str, **training: Any) -> Order:
    changed = SETTINGS.training.model_copy(update=training)
    settings = SETTINGS.model_copy(update={"training": changed})
    loaded = LoadedSettings(settings, "tiny", place, place / "tiny.yaml")
    return Order(loaded, place / run, place / "cache", show_progress=False)


class StopAfter(keras.callbacks.Callback):  # type: ignore[misc]
    """Sends this process SIGTERM after some steps."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch + 1 == STOPPED_AFTER:
            os.kill(os.getpid(), signal.SIGTERM)


def describe(work: Callable[[], TrainingSummary]) -> dict[str, Any]:
    """How a training ended."""
    try:
        progress = work().progress
    except TimecycleError as error:
        return {"error": type(error).__name__, "code": error.exit_code, "message": str(error)}
    facts = {name: getattr(progress, name) for name in ("step", "tokens", "best_loss")}
    return {**facts, "plans": [plan.steps for plan in progress.plans]}


def try_tools(workers: Workers) -> dict[str, Any]:
    """What a worker gets from the others."""
    index = workers.index
    arrays = {
        "weights": np.float32([0.1, -0.2]) * (1 - index),
        "steps": np.int64(7 - 7 * index),
        "seeds": np.uint32([4_000_000_000, 1]) * np.uint32(1 - index),
    }
    sent = workers.send_tensors(arrays)
    own = np.full((2, 3), index + 1.0, np.float32)
    stop = Moment(signal_number=signal.SIGTERM) if index == 1 else Moment()
    clock = Moment(is_plan_due=index == 0, is_save_due=index == 1)
    return {
        "added": workers.add_numbers([index + 0.1, 1e300]),
        "sent": workers.send(f"from {index}".encode()).decode(),
        "empty": workers.send(b"").decode(),
        "tensors": {name: (str(a.dtype), a.tolist()) for name, a in sent.items()},
        "joined": workers.join_lanes(own, 4).tolist(),
        "stop": vars(workers.agree(stop)),
        "clock": vars(workers.agree(clock)),
        "exchange": time_exchange(workers),
        "chosen": [workers.choose(index == 0), workers.choose(index == 1)],
    }


def time_exchange(workers: Workers) -> dict[str, float]:
    """What a network of 7 tokens sends in a step of two workers; the exchange ends."""
    network = build_network(SETTINGS.model, 7, seed=1)
    exchange = make_exchange(network, workers)
    exchange()
    return {"added": count_added_bytes(network), "sent": count_sent_bytes(network, workers.size)}


def fail_together(workers: Workers) -> TrainingSummary:
    with workers.together("a trial"):
        if workers.index == 1:
            raise DataError("the disk of 1 is gone")
    raise AssertionError("worker 1 failed, and worker 0 went on")


def run(workers: Workers, place: Path) -> dict[str, Any]:
    """Everything, in one order on both workers."""
    second = workers.index == 1
    other = SETTINGS.data.model_copy(update={"train": "other.txt"})
    differing = make_order(place, "differing")
    if second:
        settings = differing.loaded.settings.model_copy(update={"data": other})
        differing = replace(differing, loaded=replace(differing.loaded, settings=settings))

    def train(order: Order, **options: Any) -> dict[str, Any]:
        return describe(lambda: train_with(workers, order, **options))

    return {
        "tools": try_tools(workers),
        "failed": describe(lambda: fail_together(workers)),
        "whole": train(make_order(place, "whole")),
        "exists": train(make_order(place, "whole")),
        "differing": train(differing),
        "stopped": train(make_order(place, "stopped"), callbacks=[StopAfter()] if second else []),
        "budget": train(make_order(place, "budget", max_steps=None, minutes=0.02)),
    }


def main() -> None:
    index, addresses, place = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    cluster = parse_cluster(addresses, index, "test")
    with join_workers(cluster, SETTINGS, resume=False) as workers:
        results = run(workers, place)
    (place / f"{index}.json").write_text(json.dumps(results))
