"""`profile`: measures where the time of one run or configuration goes.

Bad requests are refused before anything is measured.
"""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_timecycle.arguments import check_arguments, check_range
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.html import render_summary, write_report
from llm_timecycle.profiling.render.json_form import describe_profile
from llm_timecycle.profiling.render.terminal import write_tables
from llm_timecycle.profiling.results import GROWTH_AXES, InferenceCycle, Profile
from llm_timecycle.profiling.source import Source, open_source
from llm_timecycle.profiling.worker_results import WorkersProfile
from llm_timecycle.system import describe_machine, read_free_bytes, read_versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from llm_timecycle.config.settings import Settings
    from llm_timecycle.text.prepare import PreparedText

log = logging.getLogger("llm_timecycle")

FEWEST_STEPS, MOST_STEPS = 5, 10_000
WORKERS = 2, 64
"""The fewest and the most that are measured."""


@dataclass(frozen=True)
class ProfileResult:
    """What `profile` measured: `print` shows the tables, a notebook the cycle and its stages.

    Attributes:
        profile: the figures themselves.
    """

    profile: Profile

    def __str__(self) -> str:
        return write_tables(self.profile)

    def _repr_html_(self) -> str:
        """The cycle, its stages and suggestions, for a notebook."""
        return render_summary(self.profile)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them; see `profiling.render.json_form`."""
        return describe_profile(self.profile)

    def to_html(self) -> str:
        """The report: a whole page that needs no other file."""
        return write_report(self.profile)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names that `figure` knows: those of the charts that this profile has figures for."""
        from llm_timecycle.profiling.render.charts import list_charts

        return tuple(list_charts(self.profile))

    @check_arguments
    def figure(self, name: str) -> Figure:
        """One chart, to show, or to save as PNG, SVG or PDF.

        Args:
            name: cycle, stages, layers, steps, roofline, growth:AXIS, gaps, batches,
                parallel:SWEEP (threads, replicas, prefetch depth, workers), loss or throughput;
                `figures` lists those available.

        Raises:
            UsageError: the name is unknown, or was not measured.

        >>> profile.figure("growth:T").savefig("growth.pdf")  # doctest: +SKIP
        """
        from llm_timecycle.profiling.render.charts import draw_chart

        return draw_chart(self.profile, name)


@check_arguments
def profile(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    steps: int | None = None,
    grow: Sequence[str] = (),
    parallel: bool = False,
    inference: bool = False,
    workers: int | None = None,
    show_progress: bool = False,
) -> ProfileResult:
    """Measure where the time of a language model goes.

    The threads of TensorFlow are set once in a process: to compare profiles with different threads,
    measure each in a new process, as `llm-timecycle profile A --against B` does.

    Args:
        source: a run directory, a settings file, or the name of one that comes with the program.
        overrides: settings in place of the source's, `training.batch_size=32` each.
        steps: training steps to time by stage, and as many without markers; None takes as many
            as fit in 40 s, from 8 to 20.
        grow: the axes along which to measure growth: T, B, E, H, L, V, length.
        parallel: whether to vary threads and replicas, each value in a new process.
        inference: whether to time generation. That of a configuration has untrained weights,
            which does not change its time.
        workers: up to how many workers, 2 to 64, share a step: 1, 2, 4, ... processes on this
            machine, what adding up over them takes, and what a network would give by a model. A
            divisor of `training.batch_size`.
        show_progress: whether to show progress bars on stderr while text is prepared.

    Raises:
        UsageError: an unknown axis, a number of steps or workers out of range, or too little
            memory.
        ConfigError, DataError, RunError: the source, its settings or its text are missing or wrong,
            or the run is still being trained.

    >>> import llm_timecycle as lt
    >>> profile = lt.profile("small", steps=10)  # doctest: +SKIP
    >>> print(profile)  # doctest: +SKIP
    """
    axes = check_request(steps, grow, workers)
    opened = open_source(source, overrides)
    if inference:
        from llm_timecycle.profiling.measure.requests import check_length

        check_length(opened.settings.generation.length)
        if opened.run is not None:
            opened.run.load_weights()
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.prepare import find_cache_directory, prepare_text
    from llm_timecycle.training.devices import resolve_machine

    text = prepare_text(
        opened.settings,
        opened.base,
        find_cache_directory(),
        show_progress,
        tokenizer=opened.tokenizer,
        is_trained=True,
    )
    vocab_size = text.tokenizer.vocab_size
    _check_fits(opened.settings, vocab_size, axes, workers)
    plan = resolve_machine(opened.settings, vocab_size, at_once=True)
    opened = replace(opened, settings=plan.fill_in(opened.settings))
    with _quieten_tensorflow():
        return ProfileResult(_measure(opened, text, steps, axes, parallel, inference, workers))


