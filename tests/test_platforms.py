"""Nothing that only POSIX has is needed to import the package, or to ask about the machine.

This stands in for Windows, which these tests do not run on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = """
import builtins, gc, importlib, os, pkgutil, signal, sys, time

gc.disable()  # looking for it among what is imported is half of the time
# What the program needs of others comes first: how they import is their business.
for name in ("tensorflow", "keras", "tokenizers", "matplotlib.figure", "rich.table", "jinja2",
             "prompt_toolkit", "filelock", "tqdm.auto", "click", "pydantic", "ruamel.yaml",
             "platformdirs", "threadpoolctl", "asyncio", "subprocess", "multiprocessing",
             "uvicorn", "starlette.applications", "starlette.middleware.cors", "prometheus_client",
             "onnx"):
    importlib.import_module(name)

modules = {"fcntl", "resource", "readline", "termios", "tty", "pty", "pwd", "grp", "curses",
           "syslog", "crypt", "posix"}
functions = ("sched_getaffinity", "sysconf", "fork", "forkpty", "getuid", "geteuid", "getpgid",
             "killpg", "setsid", "mkfifo", "nice", "getloadavg", "uname", "O_DIRECTORY",
             "O_NONBLOCK")
signals = ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGXFSZ",
           "SIGSTOP", "SIGTSTP", "SIGCHLD", "SIGWINCH")
real_import = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__") or ""
    if importer.startswith("llm_timecycle") and name.partition(".")[0] in modules:
        raise ModuleNotFoundError(f"{importer} imports {name}")
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
for place, names in ((os, functions), (signal, signals),
                     (time, ("CLOCK_BOOTTIME", "clock_gettime"))):
    for name in names:
        if hasattr(place, name):
            delattr(place, name)

import llm_timecycle

count = 0
for module in pkgutil.walk_packages(llm_timecycle.__path__, "llm_timecycle."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        count += 1
gc.freeze()
print(count)
"""

ASKING = """
from pathlib import Path
from llm_timecycle import files, system

assert system.count_cores() >= 1
assert system.count_hardware_threads() >= 1
assert system.read_memory_bytes() is None
assert system.measure_process_age_s() is None
assert system.describe_machine()["cores"] >= 1
files.write_durably(Path(sys.argv[1], "a"), b"x")
assert Path(sys.argv[1], "a").read_bytes() == b"x"
"""


def test_every_module_is_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", BLOCKED + ASKING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) > 100
