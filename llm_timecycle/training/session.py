"""A training session: from settings to a trained run directory, new or resumed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.errors import ConfigError
from llm_timecycle.evaluation.copies.at_end import describe_copies
from llm_timecycle.files import FULL_DISK
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import explain_unwritten
from llm_timecycle.runs.warm_start import WarmStart
from llm_timecycle.text.batches import ONE_DOCUMENT, Lanes, count_tokens, cut_lanes
from llm_timecycle.text.prepare import PreparedText
from llm_timecycle.training.loop import TrainingLoop
from llm_timecycle.training.progress import Progress, double_length
from llm_timecycle.training.reporting.metrics import read_validations
from llm_timecycle.training.reporting.samples import Sampler
from llm_timecycle.training.signals import catch_stop_signals
from llm_timecycle.training.starting.build import explain_memory
from llm_timecycle.training.starting.start import (
    Order,
    Start,
    begin_run,
    follow_chief,
    resume_run,
)
from llm_timecycle.training.suggest.from_curve import (
    Finding,
    Point,
    compute_guessing_loss,
    review_curve,
)
from llm_timecycle.training.workers.join import join_workers
from llm_timecycle.training.workers.workers import Workers

log = logging.getLogger("llm_timecycle")

COPIES_FROM_S = 20.0
"""Seconds of training from which new texts are compared with the training text at its end."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training session ended."""

    run: Run
    progress: Progress
    has_validation: bool
    finding: Finding | None
    """What stands out in the whole training, if it came to its end."""
    copies: str | None = None
    """What the copy meter says of a few new texts, after `COPIES_FROM_S` of training or more."""
    is_chief: bool = True
    """Whether this worker has written the run."""


def train(
    loaded: LoadedSettings,
    run_path: Path,
    *,
    cache: Path,
    resume: bool = False,
    warm_start: WarmStart | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show_progress: bool = False,
    began_at_s: float | None = None,
    cluster: Cluster | None = None,
) -> TrainingSummary:
    """Train the model of `loaded` into `run_path`, or resume the run that is there.

    With a cluster, every worker calls it, and the chief alone reads and writes the run.

    Args:
        cache: where tokenizers and token stores are kept.
        resume: whether `run_path` is an existing run, to be resumed.
        warm_start: the run whose weights a new run begins with; None begins with fresh ones.
        callbacks: Keras callbacks to call during training.
        show_progress: whether to draw progress bars on stderr.
        began_at_s: when `training.minutes` began, in seconds of `time.perf_counter`; None is now.
        cluster: the workers that train together; None trains alone.

    Raises:
        ConfigError: the settings differ from the run's, or do not fit `warm_start`.
        NotEnoughMemoryError: a step needs more memory than there is.
        DataError: a text is missing, too short, or has changed since the run began.
        RunError: the run is missing, damaged, in use, or already there.
        DivergenceError: the loss is no longer a number.
        Interrupted: SIGINT, SIGTERM or SIGHUP ended the training, after everything was saved.
        WorkersError: a worker is missing, has failed or was lost.
    """
    began_at_s = time.perf_counter() if began_at_s is None else began_at_s
    order = Order(loaded, run_path, cache, show_progress)
    with join_workers(cluster, loaded.settings, resume=resume) as workers:
        return train_with(workers, order, callbacks, began_at_s, resume, warm_start)


def train_with(
    workers: Workers,
    order: Order,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    began_at_s: float | None = None,
    resume: bool = False,
    warm_start: WarmStart | None = None,
) -> TrainingSummary:
    """Train with workers that are connected; arguments and errors are those of `train`."""
    began_at_s = time.perf_counter() if began_at_s is None else began_at_s
    with ExitStack() as held:
        if not workers.is_chief:
            start = follow_chief(order, workers, resume=resume)
        elif resume:
            start = resume_run(order, workers, held)
        else:
            start = begin_run(order, workers, held, warm_start)
        return _run_loop(start, callbacks, order.show_progress, began_at_s)


def cut_training_lanes(settings: Settings, text: PreparedText) -> Lanes:
    """The lanes that training reads; DataError if the text is too short for them."""
    training = settings.training
    return cut_lanes(
        text.train.ids,
        training.batch_size,
        training.sequence_length,
        text.train.document_starts,
    )


def _run_loop(
    start: Start,
    callbacks: Sequence[keras.callbacks.Callback],
    show_progress: bool,
    began_at_s: float,
) -> TrainingSummary:
    """Train to the end, or until a signal arrives.

    The settings are stored once nothing can be refused any more.
    """
    stored, settings, text = start.stored, start.settings, start.text
    train_state, workers = start.train_state, start.train_state.workers
    run, is_chief = replace(stored, settings=settings), workers.is_chief
    try:
        with catch_stop_signals() as stop_request:
            lanes = cut_training_lanes(run.settings, text)
            if run.settings.training.vary_sequence_length:
                lanes = replace(lanes, width_seed=run.settings.training.seed)
            loop = TrainingLoop(
                run,
                train_state,
                lanes,
                None if text.valid is None else text.valid.ids,
                valid_starts=ONE_DOCUMENT if text.valid is None else text.valid.document_starts,
                sampler=Sampler(run.settings, text.tokenizer) if is_chief else None,
                callbacks=callbacks,
                stop_request=stop_request,
                show_progress=show_progress,
                began_at_s=began_at_s,
            )
            run.remove_leftovers()
            if settings != stored.settings:
                stored.replace_settings(settings)
            loop.train()
    except OSError as error:
        if not _is_of_run(error, run):  # a callback's
            raise
        file = run.path if error.filename is None else Path(error.filename)
        raise explain_unwritten(run.path, file, error) from error
    except tf.errors.ResourceExhaustedError as error:
        raise ConfigError(explain_memory(run.settings, run.vocab_size)) from error
    finding, copies = None, None
    with workers.together("the end"):
        if is_chief:
            finding = _review(run, loop.progress, text)
            is_long = loop.progress.wall_s >= COPIES_FROM_S
            copies = describe_copies(run, text) if is_long else None
    return TrainingSummary(run, loop.progress, text.valid is not None, finding, copies, is_chief)


def _is_of_run(error: OSError, run: Run) -> bool:
    """Whether it is the run that could not be written."""
    if error.filename is None:
        return error.errno in FULL_DISK
    return Path(error.filename).is_relative_to(run.path)


def _review(run: Run, progress: Progress, text: PreparedText) -> Finding | None:
    if text.valid is None:
        return None
    V, training = text.tokenizer.vocab_size, run.settings.training
    train, valid = (count_tokens(part.ids, V) for part in (text.train, text.valid))
    guessing = Point(0, compute_guessing_loss(train, valid), compute_guessing_loss(train, train))
    longer = double_length(training, progress.step)
    return review_curve(read_validations(run.metrics_path), run.settings, guessing, longer)
