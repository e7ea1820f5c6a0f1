"""What the program brings with it: a bill of materials, and its known vulnerabilities."""

from __future__ import annotations

import json
from typing import Any

from release import CheckFailed, CheckNotMade, Release, run

OWN_NAME = "llm-timecycle"


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
    listed = {(each["name"].lower(), each["version"]) for each in materials["components"]}
    missing = [f"{n} {v}" for n, v in _list_installed(release) if (n.lower(), v) not in listed]
    if missing:
        raise CheckFailed(f"{release.materials} lacks {', '.join(missing)}")
    return f"bill of materials: {len(listed)} packages in {release.materials}"


def check_vulnerabilities(release: Release) -> str:
    """Ask PyPI which of the installed packages have known vulnerabilities.

    Raises:
        CheckNotMade: it was not to be asked, or does not answer for every package.
    """
    if release.is_offline:
        raise CheckNotMade("known vulnerabilities: left out, as --offline says")
    installed = _list_installed(release)
    pinned, report = release.place / "installed.txt", release.place / "audit.json"
    pinned.write_text("".join(f"{name}=={version}\n" for name, version in installed))
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
    audited = [each for each in report["dependencies"] if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in "
        f"{' or '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for each in audited
        for vulnerability in each["vulns"]
    ]
    if found:
        raise CheckFailed("\n         ".join(["known vulnerabilities:", *found]))
    if len(audited) < expected:
        skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
        raise CheckNotMade(f"known vulnerabilities: nothing is known of {', '.join(skipped)}")
    return f"known vulnerabilities: none in {expected} packages"


def _list_installed(release: Release) -> list[tuple[str, str]]:
    """Name and version of each package that the program brings with it."""
    command = [release.user / "bin/python", "-m", "pip", "list", "--format", "json"]
    packages = json.loads(run([*command, "--disable-pip-version-check"], cwd=release.place).stdout)
    return [(each["name"], each["version"]) for each in packages if each["name"] != OWN_NAME]
