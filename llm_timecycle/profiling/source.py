"""What is profiled: a run directory or a configuration, opened and checked. No TensorFlow."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shlex import quote

from llm_timecycle.config.load import read_settings
from llm_timecycle.config.locate import find_run
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import RunError, RunInUseError
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.text_paths import find_texts
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Source:
    """Settings to profile, and the run that they are of."""

    name: str
    settings: Settings
    base: Path
    """The directory that relative paths of texts begin at."""
    tokenizer: Tokenizer | None = None
    """The run's; None where one is to be trained on the text."""
    run: Run | None = None
    """The run whose weights fit the settings; None where there is none."""
    history: Sequence[dict[str, float]] = ()
    """Rows of its metrics.csv."""


def open_source(source: str | Path, overrides: Sequence[str] = ()) -> Source:
    """The run or configuration that `source` means.

    `config.locate.find_run` tells one from the other. Where overrides change the model or the
    tokenizer, the run's weights do not fit and are left out.

    Raises:
        ConfigError: there are no such settings, or they are wrong.
        RunError: there is no such run, it is damaged, or it is still being trained.
    """
    path = find_run(source)
    if path is None:
        loaded = read_settings(source, overrides)
        return Source(loaded.name, loaded.settings, loaded.base)
    run = open_run(path)
    check_is_idle(run)
    history = read_history(run)
    settings = run.settings
    if overrides:
        settings = read_settings(path / "config.yaml", overrides).settings
    has_same_tokens = _read_token_settings(settings) == _read_token_settings(run.settings)
    data = find_texts(settings.data, path, f"llm-timecycle profile {quote(str(path))}")
    settings = settings.model_copy(update={"data": data})
    has_same_model = has_same_tokens and settings.model == run.settings.model
    return Source(
        name=str(source),
        settings=settings,
        base=path.absolute(),
        tokenizer=run.load_tokenizer() if has_same_tokens else None,
        run=run if has_same_model else None,
        history=history,
    )


def _read_token_settings(settings: Settings) -> tuple[object, ...]:
    """What the tokens of a text depend on."""
    return settings.tokenizer, settings.data.documents, settings.data.normalize


def check_is_idle(run: Run) -> None:
    """Raise RunError where another process trains the run: each would slow the other down."""
    try:
        with run.lock():
            pass
    except RunInUseError as error:
        raise RunError(
            f"{run.path} is still being trained, which would distort the measurement: "
            f"wait for the training to end, or stop it (Ctrl-C is safe)"
        ) from error
    except RunError:  # its directory cannot be written to, so nobody trains it
        return


def read_history(run: Run) -> list[dict[str, float]]:
    """The rows of a run's metrics.csv, each with the columns that have a finite value.

    Raises:
        RunError: the file is damaged.
    """
    if not run.metrics_path.exists():
        return []
    written = run.read_metrics()
    lines = StringIO(written[: written.rfind("\n") + 1], newline="")  # the last one may grow
    try:
        rows = [
            {key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(lines)
        ]
    except (ValueError, TypeError, csv.Error) as error:
        # An error may quote a cell, however long.
        raise RunError(f"{run.metrics_path} cannot be read: {error!s:.200}") from error
    return [{key: cell for key, cell in row.items() if math.isfinite(cell)} for row in rows]
