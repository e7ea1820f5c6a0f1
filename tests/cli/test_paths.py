"""Names at every place where a path is given: refused with one message, or used."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.comparing.listing import runs
from llm_timecycle.config.load import read_settings
from llm_timecycle.config.locate import find_run, find_settings_file, is_text, names_text
from llm_timecycle.errors import ConfigError, UsageError
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


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that may not be searched, by root either; `link` is to lead into it."""
    place = tmp_path / "locked"
    place.mkdir()
    for name in ("stat", "lstat"):
        look_up = getattr(os, name)

        def look_up_unless_locked(path: Any, *args: Any, look_up: Any = look_up, **kw: Any) -> Any:
            where = Path() if isinstance(path, int) else Path.cwd() / path
            if place in where.parents or "link" in where.parts:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return look_up(path, *args, **kw)

        monkeypatch.setattr(os, name, look_up_unless_locked)
    return place


@pytest.mark.parametrize("place", PLACES)
def test_a_path_that_cannot_be_reached_is_a_mistake_of_usage(
    call: Call, run: Path, locked: Path, place: str
) -> None:
    for name in ("locked", "locked/a.txt", "locked/a/b.yaml", str(locked / "config.yaml")):
        outcome = call(*fill_in(place, name, run))
        assert outcome.exit_code == 2, outcome.stderr
        directory = locked if name.startswith("/") else "locked"
        assert f"no permission to search the directory {directory}. Allow" in outcome.stderr


def test_a_path_that_cannot_be_reached_is_refused_in_python(locked: Path) -> None:
    for use in (find_settings_file, find_run, names_text, partial(is_text, resume=False), runs):
        with pytest.raises(UsageError, match=r"to search the directory .*/locked\. Allow"):
            use(locked / "a")
    with pytest.raises(ConfigError, match=r"data\.train: .* to search the directory .*/locked\. A"):
        read_settings("small", [f"data.train={locked}/*.txt"])


def test_a_run_that_cannot_be_reached_does_not_end_the_list(
    call: Call, tmp_path: Path, run: Path, locked: Path
) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all/link").symlink_to(locked / "a")
    (tmp_path / "all/b").symlink_to(run)
    outcome = call("runs", "list", "all")
    assert (outcome.exit_code, "all/link" in outcome.stderr) == (0, True)
    assert "\nb " in outcome.stdout


def test_a_permission_that_is_missing_elsewhere_is_no_internal_error(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a/b")

    monkeypatch.setattr("llm_timecycle.cli.runs.read_details", refuse)
    outcome = call("runs", "show", run)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: a/b: Permission denied: check its permissions")


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


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
@pytest.mark.parametrize(
    "arguments",
    [
        ("profile", HERE, "--report"),
        ("config", "new", "--force"),
        ("config", "suggest", "sample-english", "--force", "--output"),
    ],
    ids=" ".join,
)
def test_a_file_takes_the_place_of_no_pipe_or_device(
    call: Call, unfit: list[str], arguments: tuple[str, ...]
) -> None:
    """Standard output is a regular file where it is redirected to one, as it is here."""
    Path("fd").symlink_to("/proc/self/fd")
    with Path("redirected").open("wb") as file:
        Path("output").symlink_to(f"fd/{file.fileno()}")
        Path("link").symlink_to("output")
        for name in ("pipe", "device", "socket", "output", "link"):
            before = os.lstat(name)
            outcome = call(*arguments, name)
            assert outcome.exit_code == 2
            assert f"{name} is not a regular file; expected a file" in outcome.stderr
            assert os.lstat(name).st_ino == before.st_ino


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_text_that_is_no_file_says_what_to_do(call: Call, unfit: list[str]) -> None:
    for name in set(unfit) - {"directory", "loop"}:
        for arguments in (("train", name), ("train", HERE, "--set", f"data.train={name}")):
            outcome = call(*arguments)
            assert outcome.exit_code == 4, outcome.stderr
            assert f"{name} is not a regular file; expected a text file" in outcome.stderr
            assert "Write what a pipe or a device gives to a file" in outcome.stderr
