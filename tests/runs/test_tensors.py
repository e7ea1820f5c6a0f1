"""The one reader and writer of safetensors files."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file, save, save_file

from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.tensors import read_tensors
from tests.runs.conftest import make_weights


def test_truncated_weights_are_refused(run: Run) -> None:
    run.save_weights(make_weights(1.0), {})
    run.weights_path.write_bytes(run.weights_path.read_bytes()[:-4])
    with pytest.raises(
        RunError, match=r"damaged or not a safetensors file.*Restore it from a copy"
    ):
        run.load_weights()


def test_a_header_that_claims_an_absurd_size_is_refused_before_memory_is_taken(run: Run) -> None:
    header = json.dumps(
        {"output.bias": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    run.weights_path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(RunError, match="damaged or not a safetensors file"):
        run.load_weights()


DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    st.dictionaries(
        st.text("ab.é", min_size=1, max_size=4),
        arrays(DTYPES, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    )
)
def test_what_is_saved_is_read_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.getbasetemp() / "some.safetensors"
    path.write_bytes(save(tensors))
    read = read_tensors(path, {name: a.shape for name, a in tensors.items()}, advice="-")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert read[name].tobytes() == tensor.tobytes()
    loaded = load_file(path)
    assert {name: a.tobytes() for name, a in loaded.items()} == {
        name: a.tobytes() for name, a in tensors.items()
    }


def test_tensors_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    save_file({"a": np.ones(3)}, tmp_path / "file")
    tensor = read_tensors(tmp_path / "file", {"a": (3,)}, advice="-")["a"]
    assert not tensor.flags.writeable
    assert not tensor.flags.owndata


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ({"a": (3,), "b": (1,)}, None, "lacks the tensors b"),
        ({}, None, "do not expect: a"),
        ({"a": (4,)}, None, r"a should be F64 \(4,\), found F64 \(3,\)"),
        ({"a": (3,)}, "F32", r"a should be F32 \(3,\), found F64 \(3,\)"),
    ],
)
def test_every_difference_ends_with_the_advice(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], dtype: str | None, message: str
) -> None:
    save_file({"a": np.ones(3)}, tmp_path / "file")
    with pytest.raises(RunError, match=f"{message}.*\\. Do this$"):
        read_tensors(tmp_path / "file", shapes, dtype=dtype, advice="Do this")


def test_a_missing_file_is_a_damaged_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none is damaged or not a safetensors file"):
        read_tensors(tmp_path / "none", {}, advice="-")
