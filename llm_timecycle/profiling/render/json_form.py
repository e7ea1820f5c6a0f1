"""A profile as one JSON object, and the timings of such an object.

    version              1; it changes when a key changes its meaning or goes
    program_version      of llm-timecycle
    name, parameters     the run or configuration, and the weights of its network
    machine, versions    what was measured on
    settings             as resolved, by section
    training             null, or batch_size, sequence_length, tokens (of a step), sum_s, closure,
                         tokens_per_s; stages (input, forward, backward, update,
                         other), each with its share and token_s; layers, each with forward and
                         backward; wall (steps without markers), hidden_input
    ceilings             operations a second by type; read and copy, bytes a second
    roofline             stages and layers: operations, bytes_moved, measured_s, bound_s, share,
                         binding, operations_per_s, bytes_per_s, intensity
    growth               axis, exponent, exponent_low, exponent_high, constant_s, coefficient_s,
                         misfit, predicted_exponent, explanation, sizes (size, time_s, samples_s,
                         operations)
    inference            null, or engine, prompt_tokens, new_tokens, definitions, load,
                         cold_first_token, prefill, first_token, per_output_token, between_tokens,
                         step, sampling, decoding, tokens_per_s (by batch size)
    sweeps               name, remark, values (value, median_s, samples_s), and serial_fraction,
                         serial_low, serial_high, null where none was fitted
    advice               title, reason, saves_s, changes
    history              rows of the run's metrics.csv

A timing is an object with median_s, p95_s and samples_s, in seconds, in the order of measurement.
What is not a finite number is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.rows import INFERENCE_DEFINITIONS
from llm_timecycle.profiling.results import (
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    RooflinePoint,
    Sweep,
    TrainingCycle,
)

VERSION = 1
_INFERENCE_PARTS = (
    "load",
    "cold_first_token",
    "prefill",
    "first_token",
    "per_output_token",
    "between_tokens",
    "step",
    "sampling",
    "decoding",
)
_DEFINITION_KEYS = (
    "load",
    "cold first token",
    "prompt",
    "first token",
    "each output token",
    "between tokens",
    "network, sampling, decoding",
    "tokens/s",
)
"""What the rows of `INFERENCE_DEFINITIONS` are called in the object: keys do not change."""


def describe_profile(profile: Profile) -> dict[str, Any]:
    """The profile as an object of plain values; see the top of this file."""
    training, inference = profile.training, profile.inference
    described = {
        "version": VERSION,
        "program_version": __version__,
        "name": profile.name,
        "parameters": profile.parameters,
        "machine": dict(profile.machine),
        "versions": dict(profile.versions),
        "settings": profile.settings.model_dump(),
        "training": training and _describe_training(training),
        "ceilings": dict(profile.limits),
        "roofline": [_describe_point(point) for point in profile.points],
        "growth": [_describe_growth(growth) for growth in profile.growth],
        "inference": inference and _describe_inference(inference),
        "sweeps": [_describe_sweep(sweep) for sweep in profile.sweeps],
        "advice": [
            {
                "title": advice.title,
                "reason": advice.reason,
                "saves_s": advice.saves_s,
                "changes": list(advice.changes),
            }
            for advice in profile.advice
        ],
        "history": [dict(row) for row in profile.history],
    }
    plain: dict[str, Any] = _make_plain(described)
    return plain


def read_timings(described: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Every timing of a described profile that can be compared, by what it is the time of.

    Raises:
        UsageError: it is no profile, its version is unknown, or its timings are damaged or missing.
    """
    version = described.get("version") if isinstance(described, Mapping) else None
    if version != VERSION or "training" not in described or "inference" not in described:
        raise UsageError(
            f"expected what llm-timecycle profile --json prints, of version {VERSION}; received "
            f"{'another version' if version not in (None, VERSION) else 'something else'}."
        )
    timings: dict[str, Any] = {}
    try:
        if training := described["training"]:
            timings["step"] = training["wall"]
            timings |= training["stages"]
            for layer, passes in training["layers"].items():
                timings |= {f"{layer} {stage}": times for stage, times in passes.items()}
        if inference := described["inference"]:
            named = {part: inference[part] for part in _INFERENCE_PARTS}
            timings |= {f"inference: {part.replace('_', ' ')}": t for part, t in named.items()}
        found = {name: _read_samples(t["samples_s"]) for name, t in timings.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"a profile is damaged: its part {error} is missing or wrong. Measure it again."
        ) from error
    if not any(found.values()):
        raise UsageError("expected a profile with timings, received none: measure it again.")
    return found


