"""Check that the checkout can be released, one line a check.

    scripts/release-check              write what was checked to dist/
    scripts/release-check --offline    without asking which packages have known vulnerabilities

The distributions are built twice, in different places and at different times, and must be the same
files. They are installed into a fresh environment and used away from the checkout. What was
installed is listed in a bill of materials and looked up in a database of vulnerabilities.

    0  every check passed
    1  a check failed
    2  none failed, but one could not be made or was left out: the release is not cleared

Everything but the results is made in a temporary directory. It needs git, a package index, and some
minutes, since it installs TensorFlow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import audit
import building
import contents
import installed
from release import CheckFailed, CheckNotMade, Release

ROOT = Path(__file__).parents[2]
SUPPORTED = (3, 11), (3, 14)

Check = Callable[[Release], str]
NEEDED: Sequence[Check] = (
    building.install_tools,
    building.build_twice,
)
"""Without these, nothing else can be checked."""
CHECKS: Sequence[Check] = (
    contents.check_wheel,
    contents.check_sdist,
    contents.check_paths,
    building.check_metadata,
)
NEEDED_TO_RUN: Sequence[Check] = (installed.install_wheel,)
RUNS: Sequence[Check] = (
    installed.check_version,
    installed.check_module,
    installed.check_settings,
    installed.check_shipped_run,
    installed.check_training,
    installed.check_evaluation,
    installed.check_missing_extra,
    installed.check_extras,
    audit.write_bill_of_materials,
    audit.check_vulnerabilities,
)


def main() -> int:
    """Make every check; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/release-check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--offline", action="store_true", help="do not ask for known vulnerabilities"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist"
    )
    options = parser.parse_args()
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        parser.error("needs Python 3.11 to 3.14. Name one: PYTHON=/path/to/python")
    output = options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="release-check-") as place:
        release = Release(ROOT, Path(place).resolve(), output, is_offline=options.offline)
        report = Report()
        _make_all(release, report)
    return report.finish(output)


def _make_all(release: Release, report: Report) -> None:
    for needed, others in ((NEEDED, CHECKS), (NEEDED_TO_RUN, RUNS)):
        for check in needed:
            if not report.make(check, release):
                print("         The checks that need this are left out.")
                return
        for check in others:
            report.make(check, release)


class Report:
    """The checks that were made, printed one by one."""

    def __init__(self) -> None:
        self._counts = {"ok": 0, "FAILED": 0, "not made": 0}

    def make(self, check: Check, release: Release) -> bool:
        """Make a check and print its line; whether it passed."""
        try:
            state, text = "ok", check(release)
        except CheckFailed as error:
            state, text = "FAILED", str(error)
        except CheckNotMade as error:
            state, text = "not made", str(error)
        self._counts[state] += 1
        print(f"{state:8} {text}", flush=True)
        return state == "ok"

    def finish(self, output: Path) -> int:
        """Print the result; the exit code."""
        passed, failed, not_made = self._counts.values()
        if failed:
            print(f"{failed} of {passed + failed + not_made} checks failed: not for release.")
            return 1
        if not_made:
            print(f"Partial: {passed} checks passed, {not_made} not made. Not cleared for release.")
            return 2
        print(f"All {passed} checks passed. What was checked is in {output}.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
