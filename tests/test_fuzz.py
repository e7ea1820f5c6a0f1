"""Cases that nobody thought of: the short form of scripts/fuzz.py, and its own test."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from random import Random

import pytest

SCRIPTS = str(Path(__file__).parents[1] / "scripts")
sys.path.insert(0, SCRIPTS)

from fuzzing.kinds import KINDS, Kind  # noqa: E402
from fuzzing.laws import Outcome  # noqa: E402
from fuzzing.workers import Plan, run_cases  # noqa: E402

from tests.fuzz_faults import FAULTS, MEMORY_BYTES, OUTSIDE  # noqa: E402

CASES = {"tensors": 100, "python": 60, "runs": 20, "stores": 40, "texts": 20}
OTHER_CASES = 30
QUICK = [kind for kind in KINDS.values() if kind.is_quick]


@pytest.mark.parametrize("kind", QUICK, ids=lambda kind: kind.name)
def test_whatever_the_case_it_is_right_or_refused(tmp_path: Path, kind: Kind) -> None:
    plan = Plan(kind, seed=1, place=tmp_path, limit_s=60.0)
    found = dict(run_cases(plan, range(CASES.get(kind.name, OTHER_CASES)), jobs=1))
    wrong = [f"case {n}: {each.what}\n{each.said}" for n, each in found.items() if is_wrong(each)]
    assert wrong == []
    results = {each.result for each in found.values()}
    assert results == {"accepted", "refused"}


def is_wrong(outcome: Outcome) -> bool:
    return outcome.result == "wrong"


def test_every_fault_is_found(tmp_path: Path) -> None:
    kind = Kind("faults", "tests.fuzz_faults", "", memory_bytes=MEMORY_BYTES)
    numbers: dict[str, int] = {}
    for number in count():
        numbers.setdefault(Random(f"1/faults/{number}").choice([*FAULTS]), number)
        if len(numbers) == len(FAULTS):
            break
    hang = numbers.pop("a hang")
    found = dict(run_cases(Plan(kind, 1, tmp_path, limit_s=60.0), numbers.values(), jobs=1))
    found |= dict(run_cases(Plan(kind, 1, tmp_path, limit_s=1.0), [hang], jobs=1))
    numbers["a hang"] = hang
    for name, (_, expected) in FAULTS.items():
        outcome = found[numbers[name]]
        assert outcome.what == name
        assert is_wrong(outcome) == bool(expected), outcome
        assert expected in outcome.said
    assert found[numbers["refused"]].exit_code == 4
    assert "fuzz_faults" in found[numbers["a hang"]].said  # where it hung
    place = tmp_path / "faults-0" / "case"
    assert not (place / OUTSIDE).exists()


def test_a_seed_and_a_number_make_the_same_case(tmp_path: Path) -> None:
    def try_cases(seed: int, jobs: int) -> list[tuple[str, str, int]]:
        plan = Plan(KINDS["tensors"], seed, tmp_path, limit_s=60.0)
        found = dict(run_cases(plan, range(20), jobs))
        return [(each.what, each.result, each.exit_code) for _, each in sorted(found.items())]

    first = try_cases(seed=1, jobs=1)
    assert try_cases(seed=1, jobs=2) == first
    assert try_cases(seed=2, jobs=1) != first
