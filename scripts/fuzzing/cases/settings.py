"""Settings files: shipped ones with lines, keys, values and YAML syntax changed; overrides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.commands import call_command
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import ODD_NUMBERS, ODD_TEXTS, change_text, draw_text, mutate_bytes
from fuzzing.places import replace_path

from llm_timecycle.config.dump import dump_settings, render_commented
from llm_timecycle.config.load import read_settings
from llm_timecycle.config.locate import (
    find_shipped_directory,
    list_shipped_names,
    list_shipped_runs,
)
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes

KEYS = [f"{section}.{key}" for section, keys in list_section_keys().items() for key in keys]
LINE = re.compile(r"^(\s*)([\w-]+):(\s*)(.*)$")
SYNTAX = (
    *("&a", "*a", "&a 1", "!!python/object/apply:os.system [id]", "!!int 3", "!tag", "!", "<<: *a"),
    *(
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "{a: [",
        ", ",
        "|",
        ">",
        "|2-",
        "'",
        '"',
        "#",
        " #",
        "%",
    ),
    *("---", "...", "%YAML 1.1", "%TAG ! tag:x,2000:", "\t", "@", "`", "=", "~", "\\", "：", "，"),
    *(
        '"\\uD800"',
        '"\\x00"',
        '"\\U00110000"',
        '"\\',
        "'it''s'",
        "0o17",
        "0x1F",
        "1e3",
        ".inf",
        ".nan",
    ),
    *(
        "1_000",
        "1:30",
        "2001-01-01",
        "yes",
        "NO",
        "on",
        "True",
        "NULL",
        "+5",
        "-.5e-3",
        "0b101",
        "٣",
    ),
)


def prepare(world: Path) -> MakeAttempt:
    """The texts of all shipped settings, and of the commented form that one starts from."""
    files = [find_shipped_directory() / f"{name}.yaml" for name in list_shipped_names()]
    files += [run / "config.yaml" for run in list_shipped_runs().values()]
    texts = [file.read_bytes() for file in files]
    texts += [render_commented(Settings()).encode(), b"", b"training:\n  epochs: 2\n"]

    def make(draw: Random, place: Path) -> Attempt:
        file = place / draw.choice(["my.yaml"] * 8 + ["my.txt", "Mein Text.yml"])
        content, what = mutate_yaml(draw, draw.choice(texts))
        file.write_bytes(content)
        if draw.random() < 0.02:
            what = replace_path(draw, file, place / "other")
        overrides = [draw_override(draw) for _ in range(draw.choice([0, 0, 0, 1, 2]))]
        what = f"{what}; overrides {overrides!r}"[:2000]
        if draw.random() < 0.25:
            return Attempt(f"{what}; config check and show", _check_and_show(file, overrides))
        return Attempt(
            what,
            lambda: read_settings(file, overrides).settings,
            lambda settings: check(settings, file, is_alone=not overrides),
        )

    return make


def mutate_yaml(draw: Random, content: bytes) -> tuple[bytes, str]:
    """Another settings file, and what was done to it."""
    if draw.random() < 0.1:
        return mutate_bytes(draw, content)
    lines = content.decode().split("\n")
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        name = draw.choice([*CHANGES])
        lines = CHANGES[name](draw, lines) or [""]
        done.append(name)
    way = draw.choices(
        ["utf-8", "utf-8-sig", "utf-16", "latin-1", "CR LF", "CR"], [30, 1, 1, 1, 1, 1]
    )[0]
    text = "\n".join(lines)
    if "CR" in way:
        text, way = text.replace("\n", {"CR": "\r", "CR LF": "\r\n"}[way]), "utf-8"
    return text.encode(way, "surrogatepass" if "utf" in way else "replace"), ", ".join(done)


def draw_value(draw: Random) -> str:
    """A value as it might be written."""
    return draw.choice(
        [
            lambda: str(draw.choice(ODD_NUMBERS)),
            lambda: str(draw.randint(-3, 70_000)),
            lambda: f"{draw.uniform(-1, 2):.3g}",
            lambda: draw.choice(ODD_TEXTS),
            lambda: draw.choice(SYNTAX),
            lambda: draw.choice(["null", "true", "false", "[]", "{}", "[a, b]", "{a: 1}", "adam"]),
            lambda: "9" * draw.choice([20, 90, 400, 5000]),
            lambda: "[" * draw.choice([5, 11, 2000]) + "]" * draw.choice([0, 5, 11, 2000]),
            lambda: f'"{draw_text(draw)}"',
            lambda: draw_text(draw),
        ]
    )()


def draw_override(draw: Random) -> str:
    """KEY=VALUE, or something like it."""
    key = draw.choice(KEYS)
    if draw.random() < 0.2:
        key = change_text(draw, key)
    return f"{key}{draw.choice(['='] * 12 + ['', ' = ', ':', '=='])}{draw_value(draw)}"


def _find_setting(draw: Random, lines: list[str]) -> int:
    """The place of a line with a key; any line where there is none."""
    places = [place for place, line in enumerate(lines) if LINE.match(line)]
    return draw.choice(places or range(len(lines)))


def _change_value(draw: Random, lines: list[str]) -> list[str]:
    at = _find_setting(draw, lines)
    if match := LINE.match(lines[at]):
        lines[at] = f"{match[1]}{match[2]}:{match[3]}{draw_value(draw)}"
    return lines


def _change_key(draw: Random, lines: list[str]) -> list[str]:
    at = _find_setting(draw, lines)
    if match := LINE.match(lines[at]):
        key = draw.choice([draw.choice(KEYS).split(".")[1], change_text(draw, match[2])])
        lines[at] = f"{match[1]}{key}:{match[3]}{match[4]}"
    return lines


def _change_line(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randrange(len(lines))
    lines[at] = change_text(draw, lines[at])
    return lines


def _insert_syntax(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randrange(len(lines))
    place = draw.randint(0, len(lines[at]))
    lines[at] = lines[at][:place] + draw.choice(SYNTAX) + lines[at][place:]
    return lines


def _change_indent(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randrange(len(lines))
    lines[at] = " " * draw.choice([0, 1, 2, 3, 4, 40]) + lines[at].strip()
    return lines


def _move(draw: Random, lines: list[str]) -> list[str]:
    line = lines.pop(draw.randrange(len(lines)))
    lines.insert(draw.randint(0, len(lines)), line)
    return lines


def _repeat(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randrange(len(lines))
    times = draw.choices([1, 2, 400, 12_000], [20, 10, 2, 1])[0]
    return lines[: at + 1] + [lines[at]] * times + lines[at + 1 :]


def _leave_out(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randrange(len(lines))
    return lines[:at] + lines[at + draw.randint(1, 5) :]


def _add(draw: Random, lines: list[str]) -> list[str]:
    at = draw.randint(0, len(lines))
    section, key = draw.choice(KEYS).split(".")
    new = draw.choice(
        [
            [f"  {key}: {draw_value(draw)}"],
            [f"{section}:", f"  {key}: {draw_value(draw)}"],
            [f"{section}: {draw_value(draw)}"],
            ["base: &base", "  epochs: 3", "training:", "  <<: *base"],
            [f"? {draw_value(draw)}", f": {draw_value(draw)}"],
            ["---"],
            ["a: " * draw.choice([1, 20, 3000])],
            ["- " * draw.choice([1, 20, 3000])],
            [f"{'  ' * depth}a:" for depth in range(draw.choice([5, 30, 900]))],
            [draw_text(draw)],
        ]
    )
    return lines[:at] + new + lines[at:]


CHANGES: dict[str, Callable[[Random, list[str]], list[str]]] = {
    "a value": _change_value,
    "another value": _change_value,
    "a key": _change_key,
    "a line": _change_line,
    "syntax": _insert_syntax,
    "an indent": _change_indent,
    "a line moved": _move,
    "a line repeated": _repeat,
    "lines left out": _leave_out,
    "lines added": _add,
}


def _check_and_show(file: Path, overrides: list[str]) -> Callable[[], Any]:
    """The commands that read a settings file: the second one must print what it read."""

    def call() -> None:
        sets = [word for each in overrides for word in ("--set", each)]
        shown = call_command(["config", "show", *sets, "--", str(file)])
        if shown.output != dump_settings(read_settings(file, overrides).settings):
            raise Wrong("config show prints other settings than those that were read")
        call_command(["config", "check", "--", str(file)])

    return call


def check(settings: Settings, file: Path, is_alone: bool) -> None:
    """Accepted settings are those of the file, and come back from what is written of them."""
    compute_parameter_shapes(settings.model, settings.tokenizer.vocab_size)
    again = file.with_name("again.yaml")
    again.write_text(dump_settings(settings), encoding="utf-8")
    if read_settings(again).settings != settings:
        raise Wrong("what is written of the settings gives others")
    again.unlink()
    if is_alone:
        _compare_numbers(settings, file.read_bytes())


def _compare_numbers(settings: Settings, content: bytes) -> None:
    """Numbers and switches are what another reader of YAML finds in the file."""
    from ruamel.yaml import YAML

    found = YAML(typ="safe", pure=True).load(content.decode("utf-8-sig")) or {}
    for section, values in found.items():
        for key, value in (values or {}).items():
            ours = getattr(getattr(settings, section), key)
            if isinstance(ours, (bool, int, float)) and (
                isinstance(ours, bool) != isinstance(value, bool) or ours != value
            ):
                raise Wrong(f"{section}.{key} is {value!r} in the file, and {ours!r} was read")
