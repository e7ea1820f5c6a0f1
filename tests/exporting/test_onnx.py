"""`model.onnx`, read by onnxruntime and compared with the NumPy reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.onnx import writer
from tests.exporting.variants import (
    VARIANTS,
    assert_close,
    compute_expected,
    draw_inputs,
    make_run,
    make_source,
)


@pytest.mark.parametrize("name", VARIANTS)
def test_it_gives_the_logits_and_states_of_the_network(name: str, tmp_path: Path) -> None:
    source = make_source(tmp_path / "run", VARIANTS[name])
    writer.write(source, tmp_path, "float32")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [each.name for each in session.get_inputs()]
    for B, T in ((1, 1), (3, 5)):
        tokens, states = draw_inputs(source, B, T)
        found = session.run(None, dict(zip(names, [tokens, *states], strict=True)))
        assert_close(found, compute_expected(source, tokens, states))
        again = session.run(None, dict(zip(names, [tokens, *found[1:]], strict=True)))
        assert_close(again, compute_expected(source, tokens, found[1:]))


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    source = make_source(tmp_path / "run", VARIANTS["one layer"])
    writer.write(source, tmp_path, "float32")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts["tokenizer_sha256"] == source.tokenizer_sha256
    assert facts["run"] == "run"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [(each.name, each.shape) for each in session.get_inputs()] == [
        ("tokens", ["batch", "time"]),
        ("h_1", ["batch", 6]),
        ("c_1", ["batch", 6]),
    ]
    assert [each.name for each in session.get_outputs()] == ["logits", "new_h_1", "new_c_1"]
    assert session.get_outputs()[0].shape == ["batch", "time", source.vocab_size]


def test_tied_weights_are_in_the_file_once(tmp_path: Path) -> None:
    source = make_source(tmp_path / "run", VARIANTS["tied"])
    writer.write(source, tmp_path, "float32")
    model = onnx.load(tmp_path / "model.onnx")
    held = sum(np.prod(each.dims) for each in model.graph.initializer if each.data_type == 1)
    biases = 2 * 4 * 6  # those of the recurrent kernels, which are zero
    assert held == sum(each.size for each in source.weights.values()) + biases


def test_a_model_that_no_file_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BYTES_AT_MOST", 1000)
    source = make_source(tmp_path / "run", VARIANTS["one layer"])
    with pytest.raises(UsageError, match=r"take 1\.98 kB, and an ONNX file holds at most 1 kB"):
        writer.write(source, tmp_path, "float32")


def test_tensorflow_is_not_needed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run").path
    arguments = ["export", str(run), "--to", "onnx", "--output", str(tmp_path / "out")]
    code = (
        "import sys; from llm_timecycle.cli.main import main\n"
        "try: main()\n"
        "finally: assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert (tmp_path / "out/model.onnx").exists()
