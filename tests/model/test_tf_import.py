"""TensorFlow is imported without its log lines, and without losing a Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llm_timecycle

PROGRAM = """
import signal
from llm_timecycle.model.tf_import import import_tensorflow
try:
    import_tensorflow()
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
STAND_IN = """
import os, signal, sys, types
print("a log line", file=sys.stderr, flush=True)
config = types.SimpleNamespace(list_physical_devices=lambda: [])
"""
HIDDEN_INTERRUPT = """
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass
"""


@pytest.mark.parametrize(
    ("added", "printed"),
    [("", ""), (HIDDEN_INTERRUPT, "interrupted\n"), ("signal.raise_signal(2)", "interrupted\n")],
)
def test_an_interrupt_during_the_import_is_kept(tmp_path: Path, added: str, printed: str) -> None:
    (tmp_path / "tensorflow.py").write_text(STAND_IN + added)
    root = Path(llm_timecycle.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, printed, "")
