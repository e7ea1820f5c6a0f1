"""metrics.csv: columns, rows, and what a resumed run cuts off."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from llm_timecycle.errors import RunError
from llm_timecycle.training.reporting.metrics import (
    COLUMNS,
    STAGES,
    MetricsLog,
    add_stage_seconds,
    read_validations,
)
from tests.full_disk import limit_file_size


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_have_every_column_and_gaps_stay_empty(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.csv", 0)
    log.append_row({"step": 3, "train_loss_nats": 1.5, "valid_loss_nats": None})
    log.close()
    (row,) = read(tmp_path / "metrics.csv")
    assert list(row) == list(COLUMNS)
    assert (row["step"], row["train_loss_nats"], row["valid_loss_nats"]) == ("3", "1.5", "")


def test_going_on_keeps_what_was_there_and_cuts_off_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path, 0)
    log.append_row({"step": 1})
    length = log.flush()
    log.append_row({"step": 2})
    log.close()
    with path.open("ab") as file:
        file.write(b"3,torn")
    log = MetricsLog(path, length)
    log.append_row({"step": 20})
    log.close()
    assert [row["step"] for row in read(path)] == ["1", "20"]


def test_a_file_of_an_earlier_version_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,wall_s\n1,0.5\n")
    log = MetricsLog(path, path.stat().st_size)
    log.append_row({"step": 2, "wall_s": 1.0, "planned_steps": 9})
    log.close()
    assert path.read_text() == "step,wall_s\n1,0.5\n2,1\n"


def test_a_directory_that_is_gone_is_an_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*metrics\.csv"):
        MetricsLog(tmp_path / "gone" / "metrics.csv", 0)


def test_a_disk_that_takes_a_part_of_a_row_is_full(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path, 0)
    message = (
        r"cannot write .*metrics\.csv: the disk is full.* then resume, .*: llm-timecycle train"
    )
    with limit_file_size(path.stat().st_size + 5), pytest.raises(RunError, match=message):
        log.append_row({"step": 1000})
    log.close()


def test_stage_seconds_are_added_over_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path, 0)
    log.append_row({"step": 1, "compute_s": 2.0, "input_s": 0.5, "other_s": 0.25})
    log.append_row({"step": 2, "compute_s": 3.0, "validation_s": 4.0})
    log.close()
    expected = {"input": 0.5, "compute": 5.0, "validation": 4.0, "checkpoint": 0.0, "other": 0.25}
    assert add_stage_seconds(path) == expected
    assert list(expected) == list(STAGES)


@pytest.mark.parametrize(
    "content", [b"step\n1\n", b"\xff\xfe\n1\n", ",".join(COLUMNS).encode() + b"\n" + b"x," * 30]
)
def test_what_is_no_log_is_an_error_of_the_run(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    for read in (read_validations, add_stage_seconds):
        with pytest.raises(RunError, match=r"metrics\.csv cannot be read: .*Restore it"):
            read(path)


def test_what_comes_after_a_length_is_not_read(tmp_path: Path) -> None:
    """As the half of a row, where a process was killed in writing it."""
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path, 0)
    log.append_row({"step": 1, "valid_loss_nats": 2.5, "input_s": 0.5})
    kept = log.flush()
    log.append("2,x")
    log.close()
    assert [point.valid_loss for point in read_validations(path, kept)] == [2.5]
    assert add_stage_seconds(path, kept)["input"] == 0.5
    path.write_text("step,valid_loss_nats\n1,2.5\n")
    with pytest.raises(RunError, match=r"cannot be read: no column train_loss_nats\. Restore it"):
        read_validations(path)


def test_a_cell_of_any_length_is_not_shown_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,valid_loss_nats,train_loss_nats\n1,2," + "x" * 100_000)
    with pytest.raises(RunError, match=r"could not convert string to float: 'xxx") as caught:
        read_validations(path)
    assert len(str(caught.value)) < 500 + len(str(path))
