"""A plain LSTM in PyTorch behind Starlette, for comparison; written well, without a batcher.

    PYTHON serving_torch.py --sizes V,E,H,L --max-batch N

PYTHON has torch, starlette and uvicorn. The requests that wait are collected into a batch, their
prompts are read together, padded, and tokens are drawn for all of them until the last one has its
own; then comes the next batch. Answers are streams of the completions API. The weights are random:
they cost what trained ones do. It listens on a free port, which it prints.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from torch import nn


class LanguageModel(nn.Module):
    """Embedding, L layers, output."""

    def __init__(self, V: int, E: int, H: int, L: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, H, L, batch_first=True)
        self.output = nn.Linear(H, V)

    def read_prompts(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """The logits (B, V) after each prompt, and the state."""
        texts = [torch.tensor(prompt) for prompt in prompts]
        padded = nn.utils.rnn.pad_sequence(texts, batch_first=True)
        lengths = torch.tensor([len(text) for text in texts])
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(padded), lengths, batch_first=True, enforce_sorted=False
        )
        _, (h, c) = self.lstm(packed)
        return self.output(h[-1]), (h, c)

    def read_token(self, ids: Any, state: Any) -> tuple[Any, Any]:
        """The logits (B, V) after one more token of each row, and the state."""
        y, state = self.lstm(self.embedding(ids[:, None]), state)
        return self.output(y[:, 0]), state


@dataclass
class Waiting:
    """A request, and where its tokens go."""

    prompt: list[int]
    tokens: int
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


def write_batches(model: LanguageModel, waiting: queue.Queue[Waiting], max_batch: int) -> None:
    """Answer what waits, a batch after another, for ever."""
    while True:
        batch = [waiting.get()]
        while len(batch) < max_batch:
            try:
                batch.append(waiting.get_nowait())
            except queue.Empty:
                break
        with torch.inference_mode():
            logits, state = model.read_prompts([request.prompt for request in batch])
            most = max(request.tokens for request in batch)
            for number in range(most):
                ids = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
                deliver(batch, ids.tolist(), number)
                if number + 1 < most:
                    logits, state = model.read_token(ids, state)


def deliver(batch: Sequence[Waiting], ids: Sequence[int], number: int) -> None:
    """Hand over a token of each request that still wants one, all at once."""
    due = [
        (request.answer, id)
        for request, id in zip(batch, ids, strict=True)
        if number < request.tokens
    ]

    def put() -> None:
        for answer, id in due:
            answer.put_nowait(id)

    if due:
        batch[0].loop.call_soon_threadsafe(put)


def make_app(waiting: queue.Queue[Waiting]) -> Starlette:
    """The application: POST /v1/completions."""

    async def complete(request: Request) -> StreamingResponse:
        body = await request.json()
        asked = Waiting(body["prompt"], body["max_tokens"], asyncio.get_running_loop())
        waiting.put(asked)
        return StreamingResponse(stream(asked), media_type="text/event-stream")

    async def stream(asked: Waiting) -> AsyncIterator[bytes]:
        for number in range(asked.tokens):
            id = await asked.answer.get()
            reason = "length" if number == asked.tokens - 1 else None
            yield write_event([{"index": 0, "text": f"w{id} ", "finish_reason": reason}])
        yield write_event([], {"completion_tokens": asked.tokens})
        yield b"data: [DONE]\n\n"

    return Starlette(routes=[Route("/v1/completions", complete, methods=["POST"])])


def write_event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    """A chunk of a stream."""
    chunk = {"object": "text_completion", "choices": choices, "usage": usage}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", required=True)
    parser.add_argument("--max-batch", type=int, default=64)
    asked = parser.parse_args()
    waiting: queue.Queue[Waiting] = queue.Queue()
    model = LanguageModel(*map(int, asked.sizes.split(","))).eval()
    threading.Thread(
        target=write_batches, args=(model, waiting, asked.max_batch), daemon=True
    ).start()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    print(f"at http://127.0.0.1:{listener.getsockname()[1]};", flush=True)
    config = uvicorn.Config(make_app(waiting), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
