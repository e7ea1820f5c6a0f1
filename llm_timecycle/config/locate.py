"""What a name on the command line or in a call means: a run, a settings file, a shipped file."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.errors import ConfigError

SETTINGS_SUFFIXES = {".yaml", ".yml"}


def find_run(source: str | Path) -> Path | None:
    """The run directory that `source` means; None where it means a settings file.

    A directory is a run, and so is a missing path that is neither a YAML file nor a bare name (it
    is then reported as a missing run). A run's own config.yaml means the run.
    """
    path = Path(source)
    if path.name == "config.yaml" and (path.parent / "manifest.json").exists():
        return path.parent
    is_settings_name = path.suffix.lower() in SETTINGS_SUFFIXES or len(path.parts) == 1
    return path if path.is_dir() or not (path.is_file() or is_settings_name) else None


def find_settings_file(source: str | Path) -> Path:
    """The settings file that `source` means: a path, or the bare name of a shipped file.

    A file of the user's comes first. Raises ConfigError with the nearest right name.
    """
    if str(source) == "":
        raise ConfigError("the name is empty; expected a settings file or a name such as small")
    path = Path(source)
    is_directory = find_run(path) == path and path.is_dir()
    if is_directory and (path / "config.yaml").exists():
        raise ConfigError(
            f"{source} is a run directory; expected a settings file. The run's settings are in "
            f"{path / 'config.yaml'}. To resume the run: llm-timecycle train {quote(str(source))} "
            f"--resume"
        )
    if path.exists() and not is_directory:
        return path
    if str(source) in list_shipped_names():
        return find_shipped_directory() / f"{source}.yaml"
    if is_directory:
        raise ConfigError(f"{source} is a directory; expected a settings file (YAML)")
    raise ConfigError(_explain_missing(str(source), path))


def find_shipped_directory() -> Path:
    """The directory of the shipped settings files.

    It is inside the installed package, or beside the package in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def list_shipped_names() -> list[str]:
    """The names of the shipped settings files."""
    return sorted(path.stem for path in find_shipped_directory().glob("*.yaml"))


def _explain_missing(source: str, path: Path) -> str:
    shipped = list_shipped_names()
    is_path = path.suffix.lower() in SETTINGS_SUFFIXES or len(path.parts) > 1
    if not is_path:
        if Path(f"{source}.yaml").is_file():
            return f"there are no settings named {source}. Did you mean {source}.yaml?"
        nearest = find_nearest(source, shipped)
        hint = f" Did you mean {nearest}?" if nearest else ""
        return f"there are no settings named {source}.{hint} Shipped settings: {', '.join(shipped)}"
    if path.parent == Path() and path.stem in shipped:
        return f"there is no file {source}. For the shipped settings, use the name: {path.stem}"
    if not path.parent.is_dir():
        return f"there is no file {source}: there is no directory {path.parent}"
    if nearest := find_nearest(path.name, [file.name for file in path.parent.glob("*.y*ml")]):
        return f"there is no file {source}. Did you mean {path.parent / nearest}?"
    return f"there is no file {source}. Create one with: llm-timecycle config new {quote(source)}"
