"""`llm-timecycle export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from syrupy.assertion import SnapshotAssertion

from tests.cli.conftest import Outcome
from tests.json_keys import list_keys


def test_it_says_where_the_export_is(call: Callable[..., Outcome], run: Path) -> None:
    outcome = call("export", run, "--to", "onnx")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.startswith("exports/char-onnx (onnx, float32): ")
    assert "largest difference of a logit" in outcome.stdout
    assert Path("exports/char-onnx/model.onnx").exists()


def test_one_that_is_there_is_named_with_a_way_out(call: Callable[..., Outcome], run: Path) -> None:
    assert call("export", run, "--to", "onnx", "--output", "a b").exit_code == 0
    refused = call("export", run, "--to", "onnx", "--output", "a b")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "Error: 'a b' exists already: replace it with --force, or choose another --output\n"
    )
    assert call("export", run, "--to", "onnx", "--output", "a b", "--force").exit_code == 0
    other = call("export", run, "--to", "onnx", "--output", run, "--force")
    assert other.exit_code == 2
    assert "is not an export: choose another --output" in other.stderr


def test_wrong_options(call: Callable[..., Outcome], run: Path) -> None:
    for arguments, message in (
        ((run,), "Missing option '--to'"),
        ((run, "--to", "onyx"), "'onyx' is not"),
        ((run, "--to", "onnx", "--precision", "int8"), "--precision: received 'int8'; expected"),
        (("none", "--to", "onnx"), "there is no run at none"),
    ):
        outcome = call("export", *arguments)
        assert outcome.exit_code in (2, 5)
        assert message in outcome.stderr
        assert not Path("exports").exists()


def test_the_keys_of_the_object(
    call: Callable[..., Outcome], run: Path, snapshot: SnapshotAssertion
) -> None:
    outcome = call("export", run, "--to", "onnx", "--json")
    assert sorted(list_keys(json.loads(outcome.stdout))) == snapshot
