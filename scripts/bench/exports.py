"""How fast an export writes in its runtime: cold start to the first token, tokens a second.

    .venv/bin/python scripts/bench/exports.py [RUN] [--rounds N] [--tokens N] [--json]

RUN (`demo` if it is left out; `reference` is one of the reference model's sizes, with weights that
are drawn) is exported in every format. Then each export is read in a process
that holds what its `example.py` does up to the prompt, and nothing of this program; the NumPy
engine of this program, which `generate` uses, stands beside them. The processes take turns, several
rounds. Cold start is the time from starting Python to the first logits after one token; the rate is
that of N greedy tokens after 20 that do not count. Given are medians; the size is that of the files
that the runtime reads. The first round, which fills the caches of the disk, is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from generation_programs import Sizes, write
from training import print_table

from llm_timecycle.exporting.api import export
from llm_timecycle.exporting.formats import FORMATS
from llm_timecycle.exporting.result import write_size
from llm_timecycle.runs.directory import open_run

OURS = """
import sys
import numpy as np
from pathlib import Path
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.runs.directory import open_run

run = open_run(Path(sys.argv[2]))
run.load_tokenizer()
engine = make_engine(run, "numpy")


def read(token):
    return engine.step(np.array([token]))[0]
"""
MEASURED = """

import time
logits = read(1)
first = time.time()
for _ in range(20):
    logits = read(int(logits.argmax()))
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    logits = read(int(logits.argmax()))
print(first, int(sys.argv[1]) / (time.perf_counter() - began))
"""
COMPANIONS = {"example.py", "export.json", "generation_config.json", "tokenizer.json"}
OWN = "this program (NumPy)"


def measure(program: Path, *arguments: str) -> dict[str, float]:
    """The figures of one process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    began = time.time()
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{program} failed:\n{done.stderr[-2000:]}")
    first, rate = map(float, done.stdout.split()[-2:])
    return {"cold start (s)": first - began, "tokens/s": rate}


def main() -> None:
    """Export, measure in turns, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("run", nargs="?", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    programs: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.run == "reference":
            write(Path(folder), Sizes())
            options.run = str(Path(folder, "run"))
        for to, form in FORMATS.items():
            for precision in form.precisions if form.example else ():
                name = to if precision == form.precisions[0] else f"{to} {precision}"
                output = Path(folder, name.replace(" ", "-"))
                result = export(options.run, to, output=output, precision=precision)
                size = sum(size for file, size in result.files.items() if file not in COMPANIONS)
                compared = result.comparison
                difference = f"{compared.largest_difference:.1e}" if compared else ""
                rows[name] = {"format": name, "size": write_size(size), "difference": difference}
                example = (output / "example.py").read_text(encoding="utf-8")
                programs[name] = output / "measured.py"
                programs[name].write_text(
                    example.partition("\nprompt = ")[0] + MEASURED, encoding="utf-8"
                )
        size = open_run(Path(options.run)).weights_path.stat().st_size
        rows[OWN] = {"format": OWN, "size": write_size(size), "difference": ""}
        programs[OWN] = Path(folder, "ours.py")
        programs[OWN].write_text(OURS + MEASURED, encoding="utf-8")
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for number in range(options.rounds + 1):
            print(f"round {number} of {options.rounds} ...", file=sys.stderr)
            for name, program in programs.items():
                figures[name].append(measure(program, str(options.tokens), options.run))
    for name, row in rows.items():
        for figure in figures[name][0]:
            row[figure] = median(each[figure] for each in figures[name][1:])
    if options.json:
        print(json.dumps([*rows.values()], indent=2))
        return
    for row in rows.values():
        row |= {"cold start (s)": f"{row['cold start (s)']:.2f}"}
        row |= {"tokens/s": f"{row['tokens/s']:,.0f}"}
    print_table([*rows.values()])


if __name__ == "__main__":
    main()
