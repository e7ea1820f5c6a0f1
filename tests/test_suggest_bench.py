"""The benchmark of the suggestions: curves are fitted back, and the 2% are checked."""

from __future__ import annotations

import itertools
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.training.suggest.calibration import LossCurve
from llm_timecycle.training.suggest.predict import predict_loss

PLACE = Path(__file__).parent.parent / "scripts" / "bench"
BENCH = runpy.run_path(str(PLACE / "suggest.py"))
FIT = runpy.run_path(str(PLACE / "fit_loss_curve.py"))
CURVE = LossCurve(1.2, 20.0, 0.4, 300.0, 0.5, 0.004, 0.5, 8.0)
CHAR = "char H128 dropout 0.0"


def make_point(candidate: str, minutes: float, bits: float) -> dict[str, Any]:
    return {"text": "a.txt", "candidate": candidate, "minutes": minutes, "bits_per_byte": bits}


def test_the_curve_behind_the_points_is_found() -> None:
    sizes = itertools.product((1e5, 1e6, 4e6), (3e5, 3e6, 3e7), (("a", 1e5), ("b", 1e6)))
    points = [
        {
            "text": name,
            "lstm_weights": P,
            "product_weights": 3 * P,
            "tokens": n,
            "text_tokens": D,
            "loss_nats": predict_loss(P, 3 * P, n, D, CURVE) + (name == "b"),
        }
        for P, n, (name, D) in sizes
    ]
    curve, error = FIT["fit"](points)
    assert error == pytest.approx(0.0, abs=1e-9)
    assert replace(curve, floor=0.0) == LossCurve(
        0.0,
        pytest.approx(20.0),
        pytest.approx(0.4),
        pytest.approx(300.0),
        pytest.approx(0.5),
        pytest.approx(0.004),
        pytest.approx(0.5),
        8.0,
    )
    assert curve.floor == pytest.approx(1.2 + 0.5)  # the mean of both texts


def test_the_suggestion_is_held_against_the_best_of_the_grid_and_the_shipped() -> None:
    points = [
        make_point("suggestion", 1.0, 2.01),
        make_point(CHAR, 1.0, 2.0),
        make_point("char H256 dropout 0.0", 1.0, 2.2),
        make_point("small", 1.0, 2.5),
    ]
    (row,) = BENCH["compare"](points)
    assert (row["best"], row["ratio"], row["small"]) == (CHAR, pytest.approx(1.005), 2.5)
    assert BENCH["check"](points)
    points[0]["bits_per_byte"] = 2.05
    assert not BENCH["check"](points)


def test_a_budget_that_was_not_measured_lies_on_the_line_through_the_nearest() -> None:
    points = [make_point(CHAR, minutes, bits) for minutes, bits in ((1.0, 2.0), (4.0, 1.8))]
    assert BENCH["estimate"](points, 4.0) == (1.8, True)
    assert BENCH["estimate"](points, 16.0) == (pytest.approx(1.6), False)
    assert BENCH["estimate"](points[:1], 16.0) is None


def test_every_entry_of_the_grid_is_settings() -> None:
    from llm_timecycle.config.load import read_settings

    for name, overrides in BENCH["GRID"].items():
        settings = read_settings("small", [*overrides, *BENCH["HELD_OUT"]]).settings
        for override in overrides:
            path, _, value = override.partition("=")
            section, _, key = path.partition(".")
            assert str(getattr(getattr(settings, section), key)).lower() == value.lower(), name
