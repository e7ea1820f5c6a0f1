"""The distributions: built twice, compared, their metadata checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
from pathlib import Path

from contents import read_members
from release import (
    DISTRIBUTIONS,
    CheckFailed,
    Release,
    clean_environment,
    make_environment,
    run,
    run_pip,
)

TOOLS = Path(__file__).parent / "tools.txt"
ANOTHER_DAY_S = 1_600_000_000.0
"""The age of the files of the second build, in seconds since 1970."""


def install_tools(release: Release) -> str:
    """Install the programs that build and audit, each at the version that `tools.txt` names."""
    make_environment(release, release.tools)
    run_pip(release, release.tools, "install", "--quiet", "--requirement", TOOLS)
    return f"tools are installed as {TOOLS.relative_to(release.root)} pins them"


def build_twice(release: Release) -> str:
    """Build in the checkout, then from a copy of the commit, which must give the same files.

    The copy is elsewhere, its files are of another day and not readable by others; the second build
    has another time zone, locale, umask and hash seed, and makes its wheel from its source
    distribution. A file that is not in the commit would be a difference.
    """
    here, there = release.place / "here", release.place / "there"
    builder = [release.tools / "bin/python", "-m", "build", "--no-isolation", "--outdir"]
    run([*builder, here, "--sdist", "--wheel", release.root], cwd=release.place)
    copy = release.place / "copy of the commit"
    _copy_commit(release, copy)
    strange = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    environment = {**clean_environment(), **strange}
    run([*builder, there, copy], cwd=release.place, environment=environment, umask=0o077)
    for old in release.output.glob("llm_timecycle-*"):
        old.unlink()
    hashes = []
    for pattern in DISTRIBUTIONS:
        (built,) = here.glob(pattern)
        _compare(built, there / built.name)
        shutil.copy(built, release.output)
        hashes.append(f"{built.name} {hashlib.sha256(built.read_bytes()).hexdigest()}")
    return f"built twice, the same files: {', '.join(hashes)}"


def _copy_commit(release: Release, copy: Path) -> None:
    archive = release.place / "commit.tar"
    run(["git", "archive", "--output", archive, "HEAD"], cwd=release.root)
    with tarfile.open(archive) as opened:
        opened.extractall(copy, filter="data")
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (ANOTHER_DAY_S, ANOTHER_DAY_S))
    time.sleep(2)  # the times in a wheel are even seconds


def _compare(here: Path, there: Path) -> None:
    """Raise CheckFailed with the first difference between two archives."""
    if not there.exists():
        raise CheckFailed(f"the copy of the commit gives no {here.name}: is the version the same?")
    if here.read_bytes() == there.read_bytes():
        return
    first, second = read_members(here), read_members(there)
    names = sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n))
    what = f"they differ in {', '.join(names[:5])}" if names else "the same files, packed otherwise"
    raise CheckFailed(
        f"{here.name}: the one built here is not the one built from the commit: {what}. Commit or "
        f"remove what git status shows"
    )


def check_metadata(release: Release) -> str:
    """Let twine check what an index would refuse."""
    twine = [release.tools / "bin/python", "-m", "twine", "check", "--strict"]
    run([*twine, release.wheel, release.sdist], cwd=release.place)
    return "the metadata are valid, and the description can be shown"
