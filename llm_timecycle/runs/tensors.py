"""The one reader of safetensors files: weights of a run, tensors of a checkpoint.

Format: the header's length (8 bytes, little-endian), the header (JSON), the numbers. The library
that writes them reads only from a path; here the bytes are those that were hashed before.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np

from llm_timecycle.errors import RunError
from llm_timecycle.parsing import parse_json

_DTYPES = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1"},
    **{"I8": "|i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"},
    **{"U8": "|u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"},
}
_LENGTH_BYTES = 8
_HEADER_BYTES_AT_MOST = 16 << 20
_METADATA = "__metadata__"


def read_tensors(
    content: bytes | mmap.mmap,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    name: str,
    dtype: str | None = None,
    advice: str,
) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, which must be exactly those of `shapes`.

    They are views of `content`, not copies: read-only. The whole header is checked before any of
    the numbers is read.

    Args:
        content: the file.
        shapes: name and shape of every tensor that it must hold, no more and no less.
        name: what the file is called.
        dtype: the type that all must have, as the format calls it (`F32`); None takes any.
        advice: what to do about a file that cannot be used; ends every message.

    Raises:
        RunError: the file is damaged, or differs from `shapes`; names the first difference.
    """
    try:
        tensors, numbers_start = _read_header(content)
    except ValueError as error:
        raise RunError(f"{name} is damaged or not a safetensors file: {error}. {advice}") from None
    if missing := sorted(shapes.keys() - tensors.keys()):
        raise RunError(f"{name} lacks the tensors {', '.join(missing)}. {advice}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise RunError(
            f"{name} holds tensors that its settings do not expect: {', '.join(unknown)}. {advice}"
        )
    arrays = {}
    for key, shape in shapes.items():
        found_dtype, found_shape, start, _ = tensors[key]
        expected_dtype = dtype or found_dtype
        if (found_shape, found_dtype) != (shape, expected_dtype):
            raise RunError(
                f"{name}: {key} should be {expected_dtype} {shape}, "
                f"found {found_dtype} {found_shape}. {advice}"
            )
        numbers = np.dtype(_DTYPES[found_dtype])
        flat = np.frombuffer(content, numbers, math.prod(shape), numbers_start + start)
        arrays[key] = flat.reshape(shape)
    return arrays


def bound_file_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes that a file with tensors of these shapes, of any type, can have at most."""
    numbers = sum(math.prod(shape) for shape in shapes.values())
    return _LENGTH_BYTES + _HEADER_BYTES_AT_MOST + 8 * numbers


_Entry = tuple[str, tuple[int, ...], int, int]


def _read_header(content: bytes | mmap.mmap) -> tuple[dict[str, _Entry], int]:
    """Type, shape, start and end of every tensor, and where the numbers start.

    Starts and ends are bytes from there. As the format demands, the tensors lie one after the other
    and fill the file.

    Raises:
        ValueError: it is no safetensors file.
    """
    header_bytes = int.from_bytes(content[:_LENGTH_BYTES], "little")
    numbers_start = _LENGTH_BYTES + header_bytes
    if not 0 < header_bytes <= _HEADER_BYTES_AT_MOST or numbers_start > len(content):
        raise ValueError(f"a header of {header_bytes:,} bytes in a file of {len(content):,}")
    header = parse_json(content[_LENGTH_BYTES:numbers_start])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    entries = {key: _read_entry(key, e) for key, e in header.items() if key != _METADATA}
    end = 0
    for _, _, start, stop in sorted(entries.values(), key=lambda entry: entry[2:]):
        if start != end:
            raise ValueError(
                f"between byte {end:,} and {start:,} of its numbers, there is no one tensor"
            )
        end = stop
    if numbers_start + end != len(content):
        raise ValueError(
            f"it has {len(content):,} bytes, and its header describes {numbers_start + end:,}"
        )
    return entries, numbers_start


def _read_entry(key: str, entry: Any) -> _Entry:
    """Type, shape, start and end of a tensor; ValueError where they do not fit each other."""
    try:
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        itemsize = np.dtype(_DTYPES[dtype]).itemsize
        are_sizes = all(type(size) is int and size >= 0 for size in [*shape, start, stop])
        if are_sizes and stop - start == math.prod(shape) * itemsize:
            return dtype, tuple(shape), start, stop
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError(f"its entry for {key[:100]!r} is wrong")
