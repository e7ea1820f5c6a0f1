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
    workers              null, or values (workers, step, speed_up, and of several stages: compute,
                         waiting, communication, update; share, closure, summed_bytes, sent_bytes,
                         sums: bytes and time of adding alone); fit (latency_s, latency_low_s,
                         latency_high_s, bandwidth_bytes_per_s, bandwidth_low, bandwidth_high,
                         workers); alone (workers, and the time of one process with the lanes of
                         one of them); network, by a model (workers, rate_gbit_per_s, step_s,
                         speed_up); remark
    advice               title, reason, saves_s, changes
    history              rows of the run's metrics.csv

A timing is an object with median_s, p95_s and samples_s, in seconds, in the order of measurement.
What is not a finite number is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from statistics import median
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.rows import INFERENCE_DEFINITIONS
from llm_timecycle.profiling.results import (
    AmdahlFit,
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    Sweep,
    TrainingCycle,
)
from llm_timecycle.profiling.worker_results import WorkersProfile

VERSION = 1
_INFERENCE_PARTS = [part.name for part in fields(InferenceCycle) if part.type == "Durations"]
_POINT_KEYS = (
    *("name", "operations", "bytes_moved", "measured_s", "bound_s", "share", "binding"),
    *("operations_per_s", "bytes_per_s", "intensity"),
)
_WORKER_KEYS = ("share", "closure", "summed_bytes", "sent_bytes")
_AMDAHL_KEYS = [part.name for part in fields(AmdahlFit)]
_DEFINITION_KEYS = (
    *("load", "cold first token", "prompt", "first token", "each output token", "between tokens"),
    *("network, sampling, decoding", "tokens/s"),
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
        "machine": profile.machine,
        "versions": profile.versions,
        "settings": profile.settings.model_dump(),
        "training": training and _describe_training(training),
        "ceilings": profile.limits,
        "roofline": [{key: getattr(point, key) for key in _POINT_KEYS} for point in profile.points],
        "growth": [_describe_growth(growth) for growth in profile.growth],
        "inference": inference and _describe_inference(inference),
        "sweeps": [_describe_sweep(sweep) for sweep in profile.sweeps],
        "workers": profile.workers and _describe_workers(profile.workers),
        "advice": profile.advice,
        "history": profile.history,
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
            f"a profile is damaged: its field {error} is missing or invalid. Measure it again."
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
        return {"median_s": None, "p95_s": None, "samples_s": ()}
    return {
        "median_s": times.median_s,
        "p95_s": times.percentile_s(95),
        "samples_s": times.samples_s,
    }


def _describe_training(cycle: TrainingCycle) -> dict[str, Any]:
    return {
        **vars(cycle),
        "tokens": cycle.tokens,
        "sum_s": cycle.sum_s,
        "closure": cycle.closure,
        "tokens_per_s": cycle.tokens / cycle.wall.median_s,
        "stages": {
            stage: {
                **_describe_times(times),
                "share": cycle.share(stage),
                "token_s": times.median_s / cycle.tokens,
            }
            for stage, times in cycle.stages.items()
        },
    }


def _describe_growth(growth: Growth) -> dict[str, Any]:
    return {
        "axis": growth.axis,
        **{key: value for key, value in vars(growth.fit).items() if key != "times_s"},
        "predicted_exponent": growth.predicted_exponent,
        "explanation": growth.explanation,
        "sizes": [
            {
                "size": size,
                "time_s": time_s,
                "samples_s": growth.samples_s.get(size, ()),
                "operations": growth.counts.get(size),
            }
            for size, time_s in zip(growth.fit.sizes, growth.fit.times_s, strict=True)
        ],
    }


def _describe_inference(cycle: InferenceCycle) -> dict[str, Any]:
    definitions = {
        key: f"{name}: {meaning}" if name != key else meaning
        for key, (name, meaning) in zip(_DEFINITION_KEYS, INFERENCE_DEFINITIONS, strict=True)
    }
    return {**vars(cycle), "definitions": definitions}


def _describe_sweep(sweep: Sweep) -> dict[str, Any]:
    return {
        "name": sweep.name,
        "remark": sweep.remark,
        "values": [
            {"value": value, "median_s": median(samples_s), "samples_s": samples_s}
            for value, samples_s in sorted(sweep.samples_s.items())
        ],
        **(vars(sweep.fit) if sweep.fit else dict.fromkeys(_AMDAHL_KEYS)),
    }


def _describe_workers(found: WorkersProfile) -> dict[str, Any]:
    alone = {workers: Durations(taken_s) for workers, taken_s in sorted(found.alone_s.items())}
    values: list[dict[str, Any]] = [{"workers": 1, "step": alone[1], "speed_up": 1.0}]
    for step in found.steps:
        times = Durations(step.step_s)
        values.append(
            {
                "workers": step.workers,
                "step": times,
                "speed_up": alone[1].median_s / times.median_s,
                "stages": {stage: Durations(taken) for stage, taken in step.stages_s.items()},
                **{key: getattr(step, key) for key in _WORKER_KEYS},
                "sums": [
                    {"bytes": size, "time": Durations(taken)} for size, taken in step.sums_s.items()
                ],
            }
        )
    return {
        "values": values,
        "fit": found.fit,
        "alone": [{"workers": workers, "time": times} for workers, times in alone.items()],
        "network": found.network,
        "remark": found.remark,
    }


def _make_plain(value: Any) -> Any:
    """The same value in types that JSON has; of a dataclass, its fields."""
    if isinstance(value, Durations):
        value = _describe_times(value)
    elif is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {str(key): _make_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
