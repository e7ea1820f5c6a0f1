"""Settings of `generation` with some replaced: by options, by commands, or by arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from llm_timecycle.arguments import to_plain, write_received
from llm_timecycle.config.sections import find_value_type
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.config.validation import list_sampling_keys
from llm_timecycle.errors import UsageError
from llm_timecycle.parsing import is_unicode
from llm_timecycle.text.tokenizer.pipelines import UNKNOWN

SWITCHES = {
    "cache_theta": "cache",
    "length_penalty": "beams",
    "dry_base": "dry_multiplier",
    "dry_allowed_length": "dry_multiplier",
    "dry_sequence_breakers": "dry_multiplier",
    "xtc_threshold": "xtc_probability",
}
"""Settings that have no effect until another one differs from its default."""


def override_settings(
    settings: GenerationSettings,
    given: Mapping[str, Any],
    write_name: Callable[[str], str] = lambda name: name,
    write_value: Callable[[object], str] = write_received,
    *,
    allows_idle: bool = False,
) -> GenerationSettings:
    """The settings, with the given ones replaced and checked as those of a file are.

    Args:
        settings: the values of what is not given.
        given: values by name; lists may be tuples or sets, and numbers may be NumPy's.
        write_name: how the user writes the name of a setting, such as `--top-k`.
        write_value: how the user writes a value, or a number of `bias`.
        allows_idle: whether values may have no effect because of the others.

    Raises:
        UsageError: names that do not exist, values that are wrong, or values that have no effect;
            one line each.

    >>> override_settings(GenerationSettings(), {"top_k": 5}).top_k
    5
    """
    unknown = [name for name in given if name not in GenerationSettings.model_fields]
    if unknown:
        raise UsageError("\n".join(_explain_unknown(name, write_name) for name in unknown))
    values = {name: _to_plain(name, value) for name, value in given.items()}
    try:
        changed = GenerationSettings.model_validate(settings.model_dump() | values)
    except ValidationError as error:
        wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
        lines = [_explain_wrong(name, values.get(name), write_name, write_value) for name in wrong]
        raise UsageError("\n".join(lines)) from None
    if not allows_idle and (idle := _find_idle(changed, given)):
        raise UsageError("\n".join(_explain_idle(name, changed, write_name) for name in idle))
    return changed


def _to_plain(name: str, value: object) -> object:
    """A value as the settings take it; where that is a list, a set does too."""
    is_list = find_value_type("generation", name) is list
    return to_plain(list(value) if is_list and isinstance(value, set) else value)


def _find_idle(settings: GenerationSettings, given: Mapping[str, Any]) -> list[str]:
    """The given settings that have no effect."""
    has_beams = settings.beams > 1
    idle = set(list_sampling_keys(GenerationSettings) if has_beams else [])
    idle.update(name for name, switch in SWITCHES.items() if _is_default(settings, switch))
    if UNKNOWN in settings.bias and not settings.allow_unknown:
        idle.add("bias")
    return [name for name in given if name in idle]


def _is_default(settings: GenerationSettings, name: str) -> bool:
    return bool(getattr(settings, name) == GenerationSettings.model_fields[name].default)


def _explain_unknown(name: str, write_name: Callable[[str], str]) -> str:
    from llm_timecycle.config.spelling import find_nearest

    nearest = find_nearest(name, GenerationSettings.model_fields)
    hint = f"did you mean {write_name(nearest)}?" if nearest else "see the settings of generation"
    return f"{write_name(name)}: there is no such setting; {hint}"


def _explain_wrong(
    name: str,
    value: object,
    write_name: Callable[[str], str],
    write_value: Callable[[object], str],
) -> str:
    from llm_timecycle.config.json_schema import describe_allowed, list_key_schemas

    shown = write_name(name)
    items = value if isinstance(value, (list, Mapping)) else []
    texts = [item for item in items if isinstance(item, str)]
    if "" in texts:
        return f"{shown}: received an empty text; expected at least one character"
    if broken := [text for text in texts if not is_unicode(text)]:
        return f"{shown}: received {broken[0]!r}, which is not UTF-8; expected text in UTF-8"
    schema = list_key_schemas("generation")[name]
    received = write_value(value)
    if isinstance(value, Mapping):
        pairs = (f"{key}={write_value(item)}" for key, item in value.items())
        received = ", ".join(pairs) or "nothing"
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice["type"] != "null"]
    return f"{shown}: received {received}; expected {describe_allowed(choices[0])}"


def _explain_idle(name: str, settings: GenerationSettings, write_name: Callable[[str], str]) -> str:
    shown = write_name(name)
    if name == "bias":
        return (
            f"{shown} for {UNKNOWN} has no effect, because {UNKNOWN} is never generated: leave it "
            f"out, or set {write_name('allow_unknown')}"
        )
    if settings.beams > 1:
        beams = write_name("beams")
        return (
            f"{shown} has no effect with {beams} {settings.beams}, because a beam search does not "
            f"sample: leave it out, or set {beams} to 1"
        )
    switch = SWITCHES[name]
    named = {"beams": "a beam search", "cache": "a cache"}
    needed = named.get(switch, switch.split("_")[0].upper())
    return f"{shown} has no effect without {needed}: leave it out, or set {write_name(switch)}"
