"""Two profiles side by side: `compare` those that were measured, `compare_in_turn` two sources."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_timecycle.arguments import check_arguments, write_received
from llm_timecycle.errors import (
    ConfigError,
    DataError,
    RunError,
    TimecycleError,
    UsageError,
)
from llm_timecycle.files import read_regular
from llm_timecycle.parsing import parse_json
from llm_timecycle.profiling.analysis.comparison import FEWEST_TIMINGS, compare_timings
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_module
from llm_timecycle.profiling.render.json_form import describe_profile, read_timings
from llm_timecycle.profiling.results import ComparedTime, Profile
from llm_timecycle.profiling.source import open_source
from llm_timecycle.system import describe_machine_briefly

log = logging.getLogger("llm_timecycle")

ORDER = ("a", "b", "b", "a")  # a machine that slows down steadily slows both down alike
LARGEST_PROFILE_BYTES = 16 << 20
Described = Mapping[str, Any]
"""A profile as JSON has it; see `render.json_form`."""

_ERRORS = {error.exit_code: error for error in (UsageError, ConfigError, DataError, RunError)}


_Plain = str | int | float | bool | None | list[str] | dict[str, float]


class _Machine(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    processor: str | None = None
    cores: int | None = None
    physical_cores: int | None = None
    memory_bytes: float | None = None
    __pydantic_extra__: dict[str, _Plain] = Field(init=False)


class _ProfileFile(BaseModel):
    """What is used of a saved profile beside its timings."""

    model_config = ConfigDict(strict=True)
    name: str = ""
    machine: _Machine = _Machine()
    versions: dict[str, str | None] = {}
    settings: dict[str, dict[str, _Plain]] = {}


@dataclass(frozen=True)
class Comparison:
    """Two profiles side by side; `print` shows the table, and so does a notebook."""

    a_name: str
    b_name: str
    times: tuple[ComparedTime, ...]
    differences: dict[str, tuple[Any, Any]]
    """Settings, versions and facts of the machine that differ, by dotted path: of A, of B."""

    def __str__(self) -> str:
        from llm_timecycle.profiling.render.terminal import write_comparison

        return write_comparison(self.a_name, self.b_name, self.times, self.differences)

    def _repr_html_(self) -> str:
        from llm_timecycle.profiling.render.html import render_table
        from llm_timecycle.profiling.render.rows import list_comparison_rows

        return render_table(list_comparison_rows(self.times))

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "version": 1,
            "a": self.a_name,
            "b": self.b_name,
            "times": [{**asdict(time), "verdict": time.verdict} for time in self.times],
            "differences": {key: list(pair) for key, pair in self.differences.items()},
        }


@check_arguments
def compare(a: Any, b: Any, *, seed: int = 0) -> Comparison:
    """Two profiles side by side.

    Args:
        a, b: what `profile` gave, its `to_dict()`, or a list of either: the same thing, measured in
            several processes. Alternate between the two, so that a slow minute falls on both.
        seed: of the bootstrap.

    Raises:
        UsageError: one of them is no profile, or they have no time in common that can be compared;
            `seed` is negative.
    """
    if seed < 0:
        raise UsageError(f"seed: received {write_received(seed)}; expected 0 or more")
    processes_a, processes_b = _describe_all("a", a), _describe_all("b", b)
    times = compare_timings(_read("a", processes_a), _read("b", processes_b), seed=seed)
    return Comparison(
        a_name=_describe_briefly(processes_a[0]),
        b_name=_describe_briefly(processes_b[0]),
        times=times,
        differences=_list_differences(processes_a[0], processes_b[0]),
    )


def compare_in_turn(
    a: str,
    b: str,
    *,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    inference: bool = False,
    measure: Callable[[Sequence[str]], Described] | None = None,
) -> Comparison:
    """Profile A and B twice each, every time in a new process, and compare them.

    Args:
        a, b: runs or configurations. B may also be a file with the JSON of a profile; A is then
            measured alone.
        overrides: settings in place of those of A.
        steps, inference: as for `api.profile`, of both.
        measure: profiles, given the arguments of the command; None does so in a new process.

    Raises:
        ConfigError, RunError, DataError, UsageError: as `profile` does, before anything is measured
            where that is possible.
    """
    measure = measure or profile_in_process
    open_source(a, overrides)
    options = [] if steps is None else ["--steps", str(steps)]
    options += ["--inference"] if inference else []
    arguments_a = [a, *(part for item in overrides for part in ("--set", item)), *options]
    if Path(b).suffix.lower() == ".json":
        before = read_profile_file(Path(b))
        return compare([measure(arguments_a) for _ in range(2)], before)
    open_source(b)
    arguments = {"a": arguments_a, "b": [b, *options]}
    found: dict[str, list[Described]] = {"a": [], "b": []}
    for number, side in enumerate(ORDER, start=1):
        log.info("process %s of %s: %s", number, len(ORDER), side.upper())
        found[side].append(measure(arguments[side]))
    return compare(found["a"], found["b"])


def read_profile_file(path: Path) -> Described:
    """A profile that was saved as JSON.

    Raises:
        DataError: it cannot be read. UsageError: it is something else.
    """
    try:
        described = parse_json(read_regular(path, LARGEST_PROFILE_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    try:
        timings = read_timings(described)
        _ProfileFile.model_validate(described)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(
            f"{path}: a profile is damaged: its field {place} is invalid. Measure it again."
        ) from error
    if (most := max(map(len, timings.values()))) < FEWEST_TIMINGS:
        raise UsageError(
            f"{path}: expected at least {FEWEST_TIMINGS} timings of each stage, found at most "
            f"{most}. Measure it again, with more steps."
        )
    found: Described = described
    return found


def profile_in_process(arguments: Sequence[str]) -> Described:
    """What `llm-timecycle profile ARGUMENTS --json` prints, run in a new process.

    Raises:
        UsageError, ConfigError, DataError, RunError: the error that the process ended with.
        TimecycleError: it failed in another way.
    """
    source, *options = arguments
    finished = run_module("llm_timecycle", ["profile", "--json", *options, "--", source])
    if finished.returncode != 0:
        error = _ERRORS.get(finished.returncode, TimecycleError)
        raise error(f"{source} could not be profiled: {explain_failure(finished)}")
    found: Described = json.loads(finished.stdout)
    return found


def _describe_all(name: str, side: Any) -> list[Described]:
    """One side, the argument `name`, described process by process."""
    items = side if isinstance(side, (list, tuple)) else [side]
    if not items:
        raise UsageError(f"{name}: expected a profile, received an empty list.")
    found: list[Described] = []
    for item in items:
        one = item.to_dict() if hasattr(item, "to_dict") else item
        one = describe_profile(one) if isinstance(one, Profile) else one
        if not isinstance(one, Mapping):
            raise UsageError(
                f"{name}: expected results of lt.profile, received {write_received(item)}."
            )
        found.append(one)
    return found


def _read(name: str, processes: Sequence[Described]) -> list[Mapping[str, Sequence[float]]]:
    """The timings of a side, the argument `name`."""
    try:
        return [*map(read_timings, processes)]
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _describe_briefly(described: Described) -> str:
    return f"{described.get('name', '')} ({describe_machine_briefly(described.get('machine', {}))})"


def _list_differences(a: Described, b: Described) -> dict[str, tuple[Any, Any]]:
    """What differs besides the times, by dotted path: of A, of B."""
    flat_a, flat_b = (
        dict(_flatten({key: side.get(key, {}) for key in ("machine", "versions", "settings")}))
        for side in (a, b)
    )
    return {
        key.removeprefix("settings."): (flat_a.get(key), flat_b.get(key))
        for key in dict.fromkeys([*flat_a, *flat_b])
        if flat_a.get(key) != flat_b.get(key)
    }


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
