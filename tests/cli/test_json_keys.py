"""The objects that other programs read: which keys they have, and what a manifest records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from llm_timecycle.errors import DataError
from llm_timecycle.evaluation.extras import Extras
from tests.cli.conftest import Outcome
from tests.json_keys import list_keys


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--json"],
        ["generate", "--json", "--seed", "1", "--length", "3", "--samples", "2"],
        ["generate", "--json", "--beams", "2", "--length", "3"],
        ["generate", "--json", "--top-logprobs", "2", "--length", "3"],
    ],
    ids=[
        "evaluate",
        "generate",
        "generate with beams",
        "generate with likeliest tokens",
    ],
)
def test_the_keys_of_an_object(
    arguments: list[str],
    call: Callable[..., Outcome],
    trained: Path,
    snapshot: SnapshotAssertion,
) -> None:
    command, *options = arguments
    outcome = call(command, trained / "runs/tiny", *options)
    assert outcome.exit_code == 0, outcome.stderr
    assert sorted(list_keys(json.loads(outcome.stdout))) == snapshot


def test_the_keys_of_a_manifest(trained: Path, snapshot: SnapshotAssertion) -> None:
    manifest = json.loads((trained / "runs/tiny/manifest.json").read_bytes())
    assert sorted(list_keys(manifest)) == snapshot


def test_the_columns_of_the_log(trained: Path, snapshot: SnapshotAssertion) -> None:
    header = (trained / "runs/tiny/metrics.csv").read_text().splitlines()[0]
    assert header.split(",") == snapshot


def test_the_table_of_evaluate(
    call: Callable[..., Outcome], trained: Path, snapshot: SnapshotAssertion
) -> None:
    """Its rows; the figures are those of the JSON object."""
    table = call("evaluate", trained / "runs/tiny").stdout
    assert [line[:24].strip() for line in table.splitlines()] == snapshot


def test_evaluate_passes_on_what_else_to_measure(
    call: Callable[..., Outcome], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(*arguments: object) -> None:
        asked.append(arguments[-1])
        raise DataError("enough")

    monkeypatch.setattr("llm_timecycle.evaluation.api.evaluate_with", note)
    options = ["--cache", "--dynamic", "--samples", "2"]
    assert call("evaluate", trained / "runs/tiny", *options).exit_code == 4
    assert call("evaluate", trained / "runs/tiny").exit_code == 4
    assert asked == [Extras(cache=True, dynamic=True, samples=2), Extras()]
    wrong = call("evaluate", trained / "runs/tiny", "--samples", "-1")
    assert wrong.exit_code == 2
