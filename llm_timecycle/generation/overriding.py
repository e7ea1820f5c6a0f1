"""Settings of `generation`, some replaced: by options, in a prompt loop, or from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.errors import UsageError


def override_settings(
    settings: GenerationSettings,
    given: Mapping[str, Any],
    write_name: Callable[[str], str] = lambda name: name,
) -> GenerationSettings:
    """The settings with those that are given, checked like those of a file.

    Args:
        settings: what holds where nothing is given.
        given: values by name; lists may be any sequence.
        write_name: what the user calls a setting, such as `--top-k`.

    Raises UsageError, a line each, for every name that is none, every value that is wrong, and
    every one that would do nothing because of `beams`.

    >>> override_settings(GenerationSettings(), {"top_k": 5}).top_k
    5
    """
    unknown = [name for name in given if name not in GenerationSettings.model_fields]
    if unknown:
        raise UsageError("\n".join(_explain_unknown(name, write_name) for name in unknown))
    values = {
        name: list(value) if name in ("stop", "ban") and isinstance(value, (tuple, set)) else value
        for name, value in given.items()
    }
    try:
        changed = GenerationSettings.model_validate(settings.model_dump() | values)
    except ValidationError as error:
        wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        lines = [_explain_wrong(name, values.get(name), write_name) for name in wrong]
        raise UsageError("\n".join(lines)) from None
    if idle := _find_idle(changed, given):
        raise UsageError("\n".join(_explain_idle(name, changed, write_name) for name in idle))
    return changed


def _find_idle(settings: GenerationSettings, given: Mapping[str, Any]) -> list[str]:
    """Which of the given settings would do nothing."""
    from llm_timecycle.config.conflicts import DRAWING_KEYS

    if settings.beams == 1:
        return ["length_penalty"] if "length_penalty" in given else []
    return [name for name in given if name in {"temperature", "seed", *DRAWING_KEYS}]


def _explain_unknown(name: str, write_name: Callable[[str], str]) -> str:
    from llm_timecycle.config.spelling import find_nearest

    nearest = find_nearest(name, GenerationSettings.model_fields)
    hint = f"did you mean {write_name(nearest)}?" if nearest else "see the settings of generation"
    return f"{write_name(name)}: there is no such setting; {hint}"


def _explain_wrong(name: str, value: object, write_name: Callable[[str], str]) -> str:
    from llm_timecycle.config.schema import describe_allowed, list_key_schemas

    shown = write_name(name)
    if name in ("stop", "ban") and isinstance(value, list) and "" in value:
        return f"{shown}: received an empty text; expected at least one character"
    if name == "bias" and isinstance(value, Mapping) and "" in value:
        return f"{shown}: received an empty text; expected a token"
    schema = list_key_schemas("generation")[name]
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice["type"] != "null"]
    return f"{shown}: received {_write_value(value)}; expected {describe_allowed(choices[0])}"


def _write_value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "nothing"
    return str(value)


def _explain_idle(name: str, settings: GenerationSettings, write_name: Callable[[str], str]) -> str:
    shown, beams = write_name(name), write_name("beams")
    if settings.beams == 1:
        return f"{shown} would do nothing without a beam search: leave it out, or set {beams}"
    return (
        f"{shown} would do nothing with {beams} {settings.beams}, which searches and does not "
        f"draw: leave it out, or set {beams} to 1"
    )
