"""The parts of scripts/release-check that need no network: what they find, and what they say."""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("release", "contents", "audit", "building", "installed", "check")


@pytest.fixture(scope="module")
def parts() -> Iterator[dict[str, ModuleType]]:
    """The files of scripts/release, as modules."""
    sys.path.insert(0, str(ROOT / "scripts/release"))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.pop(0)
        for name in NAMES:
            del sys.modules[name]


@pytest.fixture
def release(parts: dict[str, ModuleType], tmp_path: Path) -> Any:
    """A checkout with one file, and the distributions that belong to it."""
    root, place, output = (tmp_path / name for name in ("root", "place", "output"))
    files = {
        "llm_timecycle/__init__.py": '__version__ = "1.2"\n',
        "llm_timecycle/py.typed": "",
        "configs/small.yaml": "data:\n",
        "data/english.txt": "words",
        "data/other.txt": "not shipped",
        "tests/test_it.py": "# /home/me/\n",
        "LICENSE": "free",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for path in (place, output):
        path.mkdir()

    class Checkout(parts["release"].Release):  # type: ignore[name-defined, misc]
        def list_tracked(self) -> list[Path]:
            return sorted(Path(name) for name in files)

    made = Checkout(root, place, output, is_offline=False)
    wheel = {name: text for name, text in files.items() if name.startswith("llm_timecycle")}
    for name in ("configs/small.yaml", "data/english.txt"):
        wheel[f"llm_timecycle/{name}"] = files[name]
    made_by_build = ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    wheel |= {f"llm_timecycle-1.2.dist-info/{name}": "" for name in made_by_build}
    wheel["llm_timecycle-1.2.dist-info/licenses/LICENSE"] = "free"
    write_wheel(made.wheel, wheel)
    sdist = {f"llm_timecycle-1.2/{name}": text for name, text in files.items()}
    write_sdist(made.sdist, {**sdist, "llm_timecycle-1.2/PKG-INFO": ""})
    return made


def write_wheel(path: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def write_sdist(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def test_what_belongs_in_the_distributions_passes(
    parts: dict[str, ModuleType], release: Any
) -> None:
    contents = parts["contents"]
    assert "the 5 files" in contents.check_wheel(release)
    assert "the 7 files" in contents.check_sdist(release)
    contents.check_paths(release)


@pytest.mark.parametrize(
    ("changed", "text", "message"),
    [
        ("llm_timecycle/py.typed", None, "lacks llm_timecycle/py.typed"),
        ("tests/test_it.py", "", "has tests/test_it.py, which does not belong in it"),
        ("llm_timecycle/__pycache__/a.pyc", "", "a.pyc, which does not belong in it"),
        ("llm_timecycle/configs/small.yaml", "old", "small.yaml is not configs/small.yaml"),
    ],
)
def test_a_wheel_of_other_files_fails(
    parts: dict[str, ModuleType], release: Any, changed: str, text: str | None, message: str
) -> None:
    members = {n: c.decode() for n, c in parts["contents"].read_members(release.wheel).items()}
    if text is None:
        del members[changed]
    else:
        members[changed] = text
    write_wheel(release.wheel, members)
    with pytest.raises(parts["release"].CheckFailed, match=message):
        parts["contents"].check_wheel(release)


@pytest.mark.parametrize("path", ["/Users/jo/runs", "ROOT/data", "C:\\Users\\jo"])
def test_a_path_of_a_machine_fails(parts: dict[str, ModuleType], release: Any, path: str) -> None:
    path = path.replace("ROOT", str(release.root))
    write_wheel(release.wheel, {"llm_timecycle/data/manifest.json": f'"{path}"'})
    with pytest.raises(
        parts["release"].CheckFailed, match=r"manifest\.json names .*a path of a mach"
    ):
        parts["contents"].check_paths(release)


SOUND = {"name": "click", "version": "8.1", "vulns": []}
BAD = {"name": "django", "version": "2.2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("answers", "kind", "message"),
    [
        ([SOUND, BAD], None, "none in 1 packages"),
        ([{**BAD, "name": "click"}, BAD], "CheckFailed", "click 2.2: X-1, mended in 3"),
        ([{"name": "click", "skip_reason": "?"}, BAD], "CheckNotMade", "no answer for 1 of 1"),
        ([SOUND, {**BAD, "vulns": []}], "CheckNotMade", "does not know those of django 2.2"),
        ([SOUND], "CheckNotMade", "does not know those of django 2.2"),
    ],
)
def test_only_an_answer_of_a_database_passes(
    parts: dict[str, ModuleType], answers: list[Any], kind: str | None, message: str
) -> None:
    def read() -> str:
        said: str = parts["audit"]._read_report({"dependencies": answers}, 1)
        return said

    if kind is None:
        assert message in read()
        return
    with pytest.raises(getattr(parts["release"], kind), match=message):
        read()


@pytest.mark.parametrize(
    ("ends", "exit_code", "last"),
    [
        (["", ""], 0, "All 2 checks passed."),
        (["", "CheckNotMade"], 2, "Partial: 1 checks passed, 1 not made. Not cleared for release."),
        (["CheckNotMade", "CheckFailed"], 1, "1 of 2 checks failed: not for release."),
    ],
)
def test_only_what_was_checked_is_cleared(
    parts: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
    ends: list[str],
    exit_code: int,
    last: str,
) -> None:
    report = parts["check"].Report()
    for end in ends:

        def check(release: object, end: str = end) -> str:
            if end:
                raise getattr(parts["release"], end)("why")
            return "it is well"

        assert report.make(check, None) == (end == "")
    assert report.finish(Path("dist")) == exit_code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(last)
