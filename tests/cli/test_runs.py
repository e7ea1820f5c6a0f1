"""The `runs` command: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

import llm_timecycle as lt
from llm_timecycle.comparing.listing import list_runs, sort_runs
from llm_timecycle.comparing.tables import write_list
from tests.cli.conftest import Outcome
from tests.cli.test_control_characters import CONTROLS, print_to_terminal
from tests.comparing.made_runs import make_run, set_date
from tests.json_keys import list_keys

Call = Callable[..., Outcome]


@pytest.fixture
def place(tmp_path: Path, call: Call) -> Path:
    """The current directory, with runs in `runs`."""
    set_date(make_run(tmp_path / "runs/novel"), 1)
    words = make_run(
        tmp_path / "runs/三体",
        text=["三体 第一部.txt", "三体 第二部.txt"],
        level="word",
        losses=(3.0, 2.5),
        unknown=7,
        planned_steps=40,
        origin={"run": "demo-zh", "added_tokens": 3},
        sample="他 说 。",
    )
    set_date(words, 2)
    set_date(make_run(tmp_path / "runs/just-begun-with-a-long-name", losses=()), 3)
    (tmp_path / "runs/other").mkdir()
    os.mkfifo(tmp_path / "runs/pipe")
    return tmp_path


def test_the_list_as_a_pipe_gets_it(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    outcome = call("runs", "list")
    assert outcome.exit_code == 0
    assert outcome.stdout == snapshot
    assert outcome.stderr.splitlines() == [
        "runs/other is not a complete run: it has no manifest.json. Give the directory that "
        "llm-timecycle train made"
    ]


def test_the_list_in_80_columns(place: Path, snapshot: SnapshotAssertion) -> None:
    table = write_list(sort_runs(list_runs(Path("runs")).runs, "name"), 80)
    assert table == snapshot
    assert max(map(cell_len, table.splitlines())) <= 80


def test_no_figure_is_cut_in_a_narrow_terminal(place: Path) -> None:
    narrow = write_list(list_runs(Path("runs")).runs, 20)
    assert all(figure in narrow for figure in ("2.5000", "3.607*", "20/40", "2026-05-03"))


def test_the_list_sorted_the_other_way_round(place: Path, call: Call) -> None:
    table = call("runs", "list", "runs", "--sort", "loss", "--reverse").stdout
    assert [line.split()[0] for line in table.splitlines()[1:4]] == [
        *("三体", "novel", "just-begun-with-a-long-name")
    ]


def test_the_list_as_json(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    found = json.loads(call("runs", "list", "--json").stdout)
    assert sorted(list_keys(found)) == snapshot
    assert [run["name"] for run in found["runs"]] == [
        *("just-begun-with-a-long-name", "三体", "novel")
    ]
    assert len(found["problems"]) == 1
    rows = lt.runs()
    assert [{**row, "date": row["date"].isoformat()} for row in rows] == found["runs"]


def test_a_missing_directory_says_how_to_train_a_run(call: Call) -> None:
    outcome = call("runs", "list")
    assert (outcome.exit_code, outcome.stdout) == (5, "")
    assert outcome.stderr == (
        "Error: no runs can be listed in runs: there is no such directory. Train a run with: "
        "llm-timecycle train TEXT\n"
    )


def test_an_empty_directory_does_too(call: Call) -> None:
    Path("runs").mkdir()
    outcome = call("runs", "list")
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "llm-timecycle train TEXT" in outcome.stderr
    assert "llm-timecycle runs list --shipped" in outcome.stderr
    assert json.loads(call("runs", "list", "--json").stdout) == {"runs": [], "problems": []}


def test_shipped_runs_are_listed_when_asked_for(call: Call) -> None:
    names = [line.split()[0] for line in call("runs", "list", "--shipped").stdout.splitlines()[1:3]]
    assert sorted(names) == ["demo", "demo-zh"]
    assert call("runs", "list", "runs", "--shipped").exit_code == 2


def test_the_documented_list_is_the_one_that_is_printed(call: Call) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    printed = call("runs", "list", "--shipped", "--sort", "name").stdout
    for line in printed.splitlines()[:3]:
        assert line[: -len("2026-11-26")] in page


def test_one_run(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    outcome = call("runs", "show", "runs/三体")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    shown = outcome.stdout.replace(f"{place}", "HERE")
    # The day is the same everywhere, the hour is not; the manifest names versions.
    assert shown.replace(shown.splitlines()[0], "").partition("\nFiles")[0] == snapshot
    assert shown.splitlines()[0].startswith("runs/三体: trained, last saved 2026-05-02 ")
    assert shown.endswith(
        "\nNext\n"
        "  llm-timecycle generate 'runs/三体'\n"
        "  llm-timecycle evaluate 'runs/三体'\n"
        "  llm-timecycle train 'runs/三体' --resume\n"
    )


def test_one_run_as_json(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    found = json.loads(call("runs", "show", "runs/novel", "--json").stdout)
    keys = list_keys(found)
    assert sorted(key for key in keys if not key.startswith((".settings.", ".versions."))) == (
        snapshot
    )
    assert found["sample"] == {
        "heading": "epoch 3, step 30: valid loss 1.2500",
        "text": "Once upon",
    }
    assert found["tokens_per_s"] == 100.0


def test_a_shipped_run_is_shown_by_its_name(call: Call) -> None:
    shown = call("runs", "show", "demo").stdout
    assert "llm-timecycle train --from demo TEXT" in shown
    assert "--resume" not in shown


def test_a_damaged_run_cannot_be_shown(place: Path, call: Call) -> None:
    Path("runs/novel/tokenizer.json").write_text("{}")
    outcome = call("runs", "show", "runs/novel")
    assert (outcome.exit_code, outcome.stdout) == (5, "")
    assert "tokenizer.json is not what the manifest says" in outcome.stderr
    assert "novel" in call("runs", "list").stdout  # which does not read it


def test_runs_side_by_side(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    outcome = call("runs", "compare", "runs/novel", "runs/三体", "--output", "curves.svg")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout == snapshot
    assert outcome.stderr == "The chart is in curves.svg\n"
    assert Path("curves.svg").read_text().startswith("<?xml")


def test_runs_side_by_side_as_json(place: Path, call: Call, snapshot: SnapshotAssertion) -> None:
    found = json.loads(call("runs", "compare", "runs/novel", "runs/三体", "--json").stdout)
    assert sorted(list_keys(found)) == snapshot
    assert found["differences"]["tokenizer.level"] == ["char", "word"]
    assert found["comparable"] == {
        **{"loss": False, "bits": False, "same_validation_text": True, "same_tokenizer": False}
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs/novel"], "expected two runs or more to compare, received 1"),
        (["runs/novel", "runs/novel/"], "was given twice"),
        (["runs/novel", "demo", "--output", "a.html"], "--output: received a.html; expected a"),
        (["runs/just-begun-with-a-long-name", "demo", "--output", "a.png"], "no curve to draw"),
    ],
)
def test_what_cannot_be_compared(
    place: Path, call: Call, arguments: list[str], message: str
) -> None:
    outcome = call("runs", "compare", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
    assert not Path("a.png").exists()


def test_a_terminal_does_not_obey_names_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    run = make_run(
        tmp_path / f"a\x1b[31m{CONTROLS}", text=f"b{CONTROLS}.txt", sample=f"c{CONTROLS}"
    )
    (tmp_path / f"other{CONTROLS}").mkdir()
    other = make_run(tmp_path / "z")
    for arguments in (["list", tmp_path], ["show", run.path], ["compare", run.path, other.path]):
        sent = print_to_terminal("runs", *arguments)
        assert "\\x1b[31m\\x1b\\x07\\x08" in sent
        assert not set(CONTROLS) & set(sent), arguments


def test_matplotlib_is_imported_for_a_chart_alone(place: Path) -> None:
    code = (
        "import sys; from llm_timecycle.__main__ import main; sys.argv[1:] = sys.argv[2:]\n"
        "try: main()\n"
        "finally: print(*sorted(sys.modules), file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "-", "runs", "compare", "runs/novel", "runs/三体"]
    finished = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {"matplotlib", "tensorflow", "keras"}.isdisjoint(finished.stderr.split())


def test_a_real_training_is_shown_as_it_was(trained: Path, call: Call) -> None:
    """Its files, as the program has written them, with the figures that `evaluate` finds."""
    run = trained / "runs/tiny"
    found = json.loads(call("runs", "show", run, "--json").stdout)
    assert (found["text"], found["level"], found["steps"]) == ("sample-english", "char", 6)
    assert found["planned_steps"] == 6
    assert found["sample"]["heading"].startswith("epoch ")
    assert found["sample"]["text"]
    assert found["tokens_per_s"] > 0
    assert any(name.startswith("checkpoints/step-") for name in found["files"])
    scored = json.loads(call("evaluate", run, "--json").stdout)
    # Training scores in more lanes, and carries no state from one to the next.
    assert found["valid_loss_nats"] == pytest.approx(scored["loss_nats_per_token"], rel=0.01)
    for key in ("bits_per_character", "bits_per_byte"):
        assert found[key] == pytest.approx(scored[key], rel=0.01)
