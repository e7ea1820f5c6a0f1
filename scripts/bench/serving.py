"""How fast a server answers: clients that each send a request, wait for its end, and send the next.

    .venv/bin/python scripts/bench/serving.py RUN --clients 1 8 32 --prompt-tokens 32 --tokens 128

It starts `llm-timecycle serve RUN`, and prints a row for each number of clients: tokens a second
of all together; TTFT, from the request to the first event; ITL, from event to event of a stream.
`engine` is the NumPy engine in this process with as many rows and no server: the most that there is
to have.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, sample_tokens
from llm_timecycle.runs.directory import open_run


@dataclass
class Times:
    """What the clients measured, in seconds."""

    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True)
class Load:
    """What a client asks for."""

    prompt: list[int]
    tokens: int
    requests: int


def run_client(port: int, load: Load, seed: int, times: Times) -> None:
    """Send requests one after another, and add what they took to `times`."""
    connection = HTTPConnection("127.0.0.1", port)
    for number in range(load.requests):
        body = {
            "prompt": load.prompt,
            "max_tokens": load.tokens,
            "seed": seed * 1000 + number,
            "stream": True,
            "ignore_eos": True,
            "return_token_ids": True,
        }
        start_s = time.perf_counter()
        connection.request("POST", "/v1/completions", json.dumps(body))
        answer = connection.getresponse()
        last_s = None
        while line := answer.readline():
            if not line.startswith(b'data: {"id"'):
                continue
            now_s = time.perf_counter()
            if b'"token_ids":[]' in line:
                continue
            if last_s is None:
                times.first_s.append(now_s - start_s)
            else:
                times.gaps_s.append(now_s - last_s)
            last_s = now_s
            times.tokens += 1
        answer.read()
    connection.close()


def measure_server(port: int, clients: int, load: Load) -> tuple[Times, float]:
    """The times of that many clients, and tokens a second of all together."""
    each = [Times() for _ in range(clients)]
    threads = [
        threading.Thread(target=run_client, args=(port, load, number, times))
        for number, times in enumerate(each)
    ]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - start_s
    together = Times(
        [s for times in each for s in times.first_s],
        [s for times in each for s in times.gaps_s],
        sum(times.tokens for times in each),
    )
    return together, together.tokens / wall_s


def measure_engine(path: Path, rows: int, load: Load) -> float:
    """Tokens a second of the engine and the draw alone."""
    run = open_run(path)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    plan = SamplingPlan(GenerationSettings(temperature=1.0), banned=(0, 1))
    rng = np.random.default_rng(0)

    def write(tokens: int) -> None:
        engine.reset()
        logits = engine.prefill(np.tile(load.prompt, (rows, 1)))
        for _ in range(tokens):
            logits = engine.step(sample_tokens(logits, rng.random(rows), plan))

    write(8)
    start_s = time.perf_counter()
    write(load.tokens)
    return rows * load.tokens / (time.perf_counter() - start_s)


def wait_until_loaded(port: int) -> None:
    """Return once the server answers."""
    status = 0
    while status != 200:
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/health")
        status = connection.getresponse().status
        connection.close()


def show(values: Sequence[float]) -> str:
    """p50, p95 and p99 in milliseconds."""
    return " ".join(f"{1000 * np.percentile(values, p):8.1f}" for p in (50, 95, 99))


def main() -> None:
    """Start the server and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--prompt-tokens", type=int, nargs="+", default=[32, 512])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    asked = parser.parse_args()
    program = [sys.executable, "-m", "llm_timecycle", "serve", str(asked.run), "--port", "0"]
    process = subprocess.Popen(
        [*program, "--max-batch", str(max(asked.clients))], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = re.search(r":(\d+);", process.stderr.readline())
        assert found, "the server did not start"
        port, V = int(found[1]), open_run(asked.run).vocab_size
        wait_until_loaded(port)
        measure_server(port, 1, Load([2] * 8, 16, 2))
        print(
            "clients prompt  tokens/s   engine   TTFT p50   p95      p99  ITL p50     p95      p99"
        )
        for T in asked.prompt_tokens:
            prompt = np.random.default_rng(1).integers(2, V, T).tolist()
            load = Load(prompt, asked.tokens, asked.requests)
            for clients in asked.clients:
                times, rate = measure_server(port, clients, load)
                engine = measure_engine(asked.run, clients, load)
                print(
                    f"{clients:7} {T:6} {rate:9.0f} {engine:8.0f} {show(times.first_s)} "
                    f"{show(times.gaps_s)}",
                    flush=True,
                )
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
