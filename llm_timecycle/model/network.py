"""The network: Embedding -> num_layers x LSTM -> TimeDistributed(Dense), as a plain `keras.Model`.

    r_0 = Emb[tokens]
    h_l = LSTM_l(drop(norm(r_{l-1}))),   r_l = h_l, or with `residual` r_{l-1} + h_l, for l = 1 .. L
    logits = drop(norm(r_L)) W + b

`norm` is layer normalization of what goes into every layer but the first LSTM; without `layer_norm`
it changes nothing. So r is a stream that is neither normalized nor dropped, as in pre-norm
transformers (Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture"). Dropout
is on what a layer reads from the one below (Zaremba, Sutskever and Vinyals 2014, "Recurrent Neural
Network Regularization").

The LSTM state is an input and an output, so that training and evaluation can carry it from one
window to the next. Parameters have the names of `config.weight_shapes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes, is_residual
from llm_timecycle.model.embedding import Embedding
from llm_timecycle.model.layer_norm import LayerNorm
from llm_timecycle.model.lstm import LSTM
from llm_timecycle.model.output import TiedOutput, TimeDistributedDense
from llm_timecycle.model.tf_workarounds import keep_xla_from_racing


def build_network(
    settings: ModelSettings, vocab_size: int, *, seed: int, precision: str = "float32"
) -> keras.Model:
    """The network of `settings` over a vocabulary of `vocab_size` (V) tokens, with fresh weights.

    Args:
        seed: seeds every random draw: initial weights, dropout, weight drop.
        precision: the Keras dtype policy, `float32` or `mixed_bfloat16`.

    Call shapes: [tokens (B, T), h_1, c_1, ..., h_L, c_L (B, H)]
        -> [logits (B, T, V), h_1, c_1, ..., h_L, c_L]; the states float32.
    """
    keep_xla_from_racing()
    *words, embedding_seed = map(int, np.random.SeedSequence(seed).generate_state(65 * 4 + 1))
    seeds = iter(words)
    policy = keras.DTypePolicy(precision)
    H = settings.hidden_units
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    states = [
        keras.Input((H,), dtype="float32", name=f"{kind}_{layer}")
        for layer in range(1, settings.num_layers + 1)
        for kind in ("h", "c")
    ]
    embedding = Embedding(
        vocab_size,
        settings.embedding_dim,
        dropout=settings.embedding_dropout,
        seed=embedding_seed,
        embeddings_initializer=keras.initializers.RandomNormal(
            stddev=0.1 if settings.tie_embeddings else 1.0, seed=next(seeds)
        ),
        dtype=policy,
        name="embedding",
    )
    stream = embedding(tokens)
    x = _drop(stream, settings, settings.input_dropout, seeds, "input_dropout")
    new_states = []
    for layer in range(1, settings.num_layers + 1):
        if layer > 1:
            x = _normalize(stream, settings, policy, f"layer_norm_{layer}")
            x = _drop(x, settings, settings.layer_dropout, seeds, f"layer_dropout_{layer - 1}")
        lstm = LSTM(
            H,
            weight_drop=settings.weight_drop,
            kernel_initializer=_make_kernel_initializer(settings, layer, next(seeds)),
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            return_sequences=True,
            return_state=True,
            seed=next(seeds),
            dtype=policy,
            name=f"lstm_{layer}",
        )
        h, *state = lstm(x, initial_state=states[2 * layer - 2 : 2 * layer])
        if is_residual(settings, layer):
            stream = keras.layers.Add(dtype=policy, name=f"residual_{layer}")([stream, h])
        else:
            stream = h
        new_states += state
    x = _normalize(stream, settings, policy, "layer_norm_output")
    x = _drop(x, settings, settings.output_dropout, seeds, "output_dropout")
    logits = _connect_output(x, settings, embedding, next(seeds), policy)
    return keras.Model([tokens, *states], [logits, *new_states], name="language_model")


def _make_kernel_initializer(
    settings: ModelSettings, layer: int, seed: int
) -> keras.initializers.Initializer:
    """Glorot's uniform start; with tied embeddings, 8 times as wide in the first layer.

    The embedding starts as N(0, 1), so that different tokens drive the gates of the first layer
    differently from the first step. Keras' default, U(-0.05, 0.05), drives them by a thirtieth of
    that, and the embedding has to grow before anything else can be learned. As weights of the
    output layer, N(0, 1) would make logits that are far too large: tied embeddings start as
    N(0, 0.1^2), and the first kernel makes up for it. Measured in docs/results.md.
    """
    is_first_and_tied = layer == 1 and settings.tie_embeddings
    return keras.initializers.VarianceScaling(
        scale=8.0**2 if is_first_and_tied else 1.0,
        mode="fan_avg",
        distribution="uniform",
        seed=seed,
    )


def _drop(
    x: tf.Tensor, settings: ModelSettings, own_rate: float | None, seeds: Iterator[int], name: str
) -> tf.Tensor:
    """Dropout on x (B, T, D); variational dropout draws one mask (B, 1, D) for all steps."""
    rate = settings.dropout if own_rate is None else own_rate
    seed = next(seeds)
    if rate == 0.0:
        return x
    noise_shape = (None, 1, None) if settings.variational_dropout else None
    drop = keras.layers.Dropout(rate, noise_shape, seed=seed, name=name, dtype="float32")
    return drop(x)


def _normalize(
    x: tf.Tensor, settings: ModelSettings, policy: keras.DTypePolicy, name: str
) -> tf.Tensor:
    """x (B, T, H), normalized where the settings say so."""
    return LayerNorm(dtype=policy, name=name)(x) if settings.layer_norm else x


def _connect_output(
    x: tf.Tensor,
    settings: ModelSettings,
    embedding: Embedding,
    seed: int,
    policy: keras.DTypePolicy,
) -> tf.Tensor:
    """Logits of the hidden units x (B, T, H), from an output kernel or the embedding's weights."""

    def make_dense(units: int, name: str, use_bias: bool) -> keras.layers.Layer:
        initializer = keras.initializers.GlorotUniform(seed=seed)
        dense = keras.layers.Dense(
            units, use_bias=use_bias, kernel_initializer=initializer, dtype=policy, name="dense"
        )
        return TimeDistributedDense(dense, dtype=policy, name=name)

    if not settings.tie_embeddings:
        return make_dense(embedding.input_dim, "output", use_bias=True)(x)
    if settings.hidden_units != settings.embedding_dim:
        x = make_dense(settings.embedding_dim, "projection", use_bias=False)(x)
    return TiedOutput(embedding, dtype=policy, name="output")(x)


