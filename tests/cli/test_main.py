"""The end of the process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > 10 * len(gc.get_objects())))
from llm_timecycle.cli.main import main
sys.argv = ["llm-timecycle", "--version"]
main()
"""


def test_no_garbage_is_collected_among_the_modules_at_exit() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True", done.stderr
