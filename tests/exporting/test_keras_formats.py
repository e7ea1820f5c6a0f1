"""What Keras and TensorFlow write, read by their own runtimes and compared with the reference."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from llm_timecycle.exporting import api
from llm_timecycle.exporting.keras import keras_file, litert, saved_model
from llm_timecycle.exporting.keras.network import build_stock_network
from llm_timecycle.exporting.source import Source, open_source
from tests.exporting.variants import (
    VARIANTS,
    assert_close,
    compute_expected,
    draw_inputs,
    make_run,
    make_source,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return make_source(tmp_path_factory.mktemp("runs") / "run", VARIANTS["everything"])


def name_states(source: Source) -> list[str]:
    return [f"{kind}_{n}" for n in range(1, source.model.num_layers + 1) for kind in ("h", "c")]


def call(function: object, source: Source, tokens: np.ndarray, states: list) -> list[np.ndarray]:
    """The logits and the new states that a network or a signature gives."""
    names = name_states(source)
    given = {
        "tokens": tf.constant(tokens, tf.int32),
        **{name: tf.constant(each) for name, each in zip(names, states, strict=True)},
    }
    is_signature = hasattr(function, "structured_input_signature")
    outputs = function(**given) if is_signature else function(given)  # type: ignore[operator]
    return [outputs[name].numpy() for name in ("logits", *(f"new_{name}" for name in names))]


@pytest.mark.parametrize("name", VARIANTS)
def test_stock_layers_compute_the_network(name: str, tmp_path: Path) -> None:
    source = make_source(tmp_path / "run", VARIANTS[name])
    tokens, states = draw_inputs(source, 3, 5)
    found = call(build_stock_network(source), source, tokens, states)
    assert_close(found, compute_expected(source, tokens, states))


def test_a_keras_file_loads_without_this_package(source: Source, tmp_path: Path) -> None:
    keras_file.write(source, tmp_path, "float32")
    with warnings.catch_warnings():  # of NumPy, about how Keras reads variables
        warnings.simplefilter("ignore", DeprecationWarning)
        model = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.partition(".")[0] for layer in model.layers} == {"keras"}
    tokens, states = draw_inputs(source, 2, 4)
    assert_close(call(model, source, tokens, states), compute_expected(source, tokens, states))


def test_the_reader_reads_the_file_and_not_the_run(source: Source, tmp_path: Path) -> None:
    """What is compared are the weights that were written."""
    changed = make_run(tmp_path / "run", source.model)
    weights = {name: weight + 0.01 for name, weight in changed.load_weights().items()}
    changed.save_weights(weights, {"step": 0})
    keras_file.write(open_source(changed.path), tmp_path, "float32")
    before = keras_file.open_reader(tmp_path, source)(1)
    keras_file.write(source, tmp_path, "float32")
    assert np.abs(keras_file.open_reader(tmp_path, source)(1) - before).max() > 1e-3


def test_a_saved_model_takes_and_gives_its_states_and_holds_each_weight_once(
    source: Source, tmp_path: Path
) -> None:
    saved_model.write(source, tmp_path, "float32")
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    step = loaded.signatures["serving_default"]
    tokens, states = draw_inputs(source, 3, 5)
    found = call(step, source, tokens, states)
    assert_close(found, compute_expected(source, tokens, states))
    again = call(step, source, tokens[:, :1], found[1:])
    assert_close(again, compute_expected(source, tokens[:, :1], found[1:]))

    stored = tf.train.list_variables(str(tmp_path / "saved_model/variables/variables"))
    numbers = sum(int(np.prod(shape)) for name, shape in stored if "OBJECT_GRAPH" not in name)
    once = sum(weight.size for weight in source.weights.values())
    copy_for_output = source.weights["embedding.embeddings"].size
    assert once + copy_for_output <= numbers <= once + copy_for_output + 20


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_litert_needs_built_in_operations_alone(
    source: Source, precision: str, tmp_path: Path
) -> None:
    litert.write(source, tmp_path, precision)
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    operations = {each["op_name"] for each in interpreter._get_ops_details()}
    assert "FULLY_CONNECTED" in operations
    assert not [name for name in operations if name.startswith("Flex") or name == "CUSTOM"]
    assert not operations & {"WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM"}

    read = litert.open_reader(tmp_path, source)
    tokens = np.array([[1, 5, 2, 2, 9]])
    zeros = [np.zeros((1, source.model.hidden_units), np.float32)] * len(name_states(source))
    expected = compute_expected(source, tokens, zeros)[0][0]
    found = np.stack([read(int(token)) for token in tokens[0]])
    if precision == "float32":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_int8_is_smaller_and_its_loss_is_told(tmp_path: Path) -> None:
    model = VARIANTS["one layer"].model_copy(update={"embedding_dim": 64, "hidden_units": 64})
    run = make_run(tmp_path / "run", model, scale=0.1)
    exact = api.export(run.path, "litert", output=tmp_path / "exact")
    rounded = api.export(run.path, "litert", output=tmp_path / "rounded", precision="int8")
    assert rounded.files["model.tflite"] < 0.5 * exact.files["model.tflite"]
    assert rounded.comparison is not None
    assert rounded.comparison.export_perplexity is not None
    assert "perplexity on a text that the run draws" in str(rounded)
    assert exact.comparison is not None
    assert exact.comparison.largest_difference < 1e-4 < rounded.comparison.largest_difference
