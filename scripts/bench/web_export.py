"""How large the page of a model is, how soon it writes, and how fast, beside our own engine.

    .venv/bin/python scripts/bench/web_export.py [RUN]... [--tokens N] [--rounds N]
        [--precision PRECISION]... [--json]

Without a RUN, two models of 3 million weights that are drawn, not trained: one of 100 characters,
one of 4,000 words. Each is written as a page in each precision, or in those that are named, and
opened in Chromium. Given are

- MB, the whole file;
- load s, from opening the file until the page is ready;
- first s, from opening the file until the first token is there;
- tokens/s, after the first token, the median of the rounds, and the best of them;
- tokens/CPU s, over the processor's seconds of the page's thread (Linux), which a busy machine
  changes less; `engine` is the same of the NumPy engine, over the seconds of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
from training import print_table

from llm_timecycle.config.settings import GenerationSettings, ModelSettings, Settings
from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.exporting.web.page import write_page
from llm_timecycle.exporting.web.weights import Precision
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MODELS = {
    "characters": ("char", 100, ModelSettings(embedding_dim=128, num_layers=2, hidden_units=480)),
    "words": ("word", 4_000, ModelSettings(embedding_dim=256, num_layers=2, hidden_units=256)),
}
PROMPT = "Once upon a time"


def make_run(folder: Path, name: str) -> Run:
    """A run of one of `MODELS`, which never ends a text."""
    level, vocab_size, model = MODELS[name]
    text = [chr(0x4E00 + n) for n in range(vocab_size)]
    settings = Settings(
        tokenizer=TokenizerSettings(level=level, vocab_size=vocab_size), model=model
    )
    tokenizer = Tokenizer.train(settings.tokenizer, [" ".join(text)])
    run = create_run(folder / name, settings, tokenizer.to_json().encode(), vocab_size, {})
    rng = np.random.default_rng(1)
    shapes = compute_parameter_shapes(model, vocab_size)
    weights = {n: rng.normal(0.0, 0.1, s).astype(np.float32) for n, s in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return run


def measure_page(page: Any, path: Path, tokens: int, rounds: int) -> dict[str, float]:
    """The figures of a page in the browser."""
    began = time.perf_counter()
    page.goto(path.as_uri())
    go_on = page.locator("[data-action=continue]:enabled:visible")
    go_on.wait_for()
    load_s = time.perf_counter() - began
    page.locator("textarea").fill(PROMPT)
    page.locator("[name=length]").fill(str(tokens))
    rates, first_s = [], None
    worker_s = read_worker_s()
    for _ in range(rounds):
        page.locator("textarea").fill(PROMPT)
        go_on.click()
        page.locator(".written").wait_for()
        first_s = first_s or time.perf_counter() - began
        go_on.wait_for(timeout=600_000)
        found = re.search(r"([\d.]+) tokens/s", page.locator("[data-part=tokens]").inner_text())
        assert found, "the text ended at once"
        rates.append(float(found[1]))
    assert first_s is not None
    spent_s = read_worker_s() - worker_s
    return {
        **{"load_s": load_s, "first_s": first_s, "median": median(rates), "best": max(rates)},
        "cpu": tokens * rounds / spent_s if spent_s else float("nan"),
    }


def read_worker_s() -> float:
    """The processor's seconds so far of the worker threads of this process's browser."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])

    def is_own(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    spent_s = 0.0
    for pid in filter(is_own, list(parents)):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(OSError):
                if (task / "comm").read_text().startswith("DedicatedWorker"):
                    spent_s += int((task / "schedstat").read_text().split()[0]) / 1e9
    return spent_s


def measure_engine(run: Run, tokens: int, rounds: int) -> float:
    """Tokens per processor's second of the NumPy engine."""
    settings = GenerationSettings(length=tokens, seed=1)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    generator = TextGenerator(engine, run.load_tokenizer(), settings)
    generator.generate(PROMPT)
    began_s = time.process_time()
    for _ in range(rounds):
        generator.generate(PROMPT)
    return tokens * rounds / (time.process_time() - began_s)


def format_row(each: dict[str, Any]) -> dict[str, str]:
    """A row of the table."""
    return {
        **{"model": each["model"], "weights": f"{each['weights']:,}"},
        **{"precision": each["precision"], "MB": f"{each['megabytes']:.2f}"},
        **{"load s": f"{each['load_s']:.2f}", "first s": f"{each['first_s']:.2f}"},
        **{"tokens/s": f"{each['median']:.0f}", "best": f"{each['best']:.0f}"},
        **{"tokens/CPU s": f"{each['cpu']:.0f}", "engine": f"{each['engine']:.0f}"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    known = get_args(Precision)
    parser.add_argument("--precision", dest="precisions", action="append", choices=known)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("this needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as directory, sync_playwright() as driver:
        folder = Path(directory)
        runs = [open_run(run) for run in options.runs] or [make_run(folder, n) for n in MODELS]
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        figures = []
        for run in runs:
            engine = measure_engine(run, options.tokens, options.rounds)
            for precision in options.precisions or known:
                path = folder / f"{run.path.name}-{precision}.html"
                facts = write_page(run, path, precision)
                context = browser.new_context()
                row = measure_page(context.new_page(), path, options.tokens, options.rounds)
                context.close()
                size = {"weights": facts.parameters, "megabytes": facts.size_bytes / 1e6}
                names = {"model": run.path.name, "precision": precision}
                figures.append({**names, **size, **row, "engine": engine})
        browser.close()
    if options.json:
        print(json.dumps(figures))
        return
    print_table([format_row(each) for each in figures])


if __name__ == "__main__":
    main()
