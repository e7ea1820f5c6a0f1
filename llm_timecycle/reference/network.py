"""The whole language model: Embedding -> L x LSTM -> Dense, forward, loss and backward.

    x_1 = Emb[tokens] * input_dropout                            (B, T, E)
    h_l = LSTM_l(x_l)                                            (B, T, H)
    x_{l+1} = h_l * layer_dropout_l                              (B, T, H), for l < L
    y = h_L * output_dropout                                     (B, T, H)
    logits = y W + b                                             (B, T, V), weights of its own
    logits = (y P) Emb^T + b                                     (B, T, V), tied embeddings

Parameters are arrays by name, the names of `model.safetensors`:

    embedding.embeddings (V, E)
    lstm_1.kernel (E, 4H), lstm_1.recurrent_kernel (H, 4H), lstm_1.bias (4H,); lstm_2.kernel (H, 4H)
    output.kernel (H, V), output.bias (V,)
    tied: output.bias (V,), and projection.kernel P (H, E) where E differs from H

States are [h_1, c_1, ..., h_L, c_L], each (B, H), as the Keras network takes and gives them.

Masks are what dropout multiplies by, so that a test can hold them fixed; a kept value's mask is
1 / (1 - rate), a dropped one's is 0, in the parameters' number type. They go by the name of what
drops: input_dropout, layer_dropout_1 (between layers 1 and 2), output_dropout, each shaped like
what it multiplies or with 1 for an axis that shares a draw ((B, 1, H) is variational dropout), and
lstm_1.recurrent_kernel (H, 4H) for weight drop. A name left out drops nothing.

Sources: Goodfellow, Bengio and Courville 2016, "Deep Learning", sections 6.5 (backpropagation) and
12.4.2 (neural language models); Press and Wolf 2017, "Using the Output Embedding to Improve
Language Models", for tying; Gal and Ghahramani 2016, "A Theoretically Grounded Application of
Dropout in Recurrent Neural Networks"; Merity, Keskar and Socher 2018, "Regularizing and Optimizing
LSTM Language Models", for weight drop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import (
    Array,
    Integers,
    check_names_and_shapes,
    check_shape,
    check_tokens,
)
from llm_timecycle.reference.losses import compute_cross_entropy, differentiate_cross_entropy
from llm_timecycle.reference.lstm import LSTMStep, LSTMWeights, run_backward, run_forward

Arrays = Mapping[str, Array]
NO_MASKS: Arrays = {}


class NetworkCache(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    tokens: Integers
    steps: list[list[LSTMStep]]
    """The steps of every layer."""
    y: Array
    """What goes into the output layer, before any projection (B, T, H)."""
    keep: Array | None = None
    """Where the state was kept (B, T)."""


def forward(
    params: Arrays,
    tokens: Integers,
    states: Sequence[Array],
    masks: Arrays = NO_MASKS,
    keep: Array | None = None,
) -> tuple[Array, list[Array], NetworkCache]:
    """Logits for the token after each token, with the state carried in and out.

    Args:
        params: the parameters, by name.
        tokens: integers (B, T), each 0 to V - 1.
        states: [h_1, c_1, ..., h_L, c_L], each (B, H); see `make_zero_states`.
        masks: what dropout multiplies by, by name; none by default.
        keep: (B, T), 0 where a token is read from a state of zeros and 1 elsewhere; None keeps the
            state everywhere.

    Returns:
        Logits (B, T, V), the states after the last token, and the cache for `backward`.

    Raises:
        UsageError: a name, a shape or a token does not fit the network.

    >>> V, E, H = 5, 2, 3
    >>> params = {
    ...     "embedding.embeddings": np.ones((V, E)),
    ...     "lstm_1.kernel": np.zeros((E, 4 * H)),
    ...     "lstm_1.recurrent_kernel": np.zeros((H, 4 * H)),
    ...     "lstm_1.bias": np.zeros(4 * H),
    ...     "output.kernel": np.ones((H, V)),
    ...     "output.bias": np.arange(V) / 10,
    ... }
    >>> tokens = np.array([[0, 4, 1, 1]])
    >>> logits, states, _ = forward(params, tokens, make_zero_states(params, batch_size=1))
    >>> logits.shape, logits[0, -1].tolist()  # an LSTM of zeros says 0; the bias is left
    ((1, 4, 5), [0.0, 0.1, 0.2, 0.3, 0.4])
    """
    L = _check_parameters(params)
    _check_inputs(params, L, tokens, states, masks)
    x = _drop(params["embedding.embeddings"][tokens], masks, "input_dropout")
    new_states, steps = [], []
    for layer in range(1, L + 1):
        weights = _get_lstm_weights(params, layer, masks)
        h0, c0 = states[2 * layer - 2 : 2 * layer]
        x, h, c, layer_steps = run_forward(x, h0, c0, weights, keep)
        new_states += [h, c]
        steps.append(layer_steps)
        x = _drop(x, masks, f"layer_dropout_{layer}" if layer < L else "output_dropout")
    logits = _project(params, x) @ _get_output_kernel(params) + params["output.bias"]
    return logits, new_states, NetworkCache(tokens, steps, x, keep)


def backward(
    params: Arrays, cache: NetworkCache, dlogits: Array, masks: Arrays = NO_MASKS
) -> dict[str, Array]:
    """The gradient of the loss for every parameter, from its gradient for the logits.

    The states that came in count as constants, as in truncated backpropagation through time.

    Args:
        params, masks: those of `forward`. cache: what it left.
        dlogits: dL/dlogits (B, T, V).

    Returns:
        Gradients by name, in the shapes of the parameters.

    Raises:
        UsageError: `dlogits` has another shape than the logits.

    >>> params = {
    ...     "embedding.embeddings": np.ones((4, 2)),
    ...     "lstm_1.kernel": np.zeros((2, 8)),
    ...     "lstm_1.recurrent_kernel": np.zeros((2, 8)),
    ...     "lstm_1.bias": np.zeros(8),
    ...     "output.bias": np.zeros(4),
    ... }
    >>> _, _, cache = forward(params, np.array([[0, 3]]), make_zero_states(params, batch_size=1))
    >>> gradients = backward(params, cache, np.ones((1, 2, 4)))
    >>> gradients["output.bias"].tolist()  # each logit has the bias in it once a step
    [2.0, 2.0, 2.0, 2.0]
    """
    check_shape("dlogits", dlogits, (*cache.tokens.shape, len(params["output.bias"])))
    gradients: dict[str, Array] = {"output.bias": dlogits.sum(axis=(0, 1))}
    d_embeddings = np.zeros_like(params["embedding.embeddings"])
    y = _project(params, cache.y)
    d_kernel = np.tensordot(y, dlogits, axes=([0, 1], [0, 1]))
    dy: np.ndarray = dlogits @ _get_output_kernel(params).T
    if "output.kernel" in params:
        gradients["output.kernel"] = d_kernel
    else:
        d_embeddings += d_kernel.T
    if "projection.kernel" in params:
        gradients["projection.kernel"] = np.tensordot(cache.y, dy, axes=([0, 1], [0, 1]))
        dy = dy @ params["projection.kernel"].T
    L = len(cache.steps)
    for layer in range(L, 0, -1):
        dy = _drop(dy, masks, f"layer_dropout_{layer}" if layer < L else "output_dropout")
        weights = _get_lstm_weights(params, layer, masks)
        zeros = np.zeros_like(dy[:, 0])
        through = run_backward(dy, zeros, zeros, cache.steps[layer - 1], weights, cache.keep)
        recurrent_name = f"lstm_{layer}.recurrent_kernel"
        gradients[f"lstm_{layer}.kernel"] = through.kernel
        gradients[recurrent_name] = _drop(through.recurrent_kernel, masks, recurrent_name)
        gradients[f"lstm_{layer}.bias"] = through.bias
        dy = through.x
    np.add.at(d_embeddings, cache.tokens, _drop(dy, masks, "input_dropout"))
    gradients["embedding.embeddings"] = d_embeddings
    return {name: gradients[name] for name in params}


def loss_and_gradients(
    params: Arrays,
    tokens: Integers,
    targets: Integers,
    states: Sequence[Array],
    masks: Arrays = NO_MASKS,
    keep: Array | None = None,
) -> tuple[float, dict[str, Array], list[Array]]:
    """The mean cross-entropy over all B x T targets, and its gradient for every parameter.

    Args:
        params, tokens, states, masks, keep: those of `forward`.
        targets: the token that comes after each token, integers (B, T).

    Returns:
        The loss in nats a token, the gradients by name, and the states after the last token.

    Raises:
        UsageError: a name, a shape or a token does not fit the network.

    >>> params = {
    ...     "embedding.embeddings": np.ones((4, 2)),
    ...     "lstm_1.kernel": np.zeros((2, 8)),
    ...     "lstm_1.recurrent_kernel": np.zeros((2, 8)),
    ...     "lstm_1.bias": np.zeros(8),
    ...     "output.bias": np.zeros(4),
    ... }
    >>> tokens, targets = np.array([[0, 1]]), np.array([[1, 2]])
    >>> states = make_zero_states(params, batch_size=1)
    >>> loss, gradients, _ = loss_and_gradients(params, tokens, targets, states)
    >>> round(loss, 6), gradients["output.bias"].tolist()  # log 4, as nothing is known yet
    (1.386294, [0.25, -0.25, -0.25, 0.25])
    """
    logits, new_states, cache = forward(params, tokens, states, masks, keep)
    loss = compute_cross_entropy(logits, targets)
    dlogits = differentiate_cross_entropy(logits, targets)
    return loss, backward(params, cache, dlogits, masks), new_states


def make_zero_states(params: Arrays, batch_size: int) -> list[Array]:
    """The states before the first token: h and c of every layer, each (B, H) zeros.

    >>> params = {
    ...     "embedding.embeddings": np.ones((4, 2)),
    ...     "lstm_1.kernel": np.zeros((2, 8)),
    ...     "lstm_1.recurrent_kernel": np.zeros((2, 8)),
    ...     "lstm_1.bias": np.zeros(8),
    ...     "output.bias": np.zeros(4),
    ... }
    >>> [state.shape for state in make_zero_states(params, batch_size=3)]
    [(3, 2), (3, 2)]
    """
    L = _check_parameters(params)
    recurrent_kernels = [params[f"lstm_{layer}.recurrent_kernel"] for layer in range(1, L + 1)]
    return [np.zeros((batch_size, len(U)), U.dtype) for U in recurrent_kernels for _ in ("h", "c")]


def _check_parameters(params: Arrays) -> int:
    """Refuse parameters that do not make a network; the number of its layers (L) if they do."""
    for name in ("embedding.embeddings", "lstm_1.recurrent_kernel"):
        if name not in params or params[name].ndim != 2:
            raise UsageError(f"params: expected a matrix {name}. Give every weight by its name.")
    V, E = params["embedding.embeddings"].shape
    H = len(params["lstm_1.recurrent_kernel"])
    L = sum(name.startswith("lstm_") and name.endswith(".recurrent_kernel") for name in params)
    shapes: dict[str, tuple[int, ...]] = {"embedding.embeddings": (V, E), "output.bias": (V,)}
    for layer in range(1, L + 1):
        shapes[f"lstm_{layer}.kernel"] = (E if layer == 1 else H, 4 * H)
        shapes[f"lstm_{layer}.recurrent_kernel"] = (H, 4 * H)
        shapes[f"lstm_{layer}.bias"] = (4 * H,)
    if "output.kernel" in params:
        shapes["output.kernel"] = (H, V)
    elif E != H:
        shapes["projection.kernel"] = (H, E)
    check_names_and_shapes("params", params, shapes)
    return L


def _check_inputs(
    params: Arrays, L: int, tokens: Integers, states: Sequence[Array], masks: Arrays
) -> None:
    """Refuse tokens, states and masks that do not fit a network of L layers."""
    if tokens.ndim != 2:
        raise UsageError(f"tokens: expected shape (B, T), received {tokens.shape}. Add an axis.")
    check_tokens("tokens", tokens, len(params["embedding.embeddings"]))
    if len(states) != 2 * L:
        raise UsageError(
            f"states: expected h and c of {L} layers, {2 * L} arrays, received {len(states)}. "
            "Start from make_zero_states."
        )
    H = len(params["lstm_1.recurrent_kernel"])
    for number, state in enumerate(states):
        check_shape(f"states[{number}]", state, (len(tokens), H))
    known = {"input_dropout", "output_dropout"}
    known |= {f"layer_dropout_{layer}" for layer in range(1, L)}
    known |= {f"lstm_{layer}.recurrent_kernel" for layer in range(1, L + 1)}
    if unknown := sorted(masks.keys() - known):
        raise UsageError(
            f"masks: expected names among {sorted(known)}, received {unknown}. Remove them."
        )


def _drop(x: Array, masks: Arrays, name: str) -> Array:
    """x times the mask of that name; x itself where there is none."""
    if name not in masks:
        return x
    dropped = x * masks[name]
    check_shape(f"masks {name}, applied", dropped, x.shape)
    return dropped


def _get_lstm_weights(params: Arrays, layer: int, masks: Arrays) -> LSTMWeights:
    """The weights of a layer (1 to L), its recurrent ones with their mask applied."""
    name = f"lstm_{layer}.recurrent_kernel"
    U = _drop(params[name], masks, name)
    return LSTMWeights(params[f"lstm_{layer}.kernel"], U, params[f"lstm_{layer}.bias"])


def _project(params: Arrays, y: Array) -> Array:
    """y (B, T, H) as the output layer takes it: times P (B, T, E) where there is a projection."""
    return y @ params["projection.kernel"] if "projection.kernel" in params else y


def _get_output_kernel(params: Arrays) -> Array:
    """W (H, V), or with tied embeddings Emb^T (E, V)."""
    if "output.kernel" in params:
        return params["output.kernel"]
    return np.transpose(params["embedding.embeddings"])
