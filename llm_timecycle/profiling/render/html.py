"""A profile as one HTML file that needs nothing else: no network, no script, no font.

It forbids itself all loading (`Content-Security-Policy`), so it is safe to open and to pass on.
`report.html.j2` is the page, `report.css` its style, `parts.html.j2` what a notebook shows too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_timecycle.errors import UsageError
from llm_timecycle.files import explain_os_error, is_replaceable, write_durably
from llm_timecycle.profiling.format import format_digits, format_duration
from llm_timecycle.profiling.render import rows
from llm_timecycle.profiling.render.rows import Row
from llm_timecycle.profiling.results import Profile
from llm_timecycle.system import describe_machine_briefly

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_report(profile: Profile) -> str:
    """The whole page."""
    return _render("report.html.j2", profile)


def render_summary(profile: Profile) -> str:
    """The cycle, its stages and suggestions, for a notebook, which gives the colours."""
    return _render("summary.html.j2", profile)


def render_table(table: Sequence[Row]) -> str:
    """A table whose first row is its heading.

    >>> "<td>a &lt; b</td>" in render_table([("stage", "time"), ("a < b", "1 s")])
    True
    """
    parts: Any = _make_environment().get_template("parts.html.j2").module
    return str(parts.table(table))


def check_report_path(report: str, example: str = "profile.html") -> Path:
    """The path of a report, if one can be written there; an older one is replaced.

    Args:
        report: the path. example: a good one, for the message.

    Raises:
        UsageError: it is empty, or there is something else than a file, or nothing can be written
            there.
    """
    path = Path(report)
    if not report or path.is_dir():
        found = f"{report} is a directory" if report else "the path is empty"
        raise UsageError(f"{found}; expected a file such as {example}")
    if not is_replaceable(path):
        raise UsageError(f"{report} is not a regular file; expected a file such as {example}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}: create it or choose another path")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"{path}: {explain_os_error(error)}") from error
    return path


def save_report(page: str, path: Path) -> None:
    """Write a page to `path`, whole or not at all.

    Raises:
        UsageError: it cannot be written any more.
    """
    try:
        write_durably(path, page.encode())
    except OSError as error:
        raise UsageError(f"{path}: {explain_os_error(error)}") from error


def _render(template: str, profile: Profile) -> str:
    from markupsafe import Markup

    from llm_timecycle.profiling.render.chart_style import render_svg
    from llm_timecycle.profiling.render.charts import list_charts

    charts = list_charts(profile)

    def chart(name: str) -> Markup:
        """A chart as markup; empty where the profile has no figures for it."""
        if name not in charts:
            return Markup()
        return Markup(render_svg(charts[name].draw(), name, charts[name].title))

    return (
        _make_environment()
        .get_template(template)
        .render(
            profile=profile,
            cycle=profile.training,
            inference=profile.inference,
            chart=chart,
            charts=charts,
            policy=_POLICY,
            machine=describe_machine_briefly(profile.machine),
            machine_facts=[(key.replace("_", " "), x) for key, x in profile.machine.items()],
            key_figures=list(_list_key_figures(profile)),
        )
    )


def _list_key_figures(profile: Profile) -> Iterator[tuple[str, str]]:
    if (cycle := profile.training) is not None:
        yield "a training step", format_duration(cycle.wall.median_s)
        yield "tokens/s in training", format_digits(cycle.tokens / cycle.wall.median_s)
        yield "closure of the stages", f"{cycle.closure:.3f}"
    if (inference := profile.inference) is not None:
        yield "TTFT, warm", format_duration(inference.first_token.median_s)
        yield "TTFT, cold", format_duration(inference.cold_first_token.median_s)
        yield "TPOT", format_duration(inference.per_output_token.median_s)


@cache
def _make_environment() -> Environment:
    """Templates beside this file; everything that a profile holds is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(duration=format_duration, show=_show)
    environment.globals["rows"] = rows
    return environment


def _show(value: Any) -> str:
    """A setting or a fact in words."""
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_show, value)) or "none"
    return str(value)
