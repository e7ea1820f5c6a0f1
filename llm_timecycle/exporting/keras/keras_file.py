"""Writing `model.keras`, and reading it back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from llm_timecycle.exporting.formats import Reader
from llm_timecycle.exporting.keras.network import DEVICE, build_stock_network
from llm_timecycle.exporting.source import Source

FILE = "model.keras"


def write(source: Source, staging: Path, precision: str) -> None:
    """Put `model.keras` into `staging`."""
    network = build_stock_network(source)
    with _keep_quiet():
        network.save(staging / FILE)


def open_reader(directory: Path, source: Source) -> Reader:
    """The weights of `model.keras` in the network again.

    Keras would make code of a file that it loads whole. This program never asks it to, not even for
    a file that it has just written.
    """
    with tf.device(DEVICE):
        network = build_stock_network(source)
        for variable in network.variables:
            variable.assign(np.zeros(variable.shape))
        with _keep_quiet():
            network.load_weights(directory / FILE)
    zeros = np.zeros((1, source.model.hidden_units), np.float32)
    states = {name: zeros for name in network.input if name != "tokens"}

    def read(token: int) -> np.ndarray:
        with tf.device(DEVICE):
            given = {"tokens": np.array([[token]], np.int32), **states}
            outputs = network.predict_on_batch(given)
        states.update({name: outputs[f"new_{name}"] for name in states})
        logits: np.ndarray = outputs["logits"][0, -1]
        return logits

    return read


@contextmanager
def _keep_quiet() -> Iterator[None]:
    """Keras turns TensorFlow's variables into arrays in a way that NumPy 2 warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield
