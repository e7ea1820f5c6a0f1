"""Train with the settings files that carry a result, and compare what comes out.

    .venv/bin/python scripts/bench/recipes.py [--write] [--tolerance 0.02] [FILE]...

Each FILE (by default every `configs/*.yaml`) has a recipe (`llm_timecycle.config.recipes`): its
command runs as a process, then `llm-timecycle evaluate` scores the run. The exit status is 1 where
a perplexity is more than the tolerance above the recorded one. Minutes are compared by eye: the
recipe names the machine that they were measured on. `--write` records this machine's results.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llm_timecycle.config.locate import find_shipped_directory
from llm_timecycle.config.recipes import Recipe, read_recipe, replace_recipe
from llm_timecycle.system import describe_machine, describe_machine_briefly


def run_again(recipe: Recipe) -> Recipe:
    """The recipe with the results of this machine."""
    with tempfile.TemporaryDirectory() as directory:
        run = f"{directory}/run"
        start = time.monotonic()
        call_program([*shlex.split(recipe.command)[1:], "--run", run])
        minutes = (time.monotonic() - start) / 60
        score = json.loads(call_program(["evaluate", run, "--json"]))
    return recipe.model_copy(
        update={
            "machine": describe_machine_briefly(describe_machine()),
            "minutes": round(minutes, 2),
            "perplexity": round(score["perplexity"], 2),
            "bits_per_character": round(score["bits_per_character_with_spelling"], 4),
        }
    )


def call_program(arguments: list[str]) -> str:
    """The standard output of `llm-timecycle ARGUMENTS`."""
    command = [sys.executable, "-m", "llm_timecycle", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Run the recipes; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true", help="record this machine's results")
    parser.add_argument("--tolerance", type=float, default=0.02, help="default: 0.02")
    arguments = parser.parse_args()
    files = arguments.files or sorted(find_shipped_directory().glob("*.yaml"))
    is_worse = False
    for file in files:
        before = read_recipe(file)
        if before is None:
            parser.error(f"{file} has no recipe")
        now = run_again(before)
        print(f"{file.stem}\n  recorded: {before}\n  now:      {now}", flush=True)
        is_worse |= now.perplexity > before.perplexity * (1 + arguments.tolerance)
        if arguments.write:
            file.write_text(replace_recipe(file.read_text(encoding="utf-8"), now), encoding="utf-8")
    return int(is_worse and not arguments.write)


if __name__ == "__main__":
    sys.exit(main())
