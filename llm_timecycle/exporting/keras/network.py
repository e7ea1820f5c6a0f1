"""The network in stock Keras layers, so that what is made of it loads without this package.

It computes what `model.network` computes when it does not train. Tied embeddings become a dense
layer whose kernel is a transposed copy of the embedding, as no stock layer shares weights with
another and adds a bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, is_residual
from llm_timecycle.exporting.source import Source

DEVICE = "CPU:0"
"""Where an export is compared: a GPU rounds the factors of products to 10 bits."""
Tensors = dict[str, keras.KerasTensor]


def build_stock_network(
    source: Source, *, is_one_step: bool = False, use_cudnn: str | bool = "auto"
) -> keras.Model:
    """The network with the run's weights; inputs and outputs are dictionaries.

        tokens (B, T) int32, h_1, c_1, ..., h_L, c_L (B, H)
            -> logits (B, T, V), new_h_1, new_c_1, ..., new_h_L, new_c_L

    Args:
        is_one_step: whether B and T are 1 and the LSTMs are unrolled, so that there is no loop.
        use_cudnn: as `keras.layers.LSTM` has it; False for a graph that runs without a GPU.
    """
    settings, H = source.model, source.model.hidden_units
    batch = 1 if is_one_step else None
    tokens = keras.Input(batch_shape=(batch, batch), dtype="int32", name="tokens")
    inputs: Tensors = {"tokens": tokens}
    outputs: Tensors = {}
    stream = keras.layers.Embedding(source.vocab_size, settings.embedding_dim, name="embedding")(
        tokens
    )
    for layer in range(1, settings.num_layers + 1):
        states = [
            keras.Input(batch_shape=(batch, H), name=f"{kind}_{layer}") for kind in ("h", "c")
        ]
        x = stream if layer == 1 else _normalize(source, stream, f"layer_norm_{layer}")
        h, *new_states = keras.layers.LSTM(
            H,
            return_sequences=True,
            return_state=True,
            unroll=is_one_step,
            use_cudnn=use_cudnn,
            name=f"lstm_{layer}",
        )(x, initial_state=states)
        inputs |= {state.name: state for state in states}
        outputs |= {f"new_{state.name}": new for state, new in zip(states, new_states, strict=True)}
        if is_residual(settings, layer):
            stream = keras.layers.Add(name=f"residual_{layer}")([stream, h])
        else:
            stream = h
    x = _normalize(source, stream, "layer_norm_output")
    if "projection.kernel" in source.weights:
        x = keras.layers.Dense(settings.embedding_dim, use_bias=False, name="projection")(x)
    logits = keras.layers.Dense(source.vocab_size, name="output")(x)
    network = keras.Model(inputs, {"logits": logits, **outputs}, name="language_model")
    _assign(network, source.weights)
    return network


def _normalize(source: Source, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """x through a layer normalization, where the settings say so."""
    if not source.model.layer_norm:
        return x
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name)(x)


def _assign(network: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Fill the network; its weights have the run's names."""
    for layer in network.layers:
        for variable in layer.weights:
            name = f"{layer.name}.{variable.name}"
            is_tied = name == "output.kernel" and name not in weights
            variable.assign(weights["embedding.embeddings"].T if is_tied else weights[name])
