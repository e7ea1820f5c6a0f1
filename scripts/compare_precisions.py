"""Train the same run in float32 and in mixed_bfloat16, and compare their validation losses.

    .venv/bin/python scripts/compare_precisions.py [--steps N] [--set KEY=VALUE]...

Same seed, same text (the Python documentation strings, at the settings `small`), same steps: 500
unless told. Ends with exit code 1 where the losses are more than 1 % apart.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path


def train(run: Path, precision: str, steps: int, settings: list[str]) -> float:
    """The validation loss after so many steps, in nats a token."""
    sets = [f"training.precision={precision}", f"training.max_steps={steps}", *settings]
    command = [sys.executable, "-m", "llm_timecycle", "train", "small", "--run", str(run)]
    subprocess.run([*command, *(w for s in sets for w in ("--set", s))], check=True)
    with (run / "metrics.csv").open() as file:
        losses = [row["valid_loss_nats"] for row in csv.DictReader(file) if row["valid_loss_nats"]]
    return float(losses[-1])


def main() -> None:
    """Train both, print their losses, and say whether they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full, half = (
            train(Path(folder, precision), precision, options.steps, options.set)
            for precision in ("float32", "mixed_bfloat16")
        )
    difference = half / full - 1
    print(f"float32 {full:.4f}, mixed_bfloat16 {half:.4f} nats: {100 * difference:+.2f} %")
    sys.exit(abs(difference) > 0.01)


if __name__ == "__main__":
    main()