def start_from_frequencies(network: keras.Model, counts: np.ndarray) -> None:
    """Make a fresh network start as the unigram model of its training text.

        output bias of token v = log((counts[v] + 1) / sum(counts + 1))

    Otherwise the first hundreds of steps go into learning the frequencies, and meanwhile the rest
    of the network learns next to nothing. (Karpathy 2019, "A Recipe for Training
    Neural Networks": initialize the final layer's biases right.)

    Args:
        counts: how often each token occurs in the training text, (V,).
    """
    smoothed = counts.astype(np.float64) + 1.0
    log_frequencies = np.log(smoothed / smoothed.sum())
    list_parameters(network)["output.bias"].assign(log_frequencies.astype(np.float32))


def list_parameters(network: keras.Model) -> dict[str, keras.Variable]:
    """Every trainable variable of a network by its name, `layer.weight`, in the network's order."""
    return {
        f"{layer.name}.{variable.name}": variable
        for layer in network.layers
        for variable in layer.trainable_variables
    }


def read_parameters(network: keras.Model) -> dict[str, np.ndarray]:
    """A copy of every trainable weight by name, float32."""
    return {name: variable.numpy() for name, variable in list_parameters(network).items()}


def assign_parameters(network: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Fill a network with weights by name; names and shapes must be the network's own."""
    variables = list_parameters(network)
    assert variables.keys() == weights.keys(), "weights of another network"
    for name, variable in variables.items():
        variable.assign(weights[name])


def list_random_states(network: keras.Model) -> dict[str, keras.Variable]:
    """The random states that a training step advances (dropout, weight drop), by name."""
    return {
        f"{layer.name}.{number}": variable
        for layer in network.layers
        for number, variable in enumerate(layer.non_trainable_variables)
    }


def build_trained_network(
    settings: ModelSettings,
    vocab_size: int,
    weights: Mapping[str, np.ndarray],
    precision: str = "float32",
) -> keras.Model:
    """The network of `settings`, filled with `weights`; `precision` as of `build_network`."""
    assert {n: w.shape for n, w in weights.items()} == compute_parameter_shapes(
        settings, vocab_size
    )
    network = build_network(settings, vocab_size, seed=0, precision=precision)
    assign_parameters(network, weights)
    return network


def make_zero_states(settings: ModelSettings, lanes: int) -> list[tf.Tensor]:
    """The state before the first token: h and c of every layer, each (B, H) zeros."""
    return [tf.zeros((lanes, settings.hidden_units)) for _ in range(2 * settings.num_layers)]
