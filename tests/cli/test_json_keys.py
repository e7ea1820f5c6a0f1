"""The objects that other programs read: which keys they have, and what a manifest records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

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
    ids=["evaluate", "generate", "generate with beams", "generate with likeliest tokens"],
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
