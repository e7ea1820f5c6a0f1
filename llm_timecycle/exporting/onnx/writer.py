"""Writing and reading back `model.onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from llm_timecycle import __version__
from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.formats import Reader
from llm_timecycle.exporting.onnx.graph import IR_VERSION, OPSET, build_graph
from llm_timecycle.exporting.result import write_size
from llm_timecycle.exporting.source import Source

FILE = "model.onnx"
BYTES_AT_MOST = (1 << 31) - (1 << 20)
"""Of weights: a file of this format, a protocol buffer, holds less than 2 GiB."""


def write(source: Source, staging: Path, precision: str) -> None:
    """Put `model.onnx` into `staging`.

    Its metadata names the run and carries the SHA-256 of the tokenizer.

    Raises:
        UsageError: the model is larger than such a file can be.
    """
    size = sum(weight.nbytes for weight in source.weights.values())
    if size > BYTES_AT_MOST:
        raise UsageError(
            f"the weights of {source.run.name} take {write_size(size)}, and an ONNX file holds at "
            f"most {write_size(BYTES_AT_MOST)}: choose another format"
        )
    model = helper.make_model(
        build_graph(source.weights, source.model, source.vocab_size),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="llm_timecycle",
        producer_version=__version__,
    )
    helper.set_model_props(
        model,
        {
            "run": source.name,
            "tokenizer_sha256": source.tokenizer_sha256,
            "vocab_size": str(source.vocab_size),
        },
    )
    onnx.checker.check_model(model)
    (staging / FILE).write_bytes(model.SerializeToString())


def open_reader(directory: Path, source: Source) -> Reader:
    """`model.onnx` in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(directory / FILE, providers=["CPUExecutionProvider"])
    shape = (1, source.model.hidden_units)
    states = {each.name: np.zeros(shape, np.float32) for each in session.get_inputs()[1:]}

    def read(token: int) -> np.ndarray:
        logits, *new = session.run(None, {"tokens": np.array([[token]], np.int64), **states})
        states.update(zip(states, new, strict=True))
        last: np.ndarray = logits[0, -1]
        return last

    return read
