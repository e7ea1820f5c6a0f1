"""A directory of runs: all that can be read, in the order asked for, and a line for the rest."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

import llm_timecycle as lt
from llm_timecycle.comparing.listing import SORT_KEYS, list_runs, list_shipped, sort_runs
from llm_timecycle.errors import RunError
from tests.comparing.made_runs import make_run, set_date


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, and what is none."""
    place = tmp_path_factory.mktemp("place") / "runs"
    set_date(make_run(place / "b", losses=(3.0, 2.0, 2.5)), 2)
    set_date(make_run(place / "a", hidden_units=8, level="byte", planned_steps=99), 3)
    set_date(make_run(place / "c", losses=()), 1)
    (place / "foreign").mkdir()
    (place / "damaged").mkdir()
    (place / "damaged/manifest.json").write_text('{"format_version": 2}')
    (place / "pipe inside").mkdir()
    os.mkfifo(place / "pipe inside/manifest.json")
    os.mkfifo(place / "pipe")
    (place / "notes.txt").write_text("not a run")
    (place / ".a.making-1").mkdir()
    (place / "gone").symlink_to("nowhere")
    return place


def test_every_run_is_found_and_everything_else_is_named_in_a_line(directory: Path) -> None:
    listing = list_runs(directory)
    assert [run.name for run in listing.runs] == ["a", "b", "c"]
    damaged, foreign, pipe = listing.problems
    assert damaged.startswith(f"{directory}/damaged/manifest.json is damaged: ")
    assert foreign.startswith(f"{directory}/foreign is not a complete run: ")
    assert pipe.startswith(f"{directory}/pipe inside/manifest.json cannot be read: ")
    assert all("\n" not in line for line in listing.problems)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("date", "abc"),  # the newest first
        ("name", "abc"),
        ("loss", "abc"),  # 1.25, 2.0, none
        ("bits", "abc"),
        ("level", "abc"),  # byte, char, char
        ("weights", "bca"),
        ("steps", "abc"),
    ],
)
def test_runs_are_sorted(directory: Path, key: str, names: str) -> None:
    runs = list_runs(directory).runs
    assert "".join(run.name for run in sort_runs(runs, key)) == names


def test_what_has_no_value_comes_last_either_way(directory: Path) -> None:
    runs = list_runs(directory).runs
    assert [run.name for run in sort_runs(runs, "loss", reverse=True)] == ["b", "a", "c"]
    assert [run.name for run in sort_runs(runs, "date", reverse=True)] == ["c", "b", "a"]
    for key in SORT_KEYS:
        assert len(sort_runs(runs, key, reverse=True)) == 3


def test_python_gets_rows_that_pandas_takes(directory: Path) -> None:
    rows = lt.runs(directory)
    assert isinstance(rows, list)
    assert all(isinstance(row, Mapping) for row in rows)
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert len({tuple(row) for row in rows}) == 1  # the same columns
    plain = (str, int, float, datetime, type(None))
    assert all(isinstance(value, plain) for row in rows for value in row.values())
    assert rows[1]["valid_loss_nats"] == 2.0
    assert len(rows.problems) == 3


def test_rows_are_a_data_frame(directory: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(lt.runs(directory)).set_index("name")
    assert frame.loc["b", "valid_loss_nats"] == 2.0
    assert frame["valid_loss_nats"].idxmin() == "a"


def test_rows_show_the_table(directory: Path) -> None:
    rows = lt.runs(str(directory))
    assert str(rows).splitlines()[1].split()[:3] == ["a", "novel.txt", "byte"]
    assert "<td>novel.txt</td>" in rows._repr_html_()
    for other in (copy.deepcopy(rows), pickle.loads(pickle.dumps(rows))):
        assert (other, str(other), other.problems) == (rows, str(rows), rows.problems)


def test_a_directory_that_is_missing_or_a_run_says_what_to_do(directory: Path) -> None:
    with pytest.raises(RunError, match="Train a run with: llm-timecycle train TEXT"):
        lt.runs(directory / "nowhere")
    with pytest.raises(RunError, match="To see the run: llm-timecycle runs show"):
        lt.runs(directory / "a")
    for name in ("pipe", "notes.txt"):
        with pytest.raises(RunError, match=r"no runs can be listed in .*: Not a directory"):
            list_runs(directory / name)


def test_shipped_runs_are_named_as_commands_take_them() -> None:
    listing = list_shipped()
    assert [run.path for run in listing.runs] == ["demo", "demo-zh"]
    assert listing.problems == ()