def _read_samples(samples_s: Any) -> tuple[float, ...]:
    """Timings as they must be: a list of finite numbers that are not negative."""
    if not isinstance(samples_s, (list, tuple)):
        raise TypeError(f"samples_s = {samples_s!r}")
    for sample_s in samples_s:
        is_number = isinstance(sample_s, (int, float)) and not isinstance(sample_s, bool)
        if not is_number or not 0 <= sample_s < math.inf:
            raise ValueError(f"samples_s = [..., {sample_s!r}, ...]")
    return tuple(map(float, samples_s))


def _describe_times(times: Durations) -> dict[str, Any]:
    if not times.samples_s:
        return {"median_s": None, "p95_s": None, "samples_s": []}
    return {
        "median_s": times.median_s,
        "p95_s": times.p95_s,
        "samples_s": list(times.samples_s),
    }


def _describe_training(cycle: TrainingCycle) -> dict[str, Any]:
    return {
        "batch_size": cycle.batch_size,
        "sequence_length": cycle.sequence_length,
        "tokens": cycle.tokens,
        "tokens_per_s": cycle.tokens / cycle.wall.median_s,
        "sum_s": cycle.sum_s,
        "closure": cycle.closure,
        "stages": {
            stage: {
                **_describe_times(times),
                "share": cycle.share(stage),
                "token_s": times.median_s / cycle.tokens,
            }
            for stage, times in cycle.stages.items()
        },
        "layers": {
            layer: {stage: _describe_times(times) for stage, times in passes.items()}
            for layer, passes in cycle.layers.items()
        },
        "wall": _describe_times(cycle.wall),
        "hidden_input": _describe_times(cycle.hidden_input),
    }


def _describe_point(point: RooflinePoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "operations": point.operations,
        "bytes_moved": point.bytes_moved,
        "measured_s": point.measured_s,
        "bound_s": point.bound_s,
        "share": point.share,
        "binding": point.binding,
        "operations_per_s": point.operations_per_s,
        "bytes_per_s": point.bytes_per_s,
        "intensity": point.intensity,
    }


def _describe_growth(growth: Growth) -> dict[str, Any]:
    fit = growth.fit
    return {
        "axis": growth.axis,
        "exponent": fit.exponent,
        "exponent_low": fit.exponent_low,
        "exponent_high": fit.exponent_high,
        "constant_s": fit.constant_s,
        "coefficient_s": fit.coefficient_s,
        "misfit": fit.misfit,
        "predicted_exponent": growth.predicted_exponent,
        "explanation": growth.explanation,
        "sizes": [
            {
                "size": size,
                "time_s": time_s,
                "samples_s": list(growth.samples_s.get(size, ())),
                "operations": growth.counts.get(size),
            }
            for size, time_s in zip(fit.sizes, fit.times_s, strict=True)
        ],
    }


def _describe_inference(cycle: InferenceCycle) -> dict[str, Any]:
    return {
        "engine": cycle.engine,
        "prompt_tokens": cycle.prompt_tokens,
        "new_tokens": cycle.new_tokens,
        "definitions": {
            key: f"{name}: {meaning}" if name != key else meaning
            for key, (name, meaning) in zip(_DEFINITION_KEYS, INFERENCE_DEFINITIONS, strict=True)
        },
        **{part: _describe_times(getattr(cycle, part)) for part in _INFERENCE_PARTS},
        "tokens_per_s": {str(rows): rate for rows, rate in sorted(cycle.tokens_per_s.items())},
    }


def _describe_sweep(sweep: Sweep) -> dict[str, Any]:
    fit = sweep.fit
    return {
        "name": sweep.name,
        "remark": sweep.remark,
        "values": [
            {"value": value, "median_s": median(samples), "samples_s": list(samples)}
            for value, samples in sorted(sweep.samples_s.items())
        ],
        "serial_fraction": fit and fit.serial_fraction,
        "serial_low": fit and fit.serial_low,
        "serial_high": fit and fit.serial_high,
    }


def _make_plain(value: Any) -> Any:
    """The same value in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _make_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
