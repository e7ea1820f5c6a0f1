"""safetensors files: their headers and numbers, as weights, as checkpoints, as shingles."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Refused, Wrong
from fuzzing.mutations import mutate_bytes, mutate_json, write_json
from safetensors.numpy import load, save

from llm_timecycle.errors import RunError
from llm_timecycle.runs.tensors import read_tensors
from llm_timecycle.text.shingles import Sketch, compute_overlap

_RNG = np.random.default_rng(7)
WEIGHTS = {
    "embedding.embeddings": _RNG.normal(size=(5, 2)).astype(np.float32),
    "lstm_1.kernel": _RNG.normal(size=(2, 12)).astype(np.float32),
    "output.bias": np.array([1.0, np.nan, np.inf, -0.0, 2.0], np.float32),
}
STATE = {
    **{f"weights.{name}": array for name, array in WEIGHTS.items()},
    "random.1": np.array([3, 2**32 - 1], np.uint32),
    "optimizer.0": np.array(4, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}
SHINGLES = Sketch(
    3, np.sort(_RNG.integers(0, 2**63, 40).astype(np.uint64)), np.arange(1, 41, dtype=np.int64)
)


def prepare(world: Path) -> MakeAttempt:
    """Nothing is needed."""
    return make


def make(draw: Random, place: Path) -> Attempt:
    """A file of weights, of a checkpoint or of shingles."""
    which = draw.choice(["weights", "state", "shingles"])
    if which == "shingles":
        content, what = mutate_tensors(draw, SHINGLES.to_bytes())
        return Attempt(f"shingles: {what}", lambda: _read_shingles(content), _check_shingles)
    tensors = WEIGHTS if which == "weights" else STATE
    content, what = mutate_tensors(draw, save(tensors))
    shapes = {name: array.shape for name, array in tensors.items()}
    dtype = "F32" if which == "weights" else None

    def call() -> dict[str, np.ndarray]:
        return read_tensors(content, shapes, name="file", dtype=dtype, advice="Train again")

    return Attempt(f"{which}: {what}", call, lambda found: _check_tensors(found, content, shapes))


def mutate_tensors(draw: Random, content: bytes) -> tuple[bytes, str]:
    """Another safetensors file, and what was done to it."""
    if draw.random() < 0.3 or len(content) < 10:
        return mutate_bytes(draw, content)
    size = struct.unpack("<Q", content[:8])[0]
    header, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        change = draw.choice(["json", "json", "json", "offsets", "swapped", "whole", "metadata"])
        if change == "json" or not isinstance(header, dict) or len(header) < 2:
            header, what = mutate_json(draw, header)
            done.append(what)
            continue
        name, other = draw.sample(sorted(header), 2)
        done.append(f"{change} of {name}")
        if change == "metadata":
            header["__metadata__"] = draw.choice([{}, {"a": "b"}, {"a": 1}, [], 3, {"a": {}}])
        elif not all(isinstance(header[each], dict) for each in (name, other)):
            continue
        elif change == "offsets":
            start = draw.choice([-4, 0, 1, 4, 8, len(numbers), 2**40, 2**64])
            header[name]["data_offsets"] = [start, start + draw.choice([-4, 0, 4, 40])]
        elif change == "swapped":
            header[name], header[other] = header[other], header[name]
        else:
            shape = draw.choice([[0], [2**32, 2**32, 0], [2**62], [1] * 70, [-1, -40], [10], []])
            header[name]["shape"] = shape
    written, way = write_json(draw, header)
    length = len(written)
    if draw.random() < 0.1:
        length = draw.choice([0, length - 1, length + 1, 2**31, 2**63, 2**64 - 1, 100_000_001])
        done.append(f"a header of {length:,} bytes")
    if draw.random() < 0.1:
        numbers, what = mutate_bytes(draw, numbers)
        done.append(f"numbers: {what}")
    return struct.pack("<Q", length) + written + numbers, f"{'; '.join(done)}; JSON {way}"


def _check_tensors(
    found: Mapping[str, np.ndarray], content: bytes, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """What was read must be what the library reads, where that reads it."""
    if {name: array.shape for name, array in found.items()} != dict(shapes):
        raise Wrong("the shapes are not those that were asked for")
    try:
        expected = load(content)
    except Exception:  # noqa: BLE001  stricter about what does not matter, such as metadata
        return
    for name, array in found.items():
        same_type = expected[name].dtype == array.dtype
        if not same_type or expected[name].tobytes() != array.tobytes():
            raise Wrong(f"{name} is read differently by the safetensors library")


def _read_shingles(content: bytes) -> Any:
    try:
        sketch = Sketch.from_bytes(content)
    except ValueError as error:  # runs.learned says which file, and what to do
        raise Refused(str(error), RunError.exit_code) from None
    return sketch, compute_overlap(sketch, SHINGLES), compute_overlap(SHINGLES, sketch)


def _check_shingles(found: Any) -> None:
    _, *overlaps = found
    for overlap in overlaps:
        if overlap is not None and not (0 <= overlap.share <= 1 and 0 <= overlap.expected <= 1):
            raise Wrong(f"shingles overlap by {overlap.share} and {overlap.expected}")
