"""The cycle as a picture: its four stages in a ring, each with its time."""

from __future__ import annotations

from llm_timecycle.profiling.format import format_duration
from llm_timecycle.profiling.render.svg import (
    LINE_HEIGHT,
    WIDTH,
    choose_colour,
    draw_text,
    make_element,
    wrap_chart,
)

_BOX_WIDTH, _BOX_HEIGHT, _GAP_HEIGHT, _EDGE = 146, 76, 76, 2
_PILL_WIDTH, _PILL_HEIGHT = 78, 44
_RIGHT_BOX = WIDTH - _EDGE - _BOX_WIDTH
_LOWER_BOX = _EDGE + _BOX_HEIGHT + _GAP_HEIGHT
_HEIGHT = _LOWER_BOX + _BOX_HEIGHT + _EDGE


def draw_cycle(
    title: str,
    *,
    input_s: float,
    forward_s: float,
    backward_s: float,
    update_s: float,
    step_s: float,
    token_s: float | None = None,
) -> str:
    """Input processing -> forward pass -> backward pass -> update -> generated output -> again.

    Args:
        input_s to update_s: the seconds of each stage of a training step. step_s: of the whole.
        token_s: seconds of a generated token; None where it was not measured.

    >>> times = {"input_s": 0.01, "forward_s": 0.1, "backward_s": 0.2, "update_s": 0.03}
    >>> picture = draw_cycle("The cycle", **times, step_s=0.34)
    >>> "forward pass" in picture, "100 ms" in picture, "29 % of a step" in picture
    (True, True, True)
    """

    def describe(seconds: float) -> tuple[str, str]:
        share = f"{seconds / step_s:.0%}".replace("%", " %") if step_s > 0 else "0 %"
        return format_duration(seconds), f"{share} of a step"

    token = ("not measured", "") if token_s is None else (format_duration(token_s), "a token")
    boxes = (
        ("input processing", *describe(input_s), _EDGE, _EDGE),
        ("forward pass", *describe(forward_s), _RIGHT_BOX, _EDGE),
        ("backward pass", *describe(backward_s), _RIGHT_BOX, _LOWER_BOX),
        ("generated output", *token, _EDGE, _LOWER_BOX),
    )
    parts = []
    for number, (name, time, note, x, y) in enumerate(boxes):
        parts += _draw_box(x, y, name, time, note, choose_colour(number))
    left, right = _EDGE + _BOX_WIDTH, _RIGHT_BOX
    upper, lower = _EDGE + _BOX_HEIGHT / 2, _LOWER_BOX + _BOX_HEIGHT / 2
    middle, half = WIDTH / 2, _PILL_WIDTH / 2
    parts += _draw_arrow(left, upper, right, upper)
    parts += _draw_arrow(right + _BOX_WIDTH / 2, _EDGE + _BOX_HEIGHT, None, _LOWER_BOX)
    parts += _draw_pill(middle, lower, "update", format_duration(update_s))
    parts += _draw_arrow(right, lower, middle + half, lower)
    parts += _draw_arrow(middle - half, lower, left, lower)
    parts += _draw_arrow(left - _BOX_WIDTH / 2, _LOWER_BOX, None, _EDGE + _BOX_HEIGHT)
    centre = (_EDGE + _BOX_HEIGHT + _LOWER_BOX) / 2
    parts.append(draw_text(middle, centre + 4, f"{format_duration(step_s)} a step", "middle"))
    return wrap_chart(title, _HEIGHT, parts)


def _draw_box(x: float, y: float, name: str, time: str, note: str, colour: str) -> list[str]:
    """A box with three lines."""
    middle, size = x + _BOX_WIDTH / 2, {"width": _BOX_WIDTH, "height": _BOX_HEIGHT, "rx": 8}
    style = f"fill:{colour};stroke:{colour}"
    lines = [
        draw_text(middle, y + 22, name, "middle"),
        draw_text(middle, y + 22 + 1.3 * LINE_HEIGHT, time, "middle", font_weight="bold"),
    ]
    if note:
        lines.append(draw_text(middle, y + 22 + 2.4 * LINE_HEIGHT, note, "middle"))
    box = make_element("rect", x=x, y=y, fill_opacity=0.14, stroke_width=2, style=style, **size)
    return [box, *lines]


def _draw_pill(x: float, y: float, name: str, time: str) -> list[str]:
    """A small box around its middle, on the way from one stage to the next."""
    size = {"width": _PILL_WIDTH, "height": _PILL_HEIGHT, "rx": _PILL_HEIGHT / 2}
    place = {"x": x - _PILL_WIDTH / 2, "y": y - _PILL_HEIGHT / 2}
    return [
        make_element(
            "rect", fill="none", stroke="currentColor", stroke_opacity=0.6, **place, **size
        ),
        draw_text(x, y - 3, name, "middle"),
        draw_text(x, y + 14, time, "middle", font_weight="bold"),
    ]


def _draw_arrow(x1: float, y1: float, x2: float | None, y2: float) -> list[str]:
    """An arrow that stops short of both ends; straight down or up where x2 is None."""
    is_upright = x2 is None
    end = x1 if x2 is None else x2
    forward = 1 if (y2 > y1 if is_upright else end > x1) else -1
    if is_upright:
        line = {"x1": x1, "y1": y1 + 4 * forward, "x2": x1, "y2": y2 - 10 * forward}
        tip = [(x1, y2 - 3 * forward), (x1 - 5, y2 - 12 * forward), (x1 + 5, y2 - 12 * forward)]
    else:
        line = {"x1": x1 + 4 * forward, "y1": y1, "x2": end - 10 * forward, "y2": y2}
        tip = [(end - 3 * forward, y1), (end - 12 * forward, y1 - 5), (end - 12 * forward, y1 + 5)]
    points = " ".join(f"{x:g},{y:g}" for x, y in tip)
    return [
        make_element("line", stroke="currentColor", stroke_width=2, stroke_opacity=0.7, **line),
        make_element("polygon", points=points, fill_opacity=0.7),
    ]
