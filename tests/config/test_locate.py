"""A settings file or a run is found by path or name, and its text is validated on load."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from llm_timecycle.config import sources
from llm_timecycle.config.load import read_settings
from llm_timecycle.config.locate import (
    find_run,
    find_settings_file,
    is_text,
    list_shipped_runs,
    names_text,
)
from llm_timecycle.config.sources import MAX_SETTINGS_BYTES
from llm_timecycle.errors import ConfigError, UsageError


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bare_name_is_a_shipped_file():
    assert read_settings("section5").name == "section5"


def test_directory_of_the_same_name_does_not_hide_a_shipped_file():
    Path("small").mkdir()
    assert read_settings("small").path.name == "small.yaml"


def test_own_file_comes_before_a_shipped_one():
    Path("small").write_text("training: {epochs: 7}")
    assert read_settings("small").settings.training.epochs == 7


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("sectoin5", ["sectoin5", "mean section5?", "char, chinese, section5, small"]),
        ("zzzzzz", ["no settings named zzzzzz", "section5"]),
        ("my", ["no settings named my", "mean my.yaml?"]),
        ("mi.yaml", ["no file mi.yaml", "mean my.yaml?"]),
        ("small.yaml", ["no file small.yaml", "use the name: small"]),
        ("gone/my.yaml", ["no file gone/my.yaml", "no directory gone"]),
        ("novel.yaml", ["no file novel.yaml", "llm-timecycle config new novel.yaml"]),
        ("my novel.yaml", ["llm-timecycle config new 'my novel.yaml'"]),
        ("texts", ["texts is a directory", "settings file (YAML)"]),
        ("run", ["run is a run directory", "run/config.yaml", "llm-timecycle train run --resume"]),
        ("", ["the name is empty", "settings file"]),
    ],
)
def test_what_cannot_be_found(source, parts):
    if source != "my novel.yaml":
        Path("my.yaml").write_text("{}")
    Path("texts").mkdir()
    Path("run").mkdir()
    Path("run/config.yaml").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        find_settings_file(source)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("source", "run"),
    [
        ("run", "run"),  # a directory
        ("run/config.yaml", "run"),  # a run's own settings
        ("gone/run", "gone/run"),  # missing, and not like the name of settings
        ("small", None),
        ("demo", list_shipped_runs()["demo"]),
        ("my.yaml", None),
        ("gone/my.yaml", None),
        ("gone", None),
        ("other/config.yaml", None),  # no manifest beside it
    ],
)
def test_a_run_or_settings(source, run):
    Path("my.yaml").write_text("{}")
    for directory in ("run", "other"):
        Path(directory).mkdir()
        Path(directory, "config.yaml").write_text("{}")
    Path("run/manifest.json").write_text("{}")
    assert find_run(source) == (None if run is None else Path(run))


def test_shipped_files_inside_an_installed_package(tmp_path):
    repository = Path(__file__).parents[2]
    shutil.copytree(repository / "llm_timecycle", tmp_path / "llm_timecycle")
    shutil.copytree(repository / "configs", tmp_path / "llm_timecycle" / "configs")
    finished = subprocess.run(
        [sys.executable, "-m", "llm_timecycle", "config", "check", "small"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.startswith(f"OK: {tmp_path}/llm_timecycle/configs/small.yaml\n")


@pytest.mark.parametrize(
    "content", [b"Once upon a time", b"He said: no: never", b"\x1f\x8b\x08\x00", b"- a list"]
)
def test_a_text_in_place_of_settings(content):
    Path("my novel.txt").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_settings("my novel.txt")
    assert "llm-timecycle train 'my novel.txt'" in str(caught.value)
    Path("my.yaml").write_bytes(content)  # named as settings: only what is wrong with them
    with pytest.raises(ConfigError) as caught:
        read_settings("my.yaml")
    assert "text to train on" not in str(caught.value)


def test_an_empty_text_is_not_to_be_overwritten():
    Path("novel.txt").touch()
    with pytest.raises(ConfigError, match=r"novel\.txt holds no settings$"):
        read_settings("novel.txt")


def test_not_utf_8(refuse):
    message = refuse(b"a: 1\nb: caf\xe9\n")
    assert "my.yaml is not UTF-8" in message
    assert "offset 11" in message


def test_too_large(refuse):
    message = refuse(b"#" * (MAX_SETTINGS_BYTES + 1))
    assert message.startswith("my.yaml is larger than 1 MB")


def test_unreadable(monkeypatch):
    Path("my.yaml").write_text("{}")

    def fail(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sources, "read_regular", fail)
    with pytest.raises(ConfigError, match=r"my\.yaml cannot be read: Permission denied"):
        read_settings("my.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("name", ["a.yaml", "a"])
def test_what_is_no_file_is_no_settings_file(name):
    """A pipe that nobody writes to is not waited for, and a device is not read."""
    os.mkfifo(name)
    Path(f"link-{name}").symlink_to("/dev/zero")
    for unfit in (name, f"link-{name}"):
        with pytest.raises(ConfigError, match="is not a regular file; expected a settings file"):
            read_settings(unfit)
        assert names_text(unfit) is (name == "a")


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="needs Linux")
def test_a_file_of_the_system_that_says_it_is_empty_is_not_read():
    assert names_text("/proc/self/pagemap")
    with pytest.raises(ConfigError, match="holds no settings"):
        read_settings("/proc/self/pagemap")


@pytest.mark.parametrize("name", ["a" * 256, "a\0b", "\udce9"])
def test_a_name_that_no_file_can_have_is_refused(name):
    for function in (names_text, find_run, find_settings_file, partial(is_text, resume=False)):
        with pytest.raises(UsageError, match="cannot be the name of a file"):
            function(name)


@pytest.mark.parametrize(
    ("source", "is_text"),
    [
        ("novel.txt", True),
        ("novel", True),
        ("page.md", True),
        ("broken.bin", True),
        ("texts", True),
        ("gone.txt", True),
        ("gone.txt.gz", True),
        ("texts/*.md", True),
        ("python-docs", True),
        ("my.yaml", False),
        ("prose.yaml", False),  # named as settings
        ("settings", False),  # begins as settings
        ("settings.txt", False),
        ("flow.conf", False),
        ("misspelt", False),  # a full-width colon: its message helps
        ("small", False),
        ("demo", False),
        ("run", False),
        ("run/config.yaml", False),
        ("gone.yaml", False),
        ("gone", False),
        ("", False),
    ],
)
def test_a_text_or_settings_or_a_run(source, is_text):
    contents = {
        "novel.txt": "Once upon a time\n",
        "novel": "model: a novel\nmodel:\n",
        "page.md": "# data: a heading\n\nText\n",
        "my.yaml": "training: {}\n",
        "prose.yaml": "Once upon a time\n",
        "settings": "# mine\n\ntraining:\n  epochs: 3\n",
        "settings.txt": "\ufeffmodel: {hidden_units: 9}\n",
        "flow.conf": '{"data": {"train": "a.txt"}}',
        "misspelt": "data：\n  train: a.txt\n",
    }
    for name, content in contents.items():
        Path(name).write_text(content, encoding="utf-8")
    Path("broken.bin").write_bytes(b"\x00\xff\xfe")
    for directory in ("run", "texts"):
        Path(directory).mkdir()
    Path("run/config.yaml").write_text("{}")
    assert names_text(source) is is_text


def test_a_file_that_begins_as_settings_can_still_be_a_text():
    Path("poem.txt").write_text("data:\na poem\n")
    with pytest.raises(ConfigError, match=r"llm-timecycle config suggest poem\.txt"):
        read_settings("poem.txt")


def test_a_text_named_without_its_ending():
    Path("novel.txt").write_text("Once upon a time\n")
    with pytest.raises(ConfigError, match=r"Did you mean the text novel\.txt\?"):
        find_settings_file("novel")
