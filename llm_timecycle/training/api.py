"""`lt.train`: train a model from Python, from a text or from settings, or resume a run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.arguments import check_arguments, write_received
from llm_timecycle.config.load import LoadedSettings, check_sources
from llm_timecycle.config.locate import (
    check_path_name,
    find_run,
    find_settings_file,
    is_text,
    name_after,
)
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import SettingsFile, Source
from llm_timecycle.distributed.cluster import SETTINGS_NEEDED, Cluster, find_cluster
from llm_timecycle.errors import Interrupted, UsageError
from llm_timecycle.runs.create import check_run_is_new
from llm_timecycle.runs.directory import open_run
from llm_timecycle.training.result import TrainingResult, summarize

if TYPE_CHECKING:
    import keras

    from llm_timecycle.runs.warm_start import WarmStart

Texts = str | Path | Sequence[str | Path]


@check_arguments
def train(
    source: Texts | Settings,
    *,
    run: str | Path | None = None,
    minutes: float | None = None,
    resume: bool = False,
    from_run: str | Path | None = None,
    extend_vocabulary: bool = False,
    settings: Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
    tokenizer: Mapping[str, object] | None = None,
    model: Mapping[str, object] | None = None,
    training: Mapping[str, object] | None = None,
    generation: Mapping[str, object] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show_progress: bool = True,
    workers: str | Sequence[str] | None = None,
    worker_index: int | None = None,
) -> TrainingResult:
    """Train a model, or resume the training of one.

    Interrupting it (Ctrl-C, or the stop button of a notebook) finishes the current step and saves
    everything, so that the run can be resumed.

    Args:
        source: a text, for which `lt.suggest` chooses settings: a file, a directory, a glob, a list
            of these, or a built-in corpus such as "python-docs"; or settings: a YAML file, a
            shipped name such as "section5", or a `Settings` object; or, to resume it, a run.
        run: the directory to write the run to; by default `runs/NAME`, after the source.
        minutes: the time to train for, this call as a whole: `training.minutes`. With a text, the
            most that training may take, 10 by default.
        resume: whether to resume an existing run from its newest checkpoint.
        from_run: a run, such as "demo", whose weights, model and vocabulary the new one has first.
        extend_vocabulary: with `from_run`, whether tokens of the new text are added.
        settings: settings in place of the source's, by dotted path: `{"training.epochs": 3}`.
        data, tokenizer, model, training, generation: the same for one section, `{"epochs": 3}`.
        callbacks: Keras callbacks. show_progress: whether to draw progress bars.
        workers: to train on several machines, "host:port" of each worker, as a list or with commas;
            every worker calls this, with the same list. Without it, `TF_CONFIG` says so.
        worker_index: which of the workers this is, from 0. The first one writes the run.

    Raises:
        UsageError: an argument is wrong. DataError: the text is missing, unreadable or too short.
        ConfigError: a setting is unknown, wrong, or contradicts another; DivergenceError where the
            loss stops being a number.
        RunError: the run exists already, is damaged, or is in use.
        Interrupted: the training was interrupted; the message says how to resume it.
        WorkersError: a worker is missing, has failed or was lost.

    >>> import tempfile
    >>> import llm_timecycle as lt
    >>> result = lt.train(
    ...     "sample-english",
    ...     run=f"{tempfile.mkdtemp()}/tiny",
    ...     model={"embedding_dim": 4, "hidden_units": 8, "num_layers": 1},
    ...     training={"max_steps": 2, "precision": "float32", "sequence_length": 8},
    ... )
    >>> result.steps, result.run.name
    (2, 'tiny')
    >>> lt.train(result.run, resume=True, training={"max_steps": 3}).steps
    3
    """
    began_at_s = time.perf_counter()
    cluster = _find_cluster(workers, worker_index, source, resume)
    sections = {"data": data, "tokenizer": tokenizer, "model": model, "training": training}
    values = _list_values(settings, {**sections, "generation": generation})
    warm_start = _open_warm_start(from_run, extend_vocabulary, resume)
    defaults = [] if warm_start is None else [warm_start.defaults]
    loaded, default_run = _load(source, minutes, run, resume, defaults, values, show_progress)
    watching, run_path = (callbacks, show_progress, began_at_s), _choose_run(run, default_run)
    return _train(loaded, run_path, resume, warm_start, watching, cluster)


def _find_cluster(
    workers: str | Sequence[str] | None,
    worker_index: int | None,
    source: Texts | Settings,
    resume: bool,
) -> Cluster | None:
    """The workers that train together, for whom no settings can be chosen on one of them."""
    cluster = find_cluster(workers, worker_index, os.environ)
    is_text_alone = not (isinstance(source, Settings) or resume) and is_text(source, resume)
    if cluster is not None and is_text_alone:
        raise UsageError(f"source: {SETTINGS_NEEDED}")
    return cluster


@check_arguments
def suggest(
    text: Texts,
    *,
    minutes: float | None = None,
    settings: Mapping[str, object] | None = None,
    show_progress: bool = True,
) -> Settings:
    """The settings that `lt.train` would choose for a text on this machine.

    Each choice is logged with its reason (`logging`, logger "llm_timecycle", level INFO).

    Args:
        text: a file, a directory, a glob, a list of these, or a built-in corpus.
        minutes: the time that training may take, 10 by default.
        settings: what must stay as it is, by dotted path: `{"tokenizer.level": "word"}`; the
            choices suit it.
        show_progress: whether to draw progress bars.

    Raises:
        UsageError: an argument is wrong. ConfigError: a setting is wrong.
        DataError: the text is missing, unreadable or too short.

    >>> import llm_timecycle as lt
    >>> lt.suggest("sample-chinese", minutes=1).tokenizer.level
    'char'
    """
    if not isinstance(text, Path) and len(text) == 0:
        raise UsageError(f"text: received {write_received(text)}; expected a text")
    return _suggest(text, minutes, _list_values(settings, {}), show_progress).settings


def _suggest(
    text: Texts, minutes: float | None, values: Sequence[Source], show_progress: bool
) -> LoadedSettings:
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training.suggest.from_text import suggest_settings

    texts = [text] if isinstance(text, (str, Path)) else list(text)
    cache = find_cache_directory()
    return suggest_settings(texts, minutes, values, cache=cache, show_progress=show_progress)


def _open_warm_start(
    run: str | Path | None, extend_vocabulary: bool, resume: bool
) -> WarmStart | None:
    """The run to begin from, if one is given."""
    if run is None:
        if extend_vocabulary:
            raise UsageError("extend_vocabulary: there is nothing to extend without from_run")
        return None
    if resume:
        raise UsageError("give from_run, which begins a new run, or resume, not both")
    from llm_timecycle.runs.warm_start import open_warm_start

    return open_warm_start(run, extend_vocabulary)


def _choose_run(run: str | Path | None, default: Path | None) -> Path:
    """The directory of the run: the one that was given, or the one named after the source."""
    if run is not None and str(run) in ("", "."):
        raise UsageError("run is empty; expected a directory")
    if run is not None:
        check_path_name(run)
        return Path(run)
    if default is None:
        raise UsageError('run: expected a directory for the run, such as "runs/my"')
    return default


def _train(
    loaded: LoadedSettings,
    run: Path,
    resume: bool,
    warm_start: WarmStart | None,
    watching: tuple[Sequence[keras.callbacks.Callback], bool, float],
    cluster: Cluster | None,
) -> TrainingResult:
    """One training session, an interrupt of which says how to resume it in Python too."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.prepare import find_cache_directory
    from llm_timecycle.training import session

    callbacks, show_progress, began_at_s = watching
    try:
        summary = session.train(
            loaded,
            run,
            cache=find_cache_directory(),
            resume=resume,
            warm_start=warm_start,
            callbacks=callbacks,
            show_progress=show_progress,
            began_at_s=began_at_s,
            cluster=cluster,
        )
    except Interrupted as stop:
        raise Interrupted(
            f"{stop}\nIn Python: lt.train({str(run)!r}, resume=True)", stop.exit_code - 128
        ) from None
    if summary.is_chief:
        summary.run.check_weights_exist()
    return summarize(summary)


