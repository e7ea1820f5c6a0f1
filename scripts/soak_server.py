"""Send a server thousands of requests, leave many of them half way, and check every other answer.

    .venv/bin/python scripts/soak_server.py RUN --requests 10000

Clients send requests at the same time, as streams and not, and close some of the connections at
once, in the middle or after a while. Every answer that they wait for must be whole, and the text
that `Model.generate` gives for its seed. In the end nothing may be left at work, and the memory of
the server must be what it was after the first fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llm_timecycle as lt

KINDS = 50  # of requests, which are then sent many times
LEAVING = 0.4  # of the requests
LONGEST_WAIT_S = 0.05  # before leaving
GROWTH_AT_MOST = 0.03  # of the server's memory after the first fifth
PROMPTS = ("a", "abc", "the cat", "once upon a time", "a " * 300)


@dataclass(frozen=True)
class Kind:
    """A request, and the texts that answer it."""

    body: dict[str, Any]
    texts: tuple[str, ...]


@dataclass
class Tally:
    """What has become of the requests."""

    whole: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def make_kinds(run: Path, rng: random.Random) -> list[Kind]:
    """Requests with various settings, and what `Model.generate` writes for them."""
    model, kinds = lt.load(run), []
    for seed in range(KINDS):
        prompt, n, tokens = rng.choice(PROMPTS), rng.choice((1, 1, 2)), rng.randint(1, 40)
        sampling = rng.choice(({"temperature": 1.0}, {"temperature": 0.7, "top_k": 5}))
        texts = model.generate(prompt, samples=n, length=tokens, seed=seed, **sampling)
        body = {"prompt": prompt, "n": n, "max_tokens": tokens, "seed": seed, **sampling}
        kinds.append(Kind(body, tuple(str(text) for text in texts)))
    return kinds


async def send(port: int, kind: Kind, rng: random.Random, tally: Tally) -> None:
    """Send one request, and wait for its answer or leave before."""
    is_stream, is_leaving = rng.random() < 0.5, rng.random() < LEAVING
    content = json.dumps({**kind.body, "stream": is_stream}).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + content)
        await writer.drain()
        if is_leaving:
            if is_stream and rng.random() < 0.5:
                await reader.read(rng.randint(1, 2000))
            else:
                await asyncio.sleep(rng.choice((0.0, rng.random() * LONGEST_WAIT_S)))
            tally.left += 1
            return
        answer = (await reader.read(-1)).decode()
    finally:
        writer.close()
    try:
        found = _read_stream(answer, kind) if is_stream else _read_whole(answer)
    except (ValueError, KeyError, TypeError) as error:
        tally.wrong.append(f"{kind.body}: {error!r} in {answer[-300:]!r}")
        return
    if found == kind.texts:
        tally.whole += 1
    else:
        tally.wrong.append(f"{kind.body}: received {found}; expected {kind.texts}")


def _read_whole(answer: str) -> tuple[str, ...]:
    choices = json.loads(answer.partition("\r\n\r\n")[2])["choices"]
    return tuple(choice["text"] for choice in choices)


def _read_stream(answer: str, kind: Kind) -> tuple[str, ...]:
    *events, last = re.findall(r"^data: (.*)$", answer, re.MULTILINE)
    if last != "[DONE]":
        raise ValueError("the stream has no end")
    texts = [""] * len(kind.texts)
    for event in events:
        (choice,) = json.loads(event)["choices"]
        texts[choice["index"]] += choice["text"]
    return tuple(texts)


def read_memory_mb(process: int) -> float:
    """The memory that a process holds; 0 where there is no /proc."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def read_health(port: int) -> dict[str, Any]:
    """What /health says."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = (await reader.read(-1)).decode()
    writer.close()
    health: dict[str, Any] = json.loads(answer.partition("\r\n\r\n")[2])
    return health


async def soak(process: int, port: int, kinds: list[Kind], asked: argparse.Namespace) -> Tally:
    """Send all requests, several at a time."""
    tally, rng = Tally(), random.Random(asked.seed)
    waiting = iter(range(asked.requests))
    while (await read_health(port))["status"] != "ok":
        await asyncio.sleep(0.01)

    async def send_some() -> None:
        for number in waiting:
            if number % max(1, asked.requests // 20) == 0:
                tally.memory_mb.append(read_memory_mb(process))
                print(f"{number:6} requests: {tally.memory_mb[-1]:6.1f} MB", flush=True)
            await send(port, rng.choice(kinds), rng, tally)

    await asyncio.gather(*(send_some() for _ in range(asked.clients)))
    for _ in range(500):  # those whose clients have left end at the next token
        health = await read_health(port)
        if health["running"] == health["waiting"] == 0:
            break
        await asyncio.sleep(0.01)
    else:
        tally.wrong.append(f"still at work: {health}")
    tally.memory_mb.append(read_memory_mb(process))
    return tally


def main() -> None:
    """Start a server, send the requests and say what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    kinds = make_kinds(asked.run, random.Random(asked.seed))
    program = [sys.executable, "-m", "llm_timecycle", "serve", str(asked.run), "--port", "0"]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    start_s = time.perf_counter()
    try:
        found = re.search(r":(\d+);", process.stderr.readline())
        if not found:
            sys.exit(process.stderr.read())
        tally = asyncio.run(soak(process.pid, int(found[1]), kinds, asked))
    finally:
        process.terminate()
        _, printed = process.communicate()
    wall_s = time.perf_counter() - start_s
    before_mb, after_mb = tally.memory_mb[len(tally.memory_mb) // 5], tally.memory_mb[-1]
    print(
        f"{asked.requests:,} requests in {wall_s:.0f} s: {tally.whole:,} answers whole and right, "
        f"{tally.left:,} left by their clients, {len(tally.wrong)} wrong; memory after the first "
        f"fifth {before_mb:.1f} MB, in the end {after_mb:.1f} MB"
    )
    if printed:
        tally.wrong.append(f"the server printed: {printed}")
    if asked.requests >= 2000 and after_mb > (1 + GROWTH_AT_MOST) * before_mb:
        tally.wrong.append("the memory of the server grows")
    if tally.wrong:
        sys.exit("\n".join(tally.wrong[:20]))


if __name__ == "__main__":
    main()
