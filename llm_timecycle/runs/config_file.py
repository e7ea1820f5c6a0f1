"""A run's `config.yaml`, which its owner may edit: what it says, and what may differ.

The manifest has the settings that the run was trained with. `generation`, the paths of the texts,
comments and order may change; any other difference is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.config.dump import NO_COMMENTS, dump_settings, read_value, write_value
from llm_timecycle.config.load import PATH_KEYS, check_sources, read_settings
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import SettingsFile, read_settings_text
from llm_timecycle.errors import ConfigError, RunError
from llm_timecycle.runs.manifest import read_whole
from llm_timecycle.runs.text_paths import shorten_paths

NAME = "config.yaml"
FREE_SECTION = "generation"
MANY_TEXTS = 100
"""From here on, a directory or a glob says better which texts are meant."""


def write_config(run: Path, settings: Settings, comments: Mapping[str, str] = NO_COMMENTS) -> bytes:
    """The content of the `config.yaml` of `run`, the paths of texts relative where that serves.

    Raises:
        ConfigError: it could not be read again, such as the names of too many texts.
    """
    data = shorten_paths(settings.data, run)
    content = dump_settings(settings.model_copy(update={"data": data}), comments).encode()
    file = run / NAME
    try:
        check_sources([SettingsFile(file, content)], str(file))
    except ConfigError as error:
        names = [value for value in (data.train, data.valid, data.test) if isinstance(value, list)]
        advice = (
            ". In place of many texts, name their directory, or a glob such as texts/*.txt"
            if max(map(len, names), default=0) > MANY_TEXTS
            else ""
        )
        raise ConfigError(f"these settings could not be read again: {error}{advice}") from error
    return content


def record_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings that must stay as they are, by section and key, for the manifest."""
    values = settings.model_dump(exclude={FREE_SECTION})
    for path in PATH_KEYS:
        section, _, key = path.partition(".")
        del values[section][key]
    return values


def read_config(run: Path, manifest: Mapping[str, Any]) -> Settings:
    """The settings of a run as its `config.yaml` has them.

    Raises:
        RunError: the file is missing or wrong, or a setting that must stay as it is has changed.
    """
    file = run / NAME
    if "settings" not in manifest or not file.exists():  # made before the manifest had them
        read_whole(run, NAME)
    try:
        settings = read_settings(file).settings
    except ConfigError as error:
        raise RunError(f"the settings of {run} cannot be read: {error}") from error
    coming = (manifest["replacing"].get(NAME) or {}).get("facts", {})  # of a cut-short replacement
    recorded = [each["settings"] for each in (manifest, coming) if "settings" in each]
    changes = [_list_changes(run, settings, each) for each in recorded]
    if changes and all(changes):
        raise RunError(_explain_changes(run, changes[0]))
    return settings


def read_training_texts(run: Path) -> list[str]:
    """The texts that a run was trained on, paths as they are written or absolute.

    Reads one line where `config.yaml` has it as `write_config` wrote it, since a list of runs needs
    nothing more and a whole file takes 30 ms.

    Raises:
        RunError: the file is missing or wrong.
    """
    file = run / NAME
    try:
        value = _find_training_texts(read_settings_text(file))
        if value is None:
            value = read_settings(file).settings.data.train
    except ConfigError as error:
        raise RunError(f"the settings of {run} cannot be read: {error}") from error
    return [value] if isinstance(value, str) else value


def _find_training_texts(text: str) -> str | list[str] | None:
    """The value of `data.train`; None unless it is written as `write_value` writes it."""
    lines = text.splitlines()
    section = lines[lines.index("data:") + 1 :] if "data:" in lines else []
    for line in section:
        if line[:1] not in ("", " ", "#"):  # the next section
            break
        if line.startswith("  train: "):
            value = read_value(line.removeprefix("  train: "))
            is_list = isinstance(value, list) and value and all(isinstance(x, str) for x in value)
            return value if is_list or isinstance(value, str) else None
    return None


def _list_changes(run: Path, settings: Settings, recorded: Any) -> dict[str, tuple[Any, Any]]:
    """The settings that differ from those recorded, by dotted path: the old and the new value.

    What was not a setting yet when the run was trained has its default.
    """
    changes = {}
    for section, values in record_settings(settings).items():
        before = recorded.get(section) if isinstance(recorded, dict) else None
        if not isinstance(before, dict):
            raise RunError(f"the manifest of {run} is damaged in its entry for the settings")
        defaults = getattr(Settings(), section).model_dump()
        for key, value in values.items():
            old = before.get(key, defaults[key])
            if old != value:
                changes[f"{section}.{key}"] = (old, value)
    return changes


def _explain_changes(run: Path, changes: Mapping[str, tuple[Any, Any]]) -> str:
    file, name = run / NAME, quote(str(run))
    lines = [
        f"  {path}: {write_value(old)} when the run was trained, {write_value(new)} now"
        for path, (old, new) in changes.items()
    ]
    longer = [path for path in changes if path in ("training.epochs", "training.max_steps")]
    return "\n".join(
        [
            f"{file} was edited. In a run, what is under {FREE_SECTION} may change, and where the "
            f"texts are; but these settings belong to its weights:",
            *lines,
            "Put the old values back.",
            *(
                f"To train longer after that: llm-timecycle train {name} --resume --set "
                f"{path}={write_value(changes[path][1])}"
                for path in longer
            ),
            f"To train a new run with the new values: llm-timecycle train {quote(str(file))} "
            f"--run {quote(f'{run}-new')}",
        ]
    )
