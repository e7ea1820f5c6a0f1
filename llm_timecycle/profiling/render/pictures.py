"""The pictures of a profile: what of its figures goes into which chart.

Each gives an empty text where the profile holds nothing to draw.
"""

from __future__ import annotations

from statistics import median

from llm_timecycle.profiling.format import format_count, format_share
from llm_timecycle.profiling.render.charts import (
    Bar,
    Curve,
    draw_curves,
    draw_latency_histogram,
    draw_stage_bars,
)
from llm_timecycle.profiling.render.cycle_diagram import draw_cycle
from llm_timecycle.profiling.render.log_charts import draw_growth, draw_roofline
from llm_timecycle.profiling.render.rows import sum_layer
from llm_timecycle.profiling.results import (
    TRAINING_STAGES,
    Durations,
    Growth,
    Profile,
    Sweep,
    TrainingCycle,
)

_LOSSES = (("train_loss_nats", "training"), ("valid_loss_nats", "validation"))


def draw_training_cycle(profile: Profile) -> str:
    """The four stages in a ring."""
    cycle, inference = profile.training, profile.inference
    if cycle is None:
        return ""
    times_s = {stage: times.median_s for stage, times in cycle.stages.items()}
    return draw_cycle(
        f"The time cycle of {profile.name}",
        input_s=times_s["input"],
        forward_s=times_s["forward"],
        backward_s=times_s["backward"],
        update_s=times_s["update"],
        step_s=cycle.sum_s,
        token_s=None if inference is None else inference.per_output_token.median_s,
    )


def draw_stages(cycle: TrainingCycle) -> str:
    """A bar for each stage."""
    bars = [
        Bar(stage, times.median_s, format_share(cycle.share(stage)))
        for stage, times in cycle.stages.items()
    ]
    return draw_stage_bars("Stages of a training step", bars)


def draw_layers(cycle: TrainingCycle) -> str:
    """A bar for each layer, both passes together."""
    seconds = {layer: sum_layer(passes) for layer, passes in cycle.layers.items()}
    total_s = sum(seconds.values()) or 1.0
    bars = [Bar(layer, s, format_share(s / total_s)) for layer, s in seconds.items()]
    return draw_stage_bars("Layers of a training step", bars) if bars else ""


def draw_gaps(title: str, times: Durations) -> str:
    """How often each time was seen."""
    return draw_latency_histogram(title, times.samples_s) if times.samples_s else ""


def draw_points(profile: Profile) -> str:
    """The roofline with the stages; the layers lie too close together to be told apart there."""
    stages = [point for point in profile.points if point.name in TRAINING_STAGES]
    return draw_roofline("Roofline", stages) if stages else ""


def draw_fitted_growth(growth: Growth) -> str:
    """The timings along an axis, their fit, and what the operations alone would give."""
    title = f"Growth of the time along {growth.axis}"
    return draw_growth(title, growth.fit, growth.samples_s, growth.axis, growth.counts)


def draw_speed_ups(sweep: Sweep) -> str:
    """The speed-up at each value, and Amdahl's law where it was fitted; none for a lone value."""
    values = sorted(sweep.samples_s)
    if len(values) < 2:
        return ""
    times_s = [median(sweep.samples_s[value]) for value in values]
    curves = [Curve("measured", values, [times_s[0] / time_s for time_s in times_s])]
    if sweep.fit is not None:
        law = [sweep.fit.predict_speed_up(value) for value in values]
        curves.append(Curve("Amdahl's law, fitted", values, law))
    return draw_curves(
        f"Speed-up by {sweep.name}", curves, sweep.name, "speed-up", starts_at_zero=True
    )


def draw_losses(profile: Profile) -> str:
    """The losses of a run over its steps."""
    curves = [_make_curve(profile, key, label) for key, label in _LOSSES]
    shown = [curve for curve in curves if len(curve.x)]
    return draw_curves("Loss of the run", shown, "step", "nats a token") if shown else ""


def draw_throughput(profile: Profile) -> str:
    """Tokens a second of a run over its steps."""
    curve = _make_curve(profile, "tokens_per_s", "tokens/s")
    if not len(curve.x):
        return ""
    return draw_curves(
        "Throughput of the run",
        [curve],
        "step",
        "tokens/s",
        starts_at_zero=True,
        format_y=format_count,
    )


def _make_curve(profile: Profile, key: str, label: str) -> Curve:
    """A column of the history, where it has a value."""
    rows = [row for row in profile.history if key in row and "step" in row]
    return Curve(label, [row["step"] for row in rows], [row[key] for row in rows])
