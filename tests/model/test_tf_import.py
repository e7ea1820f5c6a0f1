"""TensorFlow is imported without its log lines, and without losing a Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llm_timecycle

PROGRAM = """
import os, signal
from llm_timecycle.model.tf_import import import_tensorflow
try:
    import_tensorflow()
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert os.environ.get("KERAS_BACKEND") == "jax"
"""
STAND_IN = """
import os, signal, sys, types
print("a log line", file=sys.stderr, flush=True)
config = types.SimpleNamespace(list_physical_devices=lambda: [])
"""
KERAS = """
import os, types
found = os.environ["KERAS_BACKEND"]
config = types.SimpleNamespace(backend=lambda: found, floatx=lambda: "float32")
"""
HIDDEN_INTERRUPT = """
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass
"""


def run_program(place: Path, tensorflow: str, keras: str, program: str = PROGRAM) -> str:
    """What a program prints that finds these stand-ins for the libraries, and KERAS_BACKEND=jax."""
    (place / "tensorflow.py").write_text(tensorflow)
    (place / "keras.py").write_text(keras)
    path = os.pathsep.join([str(place), str(Path(llm_timecycle.__file__).parents[1])])
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


@pytest.mark.parametrize(
    ("added", "printed"),
    [("", ""), (HIDDEN_INTERRUPT, "interrupted\n"), ("signal.raise_signal(2)", "interrupted\n")],
)
def test_an_interrupt_during_the_import_is_kept(tmp_path: Path, added: str, printed: str) -> None:
    assert run_program(tmp_path, STAND_IN + added, KERAS) == printed


IMPORTED_BEFORE = """
import keras
from llm_timecycle.errors import UsageError
from llm_timecycle.model.tf_import import import_tensorflow
try:
    import_tensorflow()
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("keras", "parts"),
    [
        (KERAS, ("imported with the backend jax; expected tensorflow", "KERAS_BACKEND=tensorflow")),
        (KERAS.replace("found,", "'tensorflow',").replace("32", "16"), ("float16", "set_floatx")),
    ],
)
def test_a_keras_that_computes_otherwise_is_refused(
    tmp_path: Path, keras: str, parts: tuple[str, ...]
) -> None:
    message = run_program(tmp_path, STAND_IN, keras, IMPORTED_BEFORE)
    assert [part for part in parts if part not in message] == []


def test_without_a_directory_for_temporary_files_the_import_still_works(tmp_path: Path) -> None:
    nowhere = "import tempfile; tempfile.tempdir = '/nonexistent'\n"
    assert run_program(tmp_path, STAND_IN, KERAS, nowhere + PROGRAM) == ""
