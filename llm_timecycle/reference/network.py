"""The whole language model: Embedding -> L x LSTM -> Dense, forward, loss and backward.

    r_0 = m[tokens] Emb[tokens]                                  (B, T, E), m dropping words
    x_1 = r_0 * input_dropout                                    (B, T, E)
    h_l = LSTM_l(x_l)                                            (B, T, H)
    r_l = h_l, or r_{l-1} + h_l                                  (B, T, H), without or with residual
    x_{l+1} = norm_{l+1}(r_l) * layer_dropout_l                  (B, T, H), for l < L
    y = norm_output(r_L) * output_dropout                        (B, T, H)
    logits = y W + b                                             (B, T, V), weights of its own
    logits = (y P) Emb^T + b                                     (B, T, V), tied embeddings

Parameters are arrays by name, the names of `model.safetensors`:

    embedding.embeddings (V, E)
    lstm_1.kernel (E, 4H), lstm_1.recurrent_kernel (H, 4H), lstm_1.bias (4H,); lstm_2.kernel (H, 4H)
    output.kernel (H, V), output.bias (V,)
    tied: output.bias (V,), and projection.kernel P (H, E) where E differs from H
    layer_norm_2.gamma, layer_norm_2.beta (H,) to L, and layer_norm_output: all of them, or none,
        and then norm changes nothing

A residual connection needs one width on both sides: layer 1 has it only where E is H.

States are [h_1, c_1, ..., h_L, c_L], each (B, H), as the Keras network takes and gives them.

Masks are what dropout multiplies by, so that a test can hold them fixed; a kept value's mask is
1 / (1 - rate), a dropped one's is 0, in the parameters' number type. They go by the name of what
drops: input_dropout, layer_dropout_1 (between layers 1 and 2), output_dropout, each shaped like
what it multiplies or with 1 for an axis that shares a draw ((B, 1, H) is variational dropout),
lstm_1.recurrent_kernel (H, 4H) for weight drop, and embedding.embeddings (V, 1) for embedding
dropout, which leaves the embedding as the weights of a tied output alone. A name left out drops
nothing.

Sources: Goodfellow, Bengio and Courville 2016, "Deep Learning", sections 6.5 (backpropagation) and
12.4.2 (neural language models); Press and Wolf 2017, "Using the Output Embedding to Improve
Language Models", for tying; Gal and Ghahramani 2016, "A Theoretically Grounded Application of
Dropout in Recurrent Neural Networks", also for embedding dropout; Merity, Keskar and Socher 2018,
"Regularizing and Optimizing LSTM Language Models", for weight drop; He et al. 2016, "Deep Residual
Learning for Image Recognition"; Xiong et al. 2020, "On Layer Normalization in the Transformer
Architecture", for a norm before each layer and before the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llm_timecycle.reference.activation_penalty import (
    PenaltyWeights,
    differentiate_activation_penalty,
)
from llm_timecycle.reference.arrays import Array, Integers, check_shape
from llm_timecycle.reference.layer_norm import NormCache, normalize_backward, normalize_forward
from llm_timecycle.reference.losses import compute_cross_entropy, differentiate_cross_entropy
from llm_timecycle.reference.lstm import LSTMStep, LSTMWeights, run_backward, run_forward
from llm_timecycle.reference.network_inputs import check_inputs, check_parameters

Arrays = Mapping[str, Array]
NO_MASKS: Arrays = {}
NO_PENALTY = PenaltyWeights()


class NetworkCache(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    tokens: Integers
    steps: list[list[LSTMStep]]
    """The steps of every layer."""
    norms: dict[str, NormCache]
    """What every layer normalization left, by its name."""
    h: Array
    """What the last LSTM layer gives (B, T, H)."""
    y: Array
    """What goes into the output layer, before any projection (B, T, H)."""
    keep: Array | None = None
    """Where the state was kept (B, T)."""
    residual: bool = False


def forward(
    params: Arrays,
    tokens: Integers,
    states: Sequence[Array],
    masks: Arrays = NO_MASKS,
    keep: Array | None = None,
    *,
    residual: bool = False,
) -> tuple[Array, list[Array], NetworkCache]:
    """Logits for the token after each token, with the state carried in and out.

    Args:
        params: the parameters, by name.
        tokens: integers (B, T), each 0 to V - 1.
        states: [h_1, c_1, ..., h_L, c_L], each (B, H); see `make_zero_states`.
        masks: what dropout multiplies by, by name; none by default.
        keep: (B, T), 0 where a token is read from a state of zeros and 1 elsewhere; None keeps the
            state everywhere.
        residual: whether the input of a layer is added to its output where the widths agree.

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
    L = check_parameters(params)
    check_inputs(params, L, tokens, states, masks)
    stream = _drop_words(params["embedding.embeddings"][tokens], tokens, masks)
    x = _drop(stream, masks, "input_dropout")
    new_states: list[Array] = []
    steps: list[list[LSTMStep]] = []
    norms: dict[str, NormCache] = {}
    h = stream
    for layer in range(1, L + 1):
        if layer > 1:
            x = _normalize(params, stream, f"layer_norm_{layer}", norms)
            x = _drop(x, masks, f"layer_dropout_{layer - 1}")
        weights = _get_lstm_weights(params, layer, masks)
        h0, c0 = states[2 * layer - 2 : 2 * layer]
        h, h_last, c_last, layer_steps = run_forward(x, h0, c0, weights, keep)
        stream = stream + h if residual and stream.shape == h.shape else h
        new_states += [h_last, c_last]
        steps.append(layer_steps)
    y = _drop(_normalize(params, stream, "layer_norm_output", norms), masks, "output_dropout")
    logits = _project(params, y) @ _get_output_kernel(params) + params["output.bias"]
    return logits, new_states, NetworkCache(tokens, steps, norms, h, y, keep, residual)


