"""The one reader of safetensors files: weights of a run, tensors of a checkpoint.

Format: the header's length (8 bytes, little-endian), the header (JSON), the numbers.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from llm_timecycle.errors import RunError

_DTYPES = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1"},
    **{"I8": "|i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"},
    **{"U8": "|u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"},
}


def read_tensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], *, dtype: str | None = None, advice: str
) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, which must be exactly those of `shapes`.

    They are mapped from the file, not copied: read-only, and paged in as they are used. The whole
    header is checked before any of the numbers is read.

    Args:
        path: the file.
        shapes: name and shape of every tensor that it must hold, no more and no less.
        dtype: the type that all must have, as the format calls it (`F32`); None takes any.
        advice: what to do about a file that cannot be used; ends every message.

    Raises:
        RunError: the file is missing, damaged, or differs from `shapes`; names the first
            difference.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            if missing := sorted(shapes.keys() - names):
                raise RunError(f"{path} lacks the tensors {', '.join(missing)}. {advice}")
            if unknown := sorted(names - shapes.keys()):
                raise RunError(
                    f"{path} holds tensors that its settings do not expect: "
                    f"{', '.join(unknown)}. {advice}"
                )
            for name, shape in shapes.items():
                tensor = file.get_slice(name)
                found_shape, found_dtype = tuple(tensor.get_shape()), tensor.get_dtype()
                expected_dtype = dtype or found_dtype
                if (found_shape, found_dtype) != (shape, expected_dtype):
                    raise RunError(
                        f"{path}: {name} should be {expected_dtype} {shape}, "
                        f"found {found_dtype} {found_shape}. {advice}"
                    )
        return _map_tensors(path, shapes)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged or not a safetensors file: {error}. {advice}") from error


def _map_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a file whose header was checked, where they lie on the disk."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = {}
    for name, shape in shapes.items():
        start = 8 + header_bytes + header[name]["data_offsets"][0]
        dtype = np.dtype(_DTYPES[header[name]["dtype"]])
        tensors[name] = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
    return tensors
