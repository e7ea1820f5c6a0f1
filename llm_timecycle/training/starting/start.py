"""The start of a session: everything before the first step, on the chief and on other workers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.model.network import assign_parameters, make_zero_states
from llm_timecycle.runs.create import check_run_is_new, create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.learned import write_learned
from llm_timecycle.runs.warm_start import WarmStart
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.training.checkpoints import Checkpoint, write_checkpoint
from llm_timecycle.training.devices import check_memory, read_plan, resolve_machine
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.resuming import (
    describe_text,
    find_moved_texts,
    merge_settings,
    prepare_followed_text,
    prepare_same_text,
)
from llm_timecycle.training.starting.build import build_train_state
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.workers.followers import FollowedRun
from llm_timecycle.training.workers.sharing import Briefing
from llm_timecycle.training.workers.workers import Workers

PREPARING, PREPARING_S = "preparing the text", 24 * 3600.0
"""What workers wait for, and how long at most: a text of many gigabytes takes hours."""
_MAKING = "making the run"


@dataclass(frozen=True)
class Order:
    """What to train, and where."""

    loaded: LoadedSettings
    run_path: Path
    cache: Path
    """Where tokenizers and token stores are kept."""
    show_progress: bool


@dataclass(frozen=True)
class Start:
    """A run that is ready for its next step."""

    stored: Run
    """The run as it is on the disk."""
    settings: Settings
    """Those to train with."""
    text: PreparedText
    train_state: TrainState


def resume_run(order: Order, workers: Workers, held: ExitStack) -> Start:
    """The chief's part: the run that is there, locked until `held` ends."""
    loaded = order.loaded
    with workers.together(PREPARING, PREPARING_S):
        held.enter_context(open_run(order.run_path).lock())
        run = open_run(order.run_path)  # again: nobody else can change it now
        settings = merge_settings(run, loaded)
        settings = find_moved_texts(run, settings)
        text = prepare_same_text(run, settings, loaded.base, order.cache, order.show_progress)
        plan = resolve_machine(settings, run.vocab_size, workers)
        settings = plan.fill_in(settings)
    plans = run.read_manifest().get("plans", [])
    _brief(workers, Briefing(settings, text.tokenizer, describe_text(text), plans))
    return Start(run, settings, text, build_train_state(settings, plan, text, workers))


def begin_run(
    order: Order, workers: Workers, held: ExitStack, warm_start: WarmStart | None
) -> Start:
    """The chief's part: a new run, locked until `held` ends.

    Args:
        warm_start: the run whose weights it begins with; None begins with fresh ones.
    """
    loaded, settings = order.loaded, order.loaded.settings
    with workers.together(PREPARING, PREPARING_S):
        check_run_is_new(order.run_path)
        places = order.cache, order.show_progress
        if warm_start is None:
            text = prepare_text(settings, loaded.base, *places, is_trained=True)
        else:
            settings, text = warm_start.prepare_text(loaded, *places)
        plan = resolve_machine(settings, text.tokenizer.vocab_size, workers)
        settings = plan.fill_in(settings)
    _brief(workers, Briefing(settings, text.tokenizer, describe_text(text)))
    train_state = build_train_state(settings, plan, text, workers)
    with workers.together(_MAKING):
        if warm_start is not None:
            weights = warm_start.load_weights(text.tokenizer.vocab_size)
            assign_parameters(train_state.network, weights)
        run = _create(order, settings, text, warm_start)
        held.enter_context(run.lock())
        if warm_start is not None:
            _save_start(run, train_state)
    return Start(run, settings, text, train_state)


def _create(
    order: Order, settings: Settings, text: PreparedText, warm_start: WarmStart | None
) -> Run:
    tokenizer, path = text.tokenizer, order.run_path
    return create_run(
        path,
        settings,
        tokenizer.to_json().encode(),
        tokenizer.vocab_size,
        describe_text(text),
        order.loaded.comments,
        write_learned(text),
        None if warm_start is None else warm_start.describe(path, tokenizer.vocab_size),
    )


def _brief(workers: Workers, briefing: Briefing) -> None:
    """Tell the other workers what to train, and wait until they have prepared the text."""
    if workers.size > 1:
        workers.send(briefing.to_json())
        with workers.together(PREPARING, PREPARING_S):
            pass


def follow_chief(order: Order, workers: Workers, *, resume: bool) -> Start:
    """The part of another worker, which trains the chief's run with it.

    The text is prepared after the chief has prepared it, so that workers with one cache encode it
    once.
    """
    with workers.together(PREPARING, PREPARING_S):
        pass
    briefing = Briefing.from_json(workers.send(b""))
    settings = briefing.settings.model_copy(update={"data": order.loaded.settings.data})
    with workers.together(PREPARING, PREPARING_S):
        base, run_path = order.loaded.base, order.run_path
        text = prepare_followed_text(settings, base, run_path, order.cache, briefing)
        plan = read_plan(settings)
        check_memory(settings, text.tokenizer.vocab_size, workers)
    train_state = build_train_state(settings, plan, text, workers)
    if not resume:
        with workers.together(_MAKING):
            pass
    manifest = {"plans": list(briefing.plans)}
    run = FollowedRun(run_path, settings, text.tokenizer.vocab_size, manifest)
    return Start(run, settings, text, train_state)


def _save_start(run: Run, train_state: TrainState) -> None:
    """A checkpoint before the first step: weights of another run cannot be made again."""
    training = run.settings.training
    states = {
        f"state.{number}": state.numpy()
        for number, state in enumerate(make_zero_states(run.settings.model, training.batch_size))
    }
    start = Checkpoint(Progress(), train_state.read_variables() | states, run.read_identity())
    write_checkpoint(run.checkpoints_path, start, training.keep_checkpoints)
