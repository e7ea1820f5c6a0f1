"""A worker process: it does one task on one item after another, until its input ends.

`pool` starts it as a program of its own and not through `multiprocessing`, which would import the
user's main module again: a notebook or a script without `if __name__ == "__main__"` has none that
can be imported. It imports no TensorFlow.

Its input begins with the name of a task and the task's arguments. Each item is answered with a
tuple of the result, or with an empty one where the task failed: this process's parent does the item
itself then, and meets the error where it can be shown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from llm_timecycle.text.parallel.messages import receive, send

TASKS = {
    "measure": ("llm_timecycle.text.shards.measuring", "make_measurer"),
    "encode": ("llm_timecycle.text.encoding", "make_encoder"),
    "count pieces": ("llm_timecycle.text.tokenizer.vocabulary", "make_piece_counter"),
}
"""Module and function; the function takes the task's arguments and returns what does an item."""


def make_task(name: str, *arguments: str) -> Callable[[Any], Any]:
    """The function that does one item of a task."""
    module, function = TASKS[name]
    task: Callable[[Any], Any] = getattr(import_module(module), function)(*arguments)
    return task


def main() -> None:
    """Answer every item on standard input with its result on standard output."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not get between the answers
    try:
        task = make_task(*receive(requests))
        while True:
            item = receive(requests)
            try:
                answer: tuple[Any, ...] = (task(item),)
            except Exception:  # noqa: BLE001  # the parent meets it again
                answer = ()
            send(answers, answer)
    except (EOFError, BrokenPipeError):  # the parent is done, or gone
        return
