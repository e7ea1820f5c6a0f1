"""The bar is tqdm's, and a notebook without ipywidgets gets it without a warning."""

from __future__ import annotations

import subprocess
import sys

NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
sys.modules["ipywidgets"] = None
from llm_timecycle.progress_bars import tqdm
assert list(tqdm([1, 2], desc="epoch", file=sys.stdout)) == [1, 2]
"""


def test_a_notebook_without_widgets() -> None:
    program = [sys.executable, "-W", "always", "-c", NOTEBOOK]
    finished = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "epoch: 100%" in finished.stdout