def _list_values(
    settings: Mapping[str, object] | None, sections: Mapping[str, Mapping[str, object] | None]
) -> list[Source]:
    """The values that the arguments give, as sources of settings."""
    sources: list[Source] = []
    for name, given in {"settings": settings, **sections}.items():
        if given is None:
            continue
        prefix = "" if name == "settings" else f"{name}."
        values = {f"{prefix}{key}": value for key, value in given.items()}
        sources.append(PythonValues(values, f"argument {name}"))
    return sources


def _load(
    source: Texts | Settings,
    minutes: float | None,
    run: str | Path | None,
    resume: bool,
    defaults: Sequence[Source],
    values: Sequence[Source],
    show_progress: bool,
) -> tuple[LoadedSettings, Path | None]:
    """The settings of a source and the default directory of its run.

    `defaults` hold where the source says nothing, `values` override it.
    """
    budget = [] if minutes is None else [PythonValues({"training.minutes": minutes}, "minutes")]
    if isinstance(source, Settings):
        given = PythonValues.from_settings(source, only_given=bool(defaults))
        sources = [*defaults, given, *budget, *values]
        return LoadedSettings(check_sources(sources, "lt.train"), "", Path.cwd(), Path()), None
    if is_text(source, resume):
        name = name_after(source if isinstance(source, (str, Path)) else source[0])
        default = Path("runs") / name if name else None
        if not resume:
            if (path := _choose_run(run, default)).exists():
                check_run_is_new(path)  # before any work is done
            return _suggest(source, minutes, [*defaults, *values], show_progress), default
        source = _choose_run(run, default)
    assert isinstance(source, (str, Path))
    if resume and (found := find_run(source)) is not None:
        opened = open_run(found)
        if run is None:
            opened.check_is_own()
        return _load_file(opened.path / "config.yaml", [], [*budget, *values], found)
    path = find_settings_file(source)
    return _load_file(path, defaults, [*budget, *values], Path("runs") / path.stem)


def _load_file(
    path: Path, defaults: Sequence[Source], values: Sequence[Source], run: Path
) -> tuple[LoadedSettings, Path | None]:
    settings = check_sources([*defaults, SettingsFile(path), *values], str(path))
    return LoadedSettings(settings, path.stem, path.absolute().parent, path), run
