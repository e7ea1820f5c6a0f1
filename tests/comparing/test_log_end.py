"""The last row of a log, however long the log and whatever is at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_timecycle.comparing.log_end import read_last_row
from llm_timecycle.errors import RunError
from llm_timecycle.training.reporting.metrics import MetricsLog

HEAD = "step,epoch,tokens,wall_s,train_loss_nats,planned_steps"


def write(run: Path, *lines: str, end: str = "\n") -> Path:
    (run / "metrics.csv").write_text("\n".join(lines) + end)
    return run


def test_the_last_complete_row_counts(tmp_path: Path) -> None:
    write(tmp_path, HEAD, "1,0.5,10,2.5,3,", "2,1,20,5,2,40", "3,1.5,3", end="")
    assert read_last_row(tmp_path) == {
        **{"step": 2.0, "epoch": 1.0, "tokens": 20.0, "wall_s": 5.0, "planned_steps": 40.0}
    }


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.csv", 0)
    for step in range(1, 2001):
        log.append_row({"step": step, "epoch": step / 7, "wall_s": step / 3})
    log.close()
    assert (tmp_path / "metrics.csv").stat().st_size > 3 * (1 << 14)
    assert read_last_row(tmp_path)["step"] == 2000


def test_no_row_is_no_error(tmp_path: Path) -> None:
    assert read_last_row(tmp_path) == {}
    assert read_last_row(write(tmp_path, HEAD)) == {}
    assert read_last_row(write(tmp_path, HEAD, "1,0.5", end="")) == {}
    assert read_last_row(write(tmp_path, "", end="")) == {}


@pytest.mark.parametrize(
    "row",
    ["1,0.5,10", "x,0.5,10,2.5,3,", "nan,0.5,10,2.5,3,", "1,0.5,1e300,2.5,3,", "-1,1,1,1,1,", "é"],
)
def test_a_damaged_row_is_an_error(tmp_path: Path, row: str) -> None:
    with pytest.raises(RunError, match=r"metrics\.csv cannot be read: "):
        read_last_row(write(tmp_path, HEAD, row))


def test_what_is_no_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="its last row is damaged"):
        read_last_row(write(tmp_path, "a,b", "1,2"))
    (tmp_path / "metrics.csv").unlink()
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(RunError, match="it is not a regular file"):
        read_last_row(tmp_path)
