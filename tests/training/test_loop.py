"""The loop on a tiny stream: it learns, keeps the best, stops when asked, goes on to the bit."""

from __future__ import annotations

import csv
import signal
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import keras
import numpy as np
import pytest

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.errors import DivergenceError, Interrupted
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.batches import ONE_DOCUMENT, Lanes
from llm_timecycle.training.checkpoints import list_checkpoints
from llm_timecycle.training.loop import TrainingLoop
from llm_timecycle.training.signals import StopRequest
from tests.training.made_once import keep_functions, make_train_state

V = 11
# A stream with a rule to learn (each token is the one before plus 3, modulo 11) and some noise.
NOISE = np.random.default_rng(0).random(400) < 0.1
IDS = np.where(NOISE, 0, np.arange(400) * 3 % V).astype(np.uint8)
# 300 tokens in 4 lanes of 74 predictions, windows of 10: 8 steps an epoch.
TRAINING: dict[str, Any] = {
    "batch_size": 4,
    "sequence_length": 10,
    "epochs": 3,
    "learning_rate": 0.02,
    "schedule": "constant",
    "warmup_steps": 0,
    "eval_every": 5,
    "checkpoint_every": 3,
    "log_every": 2,
    "precision": "float32",
}
MODEL = ModelSettings(
    embedding_dim=4,
    hidden_units=6,
    num_layers=1,
    dropout=0.2,
    variational_dropout=True,
    weight_drop=0.2,
)


class StopAfter(keras.callbacks.Callback):
    """Ask for a stop, as a signal would, after so many steps of this session."""

    def __init__(self, request: StopRequest, steps: int, number: int) -> None:
        super().__init__()
        self._request, self._left, self._number = request, steps, number

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._left -= 1
        if self._left == 0:
            self._request.signal_number = self._number


def make_run(path: Path, model: ModelSettings = MODEL, **training: Any) -> Run:
    settings = Settings(model=model, training=TrainingSettings(**{**TRAINING, **training}))
    return create_run(path, settings, b"{}", V, {})


def make_loop(
    run: Run,
    valid: np.ndarray | None = IDS[300:],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    request: StopRequest | None = None,
    starts: np.ndarray = ONE_DOCUMENT,
    **options: Any,
) -> TrainingLoop:
    training = run.settings.training
    width_seed = training.seed if training.vary_sequence_length else None
    B, T = training.batch_size, training.sequence_length
    with keep_functions():
        return TrainingLoop(
            run,
            make_train_state(run.settings, V),
            Lanes(IDS[:300], B, T, starts, width_seed),
            valid,
            callbacks=callbacks,
            stop_request=request or StopRequest(),
            show_progress=options.pop("show_progress", False),
            **options,
        )


def read_rows(run: Run) -> list[dict[str, str]]:
    with run.metrics_path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_losses(run: Run) -> list[tuple[str, ...]]:
    columns = ("step", "tokens", "train_loss_nats", "valid_loss_nats", "learning_rate")
    return [tuple(row[column] for column in columns) for row in read_rows(run)]


