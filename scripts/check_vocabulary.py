"""Does a smaller vocabulary look better than it is? With the spelling of unknown words it must not.

    .venv/bin/python scripts/check_vocabulary.py [--text TEXT] [--steps N] [--sizes V ...]

For each vocabulary size, from the largest to the smallest, `small` is trained on TEXT for N steps
and scored on its validation part. The exit status is 1 where bits per character, spelling
included, become less.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise


def measure(text: str, steps: int, size: int) -> dict[str, float]:
    """The figures of a model whose vocabulary has at most `size` tokens."""
    with tempfile.TemporaryDirectory() as directory:
        settings = {"data.train": text, "tokenizer.vocab_size": size, "training.max_steps": steps}
        options = [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]
        call_program(["train", "small", *options, "--run", f"{directory}/run"])
        figures: dict[str, float] = json.loads(
            call_program(["evaluate", f"{directory}/run", "--json"])
        )
    return figures


def call_program(arguments: list[str]) -> str:
    """The standard output of `llm-timecycle ARGUMENTS`."""
    command = [sys.executable, "-m", "llm_timecycle", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Train and compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default="python-docs")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 2000, 500, 100, 12])
    arguments = parser.parse_args()
    print(f"{'vocabulary':>12}{'unknown':>12}{'without spelling':>20}{'bits per character':>20}")
    bits = []
    for size in sorted(arguments.sizes, reverse=True):
        figures = measure(arguments.text, arguments.steps, size)
        unknown = figures["unknown_tokens"] / figures["tokens"]
        plain, charged = (
            figures[f"bits_per_character{suffix}"] for suffix in ("", "_with_spelling")
        )
        print(f"{size:>12,}{unknown:>12.1%}{plain:>20.4f}{charged:>20.4f}", flush=True)
        bits.append(charged)
    return int(any(smaller < larger for larger, smaller in pairwise(bits)))


if __name__ == "__main__":
    sys.exit(main())
