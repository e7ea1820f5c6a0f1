"""The example beside an export: a process that needs nothing of this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llm_timecycle as lt
from llm_timecycle.exporting.formats import FORMATS
from tests.exporting.variants import make_run

KINDS = {
    "char": {"level": "char"},
    "byte": {"level": "byte"},
    "subword": {"level": "subword"},
    "words and lines": {"level": "word"},
    "words of documents": {"level": "word", "documents": "line"},
    "words and what is between": {"level": "word", "word_split": "unicode"},
}


def run_example(directory: Path, *arguments: str) -> str:
    """What it prints, without the line break at the end."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "example.py", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_what_the_run_writes(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", **KINDS[kind])  # type: ignore[arg-type]
    result = lt.export(run.path, "onnx", output=tmp_path / "out")
    example = (result.path / "example.py").read_text(encoding="utf-8")
    assert "llm_timecycle" not in example
    prompt = "once upon"
    expected = lt.load(run.path).generate(prompt)
    assert len(expected.ids) > 5
    assert run_example(result.path, prompt).strip() == (prompt + expected.text).strip()
    alone = lt.load(run.path).generate("")
    assert run_example(result.path).strip() == alone.text.strip()


@pytest.mark.parametrize(
    "to", [name for name in FORMATS if FORMATS[name].example and name != "onnx"]
)
def test_that_of_every_format_does(to: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = lt.export(run.path, to, output=tmp_path / "out")
    expected = lt.load(run.path).generate("once upon")
    assert run_example(result.path, "once upon") == "once upon" + expected.text


def test_a_seed_draws_the_same_text_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", temperature=1.0, seed=3)
    result = lt.export(run.path, "onnx", output=tmp_path / "out")
    first = run_example(result.path, "once")
    assert first == run_example(result.path, "once")
    assert len(first) > 10
