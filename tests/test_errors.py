"""What a notebook shows of an error: the user's own lines and the message."""

from __future__ import annotations

import linecache

import pytest

from llm_timecycle.config.load import read_settings
from llm_timecycle.errors import ConfigError, Interrupted

CELL = "def train_all():\n    read('no such settings')\n"


@pytest.fixture
def error() -> ConfigError:
    """An error that passed through a cell, our files, and this one."""
    linecache.cache["<cell>"] = (len(CELL), None, CELL.splitlines(keepends=True), "<cell>")
    names = {"read": read_settings}
    exec(compile(CELL, "<cell>", "exec"), names)
    with pytest.raises(ConfigError) as caught:
        names["train_all"]()  # type: ignore[call-arg]
    return caught.value


def test_a_notebook_shows_the_users_lines_and_the_message(error: ConfigError) -> None:
    shown = "\n".join(error._render_traceback_())
    assert "<cell>" in shown
    assert "read('no such settings')" in shown
    assert "llm_timecycle/config" not in shown
    assert shown.endswith(f"ConfigError: {error}")


def test_everything_is_shown_on_request(
    error: ConfigError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_TIMECYCLE_DEBUG", "1")
    assert "llm_timecycle/config" in "".join(error._render_traceback_())


def test_an_error_that_was_not_raised_is_its_message() -> None:
    assert Interrupted("Stopped.")._render_traceback_() == ["Interrupted: Stopped."]
