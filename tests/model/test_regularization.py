"""Each part of the published record is really active in the compiled training step.

The step is the one that trains: compiled, its lanes in two shards. What its layers read is recorded
from inside the graph. Each of these tests fails if the part that it is about is switched off.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.evaluation.stream import make_scorer
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.model import loss, lstm
from llm_timecycle.model.activation_penalty import ActivationPenalty, make_activation_penalty
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.network import (
    assign_parameters,
    build_network,
    list_random_states,
    make_zero_states,
    read_parameters,
)
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step

B, T, E, H, V = 8, 4, 40, 50, 60
RATE = 0.5
SIZES: dict[str, Any] = {"embedding_dim": E, "hidden_units": H}
EVERYTHING: dict[str, Any] = {
    "dropout": RATE,
    "input_dropout": 0.0,
    "variational_dropout": True,
    "weight_drop": RATE,
    "embedding_dropout": RATE,
}
TOKENS = np.random.default_rng(0).integers(0, V, (B, T)).astype(np.int32)
TARGETS = np.roll(TOKENS, -1, axis=1)
Reads = dict[str, list[np.ndarray]]
"""What was read under a name, one array for each shard."""


class Recorder:
    """What the layers read in each step: inputs of LSTM layers and of the output, and kernels U."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: Reads = {}
        run_lstm, compute_losses = lstm.run_lstm, loss.compute_losses

        def run(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, **options: Any) -> Any:
            layer = "lstm_1" if x.shape[-1] == E else "lstm_2"
            self.note(layer, x)
            self.note(f"{layer} U", options["recurrent_kernel"])
            return run_lstm(x, h, c, **options)

        def compute(hidden: tf.Tensor, *rest: Any) -> tf.Tensor:
            self.note("output", tf.reshape(hidden, (-1, T, hidden.shape[-1])))
            return compute_losses(hidden, *rest)

        monkeypatch.setattr(lstm, "run_lstm", run)
        monkeypatch.setattr(loss, "compute_losses", compute)

    def note(self, name: str, value: tf.Tensor) -> None:
        """Record a tensor whenever the compiled step computes it."""

        def keep(array: np.ndarray) -> np.float32:
            self.reads.setdefault(name, []).append(np.array(array))
            return np.float32(0.0)

        tf.numpy_function(keep, [tf.stop_gradient(value)], tf.float32)


