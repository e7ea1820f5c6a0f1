"""What the program brings with it: a bill of materials, and its known vulnerabilities."""

from __future__ import annotations

import json
from typing import Any

from release import CheckFailed, CheckNotMade, Release, run, run_pip

OWN_NAME = "llm-timecycle"
KNOWN_BAD = ("django", "2.2")
"""A package that the program does not use, and that every database knows to be vulnerable."""


def write_bill_of_materials(release: Release) -> str:
    """List everything that was installed for the program, in the form of CycloneDX."""
    run(
        [
            *(release.tools / "bin/cyclonedx-py", "environment", release.user / "bin/python"),
            *("--pyproject", release.root / "pyproject.toml", "--mc-type", "application"),
            *("--output-reproducible", "--output-format", "JSON"),
            *("--output-file", release.materials),
        ],
        cwd=release.place,
    )
    materials = json.loads(release.materials.read_text(encoding="utf-8"))
    materials["metadata"]["component"]["version"] = release.version  # computed by the build
    release.materials.write_text(json.dumps(materials, indent=2) + "\n", encoding="utf-8")
    listed = {(each["name"].lower(), each["version"]) for each in materials["components"]}
    missing = [f"{n} {v}" for n, v in _list_installed(release) if (n.lower(), v) not in listed]
    if missing:
        raise CheckFailed(f"{release.materials} lacks {', '.join(missing)}")
    return f"bill of materials: {len(listed)} packages in {release.materials}"


def check_vulnerabilities(release: Release) -> str:
    """Ask PyPI which of the installed packages have known vulnerabilities.

    An index that stands in for PyPI may know of none. So `KNOWN_BAD` is asked for, too.

    Raises:
        CheckNotMade: nobody was to be asked, or the answer is not that of a database.
    """
    if release.is_offline:
        raise CheckNotMade("known vulnerabilities: left out, as --offline says")
    installed = _list_installed(release)
    pinned, report = release.place / "installed.txt", release.place / "audit.json"
    pinned.write_text("".join(f"{name}=={v}\n" for name, v in (*installed, KNOWN_BAD)))
    command = [release.tools / "bin/pip-audit", "--disable-pip", "--no-deps", "--timeout", "20"]
    command += ["--progress-spinner", "off", "--format", "json", "--output", str(report)]
    command += ["--requirement", str(pinned)]
    try:
        run(command, cwd=release.place)
    except CheckFailed as error:
        if not report.exists():
            raise CheckNotMade(f"known vulnerabilities: no answer. {error}") from error
    return _read_report(json.loads(report.read_text(encoding="utf-8")), len(installed))


def _read_report(report: dict[str, Any], expected: int) -> str:
    answers = {each["name"]: each for each in report["dependencies"]}
    known_bad = answers.pop(KNOWN_BAD[0], {})
    audited = [each for each in answers.values() if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in "
        f"{' or '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for each in audited
        for vulnerability in each["vulns"]
    ]
    if found:
        raise CheckFailed("\n         ".join(["known vulnerabilities:", *found]))
    if len(audited) < expected:
        raise CheckNotMade(
            f"known vulnerabilities: PyPI has no answer for {expected - len(audited)} of "
            f"{expected} packages. Run this where https://pypi.org/pypi can be asked"
        )
    if not known_bad.get("vulns"):
        raise CheckNotMade(
            f"known vulnerabilities: what answered does not know those of "
            f"{' '.join(KNOWN_BAD)}. Run this where https://pypi.org/pypi can be asked"
        )
    return f"known vulnerabilities: none in {expected} packages"


def _list_installed(release: Release) -> list[tuple[str, str]]:
    """Name and version of each package that the program brings with it."""
    packages = json.loads(run_pip(release, release.user, "list", "--format", "json"))
    return [(each["name"], each["version"]) for each in packages if each["name"] != OWN_NAME]
