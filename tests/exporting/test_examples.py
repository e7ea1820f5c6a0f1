"""The example beside an export: a process that needs nothing of this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import llm_timecycle as lt
from llm_timecycle.exporting.formats import FORMATS
from tests.exporting.variants import VARIANTS, make_run

KINDS = {
    "char": {"level": "char"},
    "byte": {"level": "byte"},
    "subword": {"level": "subword"},
    "words and lines": {"level": "word"},
    "words of documents": {"level": "word", "documents": "line"},
    "words and what is between": {"level": "word", "word_split": "unicode"},
}


RUN_ALL = """\
import contextlib, gc, io, json, os, runpy, sys
gc.disable()  # looking for it among what is imported is half of the time
texts = []
for folder, *arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv = ["example.py", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path("example.py", run_name="__main__")
    texts.append(printed.getvalue())
assert "llm_timecycle" not in sys.modules
gc.freeze()
print(json.dumps(texts))
"""
"""A call for each folder with its arguments; the runtimes are imported once."""


def start_python(arguments: Sequence[str], directory: Path) -> str:
    """What a process of Python prints in a directory."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_example(directory: Path, *arguments: str) -> str:
    """What it prints, without the line break at the end."""
    return start_python(["example.py", *arguments], directory).removesuffix("\n")


def run_examples(directory: Path, calls: Sequence[Sequence[str | Path]]) -> list[str]:
    """What they print, one after the other in one process, without the line breaks at the end."""
    texts = start_python(["-c", RUN_ALL, json.dumps(calls, default=str)], directory)
    return [text.removesuffix("\n") for text in json.loads(texts)]


def test_it_writes_what_the_run_writes(tmp_path: Path) -> None:
    calls: list[list[str | Path]] = []
    expected = {}
    prompt = "once upon"
    for kind, choices in KINDS.items():
        run = make_run(tmp_path / kind / "run", **choices)  # type: ignore[arg-type]
        result = lt.export(run.path, "onnx", output=tmp_path / kind / "out")
        example = (result.path / "example.py").read_text(encoding="utf-8")
        assert "llm_timecycle" not in example
        model = lt.load(run.path)
        after, alone = model.generate(prompt), model.generate("")
        assert len(after.ids) > 5
        calls += [[result.path, prompt], [result.path]]
        expected[kind] = [(prompt + after.text).strip(), alone.text.strip()]
    found = [text.strip() for text in run_examples(tmp_path, calls)]
    pairs = zip(found[::2], found[1::2], strict=True)
    assert dict(zip(expected, map(list, pairs), strict=True)) == expected


def test_that_of_every_format_does(tmp_path: Path) -> None:
    """Of one layer: all kinds of networks are exported in `test_keras_formats`."""
    run = make_run(tmp_path / "run", VARIANTS["one layer"])
    formats = [name for name in FORMATS if FORMATS[name].example and name != "onnx"]
    assert len(formats) == 3
    folders = [lt.export(run.path, to, output=tmp_path / to).path for to in formats]
    expected = "once upon" + lt.load(run.path).generate("once upon").text
    found = run_examples(tmp_path, [[folder, "once upon"] for folder in folders])
    assert dict(zip(formats, found, strict=True)) == dict.fromkeys(formats, expected)


def test_a_seed_draws_the_same_text_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", temperature=1.0, seed=3)
    result = lt.export(run.path, "onnx", output=tmp_path / "out")
    first = run_example(result.path, "once")
    assert first == run_example(result.path, "once")
    assert len(first) > 10
