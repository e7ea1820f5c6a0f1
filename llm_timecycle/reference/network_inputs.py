"""What `reference.network` refuses: parameters, tokens, states and masks that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.arrays import (
    Array,
    Integers,
    check_names_and_shapes,
    check_shape,
    check_tokens,
)

Arrays = Mapping[str, Array]


def check_parameters(params: Arrays) -> int:
    """The number of LSTM layers (L) of the network that the parameters make.

    Raises:
        UsageError: they make none: a name is missing or unknown, or a shape differs.

    >>> import numpy as np
    >>> params = {
    ...     "embedding.embeddings": np.ones((4, 2)),
    ...     "lstm_1.kernel": np.zeros((2, 8)),
    ...     "lstm_1.recurrent_kernel": np.zeros((2, 8)),
    ...     "lstm_1.bias": np.zeros(8),
    ...     "output.bias": np.zeros(4),
    ... }
    >>> check_parameters(params)
    1
    """
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
    if any(name.startswith("layer_norm_") for name in params):
        norms = [*(f"layer_norm_{layer}" for layer in range(2, L + 1)), "layer_norm_output"]
        shapes |= {f"{norm}.{weight}": (H,) for norm in norms for weight in ("gamma", "beta")}
    if "output.kernel" in params:
        shapes["output.kernel"] = (H, V)
    elif E != H:
        shapes["projection.kernel"] = (H, E)
    check_names_and_shapes("params", params, shapes)
    return L


def check_inputs(
    params: Arrays, L: int, tokens: Integers, states: Sequence[Array], masks: Arrays
) -> None:
    """Refuse tokens, states and masks that do not fit a network of L layers.

    Raises:
        UsageError: names the first that does not fit.

    >>> import numpy as np
    >>> params = {
    ...     "embedding.embeddings": np.ones((4, 2)),
    ...     "lstm_1.recurrent_kernel": np.zeros((3, 12)),
    ... }
    >>> check_inputs(params, 1, np.array([[3, 0]]), [np.zeros((1, 3)), np.zeros((1, 3))], {})
    """
    if tokens.ndim != 2:
        raise UsageError(f"tokens: expected shape (B, T), received {tokens.shape}. Add an axis.")
    V = len(params["embedding.embeddings"])
    check_tokens("tokens", tokens, V)
    if len(states) != 2 * L:
        raise UsageError(
            f"states: expected h and c of {L} layers, {2 * L} arrays, received {len(states)}. "
            "Start from make_zero_states."
        )
    H = len(params["lstm_1.recurrent_kernel"])
    for number, state in enumerate(states):
        check_shape(f"states[{number}]", state, (len(tokens), H))
    known = {"embedding.embeddings", "input_dropout", "output_dropout"}
    known |= {f"layer_dropout_{layer}" for layer in range(1, L)}
    known |= {f"lstm_{layer}.recurrent_kernel" for layer in range(1, L + 1)}
    if unknown := sorted(masks.keys() - known):
        raise UsageError(
            f"masks: expected names among {sorted(known)}, received {unknown}. Remove them."
        )
    if "embedding.embeddings" in masks:
        check_shape("masks embedding.embeddings", masks["embedding.embeddings"], (V, 1))