def backward(
    params: Arrays,
    cache: NetworkCache,
    dlogits: Array,
    masks: Arrays = NO_MASKS,
    dy: Array | None = None,
    dh: Array | None = None,
) -> dict[str, Array]:
    """The gradient of the loss for every parameter, from its gradient for the logits.

    The states that came in count as constants, as in truncated backpropagation through time.

    Args:
        params, masks: those of `forward`. cache: what it left.
        dlogits: dL/dlogits (B, T, V).
        dy, dh: what more the loss depends on y and on the last layer's h, each (B, T, H); None is
            nothing.

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
    d_stream: np.ndarray = dlogits @ _get_output_kernel(params).T
    if "output.kernel" in params:
        gradients["output.kernel"] = d_kernel
    else:
        d_embeddings += d_kernel.T
    if "projection.kernel" in params:
        gradients["projection.kernel"] = np.tensordot(cache.y, d_stream, axes=([0, 1], [0, 1]))
        d_stream = d_stream @ params["projection.kernel"].T
    if dy is not None:
        d_stream = d_stream + dy
    d_stream = _drop(d_stream, masks, "output_dropout")
    d_stream = _denormalize(params, d_stream, "layer_norm_output", cache.norms, gradients)
    L = len(cache.steps)
    for layer in range(L, 0, -1):
        d_layer = d_stream if dh is None or layer < L else d_stream + dh
        weights = _get_lstm_weights(params, layer, masks)
        zeros = np.zeros_like(d_layer[:, 0])
        through = run_backward(d_layer, zeros, zeros, cache.steps[layer - 1], weights, cache.keep)
        recurrent_name = f"lstm_{layer}.recurrent_kernel"
        gradients[f"lstm_{layer}.kernel"] = through.kernel
        gradients[recurrent_name] = _drop(through.recurrent_kernel, masks, recurrent_name)
        gradients[f"lstm_{layer}.bias"] = through.bias
        dx = _drop(through.x, masks, f"layer_dropout_{layer - 1}" if layer > 1 else "input_dropout")
        if layer > 1:
            dx = _denormalize(params, dx, f"layer_norm_{layer}", cache.norms, gradients)
        d_stream = d_stream + dx if cache.residual and d_stream.shape == dx.shape else dx
    np.add.at(d_embeddings, cache.tokens, _drop_words(d_stream, cache.tokens, masks))
    gradients["embedding.embeddings"] = d_embeddings
    return {name: gradients[name] for name in params}


def loss_and_gradients(
    params: Arrays,
    tokens: Integers,
    targets: Integers,
    states: Sequence[Array],
    masks: Arrays = NO_MASKS,
    keep: Array | None = None,
    *,
    residual: bool = False,
    penalty: PenaltyWeights = NO_PENALTY,
) -> tuple[float, dict[str, Array], list[Array]]:
    """The mean cross-entropy over all B x T targets, and its gradient for every parameter.

    Args:
        params, tokens, states, masks, keep, residual: those of `forward`.
        targets: the token that comes after each token, integers (B, T).
        penalty: of `activation_penalty`: it is in the gradient, not in the loss.

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
    logits, new_states, cache = forward(params, tokens, states, masks, keep, residual=residual)
    loss = compute_cross_entropy(logits, targets)
    dlogits = differentiate_cross_entropy(logits, targets)
    dy, dh = differentiate_activation_penalty(cache.y, cache.h, penalty, keep)
    return loss, backward(params, cache, dlogits, masks, dy, dh), new_states


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
    L = check_parameters(params)
    recurrent_kernels = [params[f"lstm_{layer}.recurrent_kernel"] for layer in range(1, L + 1)]
    return [np.zeros((batch_size, len(U)), U.dtype) for U in recurrent_kernels for _ in ("h", "c")]


def _drop(x: Array, masks: Arrays, name: str) -> Array:
    """x times the mask of that name; x itself where there is none."""
    if name not in masks:
        return x
    dropped = x * masks[name]
    check_shape(f"masks {name}, applied", dropped, x.shape)
    return dropped


def _drop_words(x: Array, tokens: Integers, masks: Arrays) -> Array:
    """x (B, T, E) times the mask of the token at each place."""
    kept = masks.get("embedding.embeddings")
    return x if kept is None else np.asarray(x * kept[tokens])


def _normalize(params: Arrays, x: Array, name: str, norms: dict[str, NormCache]) -> Array:
    """x through the layer normalization of that name; x itself where there is none."""
    if f"{name}.gamma" not in params:
        return x
    y, norms[name] = normalize_forward(x, params[f"{name}.gamma"], params[f"{name}.beta"])
    return y


def _denormalize(
    params: Arrays,
    dy: Array,
    name: str,
    norms: Mapping[str, NormCache],
    gradients: dict[str, Array],
) -> Array:
    """The gradient before the layer normalization of that name; those of its weights are added."""
    if name not in norms:
        return dy
    through = normalize_backward(dy, params[f"{name}.gamma"], norms[name])
    gradients[f"{name}.gamma"], gradients[f"{name}.beta"] = through.gamma, through.beta
    return through.x


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
