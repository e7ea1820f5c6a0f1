"""Every setting at both ends of its range: it trains, or is refused by its name.

The ends are those of the schema, so a new setting is tried without being named here. All pairs of
ends, and the most layers there can be, are tried by `scripts/try_settings.py`.
"""

from __future__ import annotations

import random
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import try_settings
from setting_ends.ends import End, find_ends, list_ends
from setting_ends.rows import cover_singles

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.config.sections import list_section_keys

PATHS = [(section, key) for section, keys in list_section_keys().items() for key in keys]
ROWS_AT_MOST = 7
SEED = 4
DEEPEST = End("model.num_layers", 64)
"""The one end whose graph takes seconds to trace; `tests/model` builds that network."""
LETTERS = 20_000
"""Too few for a window or a batch of 65,536, which are refused by that name here."""
PAIRS = 400


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("ends")
    try_settings.write_text(place, LETTERS)
    return try_settings.Trials(place)


@pytest.fixture(scope="module")
def rows(trials: Any) -> list[Any]:
    """Those of all ends, where two layers stand for the most."""
    two_layers = End(DEEPEST.path, 2)
    ends = [two_layers if end == DEEPEST else end for end in list_ends()]
    return list(cover_singles(ends, trials.find_refusal, random.Random(SEED)))


@pytest.mark.parametrize(("section", "key"), PATHS)
def test_every_setting_has_ends(section: str, key: str) -> None:
    """A number without one of its bounds is a KeyError."""
    assert len(find_ends(list_key_schemas(section)[key])) > 0


def test_an_end_that_is_refused_is_named(trials: Any) -> None:
    refused = {str(end): (trials.find_refusal((end,)), end) for end in list_ends()}
    unnamed = {
        name: error
        for name, (error, end) in refused.items()
        if error is not None and not try_settings.is_named(error, (end,))
    }
    assert unnamed == {}


def test_ends_that_contradict_each_other_are_named(trials: Any) -> None:
    pairs = [(a, b) for a, b in combinations(list_ends(), 2) if a.path != b.path]
    refused = 0
    for pair in random.Random(2).sample(pairs, PAIRS):
        error = trials.find_refusal(pair)
        refused += error is not None
        assert error is None or try_settings.is_named(error, pair), (*map(str, pair), error)
    assert 0 < refused < PAIRS / 2


def test_every_end_that_is_not_refused_is_in_a_row(trials: Any, rows: list[Any]) -> None:
    assert DEEPEST in list_ends()
    tried = [DEEPEST, *(end for row in rows for end in row)]
    left = [end for end in list_ends() if end not in tried]
    assert [str(end) for end in left if trials.find_refusal((end,)) is None] == []
    assert len(rows) <= ROWS_AT_MOST


@pytest.mark.parametrize("number", range(ROWS_AT_MOST))
def test_ends_train_two_steps_and_write_a_text(trials: Any, rows: list[Any], number: int) -> None:
    for row in rows[number : number + 1]:
        error = trials.find_failure(row)
        assert error is None, try_settings.explain_failure(trials, row, error)
