"""`llm-timecycle profile`: what it prints and writes, and every bad input refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.errors import NotEnoughMemoryError
from llm_timecycle.profiling import against
from llm_timecycle.profiling import api as profile_module
from llm_timecycle.profiling.api import ProfileResult
from llm_timecycle.profiling.measure import machine_limits
from llm_timecycle.profiling.render.json_form import describe_profile
from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import Outcome
from tests.cli.test_bad_input import expect_refusal
from tests.profiling.profiles import make_cycle, make_profile

Call = Callable[..., Outcome]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `profile` was asked for; it answers at once with a profile made by hand."""
    requests: list[dict[str, Any]] = []

    def answer(source: str, **request: Any) -> ProfileResult:
        requests.append({"source": source, **request})
        return ProfileResult(make_profile())

    monkeypatch.setattr(profile_module, "profile", answer)
    return requests


def test_the_tables_go_to_standard_output_without_colours(call: Call, asked: list) -> None:
    outcome = call("profile", "tiny.yaml", "--steps", "7", "--set", "training.seed=3")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("tiny: 12,345 parameters\n")
    assert "closure 1.009" in outcome.stdout
    assert "\x1b" not in outcome.stdout
    [request] = asked
    assert (request["source"], request["steps"]) == ("tiny.yaml", 7)
    assert request["overrides"] == ("training.seed=3",)
    assert (request["grow"], request["parallel"], request["inference"]) == ((), False, False)


def test_what_is_asked_for_is_measured(call: Call, asked: list) -> None:
    call("profile", "tiny.yaml", "--grow", "T", "--grow", "length", "--inference")
    call("profile", "tiny.yaml", "--all")
    assert (asked[0]["grow"], asked[0]["inference"]) == (("T", "length"), True)
    assert asked[1]["grow"] == ("T", "B", "E", "H", "L", "V", "length")
    assert asked[1]["parallel"] is asked[1]["inference"] is True
    call("profile", "tiny.yaml", "--workers", "4")
    assert [request["workers"] for request in asked] == [None, None, 4]  # not part of --all


def test_json_is_one_object(call: Call, asked: list) -> None:
    outcome = call("profile", "tiny.yaml", "--json")
    assert json.loads(outcome.stdout) == describe_profile(make_profile())


def test_mermaid_is_the_chart_alone(call: Call, asked: list) -> None:
    outcome = call("profile", "tiny.yaml", "--mermaid")
    assert outcome.stdout.splitlines()[0] == "flowchart LR"
    assert outcome.stdout.splitlines()[-1] == "  end"


def test_a_report_is_written_beside_what_is_printed(
    call: Call, asked: list, tmp_path: Path
) -> None:
    outcome = call("profile", "tiny.yaml", "--json", "--report", "my.html")
    assert json.loads(outcome.stdout)["name"] == "tiny"
    assert outcome.stderr == "The report is in my.html\n"
    assert (tmp_path / "my.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "parts"),
    [
        (["tiny.yaml", "--grow", "Z"], 2, ["--grow", "'Z'", "'length'"]),
        (["tiny.yaml", "--steps", "0"], 2, ["--steps", "0"]),
        (["tiny.yaml", "--workers", "1"], 2, ["--workers", "1", "2<=x<=64"]),
        (["tiny.yaml", "--workers", "3"], 3, ["batch_size: received 8", "multiple of the 3"]),
        (["tiny.yaml", "--workers", "2", "--against", "small"], 2, ["leave out --workers"]),
        (["tiny.yaml", "--json", "--mermaid"], 2, ["leave out one"]),
        (["tiny.yaml", "--report", "no/my.html"], 2, ["no directory no"]),
        (["tiny.yaml", "--report", "."], 2, ["is a directory"]),
        (["tiny.yaml", "--report", ""], 2, ["is empty"]),
        (["smal"], 3, ["smal", "small"]),
        (["no.yaml"], 3, ["no.yaml"]),
        (["runs/no"], 5, ["there is no run at runs/no"]),
        (["tiny.yaml", "--set", "model.hiden_units=3"], 3, ["hidden_units"]),
        (["tiny.yaml", "--against", "smal"], 3, ["smal", "small"]),
        (["tiny.yaml", "--against", "no.json"], 4, ["no.json"]),
        (
            ["tiny.yaml", "--against", "small", "--all", "--report", "a.html"],
            2,
            ["leave out --all and --report"],
        ),
    ],
)
def test_bad_input_is_one_message_before_anything_is_measured(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    exit_code: int,
    parts: list[str],
) -> None:
    monkeypatch.setattr(profile_module, "_measure", None)
    monkeypatch.setattr(against, "profile_in_process", None)
    expect_refusal(call("profile", *arguments), exit_code, *parts)


def test_too_little_memory_names_the_option_that_would_fit(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotEnoughMemoryError("a step takes 9 GB", "training.batch_size=32")

    monkeypatch.setattr(profile_module, "profile", refuse)
    outcome = call("profile", "tiny.yaml")
    expect_refusal(outcome, 2, "a step takes 9 GB: --set training.batch_size=32 would fit")


def test_a_run_that_is_still_trained_is_refused(call: Call, trained: Path) -> None:
    run = open_run(trained / "runs" / "tiny")
    with run.lock():
        expect_refusal(call("profile", run.path), 5, "is still being trained", "wait")


def test_two_are_compared_and_both_forms_say_the_same(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(arguments: list[str]) -> dict[str, Any]:
        assert arguments[-2:] == ["--steps", "6"]
        scale = 0.8 if "--set" in arguments else 1.0
        return describe_profile(make_profile(training=make_cycle(scale)))

    monkeypatch.setattr(against, "profile_in_process", answer)
    command = ["profile", "tiny.yaml", "--set", "training.seed=2", "--against", "tiny.yaml"]
    outcome = call(*command, "--steps", "6")
    assert "A is faster" in outcome.stdout
    assert "process 4 of 4: A" in outcome.stderr
    described = json.loads(call(*command, "--steps", "6", "--json").stdout)
    assert described["times"][0]["ratio"] == pytest.approx(0.8)


def test_a_trained_run_from_end_to_end(
    call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_limits, "choose_array_bytes", lambda *_: 2**20)
    run = trained / "runs" / "tiny"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = call("profile", run, "--steps", "5", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    described = json.loads(outcome.stdout)
    assert described["training"]["tokens"] == 8 * 16
    assert [row["step"] for row in described["history"]][-1] == 6
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
