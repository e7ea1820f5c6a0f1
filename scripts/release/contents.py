"""What the distributions contain: exactly what they should, and no trace of the machine."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from release import CheckFailed, Release

SHIPPED = ("configs/", "data/runs/", "data/english.txt", "data/chinese.txt")
"""What is moved into the package."""
MAN_PAGE = "docs/llm-timecycle.1"
"""Installed where `man` looks for it."""
MADE_BY_BUILD = ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
NOT_IN_SDIST = (".ci",)
HOMES = re.compile(rb"/(?:home|Users)/\w[\w.-]*/|[A-Z]:\\Users\\\w+")
"""A path in somebody's home directory."""


def read_members(archive: Path) -> dict[str, bytes]:
    """The files of a distribution by name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    with tarfile.open(archive) as opened:
        files = {member.name: opened.extractfile(member) for member in opened}
        return {name: file.read() for name, file in files.items() if file is not None}


def check_wheel(release: Release) -> str:
    """Compare the wheel with the files of the commit that belong in it."""
    information = f"llm_timecycle-{release.version}.dist-info"
    expected = {f"{information}/licenses/LICENSE": Path("LICENSE")}
    for path in release.list_tracked():
        name = path.as_posix()
        if path.parts[0] == "llm_timecycle":
            expected[name] = path
        elif name.startswith(SHIPPED):
            expected[f"llm_timecycle/{name}"] = path
        elif name == MAN_PAGE:
            place = f"llm_timecycle-{release.version}.data/data/share/man/man1"
            expected[f"{place}/{path.name}"] = path
    assert Path("llm_timecycle/py.typed") in expected.values()
    made = {f"{information}/{name}" for name in MADE_BY_BUILD}
    _compare(release, release.wheel, expected, made)
    return f"the wheel has the {len(expected)} files that it should, and no others"


def check_sdist(release: Release) -> str:
    """Compare the source distribution with the files of the commit."""
    folder = f"llm_timecycle-{release.version}"
    tracked = [path for path in release.list_tracked() if path.parts[0] not in NOT_IN_SDIST]
    expected = {f"{folder}/{path.as_posix()}": path for path in tracked}
    _compare(release, release.sdist, expected, {f"{folder}/PKG-INFO"})
    return f"the source distribution has the {len(expected)} files that it should, and no others"


def _compare(release: Release, archive: Path, expected: Mapping[str, Path], made: set[str]) -> None:
    """Raise CheckFailed unless an archive has exactly these files, as they are in the checkout."""
    members = read_members(archive)
    wanted = expected.keys() | made
    problems = [
        *(f"lacks {name}" for name in sorted(wanted - members.keys())),
        *(f"has {name}, which does not belong in it" for name in sorted(members.keys() - wanted)),
        *(
            f"{name} is not {path}"
            for name, path in expected.items()
            if name in members and members[name] != (release.root / path).read_bytes()
        ),
    ]
    if problems:
        raise CheckFailed("\n         ".join([f"{archive.name}:", *problems[:10]]))


def check_paths(release: Release) -> str:
    """Look for paths of this machine in every file."""
    own = [release.root, release.place, Path.home()]
    traces = [f"{path}/".encode() for path in own if len(path.parts) > 1]
    for archive in (release.wheel, release.sdist):
        for name, content in read_members(archive).items():
            found = [trace.decode() for trace in traces if trace in content]
            if not _has_examples(PurePosixPath(name)):
                found += [path.decode("ascii", "replace") for path in HOMES.findall(content)]
            if found:
                raise CheckFailed(f"{archive.name}: {name} names {found[0]}, a path of a machine")
    return "no file of them names a path of a machine"


def _has_examples(path: PurePosixPath) -> bool:
    """Whether a file may name somebody's home directory as an example, as tests do."""
    return "tests" in path.parts
