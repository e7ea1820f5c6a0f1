"""Writing and reading back a TensorFlow SavedModel."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.exporting.formats import Reader
from llm_timecycle.exporting.keras.network import DEVICE, build_stock_network
from llm_timecycle.exporting.source import Source

FOLDER = "saved_model"
SIGNATURE = "serving_default"


def write(source: Source, staging: Path, precision: str) -> None:
    """Put the directory `saved_model` into `staging`; it has one signature, `serving_default`."""
    save_signature(build_stock_network(source, use_cudnn=False), staging / FOLDER)


def save_signature(network: keras.Model, directory: Path) -> None:
    """Save a network whose inputs and outputs are dictionaries.

    `Model.export` would store every weight twice.
    """
    specs = {
        name: tf.TensorSpec(each.shape, each.dtype, name) for name, each in network.input.items()
    }
    module = tf.Module()
    module.held = [variable.value for variable in network.variables]
    module.serve = tf.function(
        lambda inputs: network(inputs, training=False), input_signature=[specs], autograph=False
    )
    concrete = module.serve.get_concrete_function()
    tf.saved_model.save(module, str(directory), signatures={SIGNATURE: concrete})


def open_reader(directory: Path, source: Source) -> Reader:
    """The signature, called token by token."""
    with tf.device(DEVICE):
        loaded = tf.saved_model.load(str(directory / FOLDER))
    step = loaded.signatures[SIGNATURE]
    names = [name for name in step.structured_input_signature[1] if name != "tokens"]
    states = {name: tf.zeros((1, source.model.hidden_units)) for name in names}

    def read(token: int) -> np.ndarray:
        assert loaded  # the signature alone would lose its weights
        with tf.device(DEVICE):
            outputs = step(tokens=tf.constant([[token]]), **states)
        states.update({name: outputs[f"new_{name}"] for name in names})
        logits: np.ndarray = outputs["logits"].numpy()[0, -1]
        return logits

    return read
