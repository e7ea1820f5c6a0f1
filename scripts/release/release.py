"""What every check shares: the places, running a program, and how a check ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 1800
LINES_SHOWN = 12
DISTRIBUTIONS = "*.whl", "*.tar.gz"


class CheckFailed(Exception):  # noqa: N818
    """What was expected, what was found, what to do."""


class CheckNotMade(Exception):  # noqa: N818
    """Why a check could not be made."""


@dataclass(frozen=True)
class Release:
    """The places.

    Attributes:
        root: the checkout.
        place: a temporary directory.
        output: where the results go.
        is_offline: whether vulnerabilities are not asked for.
    """

    root: Path
    place: Path
    output: Path
    is_offline: bool

    @property
    def version(self) -> str:
        """The version that is released."""
        text = (self.root / "llm_timecycle/__init__.py").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
        assert found is not None
        return found[1]

    @property
    def tools(self) -> Path:
        """The environment of the programs that build and audit."""
        return self.place / "tools"

    @property
    def user(self) -> Path:
        """The environment that the wheel is installed into."""
        return self.place / "user"

    @property
    def elsewhere(self) -> Path:
        """Where the installed program is used."""
        return self.place / "elsewhere"

    @property
    def wheel(self) -> Path:
        """The wheel, once it is built."""
        return self.output / f"llm_timecycle-{self.version}-py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        """The source distribution, once it is built."""
        return self.output / f"llm_timecycle-{self.version}.tar.gz"

    @property
    def materials(self) -> Path:
        """The bill of materials."""
        return self.output / f"llm_timecycle-{self.version}.cdx.json"

    def list_tracked(self) -> list[Path]:
        """The files of the commit, relative to the root."""
        names = run(["git", "ls-files", "-z"], cwd=self.root).stdout
        return [Path(name) for name in names.split("\0") if name]


def run(
    command: Sequence[object],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    umask: int = -1,
    expected: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises:
        CheckFailed: it ends with another exit code than `expected`, or does not end.
    """
    words = [str(word) for word in command]
    try:
        finished = subprocess.run(
            words,
            cwd=cwd,
            env=clean_environment() if environment is None else dict(environment),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=LONGEST_S,
            umask=umask,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckFailed(f"{' '.join(words)}: {error}") from error
    if finished.returncode != expected:
        printed = (finished.stdout + finished.stderr).strip().splitlines()[-LINES_SHOWN:]
        raise CheckFailed(
            "\n         ".join([f"{' '.join(words)}: exit code {finished.returncode}", *printed])
        )
    return finished


def clean_environment() -> dict[str, str]:
    """The variables of this process, without those that would change what is built or run."""
    dropped = re.compile(r"(PYTHON|LLM_TIMECYCLE_|SOURCE_DATE_EPOCH|VIRTUAL_ENV|XLA_|TF_|KERAS_)")
    return {name: value for name, value in os.environ.items() if not dropped.match(name)}


def make_environment(release: Release, path: Path) -> None:
    """Make a virtual environment with the Python that runs this; only that of the tools has pip."""
    options = [] if path == release.tools else ["--without-pip"]
    run([sys.executable, "-m", "venv", *options, path], cwd=release.place)


def run_pip(release: Release, environment: Path, *arguments: str | Path) -> str:
    """What pip says about an environment, or after it has changed it."""
    pip = [release.tools / "bin/python", "-m", "pip", "--python", environment / "bin/python"]
    return run([*pip, "--disable-pip-version-check", *arguments], cwd=release.place).stdout
