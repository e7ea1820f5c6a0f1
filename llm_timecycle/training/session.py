"""A training session: from settings to a trained run directory, new or resumed."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.distributed.cluster import Cluster
from llm_timecycle.errors import ConfigError
from llm_timecycle.evaluation.copies.at_end import describe_copies
from llm_timecycle.evaluation.leakage import describe_leakage
from llm_timecycle.files import FULL_DISK
from llm_timecycle.model.network import (
    assign_parameters,
    build_network,
    make_zero_states,
    start_from_frequencies,
)
from llm_timecycle.runs.create import check_run_is_new, create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.learned import write_learned
from llm_timecycle.runs.manifest import explain_unwritten
from llm_timecycle.runs.warm_start import WarmStart
from llm_timecycle.text.batches import ONE_DOCUMENT, Lanes, count_tokens, cut_lanes
from llm_timecycle.text.prepare import PreparedText, find_unsuitable_level, prepare_text
from llm_timecycle.training.averaging import WeightAverage
from llm_timecycle.training.checkpoints import Checkpoint, write_checkpoint
from llm_timecycle.training.devices import (
    ComputePlan,
    check_memory,
    choose_strategy,
    read_plan,
    resolve_machine,
)
from llm_timecycle.training.loop import TrainingLoop
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.progress import Progress, double_length
from llm_timecycle.training.reporting.metrics import read_validations
from llm_timecycle.training.reporting.samples import Sampler
from llm_timecycle.training.resuming import (
    describe_text,
    find_moved_texts,
    merge_settings,
    prepare_followed_text,
    prepare_same_text,
)
from llm_timecycle.training.signals import catch_stop_signals
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.suggest.from_curve import (
    Finding,
    Point,
    compute_guessing_loss,
    review_curve,
)
from llm_timecycle.training.workers.followers import FollowedRun
from llm_timecycle.training.workers.join import join_workers
from llm_timecycle.training.workers.sharing import Briefing
from llm_timecycle.training.workers.summed_step import divide_step
from llm_timecycle.training.workers.workers import Workers

log = logging.getLogger("llm_timecycle")

Watching = tuple[Sequence[keras.callbacks.Callback], bool, float]
"""Callbacks, whether to draw progress bars, and when the session began."""
PREPARING, PREPARING_S = "preparing the text", 24 * 3600.0
"""What workers wait for, and how long at most: a text of many gigabytes takes hours."""
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
    watching = (callbacks, show_progress, began_at_s)
    with join_workers(cluster, loaded.settings, resume=resume) as workers:
        if not workers.is_chief:
            return _follow(loaded, run_path, workers, cache, resume, watching)
        if resume:
            return _resume(loaded, run_path, workers, cache, watching)
        return _begin(loaded, run_path, workers, cache, warm_start, watching)


def _resume(
    loaded: LoadedSettings, run_path: Path, workers: Workers, cache: Path, watching: Watching
) -> TrainingSummary:
    """Resume the run at `run_path`."""
    with ExitStack() as held:
        with workers.together(PREPARING, PREPARING_S):
            held.enter_context(open_run(run_path).lock())
            run = open_run(run_path)  # again: nobody else can change it now
            settings = merge_settings(run, loaded)
            settings = find_moved_texts(run, settings)
            text = prepare_same_text(run, settings, loaded.base, cache, watching[1])
            plan = resolve_machine(settings, run.vocab_size, workers)
            settings = plan.fill_in(settings)
        plans = run.read_manifest().get("plans", [])
        _brief(workers, Briefing(settings, text.tokenizer, describe_text(text), plans))
        train_state = _build_train_state(settings, plan, text, workers)
        return _run_loop(run, settings, text, train_state, *watching)


def _begin(
    loaded: LoadedSettings,
    run_path: Path,
    workers: Workers,
    cache: Path,
    warm_start: WarmStart | None,
    watching: Watching,
) -> TrainingSummary:
    """Begin a run at `run_path`."""
    settings, show_progress = loaded.settings, watching[1]
    with workers.together(PREPARING, PREPARING_S):
        check_run_is_new(run_path)
        if warm_start is None:
            text = prepare_text(settings, loaded.base, cache, show_progress, is_trained=True)
        else:
            settings, text = warm_start.prepare_text(loaded, cache, show_progress)
        tokenizer = text.tokenizer
        plan = resolve_machine(settings, tokenizer.vocab_size, workers)
        settings = plan.fill_in(settings)
    _brief(workers, Briefing(settings, tokenizer, describe_text(text)))
    train_state = _build_train_state(settings, plan, text, workers)
    with ExitStack() as held:
        with workers.together("making the run"):
            if warm_start is not None:
                weights = warm_start.load_weights(tokenizer.vocab_size)
                assign_parameters(train_state.network, weights)
            run = create_run(
                run_path,
                settings,
                tokenizer.to_json().encode(),
                tokenizer.vocab_size,
                describe_text(text),
                loaded.comments,
                write_learned(text),
                None if warm_start is None else warm_start.describe(run_path, tokenizer.vocab_size),
            )
            held.enter_context(run.lock())
            if warm_start is not None:
                _save_start(run, train_state)
        return _run_loop(run, settings, text, train_state, *watching)


def _brief(workers: Workers, briefing: Briefing) -> None:
    """Tell the other workers what to train, and wait until they have prepared the text."""
    if workers.size > 1:
        workers.send(briefing.to_json())
        with workers.together(PREPARING, PREPARING_S):
            pass


def _follow(
    loaded: LoadedSettings,
    run_path: Path,
    workers: Workers,
    cache: Path,
    resume: bool,
    watching: Watching,
) -> TrainingSummary:
    """Train the chief's run with it, as another worker.

    The text is prepared after the chief has prepared it, so that workers with one cache encode it
    once.
    """
    with workers.together(PREPARING, PREPARING_S):
        pass
    briefing = Briefing.from_json(workers.send(b""))
    settings = briefing.settings.model_copy(update={"data": loaded.settings.data})
    with workers.together(PREPARING, PREPARING_S):
        text = prepare_followed_text(settings, loaded.base, run_path, cache, briefing)
        plan = read_plan(settings)
        check_memory(settings, text.tokenizer.vocab_size, workers)
    train_state = _build_train_state(settings, plan, text, workers)
    if not resume:
        with workers.together("making the run"):
            pass
    manifest = {"plans": list(briefing.plans)}
    run = FollowedRun(run_path, settings, text.tokenizer.vocab_size, manifest)
    return _run_loop(run, settings, text, train_state, *watching)


def _save_start(run: Run, train_state: TrainState) -> None:
    """A checkpoint before the first step: weights of another run cannot be made again."""
    training = run.settings.training
    states = {
        f"state.{number}": state.numpy()
        for number, state in enumerate(make_zero_states(run.settings.model, training.batch_size))
    }
    start = Checkpoint(Progress(), train_state.read_variables() | states, run.read_identity())
    write_checkpoint(run.checkpoints_path, start, training.keep_checkpoints)


def cut_training_lanes(settings: Settings, text: PreparedText) -> Lanes:
    """The lanes that training reads; DataError if the text is too short for them."""
    training = settings.training
    return cut_lanes(
        text.train.ids,
        training.batch_size,
        training.sequence_length,
        text.train.document_starts,
    )


def _build_train_state(
    settings: Settings, plan: ComputePlan, text: PreparedText, workers: Workers
) -> TrainState:
    """The network and the optimizer, with fresh weights, on all devices that train."""
    training = settings.training
    division = divide_step(training, plan, workers, settings.model.num_layers)
    alone = workers.size == 1
    strategy = choose_strategy(training.batch_size) if alone else tf.distribute.get_strategy()
    if training.accumulate > 1 and strategy.num_replicas_in_sync > 1:
        raise ConfigError(
            f"training.accumulate: received {training.accumulate}; expected 1 with "
            f"{strategy.num_replicas_in_sync} devices"
        )
    vocab_size = text.tokenizer.vocab_size
    try:
        with strategy.scope():
            network = build_network(
                settings.model, vocab_size, seed=training.seed, precision=plan.precision
            )
            start_from_frequencies(network, count_tokens(text.train.ids, vocab_size))
            optimizer = make_optimizer(training)
            optimizer.build(network.trainable_variables)
            average = None
            if training.averaging != "none":
                average = WeightAverage(network, strategy)
    except tf.errors.ResourceExhaustedError as error:
        raise ConfigError(_explain_memory(settings, vocab_size)) from error
    if workers.is_chief:
        _log_facts(settings, plan, text, network.count_params())
    shards = plan.count_shards(strategy) if division is None else division.shards
    return TrainState(network, optimizer, strategy, shards, average, workers, division)


def _log_facts(settings: Settings, plan: ComputePlan, text: PreparedText, parameters: int) -> None:
    """Log what is about to be trained, and with what."""
    log.info(
        "model: %s parameters, %s; text: %s training tokens, vocabulary %s (at most %s)",
        f"{parameters:,}",
        plan.precision,
        f"{text.train.tokens:,}",
        f"{text.tokenizer.vocab_size:,}",
        f"{settings.tokenizer.vocab_size:,}",
    )
    each = f" of {plan.threads_per_shard} threads" if plan.threads_per_shard > 1 else ""
    log.info("threads: %s; shards of the batch: %s%s", plan.threads, plan.shards, each)
    for split, stream in (("training", text.train), ("validation", text.valid)):
        if stream is not None and stream.unknown > 0.01 * stream.tokens:
            share = 100 * stream.unknown / stream.tokens
            log.info("%.1f %% of the %s tokens are unknown (<unk>)", share, split)
    if warning := describe_leakage(text):
        log.warning("%s", warning)
    if warning := find_unsuitable_level(text.tokenizer):
        log.warning(warning)


def _run_loop(
    stored: Run,
    settings: Settings,
    text: PreparedText,
    train_state: TrainState,
    callbacks: Sequence[keras.callbacks.Callback],
    show_progress: bool,
    began_at_s: float,
) -> TrainingSummary:
    """Train to the end, or until a signal arrives.

    Args:
        stored: the run as it is on the disk.
        settings: those to train with. They are stored once nothing can be refused any more.
    """
    run, is_chief = replace(stored, settings=settings), train_state.workers.is_chief
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
        raise ConfigError(_explain_memory(run.settings, run.vocab_size)) from error
    if not is_chief:
        with train_state.workers.together("the end"):
            return TrainingSummary(run, loop.progress, text.valid is not None, None, is_chief=False)
    with train_state.workers.together("the end"):
        finding = _review(run, loop.progress, text)
        copies = describe_copies(run, text) if loop.progress.wall_s >= COPIES_FROM_S else None
    return TrainingSummary(run, loop.progress, text.valid is not None, finding, copies)


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


def _explain_memory(settings: Settings, vocab_size: int) -> str:
    shapes = compute_parameter_shapes(settings.model, vocab_size)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return (
        f"out of memory: the model's {parameters:,} parameters alone take "
        f"{16 * parameters / 1e9:.1f} GB with gradients and optimizer state. Lower "
        f"model.hidden_units, model.num_layers, tokenizer.vocab_size or training.batch_size"
    )
