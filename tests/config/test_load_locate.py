"""A settings file is found by path or name, and read with suspicion."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llm_timecycle.config.load import read_settings
from llm_timecycle.config.load_locate import SETTINGS_BYTES_AT_MOST, find_settings_file
from llm_timecycle.errors import ConfigError


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
    ("source", "message"),
    [
        (
            "sectoin5",
            "there are no settings named sectoin5. Did you mean section5? The names that come with "
            "the program: char, chinese, section5, small",
        ),
        ("zzzzzz", "there are no settings named zzzzzz. The names that come with the program: "),
        ("my", "there are no settings named my. Did you mean my.yaml?"),
        ("mi.yaml", "there is no file mi.yaml. Did you mean my.yaml?"),
        ("small.yaml", "there is no file small.yaml. The shipped one is called by its name: small"),
        ("gone/my.yaml", "there is no file gone/my.yaml: there is no directory gone"),
        (
            "novel.yaml",
            "there is no file novel.yaml. Make one with: llm-timecycle config new novel.yaml",
        ),
        ("texts", "texts is a directory; expected a settings file (YAML)"),
        ("run", "run is a run directory; expected a settings file. Its own is run/config.yaml"),
    ],
)
def test_what_cannot_be_found(source, message):
    Path("my.yaml").write_text("{}")
    Path("texts").mkdir()
    Path("run").mkdir()
    Path("run/config.yaml").write_text("{}")
    with pytest.raises(ConfigError) as caught:
        find_settings_file(source)
    assert str(caught.value).startswith(message)


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


def test_not_utf_8(refuse):
    message = refuse(b"a: 1\nb: caf\xe9\n")
    assert message.startswith("my.yaml is not UTF-8 text: the byte at offset 11 fits no character")


def test_too_large(refuse):
    message = refuse(b"#" * (SETTINGS_BYTES_AT_MOST + 1))
    assert message.startswith("my.yaml is larger than 1 MB")


def test_unreadable(monkeypatch):
    Path("my.yaml").write_text("{}")

    def fail(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(ConfigError, match=r"my\.yaml cannot be read: Permission denied"):
        read_settings("my.yaml")
