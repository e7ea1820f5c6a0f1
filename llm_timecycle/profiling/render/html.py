"""A profile as one HTML file that needs nothing else: no network, no script, no font.

It forbids itself all loading (`Content-Security-Policy`), so that it can be opened and passed on
without a thought.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.render.html_parts import (
    PAGE_STYLE,
    escape,
    join_parts,
    render_figure,
    render_pair,
    render_paragraph,
    render_section,
    render_table,
    render_terms,
)
from llm_timecycle.profiling.render.pictures import (
    draw_fitted_growth,
    draw_gaps,
    draw_layers,
    draw_losses,
    draw_points,
    draw_speed_ups,
    draw_stages,
    draw_throughput,
    draw_training_cycle,
)
from llm_timecycle.profiling.render.rows import (
    INFERENCE_DEFINITIONS,
    describe_amdahl,
    describe_closure,
    describe_hidden_input,
    describe_request,
    list_batch_rows,
    list_ceiling_rows,
    list_inference_rows,
    list_layer_rows,
    list_roofline_rows,
    list_stage_rows,
    list_sweep_rows,
)
from llm_timecycle.profiling.results import Advice, Growth, Profile, Sweep
from llm_timecycle.system import describe_machine_briefly

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_report(profile: Profile) -> str:
    """The whole page."""
    title = f"{profile.name}: the time cycle"
    return join_parts(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{PAGE_STYLE}</style>",
            "</head>",
            "<body>",
            _render_head(profile),
            "<main>",
            *_render_sections(profile),
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def render_summary(profile: Profile) -> str:
    """The cycle and its stages, for a notebook; the page around it gives the colours."""
    parts = [render_paragraph(f"{profile.name}: {profile.parameters:,} parameters")]
    if profile.training is not None:
        parts += [draw_training_cycle(profile), render_table(list_stage_rows(profile.training))]
        parts.append(render_paragraph(describe_closure(profile.training)))
    if profile.inference is not None:
        parts.append(render_table(list_inference_rows(profile.inference)))
    parts += [render_paragraph(f"{growth.axis}: {growth.explanation}") for growth in profile.growth]
    if profile.advice:
        parts.append(_render_advice(profile))
    return f'<div style="max-width:40rem">{join_parts(parts)}</div>'


def _render_head(profile: Profile) -> str:
    figures = "".join(
        f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>"
        for name, value in _list_key_figures(profile)
    )
    machine = describe_machine_briefly(profile.machine)
    return join_parts(
        [
            "<header>",
            f"<h1>{escape(profile.name)}</h1>",
            render_paragraph(f"{profile.parameters:,} parameters; {machine}", "faint"),
            f'<ul class="figures">{figures}</ul>',
            "</header>",
        ]
    )


def _list_key_figures(profile: Profile) -> Iterator[tuple[str, str]]:
    if (cycle := profile.training) is not None:
        yield "a training step", format_duration(cycle.wall.median_s)
        yield "tokens/s in training", format_digits(cycle.tokens / cycle.wall.median_s)
        yield "closure of the stages", f"{cycle.closure:.3f}"
    if (inference := profile.inference) is not None:
        yield "to the first token, warm", format_duration(inference.first_token.median_s)
        yield "to the first token, cold", format_duration(inference.cold_first_token.median_s)
        yield "each output token", format_duration(inference.per_output_token.median_s)


def _render_sections(profile: Profile) -> Iterator[str]:
    if profile.training is not None:
        yield _render_training(profile)
        if profile.training.layers:
            yield _render_layers(profile)
    if profile.advice:
        yield render_section("What would shorten it", _render_advice(profile))
    if profile.points:
        yield _render_roofline(profile)
    if profile.growth:
        yield _render_growth(profile)
    if profile.inference is not None:
        yield _render_inference(profile)
    if profile.sweeps:
        yield _render_sweeps(profile)
    if curves := _render_curves(profile):
        yield render_section("The run", render_pair(*curves))
    yield _render_circumstances(profile)


def _render_curves(profile: Profile) -> list[str]:
    pictures = {
        "Loss of the run, in nats a token": draw_losses(profile),
        "Throughput of the run": draw_throughput(profile),
    }
    return [render_figure(caption, picture) for caption, picture in pictures.items() if picture]


def _render_training(profile: Profile) -> str:
    cycle = profile.training
    assert cycle is not None
    return render_section(
        "The cycle",
        render_paragraph(
            f"One step takes {cycle.batch_size} x {cycle.sequence_length} = {cycle.tokens:,} "
            "tokens. Times are medians."
        ),
        render_pair(draw_training_cycle(profile), draw_stages(cycle)),
        render_pair(
            join_parts(
                [
                    render_table(list_stage_rows(cycle)),
                    render_paragraph(describe_closure(cycle), "faint"),
                    render_paragraph(describe_hidden_input(cycle), "faint"),
                ]
            ),
            render_figure(
                f"Steps without markers, {len(cycle.wall.samples_s)} of them",
                draw_gaps("Time of a training step", cycle.wall),
            ),
        ),
    )


def _render_layers(profile: Profile) -> str:
    cycle = profile.training
    assert cycle is not None
    return render_section(
        "Layers",
        render_paragraph("Each layer run by itself, forward and backward, at the step's sizes."),
        render_pair(draw_layers(cycle), render_table(list_layer_rows(cycle))),
    )


def _render_roofline(profile: Profile) -> str:
    return render_section(
        "Under this machine's ceilings",
        render_paragraph(
            "No stage can be faster than its operations at the rate of this machine's best matrix "
            "product, or its bytes at the rate of its memory. Above 100 %, bytes stay in a cache."
        ),
        render_pair(draw_points(profile), render_table(list_ceiling_rows(profile))),
        render_table(list_roofline_rows(profile)),
    )


def _render_growth(profile: Profile) -> str:
    return render_section(
        "Growth", render_pair(*(_render_axis(growth) for growth in profile.growth))
    )


def _render_axis(growth: Growth) -> str:
    return join_parts(
        [
            f'<div class="whole"><h3>{escape(growth.axis)}</h3>',
            draw_fitted_growth(growth),
            render_paragraph(growth.explanation),
            "</div>",
        ]
    )


def _render_inference(profile: Profile) -> str:
    cycle = profile.inference
    assert cycle is not None
    batches = render_table(list_batch_rows(cycle)) if cycle.tokens_per_s else ""
    return render_section(
        "Inference",
        render_paragraph(describe_request(cycle)),
        render_pair(
            render_table(list_inference_rows(cycle)) + batches,
            render_figure(
                f"From one token to the next, {len(cycle.between_tokens.samples_s):,} times",
                draw_gaps("Time between tokens", cycle.between_tokens),
            ),
        ),
        render_terms(INFERENCE_DEFINITIONS, "wide"),
    )


def _render_sweeps(profile: Profile) -> str:
    return render_section("Sharing the work", render_pair(*map(_render_sweep, profile.sweeps)))


def _render_sweep(sweep: Sweep) -> str:
    return join_parts(
        [
            f'<div class="whole"><h3>{escape(sweep.name)}</h3>',
            draw_speed_ups(sweep),
            render_table(list_sweep_rows(sweep)),
            render_paragraph(describe_amdahl(sweep), "faint"),
            render_paragraph(sweep.remark),
            "</div>",
        ]
    )


def _render_advice(profile: Profile) -> str:
    return f"<ol>{''.join(_render_one_advice(advice) for advice in profile.advice)}</ol>"


def _render_one_advice(advice: Advice) -> str:
    saving = f" saves {format_duration(advice.saves_s)}" if advice.saves_s > 0 else ""
    changes = " ".join(f"<code>--set {escape(change)}</code>" for change in advice.changes)
    head = f"<b>{escape(advice.title)}</b>{escape(saving)}"
    return f"<li>{head}<br>{escape(advice.reason)}{'<br>' + changes if changes else ''}</li>"


def _render_circumstances(profile: Profile) -> str:
    machine = [(key.replace("_", " "), _show(value)) for key, value in profile.machine.items()]
    settings = join_parts(
        f"<section><h3>{escape(section)}</h3>"
        f"{render_terms((key, _show(value)) for key, value in values.items())}</section>"
        for section, values in profile.settings.model_dump().items()
    )
    return render_section(
        "Measured with",
        render_pair(render_terms(machine), render_terms(profile.versions.items())),
        f'<div class="settings">{settings}</div>',
    )


def _show(value: Any) -> str:
    """A setting or a fact as a word."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show, value)) or "none"
    return str(value)
