"""Names at every place where a path is given: refused with one message, or used."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.config.load import read_settings
from llm_timecycle.errors import ConfigError
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]

IMPOSSIBLE = {
    "too long": "a" * 256,
    "too long with a suffix": "a" * 300 + ".txt",
    "too deep": "/".join(["a" * 200] * 25),
    "at the end of what is allowed": "/".join(["a" * 200] * 20),
    "NUL": "a\0b",
    "half a character": "caf\ud800",
    "not UTF-8": "caf\udce9.yaml",
    "empty": "",
}
ODD = ["a" * 255, "a\nb", "\x1b[31m.yaml", " ", "a:b", "*", "[", "~no one", "名.txt", "-", "a/b/c"]

HERE = "tiny.yaml"
PLACES: dict[str, tuple[str, ...]] = {
    "train": ("train", "NAME"),
    "train --resume": ("train", "NAME", "--resume"),
    "train --run": ("train", HERE, "--run", "NAME"),
    "train --from": ("train", HERE, "--from", "NAME"),
    "evaluate": ("evaluate", "NAME"),
    "evaluate --data": ("evaluate", "RUN", "--data", "NAME"),
    "generate": ("generate", "NAME"),
    "generate --prompt-file": ("generate", "RUN", "--prompt-file", "NAME"),
    "generate --prompts": ("generate", "RUN", "--prompts", "NAME", "--output", "out"),
    "generate --output": ("generate", "RUN", "--prompts", HERE, "--output", "NAME"),
    "profile": ("profile", "NAME"),
    "profile --report": ("profile", HERE, "--report", "NAME"),
    "profile --against": ("profile", HERE, "--against", "NAME"),
    "runs list": ("runs", "list", "NAME"),
    "runs show": ("runs", "show", "NAME"),
    "runs compare": ("runs", "compare", "RUN", "NAME"),
    "runs compare --output": ("runs", "compare", "RUN", "demo", "--output", "NAME"),
    "export": ("export", "NAME", "--to", "onnx"),
    "export --output": ("export", "RUN", "--to", "onnx", "--output", "NAME"),
    "config new": ("config", "new", "NAME"),
    "config suggest": ("config", "suggest", "NAME"),
    "config suggest --output": ("config", "suggest", HERE, "--output", "NAME"),
    "config check": ("config", "check", "NAME"),
    "config show": ("config", "show", "NAME"),
    "serve": ("serve", "NAME"),
    "serve --api-key-file": ("serve", "RUN", "--api-key-file", "NAME"),
    "demo --run": ("demo", "--run", "NAME"),
}
READING = [place for place in PLACES if place.split(" ")[-1] not in ("--run", "--report")]
"""The places at which a name that can be used starts nothing long."""


def fill_in(place: str, name: str, run: Path) -> list[str]:
    values = {"NAME": name, "RUN": str(run)}
    return [values.get(word, word) for word in PLACES[place]]


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_no_file_can_have_is_a_mistake_of_usage(
    call: Call, run: Path, tmp_path: Path, place: str
) -> None:
    for case, name in IMPOSSIBLE.items():
        outcome = call(*fill_in(place, name, run))
        assert outcome.exit_code == 2, (case, outcome.stderr)
        assert outcome.stderr.count("Error: ") == 1
        expected = "is empty; expected" if name == "" else "cannot be the name of a file: "
        assert expected in outcome.stderr
        assert len(outcome.stderr) < 600
        assert "\0" not in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == [HERE]


@pytest.mark.parametrize("key", ["train", "valid", "test"])
def test_a_name_in_a_setting_that_no_file_can_have_is_a_mistake_in_the_settings(key: str) -> None:
    for name in IMPOSSIBLE.values():
        with pytest.raises(ConfigError) as caught:
            read_settings("small", [f"data.{key}={name}"])
        assert f"data.{key}: " in str(caught.value)


@pytest.mark.parametrize("place", READING)
def test_an_odd_name_ends_in_no_internal_error(call: Call, run: Path, place: str) -> None:
    for name in ODD:
        outcome = call(*fill_in(place, name, run))
        assert outcome.exit_code in (0, 2, 3, 4, 5), (name, outcome.stderr)
        assert "internal error" not in outcome.stderr


@pytest.fixture
def unfit(tmp_path: Path) -> list[str]:
    """Names of what can be opened and is no file: each is in the directory of `call`."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    return ["pipe", "device", "directory", "socket", "loop"]


TAKES_MORE = {"generate --prompt-file", "generate --prompts", "serve --api-key-file", "runs list"}
"""Streams, or any directory."""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("place", [place for place in READING if place not in TAKES_MORE])
def test_what_is_no_file_is_refused_at_once(
    call: Call, run: Path, unfit: list[str], place: str
) -> None:
    """A pipe that nobody writes to would be waited for, a device would never end."""
    for name in unfit:
        for suffix in ("", ".yaml", ".json"):
            link = Path(f"{name}{suffix}")
            if suffix:
                link.symlink_to(name)
            outcome = call(*fill_in(place, str(link), run))
            assert outcome.exit_code in (2, 3, 4, 5), (name, suffix, outcome.stderr)
            assert outcome.stderr.count("Error: ") == 1
            assert "internal error" not in outcome.stderr
            if suffix:
                link.unlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_text_that_is_no_file_says_what_to_do(call: Call, unfit: list[str]) -> None:
    for name in set(unfit) - {"directory", "loop"}:
        for arguments in (("train", name), ("train", HERE, "--set", f"data.train={name}")):
            outcome = call(*arguments)
            assert outcome.exit_code == 4, outcome.stderr
            assert f"{name} is not a regular file; expected a text file" in outcome.stderr
            assert "Write what a pipe or a device gives to a file" in outcome.stderr
