"""Fit the constants of a `LossCurve` to what `suggest.py` measured.

    .venv/bin/python scripts/bench/fit_loss_curve.py --points FILE [--level char]

FILE has a line of JSON a run, of all candidates; the points of one level are taken.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.training.suggest.calibration import LossCurve
from llm_timecycle.training.suggest.predict import predict_loss


def fit(points: list[dict[str, Any]]) -> tuple[LossCurve, float]:
    """The `LossCurve` of the least squared error over points of several texts, and its error.

    Each text has a floor of its own; the returned floor is their mean. For given exponents the
    other constants are linear: exponents from a grid, constants from least squares, none negative.
    """
    texts = sorted({point["text"] for point in points})
    losses = np.array([point["loss_nats"] for point in points])
    floors = np.array([[point["text"] == text for text in texts] for point in points], float)
    best: tuple[float, LossCurve] | None = None
    exponents = (
        np.linspace(0.2, 0.6, 5),
        np.linspace(0.2, 0.8, 7),
        np.linspace(0.25, 1.0, 4),
        (2.0, 4.0, 8.0, 16.0, 32.0),
    )
    for size, tokens, overfit, repeats in itertools.product(*exponents):
        shapes = (
            LossCurve(0.0, 1.0, size, 0.0, tokens, 0.0, overfit, repeats),
            LossCurve(0.0, 0.0, size, 1.0, tokens, 0.0, overfit, repeats),
            LossCurve(0.0, 0.0, size, 0.0, tokens, 1.0, overfit, repeats),
        )
        columns = [
            [
                predict_loss(
                    p["lstm_weights"], p["product_weights"], p["tokens"], p["text_tokens"], shape
                )
                for p in points
            ]
            for shape in shapes
        ]
        solution, error = _solve(np.column_stack([np.array(columns).T, floors]), losses)
        if best is None or error < best[0]:
            a, b, c = solution[:3]
            floor = float(solution[3:].mean())
            best = error, LossCurve(floor, a, size, b, tokens, c, overfit, repeats)
    if best is None:
        raise ValueError("no exponents to try")
    return best[1], best[0]


def _solve(columns: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Least squares without negative constants: the best of all sets of columns that are used."""
    free = columns.shape[1] - 3
    best, least = np.zeros(columns.shape[1]), float("inf")
    for used in itertools.product((False, True), repeat=3):
        chosen = np.array([*used, *[True] * free])
        part, *_ = np.linalg.lstsq(columns[:, chosen], values, rcond=None)
        error = float(np.sqrt(np.mean((columns[:, chosen] @ part - values) ** 2)))
        if (part[: sum(used)] >= 0).all() and error < least:
            best, least = np.zeros(columns.shape[1]), error
            best[chosen] = part
    return best, least


def main() -> None:
    """Print the curve and its error."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=Path, required=True, help="JSON lines, one a run")
    parser.add_argument("--level", default="char", help="the tokenizer's")
    given = parser.parse_args()
    lines = given.points.read_text().splitlines()
    points = [point for point in map(json.loads, lines) if point["level"] == given.level]
    curve, error = fit(points)
    print(f"{curve}\nroot of the mean squared error over {len(points)}: {error:.4f} nats")


if __name__ == "__main__":
    main()