def read_final_tensors(run: Run) -> bytes:
    return (list_checkpoints(run.checkpoints_path)[-1] / "tensors.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("whole") / "run")
    make_loop(run).train()
    return run


def test_it_learns_and_logs_every_row_that_is_due(whole: Run) -> None:
    rows = read_rows(whole)
    # Every 2 steps, after every 5th step a validation, and one at each epoch's end (8, 16, 24).
    assert [int(row["step"]) for row in rows] == [
        *(2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20, 22, 24)
    ]
    validated = [int(row["step"]) for row in rows if row["valid_loss_nats"]]
    assert validated == [5, 8, 10, 15, 16, 20, 24]
    assert float(rows[-1]["train_loss_nats"]) < float(rows[0]["train_loss_nats"])
    assert rows[-1]["tokens"] == str(3 * 4 * 74)
    assert rows[4]["tokens"] == str(4 * 74)  # the last window of an epoch is a short one
    stages = ("input_s", "compute_s", "validation_s", "checkpoint_s", "other_s")
    spent = [sum(float(row[stage]) for stage in stages) for row in rows]
    assert sum(spent) == pytest.approx(float(rows[-1]["wall_s"]), rel=0.02)


def test_the_best_weights_are_those_of_the_lowest_validation_loss(whole: Run) -> None:
    best = whole.read_manifest()["best"]
    losses = {
        int(row["step"]): float(row["valid_loss_nats"])
        for row in read_rows(whole)
        if row["valid_loss_nats"]
    }
    assert best["step"] == min(losses, key=losses.__getitem__)
    assert best["valid_loss_nats"] == pytest.approx(min(losses.values()), rel=1e-6)
    assert whole.load_weights().keys() >= {"embedding.embeddings", "output.bias"}


def test_a_run_stopped_again_and_again_and_resumed_is_the_same_run(
    whole: Run, tmp_path: Path
) -> None:
    run, before = make_run(tmp_path / "run"), 0
    # In between, after a checkpoint or a validation, at an epoch's end, twice in one epoch.
    for steps in (1, 4, 5, 8, 11, 16):
        number = signal.SIGTERM if steps == 1 else signal.SIGINT
        request = StopRequest()
        stop = StopAfter(request, steps - before, number)
        with pytest.raises(
            Interrupted, match=rf"Stopped after step {steps}; everything is saved.*--resume"
        ) as caught:
            make_loop(run, callbacks=[stop], request=request).train()
        assert caught.value.exit_code == 128 + number
        assert run.weights_path.exists()
        before = steps
    make_loop(run).train()
    assert read_final_tensors(run) == read_final_tensors(whole)
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert read_losses(run) == read_losses(whole)


def test_a_run_on_documents_is_the_same_run_when_resumed_and_not_that_on_one_text(
    whole: Run, tmp_path: Path
) -> None:
    documents = {"starts": np.arange(7, 300, 7), "valid_starts": np.arange(7, 100, 7)}
    run, stopped = (make_run(tmp_path / name) for name in ("run", "stopped"))
    make_loop(run, **documents).train()
    request = StopRequest()
    callbacks = [StopAfter(request, 11, signal.SIGINT)]
    with pytest.raises(Interrupted):
        make_loop(stopped, callbacks=callbacks, request=request, **documents).train()
    make_loop(stopped, **documents).train()
    assert read_final_tensors(stopped) == read_final_tensors(run) != read_final_tensors(whole)
    assert read_losses(stopped) == read_losses(run)


def test_a_run_with_everything_that_regularizes_is_the_same_run_when_resumed(
    tmp_path: Path,
) -> None:
    more = {"embedding_dropout": 0.2, "layer_norm": True, "residual": True, "embedding_dim": 6}
    more |= {"num_layers": 2}
    training = {
        "optimizer": "nadam",
        "weight_decay": 0.01,
        "activation_regularization": 2.0,
        "temporal_activation_regularization": 1.0,
    }
    training |= {"epochs": 1, "eval_every": None}
    model = MODEL.model_copy(update=more)
    run, stopped = (make_run(tmp_path / name, model, **training) for name in ("run", "stopped"))
    make_loop(run, valid=None).train()
    request = StopRequest()
    callbacks = [StopAfter(request, 4, signal.SIGINT)]
    with pytest.raises(Interrupted):
        make_loop(stopped, None, callbacks, request).train()
    make_loop(stopped, valid=None).train()
    assert read_final_tensors(stopped) == read_final_tensors(run)
    assert read_losses(stopped) == read_losses(run)


def test_penalties_of_the_settings_move_the_gradient_and_not_the_loss_of_the_first_step(
    tmp_path: Path,
) -> None:
    rows = []
    for weight in (0.0, 100.0):
        run = make_run(
            tmp_path / f"{weight}",
            max_steps=1,
            log_every=1,
            eval_every=None,
            activation_regularization=weight,
        )
        make_loop(run, valid=None).train()
        rows.append(read_rows(run)[0])
    plain, penalized = rows
    assert plain["train_loss_nats"] == penalized["train_loss_nats"]
    assert plain["gradient_norm"] != penalized["gradient_norm"]


def stop_after(run: Run, steps: int) -> TrainingLoop:
    """Train a new run until a signal stops it after so many steps."""
    request = StopRequest()
    loop = make_loop(run, callbacks=[StopAfter(request, steps, signal.SIGINT)], request=request)
    with pytest.raises(Interrupted):
        loop.train()
    return loop


def test_a_checkpoint_that_was_lost_changes_nothing(whole: Run, tmp_path: Path) -> None:
    """As after `kill -9`: rows and best weights are newer than the checkpoint gone on from."""
    run = make_run(tmp_path / "run")
    stop_after(run, 17)
    rmtree(list_checkpoints(run.checkpoints_path)[-1])
    make_loop(run).train()
    assert read_final_tensors(run) == read_final_tensors(whole)
    assert run.weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert read_losses(run) == read_losses(whole)


def test_a_run_whose_newest_checkpoint_was_lost_is_whole_at_every_moment(tmp_path: Path) -> None:
    """Its logs are cut back to the older checkpoint, and nothing is saved before the next stop."""
    run = make_run(tmp_path / "run")
    stop_after(run, 21)
    rmtree(list_checkpoints(run.checkpoints_path)[-1])
    stopped = StopRequest()
    stopped.signal_number = signal.SIGINT
    with pytest.raises(Interrupted):
        make_loop(run, request=stopped).train()
    run.check_files()


def test_a_validation_after_the_last_checkpoint_is_kept(whole: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert stop_after(run, 24).progress.reached == (24, 20)
    make_loop(run).train()
    again = make_loop(run)
    reached = again.progress.reached
    again.train()
    assert reached == (24, 24)
    assert read_final_tensors(run) == read_final_tensors(whole)


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_where(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", optimizer="sgd", learning_rate=1e3, gradient_clip_norm=None, epochs=40
    )
    loop = make_loop(run)
    loop._network.get_layer("output").layer.bias.assign(np.full(V, 3e38, np.float32))
    loop._network.get_layer("output").layer.kernel.assign(np.full((6, V), 3e38, np.float32))
    with pytest.raises(
        DivergenceError,
        match=r"diverged at step 1: .*gradient norm nan, learning rate 1000\.",
    ):
        loop.train()
    assert list_checkpoints(run.checkpoints_path) == []


def test_patience_ends_a_run_early(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", patience=1, optimizer="sgd", learning_rate=100.0)
    loop = make_loop(run)
    loop.train()
    assert loop.progress.step < 24
    assert loop.progress.validations_since_best == 1


def test_max_steps_ends_a_run_with_a_validation_and_a_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", max_steps=7)
    make_loop(run).train()
    assert [path.name for path in list_checkpoints(run.checkpoints_path)] == ["step-6", "step-7"]
    assert read_rows(run)[-1]["valid_loss_nats"]


def test_without_a_validation_text_the_last_weights_are_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", eval_every=None)
    loop = make_loop(run, valid=None)
    loop.train()
    weights = run.load_weights()
    np.testing.assert_array_equal(
        weights["output.bias"], loop._network.get_layer("output").layer.bias.numpy()
    )
    assert run.read_manifest()["best"] == {"step": 24, "valid_loss_nats": None}


def test_keras_callbacks_see_steps_and_epochs_and_can_stop_the_run(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watcher(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append("train")

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            assert logs["loss"] > 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(f"end {epoch} {sorted(logs)}")
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs: Any = None) -> None:
            seen.append("over")

    run = make_run(tmp_path / "run")
    make_loop(run, callbacks=[Watcher()]).train()
    assert seen == [
        "train",
        "epoch 0",
        "end 0 ['loss', 'val_loss']",
        "epoch 1",
        "end 1 ['loss', 'val_loss']",
        "over",
    ]
    assert [path.name for path in list_checkpoints(run.checkpoints_path)][-1] == "step-16"
