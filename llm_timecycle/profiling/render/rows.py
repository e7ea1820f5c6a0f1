"""The rows of every table of a profile, as text: the terminal and the report show the same ones.

The first row of each table is its heading.
"""

from __future__ import annotations

from statistics import median

from llm_timecycle.profiling.format import (
    format_count,
    format_digits,
    format_duration,
    format_share,
)
from llm_timecycle.profiling.results import (
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    Sweep,
    TrainingCycle,
)

Row = tuple[str, ...]

SOUND_CLOSURE = (0.97, 1.03)

INFERENCE_DEFINITIONS = (
    ("load", "reading the run's files into an engine that is ready"),
    ("cold first token", "from the start of a new process to its first token"),
    ("prompt", "reading all tokens of the prompt (prefill)"),
    ("first token", "from a request to a loaded engine to its first token, with the prompt"),
    ("each output token", "(end to end - first token) / (N - 1), for N tokens of one request"),
    ("between tokens", "every gap from one token to the next, of all requests"),
    ("network, sampling, decoding", "the parts of such a gap: logits, the choice, its text"),
    ("tokens/s", "all rows of a batch; ids that were emitted, never text tokenized again"),
)
"""What each line of the inference table means."""


def list_stage_rows(cycle: TrainingCycle) -> list[Row]:
    """Each stage of a training step, then their sum and the step without markers."""
    rows: list[Row] = [("stage", "median", "p95", "share", "a token")]
    for stage, times in cycle.stages.items():
        token_s = times.median_s / cycle.tokens
        share = format_share(cycle.share(stage))
        rows.append((stage, *_show(times), share, format_duration(token_s)))
    sum_s, wall = cycle.sum_s, cycle.wall
    rows.append(("sum", format_duration(sum_s), "", "", format_duration(sum_s / cycle.tokens)))
    token = format_duration(wall.median_s / cycle.tokens)
    return [*rows, ("step without markers", *_show(wall), "", token)]


def list_layer_rows(cycle: TrainingCycle) -> list[Row]:
    """Each layer's forward and backward pass, each layer run by itself."""
    rows: list[Row] = [("layer", "forward", "backward", "together", "share")]
    total_s = sum(sum_layer(passes) for passes in cycle.layers.values()) or 1.0
    for layer, passes in cycle.layers.items():
        seconds = [passes[stage].median_s for stage in ("forward", "backward")]
        # A backward pass is a difference, which noise can swallow.
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
    """What of input processing a step did not wait for."""
    hidden_s, waited_s = cycle.hidden_input.median_s, cycle.stages["input"].median_s
    return (
        f"input processing: a step waits for {format_duration(waited_s)} of it; "
        f"{format_duration(hidden_s)} more run hidden behind computation"
    )


def list_roofline_rows(profile: Profile) -> list[Row]:
    """Each stage and layer under the roof."""
    rows: list[Row] = [("part", "time", "at least", "of ceiling", "bound by", "rate", "intensity")]
    for point in profile.points:
        rows.append(
            (
                point.name,
                format_duration(point.measured_s),
                format_duration(point.bound_s),
                format_share(point.share),
                point.binding,
                format_count(point.operations_per_s, "FLOP/s") if point.operations else "-",
                format_count(point.intensity, "FLOP/B") if point.bytes_moved else "-",
            )
        )
    return rows


def list_ceiling_rows(profile: Profile) -> list[Row]:
    """This machine's ceilings."""
    rows: list[Row] = [("ceiling", "rate")]
    for name, rate in profile.limits.items():
        is_memory = name in ("read", "copy")
        label = f"memory {name}" if is_memory else f"{name} products"
        rows.append((label, format_count(rate, "B/s" if is_memory else "FLOP/s")))
    return rows


def describe_ceilings(profile: Profile) -> str:
    """The same in one line."""
    return ", ".join(f"{name} {rate}" for name, rate in list_ceiling_rows(profile)[1:])


def list_growth_rows(growth: Growth) -> list[Row]:
    """The typical time at each size, beside the fit."""
    rows: list[Row] = [(growth.axis, "measured", "fit")]
    for size, time_s in zip(growth.fit.sizes, growth.fit.times_s, strict=True):
        fitted = format_duration(growth.fit.predict_s(size))
        rows.append((f"{size:g}", format_duration(time_s), fitted))
    return rows


def describe_fit(growth: Growth) -> str:
    """The exponent with its interval, beside the one that the operations predict."""
    fit = growth.fit
    return (
        f"time = {format_duration(fit.constant_s)} + {format_duration(fit.coefficient_s)} x "
        f"{growth.axis}^{fit.exponent:.2f} (95 % interval {fit.exponent_low:.2f} to "
        f"{fit.exponent_high:.2f}); operations grow as {growth.axis}^"
        f"{growth.predicted_exponent:.2f}"
    )


def list_inference_rows(cycle: InferenceCycle) -> list[Row]:
    """The parts of a request; `INFERENCE_DEFINITIONS` says what each means."""
    gaps = cycle.between_tokens
    parts = (
        ("load", cycle.load),
        ("cold first token", cycle.cold_first_token),
        ("prompt", cycle.prefill),
        ("first token", cycle.first_token),
        ("each output token", cycle.per_output_token),
        ("between tokens", gaps),
        ("  network", cycle.step),
        ("  sampling", cycle.sampling),
        ("  decoding", cycle.decoding),
    )
    return [
        ("part", "median", "p95", "p99"),
        *((name, *_show(times), format_duration(times.percentile_s(99))) for name, times in parts),
    ]


def describe_request(cycle: InferenceCycle) -> str:
    """What was asked, and of which engine."""
    return (
        f"{cycle.engine} engine, a prompt of {cycle.prompt_tokens:,} tokens, "
        f"{cycle.new_tokens:,} new tokens"
    )


def list_batch_rows(cycle: InferenceCycle) -> list[Row]:
    """Tokens a second at each batch size."""
    alone = cycle.tokens_per_s.get(1)
    return [
        ("batch", "tokens/s", "of batch 1"),
        *(
            (f"{rows:,}", format_digits(rate), f"{rate / alone:.2f} x" if alone else "-")
            for rows, rate in sorted(cycle.tokens_per_s.items())
        ),
    ]


def list_sweep_rows(sweep: Sweep) -> list[Row]:
    """The time at each value of a sweep and its speed-up over the first; of workers, efficiency."""
    values = sorted(sweep.samples_s)
    times_s = [median(sweep.samples_s[value]) for value in values]
    rows: list[Row] = [(sweep.name, "median", "speed-up")]
    for value, time_s in zip(values, times_s, strict=True):
        rows.append((f"{value}", format_duration(time_s), f"{times_s[0] / time_s:.2f}"))
    if sweep.fit is None:  # a depth, say: a part of nothing
        return rows
    shares = [times_s[0] * values[0] / (s * n) for n, s in zip(values, times_s, strict=True)]
    return [
        (*row, cell)
        for row, cell in zip(rows, ("efficiency", *map(format_share, shares)), strict=True)
    ]


def describe_amdahl(sweep: Sweep) -> str:
    """The serial fraction with its interval; empty where none was fitted."""
    fit = sweep.fit
    if fit is None:
        return ""
    return (
        f"serial fraction {fit.serial_fraction:.2f} (95 % interval {fit.serial_low:.2f} to "
        f"{fit.serial_high:.2f})"
    )


def _show(times: Durations) -> tuple[str, str]:
    """Median and 95th percentile."""
    return format_duration(times.median_s), format_duration(times.p95_s)
