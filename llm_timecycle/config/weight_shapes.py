"""The trainable parameters that the settings imply: their names, in order, and their shapes.

The names are those of `model.safetensors` and of `reference.network`; the gates of an LSTM
are in Keras' order: input, forget, cell, output.
"""

from __future__ import annotations

from math import prod

from llm_timecycle.config.settings import ModelSettings

LAYER_NORM_EPSILON = 1e-5
"""Added to the variance that a layer norm divides by; PyTorch's default."""


def compute_parameter_shapes(model: ModelSettings, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of the network over a vocabulary of `vocab_size` (V).

    >>> shapes = compute_parameter_shapes(ModelSettings(num_layers=1), vocab_size=10)
    >>> shapes["lstm_1.kernel"], shapes["output.kernel"]
    ((256, 2048), (512, 10))
    """
    V, E, H = vocab_size, model.embedding_dim, model.hidden_units
    norm = {"gamma": (H,), "beta": (H,)} if model.layer_norm else {}
    shapes: dict[str, tuple[int, ...]] = {"embedding.embeddings": (V, E)}
    for layer in range(1, model.num_layers + 1):
        if layer > 1:
            shapes |= {f"layer_norm_{layer}.{name}": shape for name, shape in norm.items()}
        shapes[f"lstm_{layer}.kernel"] = (E if layer == 1 else H, 4 * H)
        shapes[f"lstm_{layer}.recurrent_kernel"] = (H, 4 * H)
        shapes[f"lstm_{layer}.bias"] = (4 * H,)
    shapes |= {f"layer_norm_output.{name}": shape for name, shape in norm.items()}
    if model.tie_embeddings and E != H:
        shapes["projection.kernel"] = (H, E)
    if not model.tie_embeddings:
        shapes["output.kernel"] = (H, V)
    shapes["output.bias"] = (V,)
    return shapes


def is_residual(model: ModelSettings, layer: int) -> bool:
    """Whether the input of an LSTM layer, 1 to L, is added to its output.

    >>> model = ModelSettings(embedding_dim=256, hidden_units=512, residual=True)
    >>> is_residual(model, 1), is_residual(model, 2)
    (False, True)
    """
    return model.residual and (layer > 1 or model.embedding_dim == model.hidden_units)


def count_parameters(model: ModelSettings, vocab_size: int) -> int:
    """Weights of the network over a vocabulary of `vocab_size` (V).

    >>> count_parameters(ModelSettings(), vocab_size=10_000)
    11364112
    """
    return sum(map(prod, compute_parameter_shapes(model, vocab_size).values()))
