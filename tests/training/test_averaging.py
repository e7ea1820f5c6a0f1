"""Averaged weights: begun when the twin says so, validated, saved, resumed, and off where off."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import load

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import Interrupted
from llm_timecycle.evaluation.stream import make_scorer, score_stream
from llm_timecycle.model.network import build_trained_network, read_parameters
from llm_timecycle.reference.averaging import average_weights, is_triggered
from llm_timecycle.runs.directory import Run
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.signals import StopRequest
from tests.training.test_loop import (
    IDS,
    StopAfter,
    V,
    make_loop,
    make_run,
    read_final_tensors,
    read_losses,
    read_rows,
)

# A rate that never settles, so that validation soon gets worse and the mean of the weights better.
AVERAGED: dict[str, Any] = {
    "averaging": "triggered",
    "averaging_patience": 1,
    "learning_rate": 0.3,
    "eval_every": 2,
    "epochs": 4,
    "keep_checkpoints": 100,
}


class Recorder(keras.callbacks.Callback):
    """Remember the weights after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[dict[str, np.ndarray]] = [{}]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.weights.append(read_parameters(self.model))


def read_valid_losses(run: Run) -> dict[int, float]:
    return {
        int(row["step"]): float(row["valid_loss_nats"])
        for row in read_rows(run)
        if row["valid_loss_nats"]
    }


def find_first_step(run: Run) -> int:
    """The step after which the twin says that averaging begins."""
    losses = read_valid_losses(run)
    for count in range(1, len(losses) + 1):
        if is_triggered(list(losses.values())[:count], patience=1):
            return list(losses)[count - 1]
    raise AssertionError("validation never got worse: the rate is too low for this test")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[dict[str, np.ndarray]]]:
    """A run with averaging, and its weights after every step."""
    run, recorder = make_run(tmp_path_factory.mktemp("run") / "run", **AVERAGED), Recorder()
    make_loop(run, callbacks=[recorder]).train()
    return run, recorder.weights


def score(run: Run, weights: dict[str, np.ndarray]) -> float:
    """The validation loss of these weights, as training computes it."""
    network = build_trained_network(run.settings.model, V, weights)
    ids, training = IDS[300:], run.settings.training
    lanes, window = training.batch_size, max(training.sequence_length, 16)
    sums = score_stream(make_scorer(network), run.settings.model, ids, lanes=lanes, window=window)
    return sums.loss_nats_per_token


def test_the_mean_is_validated(recorded: tuple[Run, list[dict[str, np.ndarray]]]) -> None:
    run, weights = recorded
    first = find_first_step(run)
    after = [step for step in read_valid_losses(run) if step > first]
    assert len(after) > 3
    for step in (after[0], after[-1]):
        mean = average_weights(weights[first : step + 1])
        found = read_valid_losses(run)[step]
        assert found == pytest.approx(score(run, mean), rel=1e-4)
        assert found != pytest.approx(score(run, weights[step]), rel=1e-3)


def test_the_mean_is_saved_as_the_best_weights(
    recorded: tuple[Run, list[dict[str, np.ndarray]]],
) -> None:
    run, weights = recorded
    first, step = find_first_step(run), run.read_manifest()["best"]["step"]
    assert step > first  # or this test would say nothing
    for name, mean in average_weights(weights[first : step + 1]).items():
        saved = run.load_weights()[name]
        np.testing.assert_allclose(saved, mean, rtol=1e-4, atol=1e-6, err_msg=name)
        assert np.abs(saved - weights[step][name]).max() > 1e-3


def test_training_goes_on_with_the_weights_themselves(
    recorded: tuple[Run, list[dict[str, np.ndarray]]], tmp_path: Path
) -> None:
    """Validation puts the mean into the network, and takes it out again."""
    run, weights = recorded
    plain, recorder = make_run(tmp_path / "run", **{**AVERAGED, "averaging": "none"}), Recorder()
    make_loop(plain, callbacks=[recorder]).train()
    for name, weight in recorder.weights[-1].items():
        assert np.array_equal(weights[-1][name], weight), name
    assert run.weights_path.read_bytes() != plain.weights_path.read_bytes()
    tensors = load(read_final_tensors(plain))
    assert not [name for name in tensors if name.startswith("average.")]


def test_a_run_stopped_before_and_after_averaging_begins_is_the_same_run(
    recorded: tuple[Run, list[dict[str, np.ndarray]]], tmp_path: Path
) -> None:
    whole, _ = recorded
    run, first = make_run(tmp_path / "run", **AVERAGED), find_first_step(whole)
    for steps in (first - 1, 4):
        request = StopRequest()
        stop = StopAfter(request, steps, signal.SIGINT)
        with pytest.raises(Interrupted):
            make_loop(run, callbacks=[stop], request=request).train()
    make_loop(run).train()
    assert read_final_tensors(run) == read_final_tensors(whole)
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert read_losses(run) == read_losses(whole)


def test_the_checkpoint_has_the_weights_and_their_mean(
    recorded: tuple[Run, list[dict[str, np.ndarray]]],
) -> None:
    run, weights = recorded
    tensors = load(read_final_tensors(run))
    mean = average_weights(weights[find_first_step(run) :])
    for name, weight in weights[-1].items():
        assert np.array_equal(tensors[f"weights.{name}"], weight), name
        np.testing.assert_allclose(tensors[f"average.{name}"], mean[name], rtol=1e-4, atol=1e-6)


@given(
    losses=st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0]), max_size=12),
    patience=st.integers(1, 4),
)
@hypothesis_settings(max_examples=200)
def test_the_trigger_is_the_twins(losses: list[float], patience: int) -> None:
    training = TrainingSettings(averaging="triggered", averaging_patience=patience)
    progress = Progress()
    for count, loss in enumerate(losses, 1):
        begins = progress.triggers_averaging(loss, training)
        assert begins == is_triggered(losses[:count], patience)
        assert len(progress.recent_losses) <= patience
        if begins:
            return
        progress = Progress.from_dict(progress.to_dict())  # as of a checkpoint


def test_early_stopping_waits_anew_once_averaging_begins() -> None:
    training = TrainingSettings(averaging="triggered", averaging_patience=1, patience=2)
    progress = Progress()
    for loss in (1.0, 2.0, 3.0):
        progress.note_validation(loss, training)
        begins = progress.triggers_averaging(loss, training)
    assert begins
    assert not progress.is_out_of_patience(training)
    assert not progress.triggers_averaging(9.0, TrainingSettings())
