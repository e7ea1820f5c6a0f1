"""How fast the server answers, beside the engine alone and a plain PyTorch server.

    .venv/bin/python scripts/bench/serving.py RUN [--torch-python PYTHON]
    .venv/bin/python scripts/bench/serving.py RUN --long-prompt 10000
    .venv/bin/python scripts/bench/serving.py RUN --start

The first starts `llm-timecycle serve RUN` and prints a row for each number of clients, each of
which sends a request, waits for the end of its stream, and sends the next:

- tokens/s of all together; `engine` is the NumPy engine in this process, which reads as many
  prompts together and draws as many tokens, without a server: the most that there is to have.
- TTFT, from sending a request to its first event. `prompt` is what the engine alone takes for one.
- ITL, from one arrival of text at a client to the next. An event may hold several tokens.
- `clients %`, the share of one core that the clients take from the servers.

PYTHON has torch, starlette and uvicorn: it runs `serving_torch.py` with a network of the same
sizes, and both servers are measured alternately.

The second has clients write, sends one long prompt in the middle, and prints the gaps between the
tokens of the others before and while it is read. The third prints the time from the command to the
first answer, which may be that the model is loading, and until it is loaded.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import numpy as np
from serving_clients import Load, Times, join_times, measure

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.sampling.pipeline import SamplingPlan, sample_tokens
from llm_timecycle.runs.directory import Run, open_run

TORCH_SERVER = Path(__file__).with_name("serving_torch.py")
WRITERS = 8
HEADER = (
    "server clients prompt  tokens/s   engine  ratio   TTFT p50     p95     p99  prompt"
    "   ITL p50     p95     p99  tokens/event  clients %"
)


@contextmanager
def start(program: Sequence[str | Path]) -> Iterator[int]:
    """A server that prints its address on its first line; its port."""
    process = subprocess.Popen(
        [str(word) for word in program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r":(\d+);", line)
        if not found:
            sys.exit(line + process.stdout.read())
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate()


def list_serve(run: Path, *options: str) -> list[str | Path]:
    """The command that serves a run."""
    return [sys.executable, "-m", "llm_timecycle", "serve", run, *options]


def ask_health(port: int) -> int | None:
    """The status of /health; None while nothing listens."""
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def wait_until_loaded(port: int) -> None:
    """Return once the model is loaded."""
    while ask_health(port) != 200:
        time.sleep(0.001)


class EngineAlone:
    """The engine and the draw, without a server."""

    def __init__(self, run: Run) -> None:
        self._engine = NumpyEngine(run.load_weights(), run.settings.model)
        self._plan = SamplingPlan(GenerationSettings(temperature=1.0), banned=(0, 1))
        self._random = np.random.default_rng(0)

    def write(self, prompt: Sequence[int], rows: int, tokens: int) -> float:
        """Seconds for as many texts of as many tokens."""
        start_s = time.perf_counter()
        self._engine.reset()
        logits = self._engine.prefill(np.tile(prompt, (rows, 1)))
        for number in range(tokens):
            ids = sample_tokens(logits, self._random.random(rows), self._plan)
            if number + 1 < tokens:
                logits = self._engine.step(ids)
        return time.perf_counter() - start_s


def show_ms(values: Sequence[float]) -> str:
    """p50, p95 and p99."""
    if not values:
        return " " * 23
    return " ".join(f"{1000 * np.percentile(values, p):7.1f}" for p in (50, 95, 99))


def show_row(name: str, clients: int, load: Load, times: Times, alone: tuple[float, float]) -> str:
    """A row of the table; `alone` is the engine's rate, and its time for a prompt."""
    wanted = clients * load.requests * load.tokens
    if times.tokens != wanted:
        sys.exit(f"{name} wrote {times.tokens:,} tokens of {wanted:,}")
    rate, prompt_s = times.tokens / times.wall_s, alone[1]
    return (
        f"{name:6} {clients:7} {len(load.prompt):6} {rate:9.0f} {alone[0]:8.0f} "
        f"{rate / alone[0]:6.2f}    {show_ms(times.first_s)} {1000 * prompt_s:7.1f}   "
        f"{show_ms([gap_s for _, gap_s in times.gaps])} {times.tokens / times.events:13.1f} "
        f"{100 * times.cpu_s / times.wall_s:10.0f}"
    )


