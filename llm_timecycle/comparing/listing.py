"""The runs of a directory: read one by one, where a damaged one ends nothing; sorted as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from stat import S_ISDIR
from typing import Any

from llm_timecycle.arguments import check_arguments
from llm_timecycle.comparing.summary import RunSummary, read_summary
from llm_timecycle.config.locate import check_path_name, list_shipped_runs
from llm_timecycle.errors import RunError

_KEYS: dict[str, Callable[[RunSummary], Any]] = {
    "date": lambda run: -run.date.timestamp(),
    "name": lambda run: run.name,
    "text": lambda run: run.text,
    "level": lambda run: run.level,
    "weights": lambda run: run.weights,
    "steps": lambda run: run.steps,
    "minutes": lambda run: run.minutes,
    "loss": lambda run: run.score.valid_loss_nats,
    "bits": lambda run: run.score.bits_per_character,
}
SORT_KEYS = tuple(_KEYS)
"""What runs can be sorted by: the newest, the smallest or the best first."""
HOW_TO_BEGIN = "Train a run with: llm-timecycle train TEXT"


@dataclass(frozen=True)
class Listing:
    """The runs that were found, and what else was."""

    runs: tuple[RunSummary, ...]
    problems: tuple[str, ...]
    """One line for each directory that is no run, or a damaged one."""


class RunRows(list[dict[str, Any]]):
    """Runs as rows, each a dictionary: `print` shows a table, `pandas.DataFrame` takes them.

    Attributes:
        problems: a line for each directory that is no run, or a damaged one.
    """

    def __init__(self, listing: Listing) -> None:
        super().__init__(run.to_row() for run in listing.runs)
        self._runs, self.problems = listing.runs, listing.problems

    def __str__(self) -> str:
        from llm_timecycle.comparing.tables import write_list

        return write_list(self._runs)

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        from llm_timecycle.comparing.tables import list_rows
        from llm_timecycle.profiling.render.html import render_table

        return render_table(list_rows(self._runs))


@check_arguments
def runs(directory: str | Path = "runs") -> RunRows:
    """The runs in a directory, the newest first, as rows that pandas takes.

    Each is a dictionary with the keys that `llm-timecycle runs list --json` has, the date as a
    `datetime`. Directories that are no runs, or damaged ones, are in the attribute `problems`.

    Raises:
        RunError: there is no such directory, or it is a run. UsageError: no file can be called so.

    >>> import llm_timecycle as lt
    >>> rows = lt.runs("runs")  # doctest: +SKIP
    >>> pandas.DataFrame(rows).sort_values("perplexity")  # doctest: +SKIP
    """
    listing = list_runs(Path(directory))
    return RunRows(Listing(tuple(sort_runs(listing.runs)), listing.problems))


def list_runs(directory: Path) -> Listing:
    """The runs directly in a directory, by name; what is hidden in it and its files are left out.

    Raises:
        RunError: there is no such directory, it cannot be read, or it is a run.
        UsageError: no file can be called so.
    """
    check_path_name(directory)
    if (directory / "manifest.json").exists():
        raise RunError(
            f"{directory} is a run; expected a directory with runs in it. To see the run: "
            f"llm-timecycle runs show {quote(str(directory))}"
        )
    try:
        found = sorted(
            path for path in directory.iterdir() if _is_directory(path) and path.name[0] != "."
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problem = "there is no such directory" if missing else f"{error.strerror or error}"
        raise RunError(
            f"no runs can be listed in {directory}: {problem}. {HOW_TO_BEGIN}"
        ) from error
    return _read_all(found)


def _is_directory(path: Path) -> bool:
    """Whether it is a directory, or a link to what may not be looked at, to be named as such."""
    try:
        return S_ISDIR(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:  # a link to nothing, or to itself
        return False


def list_shipped() -> Listing:
    """The runs that come with the program."""
    return _read_all(list_shipped_runs().values())


def sort_runs(
    runs: Iterable[RunSummary], key: str = "date", *, reverse: bool = False
) -> Sequence[RunSummary]:
    """The runs in another order; those without a value come last, either way.

    Args:
        key: one of `SORT_KEYS`.
        reverse: whether the largest, or the oldest, comes first.
    """
    pairs = [(_KEYS[key](run), run) for run in runs]
    known = sorted((pair for pair in pairs if pair[0] is not None), key=_first, reverse=reverse)
    return [run for _, run in known] + [run for value, run in pairs if value is None]


def _first(pair: tuple[Any, RunSummary]) -> Any:
    return pair[0]


def _read_all(paths: Iterable[Path]) -> Listing:
    found, problems = [], []
    for path in paths:
        try:
            found.append(read_summary(path))
        except RunError as error:
            problems.append("; ".join(line.strip() for line in str(error).splitlines()))
        except OSError as error:  # it was deleted meanwhile
            problems.append(f"{path} cannot be read: {error.strerror or error}")
    return Listing(tuple(found), tuple(problems))
