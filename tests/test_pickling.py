"""What the package gives and raises goes from one process to another."""

from __future__ import annotations

import copy
import pickle
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import llm_timecycle as lt
from llm_timecycle import errors
from llm_timecycle.errors import TimecycleError
from llm_timecycle.evaluation.adaptive.result import AdaptiveScore, Trial
from llm_timecycle.evaluation.copies.report import Passage, SampleReport
from llm_timecycle.generation.generator import RankedToken
from tests.profiling.profiles import make_profile

ADAPTIVE = {
    "settings": {"theta": 16.0},
    "trials": (Trial({"theta": 16.0}, 1.5),),
    "method": "exact",
}
COPIED = {"passages": (Passage("words", 3, 0, None, 7),), "note": None}
ERRORS: dict[str, TimecycleError] = {
    "NotEnoughMemoryError": errors.NotEnoughMemoryError("too much", "training.batch_size=1"),
    "ShortTextError": errors.ShortTextError("too short", {"training.sequence_length": "5"}),
    "HeldOutTextError": errors.HeldOutTextError("no test text"),
    "ExportExistsError": errors.ExportExistsError(Path("exports/a"), is_export=True),
    "RunExistsError": errors.RunExistsError(Path("runs/a"), is_run=True),
    "Interrupted": errors.Interrupted("Stopped.", 15),
}
"""Those that are not made from their message."""


def fill(kind: type, **given: object) -> Any:
    """A value of a dataclass, 3 in every field that needs something and gets nothing."""
    needed = {each.name: 3 for each in fields(kind) if each.default is MISSING}
    return kind(**{**needed, **given})


def list_results() -> list[object]:
    """A value of every public class but `Model`, for which see generation/test_processes.py."""
    profile, settings = make_profile(), lt.Settings(data={"train": ["a", "b"]})
    ranked = ((RankedToken("a", 2, -1.0),),)
    return [
        lt.compare(profile, profile),
        fill(
            lt.EvaluationResult,
            cache=fill(AdaptiveScore, **ADAPTIVE),
            samples=fill(SampleReport, **COPIED),
        ),
        fill(lt.ExportResult, path=Path("exports/a"), files={"a": 3}, comparison=None),
        lt.GeneratedText(" a", (2,), "length", (-1.0,), ranked),
        lt.ProfileResult(profile),
        lt.Score(("a",), (2,), (-1.0,)),
        settings,
        fill(lt.TrainingResult, run=Path("runs/a"), settings=settings),
    ]


def list_errors(root: type[TimecycleError]) -> list[type[TimecycleError]]:
    ours = [kind for kind in root.__subclasses__() if kind.__module__ == errors.__name__]
    return [root, *(each for kind in ours for each in list_errors(kind))]


def test_results_stay_the_same() -> None:
    results = list_results()
    for result in results:
        for found in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
            assert type(found) is type(result)
            assert found == result
            assert str(found) == str(result)
    public = [getattr(lt, name) for name in lt.__all__]
    assert {*map(type, results)} == {each for each in public if isinstance(each, type)} - {lt.Model}


@pytest.mark.parametrize("kind", list_errors(TimecycleError))
def test_an_error_stays_the_same(kind: type[TimecycleError]) -> None:
    error = ERRORS.get(kind.__name__) or kind("a message")
    error.add_note("a note")
    for found in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(found) is kind
        assert (str(found), found.exit_code) == (str(error), error.exit_code)
        assert vars(found) == vars(error)
