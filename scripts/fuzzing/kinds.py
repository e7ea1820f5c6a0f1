"""The kinds of cases. Each is a module with one function, `prepare`.

`prepare(world)` is called once in every process, with an empty directory for whatever the cases
have in common. It gives a function that makes a case from a random generator, inside a directory
that is empty and the current one; the same generator gives the same case.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzzing.laws import Attempt

MakeAttempt = Callable[[Random, Path], Attempt]
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Kind:
    """A kind of cases.

    Attributes:
        name: what it is called.
        module: where its `prepare` is; another function can be named after a colon.
        summary: what is varied.
        memory_bytes: what a process may have resident at most.
        share: cases of this kind for each case that is asked for.
        is_quick: whether it stands in the tests, without TensorFlow.
    """

    name: str
    module: str
    summary: str
    memory_bytes: int = GIGABYTE
    share: float = 1.0
    is_quick: bool = True

    def prepare(self, world: Path) -> MakeAttempt:
        """Import the module, and let it prepare its world."""
        module, _, function = self.module.partition(":")
        make: MakeAttempt = getattr(importlib.import_module(module), function or "prepare")(world)
        return make


WITH_TENSORFLOW = 1_600_000_000

KINDS = {
    kind.name: kind
    for kind in (
        Kind("settings", "fuzzing.cases.settings", "YAML of settings files, overrides"),
        Kind("runs", "fuzzing.cases.runs", "every file of a run, as it is or with hashes that fit"),
        Kind("tokenizers", "fuzzing.cases.tokenizers", "tokenizer.json and spelling.json"),
        Kind("tensors", "fuzzing.cases.tensors", "headers and numbers of safetensors files"),
        Kind("stores", "fuzzing.cases.stores", "the cache: token stores, tokenizers, spelling"),
        Kind("texts", "fuzzing.cases.texts", "texts of any bytes, encodings, compressed, records"),
        Kind("prompts", "fuzzing.cases.prompts", "prompts and options of generate"),
        Kind("python", "fuzzing.cases.python_calls", "arguments of load, Model, Settings, compare"),
        Kind(
            *("training", "fuzzing.cases.python_calls:prepare_training"),
            "arguments of train, suggest, evaluate, profile",
            memory_bytes=WITH_TENSORFLOW,
            share=0.02,
            is_quick=False,
        ),
        Kind(
            *("resumes", "fuzzing.cases.resumes", "whole trainings, resumed from changed runs"),
            memory_bytes=WITH_TENSORFLOW,
            share=0.01,
            is_quick=False,
        ),
    )
}