def compare(asked: argparse.Namespace, run: Run) -> None:
    """Print the table of loads."""
    most, model = str(max(asked.clients)), run.settings.model
    programs = {"ours": list_serve(asked.run, "--port", "0", "--max-batch", most)}
    if asked.torch_python:
        sizes = (run.vocab_size, model.embedding_dim, model.hidden_units, model.num_layers)
        options = ["--sizes", ",".join(map(str, sizes)), "--max-batch", most]
        programs["torch"] = [asked.torch_python, TORCH_SERVER, *options]
    with start(programs["ours"]) as port:
        ports = {"ours": port}
        wait_until_loaded(port)
        if "torch" not in programs:
            _compare_ports(asked, run, ports)
            return
        with start(programs["torch"]) as other:
            _compare_ports(asked, run, {**ports, "torch": other})


def _compare_ports(asked: argparse.Namespace, run: Run, ports: dict[str, int]) -> None:
    engine = EngineAlone(run)
    print(HEADER)
    for T in asked.prompt_tokens:
        prompt = np.random.default_rng(1).integers(2, run.vocab_size, T).tolist()
        load = Load(prompt, asked.tokens, asked.requests)
        for port in ports.values():
            measure(port, [Load(prompt, 16)])
        engine.write(prompt, 1, 16)
        prompt_s = median(engine.write(prompt, 1, 1) for _ in range(5))
        for clients in asked.clients:
            alone_s = median(engine.write(prompt, clients, asked.tokens) for _ in range(2))
            alone = clients * asked.tokens / alone_s, prompt_s
            for name, port in ports.items():
                times = join_times(measure(port, [load] * clients))
                print(show_row(name, clients, load, times, alone), flush=True)


def measure_long_prompt(asked: argparse.Namespace, run: Run) -> None:
    """Print how a long prompt delays the tokens of others."""
    rng = np.random.default_rng(1)
    writer = Load(rng.integers(2, run.vocab_size, 32).tolist(), 128, requests=0)
    reader = Load(rng.integers(2, run.vocab_size, asked.long_prompt).tolist(), 1, wait_s=2.0)
    with start(list_serve(asked.run, "--port", "0", "--max-tokens", "100000")) as port:
        wait_until_loaded(port)
        *writers, long = measure(port, [*[writer] * WRITERS, reader])
    start_s = long.asked[0]
    end_s = start_s + long.first_s[0]
    gaps = join_times(writers).gaps
    before = [gap_s for at_s, gap_s in gaps if at_s < start_s]
    during = [gap_s for at_s, gap_s in gaps if start_s <= at_s <= end_s]
    print(f"gaps between the tokens of {WRITERS} texts, ms:     p50     p95     p99     max")
    for name, each in (
        (f"before a prompt of {asked.long_prompt:,} tokens", before),
        ("during", during),
    ):
        print(f"{name:41} {show_ms(each)} {1000 * max(each, default=0.0):7.1f}")
    print(f"the long prompt's first token came after {long.first_s[0]:.2f} s")


def measure_start(asked: argparse.Namespace) -> None:
    """Print the time from the command to the first answer, and until the model is loaded."""
    spent = []
    for _ in range(asked.requests):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        start_s = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in list_serve(asked.run, "--port", str(port))],
            stderr=subprocess.DEVNULL,
        )
        while ask_health(port) is None:
            time.sleep(0.001)
        answered_s = time.perf_counter() - start_s
        wait_until_loaded(port)
        spent.append((answered_s, time.perf_counter() - start_s))
        process.terminate()
        process.wait()
    for name, each in zip(("answering", "loaded"), zip(*spent, strict=True), strict=True):
        print(f"{name:9} median {median(each):.2f} s, from {min(each):.2f} to {max(each):.2f} s")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--prompt-tokens", type=int, nargs="+", default=[32, 512])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--requests", type=int, default=4, help="of each client; or starts")
    parser.add_argument("--torch-python", type=Path)
    parser.add_argument("--long-prompt", type=int, metavar="TOKENS")
    parser.add_argument("--start", action="store_true")
    asked = parser.parse_args()
    if asked.start:
        measure_start(asked)
    elif asked.long_prompt:
        measure_long_prompt(asked, open_run(asked.run))
    else:
        compare(asked, open_run(asked.run))


if __name__ == "__main__":
    main()
