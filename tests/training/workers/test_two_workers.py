"""Two workers on this machine: the same run as one process, and what ends one ends both."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.distributed.addresses import choose_local_addresses
from tests.training.workers.member import STOPPED_AFTER, describe, make_order, write_texts

LONGEST_S = 300
MEMBER = """
from llm_timecycle.model.tf_import import import_tensorflow
import_tensorflow()  # sooner than the import alone: without matplotlib, nor looking for garbage
from tests.training.workers.member import main
main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("workers")
    write_texts(place)
    return place


@pytest.fixture(scope="module")
def results(place: Path) -> list[dict[str, Any]]:
    """What both workers say of everything that `member.run` does."""
    addresses = ",".join(choose_local_addresses(2, random.Random()))
    command = [sys.executable, "-c", MEMBER]
    members = [
        subprocess.Popen(
            [*command, str(index), addresses, str(place)],
            cwd=Path(__file__).parents[3],
            stderr=subprocess.PIPE,
        )
        for index in range(2)
    ]
    try:
        errors = [member.communicate(timeout=LONGEST_S)[1].decode() for member in members]
    finally:
        for member in members:
            member.kill()
    assert [member.returncode for member in members] == [0, 0], errors
    return [json.loads((place / f"{index}.json").read_text()) for index in range(2)]


@pytest.fixture(scope="module")
def alone(place: Path) -> Any:
    """The same training in one process."""
    from llm_timecycle.training.session import train_with
    from llm_timecycle.training.workers.workers import ALONE

    return describe(lambda: train_with(ALONE, make_order(place, "alone")))


def read_column(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_workers_give_each_other_what_they_have(results: Any) -> None:
    for result in results:
        tools = result["tools"]
        assert tools["added"] == pytest.approx([1.2, 2e300])
        assert (tools["sent"], tools["empty"]) == ("from 0", "")
        assert tools["tensors"] == {
            "weights": ["float32", np.float32([0.1, -0.2]).tolist()],
            "steps": ["int64", 7],
            "seeds": ["uint32", [4_000_000_000, 1]],
        }
        assert tools["joined"] == [[1.0] * 3] * 2 + [[2.0] * 3] * 2
        assert tools["chosen"] == [True, False]
        # 7 x 4 embedding; 4 x 24, 6 x 24 and 24 of the LSTM; 6 x 7 and 7 of the output; the loss
        added = 4 * (28 + 96 + 144 + 24 + 42 + 7 + 1)
        assert tools["exchange"] == {"added": added, "sent": added}


def test_a_signal_is_obeyed_by_all_and_the_clock_is_the_chiefs(results: Any) -> None:
    for result in results:
        assert result["tools"]["stop"]["signal_number"] == signal.SIGTERM
        clock = result["tools"]["clock"]
        assert (clock["is_plan_due"], clock["is_save_due"]) == (True, False)


def test_what_ends_one_worker_ends_the_other_with_its_message(results: Any) -> None:
    first, second = (result["failed"] for result in results)
    assert (second["error"], second["code"]) == ("DataError", 4)
    assert (first["error"], first["code"]) == ("WorkerLostError", 4)
    assert "worker 1 (127.0.0.1:" in first["message"]
    assert "the disk of 1 is gone" in first["message"]


def test_two_workers_train_as_one_process_does(results: Any, alone: Any, place: Path) -> None:
    """Losses, gradient norms and validation losses, with dropout of three kinds."""
    assert results[0]["whole"] == results[1]["whole"]
    assert results[0]["whole"]["step"] == alone["step"]
    assert results[0]["whole"]["tokens"] == alone["tokens"]
    for column in ("train_loss_nats", "gradient_norm", "valid_loss_nats"):
        two, one = (read_column(place / run, column) for run in ("whole", "alone"))
        assert len(two) == len(one) > 2
        np.testing.assert_allclose(two, one, rtol=1e-5)


def test_a_second_training_has_the_same_bits(results: Any, place: Path) -> None:
    """One of the two was stopped where the other wrote a checkpoint."""
    paths = [
        place / run / "checkpoints" / f"step-{STOPPED_AFTER}" / "tensors.safetensors"
        for run in ("whole", "stopped")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_signal_to_any_worker_stops_all_at_one_step(results: Any) -> None:
    for result in results:
        stopped = result["stopped"]
        assert (stopped["error"], stopped["code"]) == ("Interrupted", 128 + signal.SIGTERM)
        assert f"Stopped after step {STOPPED_AFTER};" in stopped["message"]


def test_one_process_goes_on_where_two_were_stopped(results: Any, alone: Any, place: Path) -> None:
    from llm_timecycle.training.session import train_with
    from llm_timecycle.training.workers.workers import ALONE

    order = make_order(place, "stopped")
    resumed = describe(lambda: train_with(ALONE, order, resume=True))
    assert resumed["tokens"] == alone["tokens"]
    losses = [read_column(place / run, "train_loss_nats") for run in ("stopped", "alone")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_run_that_is_there_ends_both(results: Any) -> None:
    first, second = (result["exists"] for result in results)
    assert (first["error"], first["code"]) == ("RunExistsError", 5)
    assert (second["error"], second["code"]) == ("WorkerLostError", 5)
    assert "exists already" in second["message"]


def test_another_text_ends_both(results: Any, place: Path) -> None:
    first, second = (result["differing"] for result in results)
    assert (second["error"], second["code"]) == ("DataError", 4)
    assert "the train text differs from that of the chief" in second["message"]
    assert (first["error"], first["code"]) == ("WorkerLostError", 4)
    assert not (place / "differing").exists()


def test_the_plan_of_a_budget_is_the_chiefs(results: Any, place: Path) -> None:
    first, second = (result["budget"] for result in results)
    assert first == second
    manifest = json.loads((place / "budget" / "manifest.json").read_text())
    assert [plan["steps"] for plan in manifest["plans"]] == first["plans"] != []
    assert first["step"] == first["plans"][-1]
