"""The network as an ONNX graph over time-major sequences.

    tokens (B, T) int64, h_1, c_1, ..., h_L, c_L (B, H)
        -> logits (B, T, V), new_h_1, new_c_1, ..., new_h_L, new_c_L

B ("batch") and T ("time") are free. Inside, a sequence is (T, B, D), as the operator LSTM reads it:
its other layout is one that onnxruntime lacks. An LSTM's gates are i, o, f, c there and i, f, c, o
in Keras; its bias is that of W followed by that of R, which is zero here.

Source: onnx.ai/onnx/operators, LSTM-14, Gather-13, LayerNormalization-17.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import LAYER_NORM_EPSILON, is_residual

OPSET = 17
"""The first with LayerNormalization."""
IR_VERSION = 8
"""That of the ONNX release that brought the opset."""


def reorder_gates(weight: np.ndarray) -> np.ndarray:
    """The last axis (4H) from Keras' i, f, c, o to i, o, f, c.

    >>> reorder_gates(np.array([1, 2, 3, 4])).tolist()
    [1, 4, 2, 3]
    """
    i, f, c, o = np.split(weight, 4, axis=-1)
    return np.concatenate([i, o, f, c], axis=-1)


class GraphBuilder:
    """Nodes and weights of a graph, collected; every `add` gives the name of the node's result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """A node with one output."""
        node = helper.make_node(operator, list(inputs), [output], name=f"{output}_node")
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return output

    def hold(self, name: str, value: np.ndarray) -> str:
        """A constant of the graph."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def build_graph(
    weights: Mapping[str, np.ndarray], settings: ModelSettings, vocab_size: int
) -> onnx.GraphProto:
    """The graph of a network with these weights; see the top of the file for its inputs."""
    graph, L, H = GraphBuilder(), settings.num_layers, settings.hidden_units
    graph.hold("layer_axis", np.array([0], np.int64))
    graph.hold("direction_axis", np.array([1], np.int64))
    embeddings = graph.hold("embedding.embeddings", weights["embedding.embeddings"])
    by_time = graph.add("Transpose", ["tokens"], "tokens_by_time", perm=[1, 0])
    stream = graph.add("Gather", [embeddings, by_time], "embedded", axis=0)
    for layer in range(1, L + 1):
        x = stream if layer == 1 else _normalize(graph, weights, stream, f"layer_norm_{layer}")
        h = _add_lstm(graph, weights, x, layer, H)
        if is_residual(settings, layer):
            stream = graph.add("Add", [stream, h], f"residual_{layer}")
        else:
            stream = h
    x = _normalize(graph, weights, stream, "layer_norm_output")
    x = graph.add("Transpose", [x], "by_batch", perm=[1, 0, 2])
    _add_output(graph, weights, x)
    return _close(graph, settings, vocab_size)


def _normalize(graph: GraphBuilder, weights: Mapping[str, np.ndarray], x: str, name: str) -> str:
    """x through the layer normalization of that name; x itself where there is none."""
    if f"{name}.gamma" not in weights:
        return x
    held = [graph.hold(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("gamma", "beta")]
    return graph.add("LayerNormalization", [x, *held], name, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _add_lstm(
    graph: GraphBuilder, weights: Mapping[str, np.ndarray], x: str, layer: int, H: int
) -> str:
    """The outputs (T, B, H) of a layer over x (T, B, D)."""
    name = f"lstm_{layer}"
    kernel, recurrent, bias = (
        reorder_gates(weights[f"{name}.{kind}"]) for kind in ("kernel", "recurrent_kernel", "bias")
    )
    W = graph.hold(f"{name}.W", kernel.T[np.newaxis])
    R = graph.hold(f"{name}.R", recurrent.T[np.newaxis])
    B = graph.hold(f"{name}.B", np.concatenate([bias, np.zeros_like(bias)])[np.newaxis])
    h0, c0 = (
        graph.add("Unsqueeze", [f"{kind}_{layer}", "layer_axis"], f"{name}_{kind}0")
        for kind in ("h", "c")
    )
    outputs = [f"{name}_{part}" for part in ("y", "h", "c")]
    graph.nodes.append(
        helper.make_node("LSTM", [x, W, R, B, "", h0, c0], outputs, name=name, hidden_size=H)
    )
    for kind, output in zip(("h", "c"), outputs[1:], strict=True):
        graph.add("Squeeze", [output, "layer_axis"], f"new_{kind}_{layer}")
    return graph.add("Squeeze", [outputs[0], "direction_axis"], f"{name}_outputs")


def _add_output(graph: GraphBuilder, weights: Mapping[str, np.ndarray], x: str) -> None:
    """The logits (B, T, V) of x (B, T, H), from a kernel or from the embedding's weights."""
    if "output.kernel" in weights:
        kernel = graph.hold("output.kernel", weights["output.kernel"])
    else:
        if "projection.kernel" in weights:
            projection = graph.hold("projection.kernel", weights["projection.kernel"])
            x = graph.add("MatMul", [x, projection], "projected")
        kernel = graph.add("Transpose", ["embedding.embeddings"], "output.kernel", perm=[1, 0])
    product = graph.add("MatMul", [x, kernel], "unbiased_logits")
    graph.add("Add", [product, graph.hold("output.bias", weights["output.bias"])], "logits")


def _close(graph: GraphBuilder, settings: ModelSettings, V: int) -> onnx.GraphProto:
    """The graph with its inputs and outputs."""
    H = settings.hidden_units

    def describe(name: str, *shape: str | int) -> onnx.ValueInfoProto:
        kind = TensorProto.INT64 if name == "tokens" else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    names = [f"{kind}_{n}" for n in range(1, settings.num_layers + 1) for kind in ("h", "c")]
    return helper.make_graph(
        graph.nodes,
        "language_model",
        [describe("tokens", "batch", "time"), *(describe(name, "batch", H) for name in names)],
        [
            describe("logits", "batch", "time", V),
            *(describe(f"new_{name}", "batch", H) for name in names),
        ],
        graph.initializers,
    )