def check_request(
    steps: int | None, grow: Sequence[str], workers: int | None = None
) -> tuple[str, ...]:
    """The axes of growth, each once.

    Raises:
        UsageError: an unknown axis, or a number of steps or workers out of range.
    """
    if workers is not None:
        check_range("workers", workers, *WORKERS)
    if steps is not None:
        check_range("steps", steps, FEWEST_STEPS, MOST_STEPS)
    for axis in grow:
        if axis not in GROWTH_AXES:
            raise UsageError(
                f"grow: expected axes out of {', '.join(GROWTH_AXES)}, received {axis!r}."
            )
    return tuple(dict.fromkeys(grow))


def _check_fits(
    settings: Settings, vocab_size: int, axes: Sequence[str], workers: int | None
) -> None:
    """Refuse what has too little memory, or lanes that workers cannot divide, before measuring."""
    from llm_timecycle.profiling.measure.communication import check_workers
    from llm_timecycle.profiling.measure.scaling import check_memory

    for axis in axes:
        check_memory(settings, vocab_size, read_free_bytes(), axis)
    if workers is not None:
        check_workers(settings, vocab_size, workers, read_free_bytes())


@contextmanager
def _quieten_tensorflow() -> Iterator[None]:
    """Silence TensorFlow's warnings of retracing: every size needs its own trace."""
    its_log = logging.getLogger("tensorflow")
    before = its_log.level
    its_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        its_log.setLevel(before)


def _measure(
    source: Source,
    text: PreparedText,
    steps: int | None,
    axes: Sequence[str],
    parallel: bool,
    inference: bool,
    workers: int | None,
) -> Profile:
    """Everything that was asked for, one after the other."""
    from llm_timecycle.profiling.analysis.advice import give_advice
    from llm_timecycle.profiling.analysis.roofline import compute_roofline
    from llm_timecycle.profiling.measure.machine_limits import measure_machine_limits
    from llm_timecycle.profiling.measure.parallelism import measure_parallelism
    from llm_timecycle.profiling.measure.scaling import measure_growth
    from llm_timecycle.profiling.measure.stages import measure_training
    from llm_timecycle.training.devices import read_plan
    from llm_timecycle.training.session import cut_training_lanes

    settings, vocab_size = source.settings, text.tokenizer.vocab_size
    log.info("measuring training steps by stage, then each layer")
    cycle = measure_training(settings, vocab_size, cut_training_lanes(settings, text), steps)
    found = Profile(
        name=source.name,
        machine=describe_machine(),
        versions=read_versions(),
        settings=settings,
        vocab_size=vocab_size,
        training=cycle,
        history=source.history,
    )
    log.info("measuring this machine's limits")
    try:
        limits = measure_machine_limits(settings, vocab_size, read_plan(settings).shards)
        points = compute_roofline(cycle, settings, vocab_size, limits)
        found = replace(found, limits=limits, points=points)
    except UsageError as error:
        log.info("the roofline is left out: %s", error)
    if axes:
        log.info("measuring growth along %s", ", ".join(axes))
        grown = [measure_growth(settings, vocab_size, axis) for axis in axes]
        found = replace(found, growth=tuple(grown))
    if inference:
        log.info("measuring inference")
        found = replace(found, inference=_measure_requests(source, text))
    if parallel:
        log.info("measuring threads and replicas, each value in a new process")
        found = replace(found, sweeps=tuple(measure_parallelism(settings, vocab_size)))
    if workers is not None:
        found = replace(found, workers=_measure_workers(settings, vocab_size, workers, steps))
    return replace(found, advice=tuple(give_advice(found)))


def _measure_workers(
    settings: Settings, vocab_size: int, workers: int, steps: int | None
) -> WorkersProfile:
    from llm_timecycle.profiling.measure.communication import (
        REPEATS,
        measure_workers,
        run_workers,
    )

    log.info("measuring 1 to %d workers, each a new process", workers)
    run = partial(run_workers, draw=random.Random())
    return measure_workers(settings, vocab_size, workers, steps or REPEATS, run=run)


def _measure_requests(source: Source, text: PreparedText) -> InferenceCycle:
    """The inference of a run; for a configuration, of a temporary run with untrained weights.

    A run with other generation settings is copied, too: cold starts read them from the run.
    """
    from llm_timecycle.profiling.measure.requests import measure_inference
    from llm_timecycle.profiling.measure.scaling import make_weights
    from llm_timecycle.runs.create import create_run

    run, settings = source.run, source.settings
    if run is not None and run.settings.generation == settings.generation:
        return measure_inference(run)
    tokenizer = source.tokenizer or text.tokenizer
    V, learned = tokenizer.vocab_size, tokenizer.to_json().encode()
    with tempfile.TemporaryDirectory(prefix="llm-timecycle-") as folder:
        copy = create_run(Path(folder) / "run", settings, learned, V, {})
        copy.save_weights(run.load_weights() if run else make_weights(settings.model, V), {})
        return measure_inference(copy)
