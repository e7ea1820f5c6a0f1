"""Finding a settings file by its path or its shipped name, and reading its text with suspicion."""

from __future__ import annotations

from pathlib import Path

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.errors import ConfigError

SETTINGS_BYTES_AT_MOST = 1 << 20


def find_shipped_directory() -> Path:
    """The directory of the settings files that come with the program.

    They stand inside the installed package, or beside it in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def list_shipped_names() -> list[str]:
    """The names of the settings files that come with the program."""
    return sorted(path.stem for path in find_shipped_directory().glob("*.yaml"))


def find_settings_file(source: str | Path) -> Path:
    """The file that `source` means: a path, or the bare name of a shipped file.

    A file of the user's own comes first. Raises ConfigError with the nearest right name.
    """
    path = Path(source)
    if path.is_dir() and (path / "config.yaml").exists():
        raise ConfigError(
            f"{source} is a run directory; expected a settings file. Its own is "
            f"{path / 'config.yaml'}"
        )
    if path.exists() and not path.is_dir():
        return path
    if str(source) in list_shipped_names():
        return find_shipped_directory() / f"{source}.yaml"
    if path.is_dir():
        raise ConfigError(f"{source} is a directory; expected a settings file (YAML)")
    raise ConfigError(_explain_missing(str(source), path))


def read_settings_text(path: Path) -> str:
    """The text of a settings file, which must be UTF-8 and no larger than 1 MB."""
    try:
        with path.open("rb") as file:
            content = file.read(SETTINGS_BYTES_AT_MOST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > SETTINGS_BYTES_AT_MOST:
        raise ConfigError(f"{path} is larger than 1 MB; expected a settings file, which is small")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: the byte at offset {error.start} fits no character. "
            f"Save it again as UTF-8"
        ) from error


def _explain_missing(source: str, path: Path) -> str:
    shipped = list_shipped_names()
    available = f"The names that come with the program: {', '.join(shipped)}"
    is_path = path.suffix.lower() in {".yaml", ".yml"} or len(path.parts) > 1
    if not is_path:
        if Path(f"{source}.yaml").is_file():
            return f"there are no settings named {source}. Did you mean {source}.yaml?"
        nearest = find_nearest(source, shipped)
        hint = f" Did you mean {nearest}?" if nearest else ""
        return f"there are no settings named {source}.{hint} {available}"
    if path.parent == Path() and path.stem in shipped:
        return f"there is no file {source}. The shipped one is called by its name: {path.stem}"
    beside = path.parent if path.parent.is_dir() else None
    names = [file.name for file in beside.glob("*.y*ml")] if beside else []
    nearest = find_nearest(path.name, names)
    if beside is None:
        return f"there is no file {source}: there is no directory {path.parent}"
    if nearest:
        return f"there is no file {source}. Did you mean {beside / nearest}?"
    return f"there is no file {source}. Make one with: llm-timecycle config new {source}"
