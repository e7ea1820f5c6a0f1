"""The rows of every table, as text: the terminal and the report show the same ones.

The first row of each table is its heading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from llm_timecycle.profiling.format import (
    format_count,
    format_digits,
    format_duration,
    format_share,
)
from llm_timecycle.profiling.results import (
    ComparedTime,
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    Sweep,
    TrainingCycle,
)
from llm_timecycle.profiling.worker_results import WORKER_STAGES, WorkersProfile, WorkersStep

Row = tuple[str, ...]

SOUND_CLOSURE = (0.97, 1.03)

AXIS_LABELS = {
    "T": "T, sequence length",
    "B": "B, batch size",
    "E": "E, embedding_dim",
    "H": "H, hidden_units",
    "L": "L, num_layers",
    "V": "V, vocab_size",
    "length": "length of the generated text in tokens",
}
"""What the growth axes are."""

INFERENCE_DEFINITIONS = (
    ("load", "reading the run's files until the engine is ready"),
    ("TTFT, cold", "time to first token: from the start of a new process to its first token"),
    ("prefill", "reading all tokens of the prompt"),
    ("TTFT", "time to first token: from a request to a loaded engine, prefill included"),
    ("TPOT", "time per output token: (end to end - TTFT) / (N - 1), for N tokens of one request"),
    ("ITL", "inter-token latency: every gap from one token to the next, over all requests"),
    ("network, sampling, decoding", "the parts of ITL: logits, drawing the token, its text"),
    ("tokens/s", "all rows of a batch; token ids as generated, never text tokenized again"),
)
"""What each row of the inference tables means."""


def list_stage_rows(cycle: TrainingCycle) -> list[Row]:
    """Each stage of a training step, then their sum and the step without markers."""
    rows: list[Row] = [("stage", "median", "p95", "share", "per token")]
    for stage, times in cycle.stages.items():
        token_s = times.median_s / cycle.tokens
        share = format_share(cycle.share(stage))
        rows.append((stage, *_show(times), share, format_duration(token_s)))
    sum_s, wall = cycle.sum_s, cycle.wall
    rows.append(("sum", format_duration(sum_s), "", "", format_duration(sum_s / cycle.tokens)))
    token = format_duration(wall.median_s / cycle.tokens)
    return [*rows, ("step without markers", *_show(wall), "", token)]


def list_layer_rows(cycle: TrainingCycle) -> list[Row]:
    """Each layer's forward and backward pass, timed alone."""
    rows: list[Row] = [("layer", "forward", "backward", "both", "share")]
    total_s = sum(sum_layer(passes) for passes in cycle.layers.values()) or 1.0
    for layer, passes in cycle.layers.items():
        seconds = [passes[stage].median_s for stage in ("forward", "backward")]
        # A backward pass is a difference of two times, which can be smaller than the noise.
        times = [format_duration(s) if s > 0 else "within noise" for s in seconds]
        layer_s = sum_layer(passes)
        rows.append((layer, *times, format_duration(layer_s), format_share(layer_s / total_s)))
    return rows


def sum_layer(passes: dict[str, Durations]) -> float:
    """Seconds of a layer, forward and backward."""
    return sum(times.median_s for times in passes.values())


def describe_closure(cycle: TrainingCycle) -> str:
    """How well the stages add up to a step."""
    text = (
        f"closure {cycle.closure:.3f} (the stages of steps with markers, added up, over a step "
        "without markers)"
    )
    low, high = SOUND_CLOSURE
    if low <= cycle.closure <= high:
        return text
    return (
        f"{text}. Outside {low} to {high} the stages do not account for the whole step: measure on "
        "an idle machine, take more steps, or profile a model whose steps take longer"
    )


def describe_hidden_input(cycle: TrainingCycle) -> str:
    """How much of input processing a step waits for."""
    hidden_s, waited_s = cycle.hidden_input.median_s, cycle.stages["input"].median_s
    return (
        f"input processing: a step waits {format_duration(waited_s)} for its window; "
        f"{format_duration(hidden_s)} more are hidden behind computation"
    )


def list_roofline_rows(profile: Profile) -> list[Row]:
    """Each stage and layer on the roofline."""
    return [
        ("part", "time", "minimum", "reached", "bound by", "rate", "intensity"),
        *(
            (
                point.name,
                format_duration(point.measured_s),
                format_duration(point.bound_s),
                format_share(point.share),
                point.binding,
                format_count(point.operations_per_s, "FLOP/s") if point.operations else "-",
                format_count(point.intensity, "FLOP/B") if point.bytes_moved else "-",
            )
            for point in profile.points
        ),
    ]


