"""The one reader and writer of safetensors files."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load, load_file, save

from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import replace_file
from llm_timecycle.runs.tensors import read_tensors


def test_a_header_that_claims_an_absurd_size_is_refused_before_memory_is_taken(run: Run) -> None:
    header = json.dumps(
        {"output.bias": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    content = len(header).to_bytes(8, "little") + header
    replace_file(run.path, "model.safetensors", content, {})
    with pytest.raises(RunError, match="damaged or not a safetensors file"):
        run.load_weights()


DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"])


@hypothesis.settings(max_examples=30)
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
    shapes = {name: a.shape for name, a in tensors.items()}
    read = read_tensors(path.read_bytes(), shapes, name="-", advice="-")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert read[name].tobytes() == tensor.tobytes()
    loaded = load_file(path)
    assert {name: a.tobytes() for name, a in loaded.items()} == {
        name: a.tobytes() for name, a in tensors.items()
    }


def test_tensors_are_views_and_cannot_be_written() -> None:
    tensor = read_tensors(save({"a": np.ones(3)}), {"a": (3,)}, name="-", advice="-")["a"]
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
    shapes: dict[str, tuple[int, ...]], dtype: str | None, message: str
) -> None:
    content = save({"a": np.ones(3)})
    with pytest.raises(RunError, match=f"^file.*{message}.*\\. Do this$"):
        read_tensors(content, shapes, name="file", dtype=dtype, advice="Do this")


def make_file(header: Any, numbers: bytes = bytes(8)) -> bytes:
    """A safetensors file with any header."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + numbers


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
WRONG_FILES = {
    "empty": b"",
    "short": b"\x01",
    "a header longer than the file": (1 << 62).to_bytes(8, "little") + bytes(8),
    "no JSON": make_file(b"{{"),
    "deep": make_file(b"[" * 100_000),
    "no object": make_file([1]),
    "no entry": make_file({"a": 3}),
    "no type": make_file({"a": {**ENTRY, "dtype": "F33"}}),
    "a list as type": make_file({"a": {**ENTRY, "dtype": ["F32"]}}),
    "a negative size": make_file({"a": {**ENTRY, "shape": [-1, -2]}}),
    "a size that is none": make_file({"a": {**ENTRY, "shape": [2.0]}}),
    "a flag as size": make_file({"a": {**ENTRY, "shape": [2, True]}}),
    "three offsets": make_file({"a": {**ENTRY, "data_offsets": [0, 8, 8]}}),
    "backwards": make_file({"a": {**ENTRY, "data_offsets": [8, 0]}}),
    "not the size": make_file({"a": {**ENTRY, "shape": [3]}}),
    "a hole at the start": make_file({"a": {**ENTRY, "data_offsets": [8, 16]}}, bytes(16)),
    "a hole at the end": make_file({"a": ENTRY}, bytes(9)),
    "cut": make_file({"a": ENTRY}, bytes(7)),
    "twice": make_file({"a": ENTRY, "b": ENTRY}),
}


@pytest.mark.parametrize("content", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_is_none_is_refused_as_by_the_library(content: bytes) -> None:
    with pytest.raises(RunError, match=r"file is damaged or not a safetensors file: .+\. Do this$"):
        read_tensors(content, {"a": (2,)}, name="file", advice="Do this")
    with pytest.raises(Exception, match=r"."):  # the library's errors have no root
        load(content)


def test_metadata_are_no_tensor() -> None:
    content = save({"a": np.ones(3)}, {"made by": "test"})
    assert read_tensors(content, {"a": (3,)}, name="-", advice="-").keys() == {"a"}