def record_steps(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[keras.Model, list[Reads]]:
    """A network and what its layers read in two steps; the rate is so small that nothing moves."""
    recorder = Recorder(monkeypatch)

    class Noted(ActivationPenalty):
        def compute(self, y: tf.Tensor, h: tf.Tensor, keep: tf.Tensor | None) -> tf.Tensor:
            recorder.note("y", y)
            recorder.note("h", h)
            return super().compute(y, h, keep)

    settings = ModelSettings(**SIZES, **options)
    network = build_network(settings, V, seed=1)
    optimizer = make_optimizer(TrainingSettings(optimizer="sgd", learning_rate=1e-30))
    strategy = tf.distribute.get_strategy()
    step = make_train_step(network, optimizer, strategy, None, 2, penalty=Noted(1.0, 1.0))
    states = [tf.ones_like(state) for state in make_zero_states(settings, B)]
    reads = []
    for _ in range(2):
        recorder.reads = {}
        step(TOKENS, TARGETS, states)
        reads.append(recorder.reads)
    return network, reads


@pytest.fixture(scope="module")
def steps() -> tuple[keras.Model, list[Reads]]:
    """A network that drops everything, and what its layers read in two steps."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return record_steps(monkeypatch, **EVERYTHING)


def check_variational_masks(reads: list[Reads], place: str) -> None:
    masks, next_masks = (np.concatenate(step[place]) == 0 for step in reads)
    assert 0.4 < masks.mean() < 0.6
    np.testing.assert_array_equal(masks, np.repeat(masks[:, :1], T, axis=1))  # equal over time
    assert len(np.unique(masks[:, 0], axis=0)) == B  # different over lanes, in both shards
    assert not np.array_equal(masks, next_masks)


@pytest.mark.parametrize("place", ["lstm_2", "output"])
def test_a_variational_mask_lasts_for_a_window_and_differs_between_lanes_and_steps(
    steps: tuple[keras.Model, list[Reads]], place: str
) -> None:
    check_variational_masks(steps[1], place)


def test_so_does_that_of_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    _, reads = record_steps(monkeypatch, input_dropout=RATE, variational_dropout=True)
    check_variational_masks(reads, "lstm_1")
    assert all((array != 0).all() for place in ("lstm_2", "output") for array in reads[0][place])


def test_weight_drop_draws_one_mask_a_step_for_all_shards_and_another_for_the_next(
    steps: tuple[keras.Model, list[Reads]],
) -> None:
    network, reads = steps
    for layer in ("lstm_1", "lstm_2"):
        kernels = []
        for step in reads:
            first, second = step[f"{layer} U"]
            np.testing.assert_array_equal(first, second)
            kernels.append(first)
        whole = network.get_layer(layer).cell.recurrent_kernel.numpy()
        for kernel in kernels:
            is_kept = kernel != 0
            assert 0.45 < is_kept.mean() < 0.55
            np.testing.assert_allclose(kernel[is_kept], whole[is_kept] / (1 - RATE), rtol=1e-6)
        assert not np.array_equal(kernels[0] == 0, kernels[1] == 0)
    assert not np.array_equal(reads[0]["lstm_1 U"][0] == 0, reads[0]["lstm_2 U"][0] == 0)


def test_embedding_dropout_drops_whole_words_the_same_in_every_shard(
    steps: tuple[keras.Model, list[Reads]],
) -> None:
    network, reads = steps
    whole = network.get_layer("embedding").embeddings.numpy()[TOKENS]
    dropped_words = []
    for step in reads:
        read = np.concatenate(step["lstm_1"])
        is_dropped = (read == 0).all(axis=2)
        np.testing.assert_array_equal(is_dropped, (read == 0).any(axis=2))  # whole rows only
        np.testing.assert_allclose(read[~is_dropped], whole[~is_dropped] / (1 - RATE), rtol=1e-6)
        words = set(TOKENS[is_dropped])
        assert words
        assert not words & set(TOKENS[~is_dropped])  # wherever they occur, in both shards
        dropped_words.append(words)
    assert dropped_words[0] != dropped_words[1]
    assert set(TOKENS[: B // 2].flat) & set(TOKENS[B // 2 :].flat)  # both shards read a word


def test_ar_sees_the_dropped_output_and_tar_the_raw_one(
    steps: tuple[keras.Model, list[Reads]],
) -> None:
    y, h, output = (np.concatenate(steps[1][0][name]) for name in ("y", "h", "output"))
    np.testing.assert_array_equal(y, output)
    assert (h != 0).all()
    np.testing.assert_allclose(y[y != 0], h[y != 0] / (1 - RATE), rtol=1e-6)


def test_nothing_is_dropped_in_evaluation() -> None:
    plain, dropping = (ModelSettings(**SIZES, **options) for options in ({}, EVERYTHING))
    networks = [build_network(settings, V, seed=1) for settings in (plain, dropping)]
    weights = [read_parameters(network) for network in networks]
    for name, weight in weights[0].items():  # the same seed gives the same weights with dropout
        np.testing.assert_array_equal(weight, weights[1][name])
    random_before = {n: v.numpy() for n, v in list_random_states(networks[1]).items()}
    counted, states = np.ones((B, T), np.float32), make_zero_states(plain, B)
    scores = [make_scorer(network).score(TOKENS, TARGETS, counted, states) for network in networks]
    for one, other in zip(*scores, strict=True):
        np.testing.assert_array_equal(one, other)
    for name, state in list_random_states(networks[1]).items():
        np.testing.assert_array_equal(state, random_before[name])


def test_without_it_no_random_state_is_added_to_checkpoints() -> None:
    """A run that was begun before there was embedding dropout resumes."""
    names = (
        list_random_states(build_network(ModelSettings(**SIZES, **options), V, seed=1)).keys()
        for options in ({}, {"embedding_dropout": RATE})
    )
    assert [("embedding.0" in found) for found in names] == [False, True]


def test_a_tied_output_uses_the_whole_embedding() -> None:
    """With most words dropped, the logit of each is still more than its bias, which is 0."""
    settings = ModelSettings(
        embedding_dim=H, hidden_units=H, tie_embeddings=True, embedding_dropout=0.9
    )
    network = build_network(settings, V, seed=1)
    states = [tf.ones_like(state) for state in make_zero_states(settings, B)]
    logits, *_ = network([tf.constant(TOKENS), *states], training=True)
    assert (np.abs(logits).max(axis=(0, 1)) > 1e-3).all()


def test_the_deepest_network_that_the_settings_allow_is_built() -> None:
    settings = ModelSettings(embedding_dim=1, hidden_units=1, num_layers=64)
    network = build_network(settings, 2, seed=1)
    assert len(network.trainable_variables) == 1 + 64 * 3 + 2
    logits = NumpyEngine(read_parameters(network), settings).prefill(np.array([[1, 0]]))
    expected, *_ = network([tf.constant([[1, 0]]), *make_zero_states(settings, 1)])
    np.testing.assert_allclose(logits, expected[:, -1], rtol=1e-5, atol=1e-6)


def test_the_same_weights_and_random_states_give_the_same_losses_again() -> None:
    settings = ModelSettings(**SIZES, **EVERYTHING)
    one, other = (build_network(settings, V, seed=seed) for seed in (1, 2))
    assign_parameters(other, read_parameters(one))
    for name, state in list_random_states(one).items():
        list_random_states(other)[name].assign(state)
    arguments = (tf.constant(TOKENS), tf.constant(TARGETS), make_zero_states(settings, B), True)
    losses = [LossNetwork(network).compute_losses(*arguments)[0] for network in (one, other)]
    np.testing.assert_array_equal(*losses)


def differentiate(
    penalty: ActivationPenalty | None, shards: int = 1, repeats: int = 1, window: int = T
) -> tuple[float, float]:
    """The loss of four lanes, each `repeats` times, and the norm of its gradient."""
    settings = ModelSettings(**SIZES)
    network = build_network(settings, V, seed=1)
    variables = [variable.value for variable in network.trainable_variables]
    tokens, targets = (np.repeat(ids[:4, :window], repeats, axis=0) for ids in (TOKENS, TARGETS))
    seen = LossNetwork(network, penalty)
    with tf.GradientTape() as tape:
        lanes = [tf.constant(tokens), tf.constant(targets)]
        results = [
            seen.compute_losses(x, y, states, training=True)
            for x, y, *states in split_lanes(
                [*lanes, *make_zero_states(settings, len(tokens))], shards
            )
        ]
        losses, *_ = join_lanes([[found, *after] for found, after in results])
        mean = tf.reduce_mean(losses)
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(mean, variables)]
    return float(mean), float(tf.linalg.global_norm(gradients))


def test_penalties_are_in_the_gradient_and_not_in_the_loss() -> None:
    plain, ar, tar = (
        differentiate(penalty)
        for penalty in (None, ActivationPenalty(100.0, 0.0), ActivationPenalty(0.0, 100.0))
    )
    assert ar[0] == tar[0] == plain[0]
    assert abs(ar[1] - plain[1]) > 0.01 * plain[1]
    assert abs(tar[1] - plain[1]) > 0.01 * plain[1]
    assert ar[1] != tar[1]


def test_penalties_depend_neither_on_the_shards_nor_on_the_batch_size() -> None:
    penalty = ActivationPenalty(100.0, 100.0)
    whole = differentiate(penalty)
    assert differentiate(penalty, shards=2, repeats=2) == pytest.approx(whole, rel=1e-5)


def test_a_window_of_one_token_has_no_changes_to_penalize() -> None:
    assert differentiate(ActivationPenalty(0.0, 100.0), window=1) == differentiate(None, window=1)


def test_the_settings_have_the_weights_of_the_penalties() -> None:
    weights = {"activation_regularization": 2.0, "temporal_activation_regularization": 1.0}
    assert make_activation_penalty(TrainingSettings(**weights)) == ActivationPenalty(2.0, 1.0)
    assert make_activation_penalty(TrainingSettings()) is None