def list_limit_rows(profile: Profile) -> list[Row]:
    """The measured limits of this machine."""
    rows: list[Row] = [("limit", "rate")]
    for name, rate in profile.limits.items():
        is_memory = name in ("read", "copy")
        label = f"memory {name}" if is_memory else f"{name} products"
        rows.append((label, format_count(rate, "B/s" if is_memory else "FLOP/s")))
    return rows


def describe_limits(profile: Profile) -> str:
    """The same in one line."""
    return ", ".join(f"{name} {rate}" for name, rate in list_limit_rows(profile)[1:])


def list_growth_rows(growth: Growth) -> list[Row]:
    """The typical time at each size, and the fit."""
    fit = growth.fit
    return [
        (growth.axis, "measured", "fit"),
        *(
            (f"{size:g}", format_duration(time_s), format_duration(fit.predict_s(size)))
            for size, time_s in zip(fit.sizes, fit.times_s, strict=True)
        ),
    ]


def describe_fit(growth: Growth) -> str:
    """The exponent with its interval, and the one that the FLOPs predict."""
    fit = growth.fit
    return (
        f"time = {format_duration(fit.constant_s)} + {format_duration(fit.coefficient_s)} x "
        f"{growth.axis}^{fit.exponent:.2f} (95 % interval {fit.exponent_low:.2f} to "
        f"{fit.exponent_high:.2f}); FLOPs grow as {growth.axis}^"
        f"{growth.predicted_exponent:.2f}"
    )


def list_inference_rows(cycle: InferenceCycle) -> list[Row]:
    """The parts of a request; `INFERENCE_DEFINITIONS` says what each means."""
    parts = (
        ("load", cycle.load),
        ("TTFT, cold", cycle.cold_first_token),
        ("prefill", cycle.prefill),
        ("TTFT", cycle.first_token),
        ("TPOT", cycle.per_output_token),
        ("ITL", cycle.between_tokens),
        ("  network", cycle.step),
        ("  sampling", cycle.sampling),
        ("  decoding", cycle.decoding),
    )
    return [
        ("part", "median", "p95", "p99"),
        *((name, *_show(times), format_duration(times.percentile_s(99))) for name, times in parts),
    ]


def describe_request(cycle: InferenceCycle) -> str:
    """The request that was timed."""
    return (
        f"{cycle.engine} engine, a prompt of {cycle.prompt_tokens:,} tokens, "
        f"{cycle.new_tokens:,} new tokens"
    )


def list_batch_rows(cycle: InferenceCycle) -> list[Row]:
    """Tokens a second at each batch size."""
    alone = cycle.tokens_per_s.get(1)
    return [
        ("batch", "tokens/s", "vs batch 1"),
        *(
            (f"{rows:,}", format_digits(rate), f"{rate / alone:.2f} x" if alone else "-")
            for rows, rate in sorted(cycle.tokens_per_s.items())
        ),
    ]


def list_sweep_rows(sweep: Sweep) -> list[Row]:
    """The time at each value of a sweep and its speed-up over the first; of workers, efficiency."""
    times_s = {value: median(samples_s) for value, samples_s in sorted(sweep.samples_s.items())}
    first, first_s = next(iter(times_s.items()))
    rows: list[Row] = [(sweep.name, "median", "speed-up", "efficiency")]
    for value, time_s in times_s.items():
        share = format_share(first_s * first / (time_s * value)) if value else ""
        rows.append((f"{value}", format_duration(time_s), f"{first_s / time_s:.2f}", share))
    # A queue depth, say, has no efficiency.
    return rows if sweep.fit else [row[:3] for row in rows]


def describe_amdahl(sweep: Sweep) -> str:
    """The serial fraction with its interval; empty where none was fitted."""
    fit = sweep.fit
    if fit is None:
        return ""
    return (
        f"serial fraction {fit.serial_fraction:.2f} (95 % interval {fit.serial_low:.2f} to "
        f"{fit.serial_high:.2f})"
    )


def list_worker_rows(found: WorkersProfile) -> list[Row]:
    """A step of each number of workers, its stages, and what communication takes and moves."""
    alone_s = median(found.alone_s[1])
    rows: list[Row] = [
        ("workers", "step", "speed-up", *WORKER_STAGES, "share", "sent"),
        ("1", format_duration(alone_s), "1.00", *("",) * len(WORKER_STAGES), "", "0 B"),
    ]
    for step in found.steps:
        step_s = median(step.step_s)
        stages_s = [format_duration(median(step.stages_s[stage])) for stage in WORKER_STAGES]
        sent = format_count(step.sent_bytes, "B")
        cells = (format_duration(step_s), f"{alone_s / step_s:.2f}", *stages_s)
        rows.append((f"{step.workers}", *cells, format_share(step.share), sent))
    return rows


