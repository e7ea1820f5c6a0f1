"""Averaging: when it begins and what it gives, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.reference.averaging import average_weights, is_triggered


def test_the_trigger_by_hand() -> None:
    losses = [5.0, 3.0, 2.0, 2.5, 2.4, 2.2, 2.1]
    # With n = 2, the last loss is held against all but the two before it: 2.5 against 5, 2.4
    # against min(5, 3), 2.2 against min(5, 3, 2), which is the first one that it is above.
    triggered = [is_triggered(losses[: t + 1], patience=2) for t in range(len(losses))]
    assert triggered == [False, False, False, False, False, True, True]


def test_one_bad_validation_is_not_enough() -> None:
    assert not is_triggered([3.0, 2.0, 9.0], patience=2)
    assert not is_triggered([3.0, 2.0, 9.0, 1.9], patience=2)


def test_the_mean_by_hand() -> None:
    iterates = [
        {"w": np.array([1.0, 4.0])},
        {"w": np.array([2.0, 4.0])},
        {"w": np.array([6.0, 1.0])},
    ]
    assert average_weights(iterates)["w"].tolist() == [3.0, 3.0]
    assert average_weights(iterates[:1])["w"].tolist() == [1.0, 4.0]


def test_what_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one step"):
        average_weights([])
    with pytest.raises(UsageError, match="expected shape"):
        average_weights([{"w": np.zeros(2)}, {"w": np.zeros(3)}])
