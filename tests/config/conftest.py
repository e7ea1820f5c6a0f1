"""A settings file in an empty current directory, read or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle.config.load import LoadedSettings, read_settings
from llm_timecycle.errors import ConfigError


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedSettings]:
    """Write a text to `my.yaml` and read it, with overrides."""
    monkeypatch.chdir(tmp_path)

    def read_text(text: str | bytes, *overrides: str) -> LoadedSettings:
        Path("my.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_settings("my.yaml", overrides)

    return read_text


@pytest.fixture
def refuse(read: Callable[..., LoadedSettings]) -> Callable[..., str]:
    """The message with which a text, with overrides, is refused."""

    def read_refused(text: str | bytes, *overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        return str(caught.value)

    return read_refused
