"""The files that are made from a template: the model card and the example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_timecycle.exporting.huggingface.markdown import fence


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text that a template of this room gives; nothing in it is escaped.

    Args:
        template: the name of its file.
        values: what it uses; a text of the model goes through the filter `fence`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["fence"] = fence
    return environment.get_template(template).render(values)
