"""The weights of a page as they are in the file, to be compared with those that it was made of."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from llm_timecycle.exporting.web.weights import is_turned
from llm_timecycle.files import read_regular

PAGE_BYTES_AT_MOST = 1 << 31
_SCRIPT = re.compile(rb'<script type="[\w/]+" id="(model|weights)">(.*?)</script>', re.DOTALL)


def read_page(path: Path) -> dict[str, np.ndarray]:
    """The weights of a page that `write_page` made, by name, float32, as a run has them."""
    parts = dict(_SCRIPT.findall(read_regular(path, PAGE_BYTES_AT_MOST)))
    model = json.loads(parts[b"model"])
    content = base64.b64decode(parts[b"weights"], validate=True)
    return dict(_unpack(content, model["tensors"], model["precision"]))


def _unpack(
    content: bytes, tensors: list[tuple[str, list[int]]], precision: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of each tensor: the inverse of `pack_weights`."""
    position = 0

    def take(kind: str, count: int) -> np.ndarray:
        nonlocal position
        values = np.frombuffer(content, kind, count, position)
        position += values.nbytes
        return values

    for name, shape in tensors:
        if precision == "float16":
            rows = take("<f2", prod(shape)).astype(np.float32)
        elif precision == "int8" and len(shape) == 2:
            scales = take("<f4", shape[0])
            rows = take("i1", prod(shape)).reshape(shape) * scales[:, np.newaxis]
        else:
            rows = take("<f4", prod(shape))
        rows = rows.reshape(shape)
        yield name, rows.T if is_turned(name, rows) else rows