WORKER_DEFINITIONS = (
    ("compute", "forward and backward pass of a worker's lanes, on its part of the cores"),
    ("waiting", "for the worker that has its gradients last"),
    ("communication", "adding gradients and loss over the workers; share is that of the step"),
    ("update", "norm, clipping and optimizer, the same on every worker"),
    ("sent", "bytes that each worker sends in a step: 2 (W - 1) / W of gradients and loss"),
)
"""What the columns mean."""


def describe_overlap(step: WorkersStep) -> str:
    """Whether communication and computation overlap, as far as the times tell."""
    low, high = SOUND_CLOSURE
    text = (
        f"{step.workers} workers: compute + waiting + communication + update make "
        f"{step.closure:.3f} of a step without markers"
    )
    if step.closure > high:
        return f"{text}: up to {format_share(1 - 1 / step.closure)} of them may overlap in it"
    if step.closure < low:
        return f"{text}; measure on an idle machine"
    return f"{text}: nothing overlaps. The sum begins when the last gradient is known"


def list_sum_rows(found: WorkersProfile) -> list[Row]:
    """Adding the gradients in a step, and alone, measured and by the fit."""
    rows: list[Row] = [("workers", "gradients added in a step", "alone", "fit of alone")]
    for step in found.steps:
        fitted_s = found.fit.predict_s(step.workers, step.summed_bytes)
        measured_s = median(step.sums_s[step.summed_bytes])
        mark = "" if step.workers in found.fit.workers else ", not fitted"
        seconds = median(step.stages_s["communication"]), measured_s, fitted_s
        *cells, fit = map(format_duration, seconds)
        cells.append(fit + mark)
        rows.append((f"{step.workers}", *cells))
    return rows


def describe_communication_fit(found: WorkersProfile) -> str:
    """Latency and bandwidth with their intervals."""
    fit = found.fit

    def show_rate(rate: float) -> str:
        return format_count(rate, "B/s") if math.isfinite(rate) else "unlimited"

    return (
        f"communication = {format_duration(fit.latency_s)} x 2 (W - 1) + sent / "
        f"{show_rate(fit.bandwidth_bytes_per_s)} (95 % intervals "
        f"{format_duration(fit.latency_low_s)} to {format_duration(fit.latency_high_s)}, "
        f"{show_rate(fit.bandwidth_low)} to {show_rate(fit.bandwidth_high)})"
    )


NETWORK_NOTE = (
    "A model, not a measurement: every machine computes its lanes as fast as this one does alone "
    "(compute), and communication takes what the fit says plus the sent bytes at the rate of the "
    "network. The latency of the network is left out."
)
"""What `list_network_rows` shows."""


def list_network_rows(found: WorkersProfile) -> list[Row]:
    """Step and speed-up of W machines on networks, by the model."""
    rates = sorted({step.rate_gbit_per_s for step in found.network})
    steps = {(step.workers, step.rate_gbit_per_s): step for step in found.network}
    rows: list[Row] = [("machines", "compute", *(f"{rate:g} Gbit/s" for rate in rates))]
    for workers in sorted({step.workers for step in found.network}):
        cells = [
            f"{format_duration(step.step_s)} ({step.speed_up:.2f} x)"
            for rate in rates
            for step in [steps[workers, rate]]
        ]
        rows.append((f"{workers}", format_duration(median(found.alone_s[workers])), *cells))
    return rows


def _show(times: Durations) -> tuple[str, str]:
    """Median and 95th percentile."""
    return format_duration(times.median_s), format_duration(times.percentile_s(95))


def list_comparison_rows(times: Sequence[ComparedTime]) -> list[Row]:
    """Each time of A and of B, their ratio and what it allows to say."""
    rows: list[Row] = [("time", "A", "B", "A / B", "95 % interval", "")]
    for time in times:
        interval = f"{time.low:.3f} to {time.high:.3f}"
        medians = format_duration(time.a_s), format_duration(time.b_s)
        rows.append((time.name, *medians, f"{time.ratio:.3f}", interval, time.verdict))
    return rows


def list_difference_rows(differences: Mapping[str, tuple[Any, Any]]) -> list[Row]:
    """The settings, versions and parts of the machine that differ between A and B."""
    pairs = ((key, str(a), str(b)) for key, (a, b) in differences.items())
    return [("differs", "A", "B"), *pairs]
