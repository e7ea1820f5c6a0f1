"""Writing and reading back `model.tflite`, for LiteRT (TensorFlow Lite)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from llm_timecycle.exporting.formats import Reader
from llm_timecycle.exporting.keras.network import build_stock_network
from llm_timecycle.exporting.keras.saved_model import SIGNATURE, save_signature
from llm_timecycle.exporting.source import Source

FILE = "model.tflite"


def write(source: Source, staging: Path, precision: str) -> None:
    """Put `model.tflite` into `staging`: one token of one text, with built-in operations alone.

    The LSTMs are unrolled, as a loop would need TensorFlow's own operations. With `int8`, matrices
    are stored in 8 bits; what they are multiplied by is rounded to 8 bits as it comes.
    """
    network = build_stock_network(source, is_one_step=True, use_cudnn=False)
    with tempfile.TemporaryDirectory() as directory:
        save_signature(network, Path(directory))
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        (staging / FILE).write_bytes(converter.convert())


def open_reader(directory: Path, source: Source) -> Reader:
    """`model.tflite` in the interpreter of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(directory / FILE))
    step = interpreter.get_signature_runner(SIGNATURE)
    states = {
        name: np.zeros(each["shape"], np.float32)
        for name, each in step.get_input_details().items()
        if name != "tokens"
    }

    def read(token: int) -> np.ndarray:
        outputs = step(tokens=np.array([[token]], np.int32), **states)
        states.update({name: outputs[f"new_{name}"] for name in states})
        logits: np.ndarray = outputs["logits"][0, -1]
        return logits

    return read
