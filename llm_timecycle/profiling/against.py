"""Two sources measured side by side: each in processes of its own, in turn, then compared."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm_timecycle.errors import (
    ConfigError,
    DataError,
    RunError,
    TimecycleError,
    UsageError,
)
from llm_timecycle.profiling.analysis.comparison import FEWEST_TIMINGS, Comparison, compare
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_child
from llm_timecycle.profiling.render.json_form import read_timings
from llm_timecycle.profiling.source import open_source

log = logging.getLogger("llm_timecycle")

ORDER = ("a", "b", "b", "a")  # a machine that gets slower all the while does so for both
PROFILE_BYTES_AT_MOST = 100 * 2**20
Described = dict[str, Any]

_ERRORS = {error.exit_code: error for error in (UsageError, ConfigError, DataError, RunError)}


def compare_in_turn(
    a: str,
    b: str,
    *,
    overrides: Sequence[str] = (),
    options: Sequence[str] = (),
    measure: Callable[[Sequence[str]], Described] | None = None,
) -> Comparison:
    """Profile A and B twice each, every time in a new process, and compare them.

    Args:
        a, b: runs or configurations. B may also be a file that `profile --json` wrote; A is then
            measured alone.
        overrides: settings in place of those of A.
        options: of the command, for both (`--steps`, `--inference`).
        measure: profiles with the arguments of the command; None does so in a new process.

    Raises:
        ConfigError, RunError, DataError, UsageError: as `profile` does, before anything is measured
            where that is possible.
    """
    measure = measure or profile_in_process
    open_source(a, overrides)
    arguments_a = [a, *(part for item in overrides for part in ("--set", item)), *options]
    if Path(b).suffix.lower() == ".json":
        described_b = read_profile_file(Path(b))
        return compare([measure(arguments_a) for _ in range(2)], described_b)
    open_source(b)
    arguments = {"a": arguments_a, "b": [b, *options]}
    found: dict[str, list[Described]] = {"a": [], "b": []}
    for number, side in enumerate(ORDER, start=1):
        log.info("process %s of %s: %s", number, len(ORDER), side.upper())
        found[side].append(measure(arguments[side]))
    return compare(found["a"], found["b"])


def read_profile_file(path: Path) -> Described:
    """A profile that was written down by `profile --json`.

    Raises:
        DataError: it cannot be read. UsageError: it is something else.
    """
    try:
        if path.stat().st_size > PROFILE_BYTES_AT_MOST:
            raise DataError(f"{path} is larger than 100 MB; expected what profile --json printed")
        described = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    try:
        timings = read_timings(described)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if (most := max(map(len, timings.values()))) < FEWEST_TIMINGS:
        raise UsageError(
            f"{path}: expected at least {FEWEST_TIMINGS} timings of a thing, received at most "
            f"{most}. Measure it again, with more --steps."
        )
    found: Described = described
    return found


def profile_in_process(arguments: Sequence[str]) -> Described:
    """What `llm-timecycle profile ARGUMENTS --json` prints, in a process of its own.

    Raises:
        UsageError, ConfigError, DataError, RunError: what the process failed with, and said.
        TimecycleError: it failed in another way.
    """
    source, *options = arguments
    program = [sys.executable, "-m", "llm_timecycle", "profile", "--json"]
    command = [*program, *options, "--", source]
    finished = run_child(command)
    if finished.returncode != 0:
        error = _ERRORS.get(finished.returncode, TimecycleError)
        raise error(f"{source} could not be profiled: {explain_failure(finished)}")
    found: Described = json.loads(finished.stdout)
    return found
