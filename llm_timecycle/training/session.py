"""A training session, from settings to a trained run directory, new or gone on with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from llm_timecycle.config.reading import LoadedSettings
from llm_timecycle.config.tree import Settings
from llm_timecycle.errors import ConfigError, DataError
from llm_timecycle.model.network import build_network, start_from_frequencies
from llm_timecycle.run import Run, check_run_is_new, create_run, open_run
from llm_timecycle.text.lanes import count_tokens, cut_lanes
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.text.tokenizer import Tokenizer
from llm_timecycle.training.devices import choose_precision, choose_strategy, configure_tensorflow
from llm_timecycle.training.loop import TrainingLoop
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.signals import StopRequest, catch_stop_signals
from llm_timecycle.training.snapshot import Machinery
from llm_timecycle.training.step import make_optimizer

log = logging.getLogger("llm_timecycle")

# Settings that a resumed run may change: they say how long to go on and what to write down.
FREE_WHEN_RESUMING = {
    "training.epochs",
    "training.max_steps",
    "training.patience",
    "training.log_every",
    "training.checkpoint_every",
    "training.keep_checkpoints",
}


@dataclass(frozen=True)
class TrainingSummary:
    """How a training session ended."""

    run: Run
    progress: Progress


def train(
    loaded: LoadedSettings,
    run_path: Path,
    *,
    cache: Path,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    show_progress: bool = False,
) -> TrainingSummary:
    """Train the model of `loaded` into `run_path`, or go on with the run that is there.

    Args:
        cache: where tokenizers and token stores are kept.
        resume: whether `run_path` is an existing run, to be gone on with.
        callbacks: Keras callbacks to drive beside the training.
        show_progress: whether to draw progress bars on stderr.

    Raises ConfigError, DataError, RunError; DivergenceError where the loss stops being a number;
    Interrupted where SIGINT or SIGTERM ended the training, after everything was saved.
    """
    if resume:
        run, text = _reopen(loaded, run_path, cache, show_progress)
    else:
        check_run_is_new(run_path)
        run, text = _begin(loaded, run_path, cache, show_progress)
    with run.lock(), catch_stop_signals() as stop_request:
        return _run_loop(run, text, callbacks, stop_request, show_progress)


def _begin(
    loaded: LoadedSettings, run_path: Path, cache: Path, show_progress: bool
) -> tuple[Run, PreparedText]:
    """Prepare the text and make the run directory of a new run."""
    settings = loaded.settings
    text = prepare_text(settings, loaded.base, cache, show_progress)
    training = settings.training
    cut_lanes(text.train.ids, training.batch_size, training.sequence_length)
    configure_tensorflow()
    if training.precision == "auto":
        precision = choose_precision(training, settings.model, text.tokenizer.vocab_size)
        log.info("precision: %s, measured to be the faster one here", precision)
        resolved = training.model_copy(update={"precision": precision})
        settings = settings.model_copy(update={"training": resolved})
    run = create_run(
        run_path,
        settings,
        text.tokenizer.to_json().encode(),
        text.tokenizer.vocab_size,
        _describe_text(text),
    )
    return run, text


def _reopen(
    loaded: LoadedSettings, run_path: Path, cache: Path, show_progress: bool
) -> tuple[Run, PreparedText]:
    """Open a run to go on with, and make sure that its settings and its text are the same."""
    run = open_run(run_path)
    changed = list_differences(run.settings, loaded.settings)
    if loaded.settings.training.precision == "auto":
        changed.pop("training.precision", None)
    if fixed := sorted(changed.keys() - FREE_WHEN_RESUMING):
        lines = [
            f"  {key}: {changed[key][0]!r} in the run, {changed[key][1]!r} now" for key in fixed
        ]
        raise ConfigError(
            "a resumed run is the same run, but these settings differ:\n"
            + "\n".join(lines)
            + f"\nPut them back, or train a new run with --run DIR. "
            f"To resume as it was: llm-timecycle train {run_path} --resume"
        )
    if changed:
        training = loaded.settings.training.model_copy(
            update={"precision": run.settings.training.precision}
        )
        run = run.replace_settings(run.settings.model_copy(update={"training": training}))
    if run.metrics_path.exists() and "metrics.csv" in run.read_manifest()["files"]:
        run.check_metrics()
    tokenizer = Tokenizer.load(run.tokenizer_path, run.settings.tokenizer)
    text = prepare_text(run.settings, loaded.base, cache, show_progress, tokenizer=tokenizer)
    before, now = run.read_manifest()["corpora"], _describe_text(text)
    for part in before.keys() | now.keys():
        if before.get(part, {}).get("sha256") != now.get(part, {}).get("sha256"):
            raise DataError(
                f"the {part} text is not the one that {run_path} was begun with. "
                f"Put it back, or train a new run with --run DIR"
            )
    configure_tensorflow()
    return run, text


def _run_loop(
    run: Run,
    text: PreparedText,
    callbacks: Sequence[keras.callbacks.Callback],
    stop_request: StopRequest,
    show_progress: bool,
) -> TrainingSummary:
    """Build the network and train it."""
    training = run.settings.training
    lanes = cut_lanes(text.train.ids, training.batch_size, training.sequence_length)
    strategy = choose_strategy(training.batch_size)
    with strategy.scope():
        network = build_network(
            run.settings.model, run.vocab_size, seed=training.seed, precision=training.precision
        )
        start_from_frequencies(network, count_tokens(text.train.ids, run.vocab_size))
        optimizer = make_optimizer(training)
        optimizer.build(network.trainable_variables)
    log.info(
        "model: %s parameters; text: %s training tokens, %s kinds (%s allowed); %s",
        f"{network.count_params():,}",
        f"{len(text.train.ids):,}",
        f"{run.vocab_size:,}",
        f"{run.settings.tokenizer.vocab_size:,}",
        training.precision,
    )
    loop = TrainingLoop(
        run,
        Machinery(network, optimizer, strategy),
        lanes,
        None if text.valid is None else text.valid.ids,
        callbacks=callbacks,
        stop_request=stop_request,
        show_progress=show_progress,
    )
    loop.train()
    return TrainingSummary(run, loop.progress)


def list_differences(a: Settings, b: Settings) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by dotted path; `generation` does not count."""
    sections = ("data", "tokenizer", "model", "training")
    return {
        f"{section}.{key}": (value, getattr(getattr(b, section), key))
        for section in sections
        for key, value in getattr(a, section)
        if value != getattr(getattr(b, section), key)
    }


def _describe_text(text: PreparedText) -> dict[str, Any]:
    """What the manifest keeps of each text."""
    parts = {"train": text.train, "valid": text.valid, "test": text.test}
    return {
        name: {
            "sha256": stream.corpus_sha256,
            "tokens": stream.tokens,
            "unknown": stream.unknown,
            "words": stream.words,
            "characters": stream.characters,
            "bytes": stream.bytes,
        }
        for name, stream in parts.items()
        if stream is not None
    }
