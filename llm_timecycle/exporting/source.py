"""What a writer of an export gets: the run, its weights, its tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.manifest import read_whole
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Source:
    """A run with its best weights, as `open_source` gives it."""

    run: Run
    weights: Mapping[str, np.ndarray]
    """float32, with the names and shapes of `config.weight_shapes`; read-only."""
    tokenizer: Tokenizer
    tokenizer_json: bytes
    """The run's `tokenizer.json`, byte for byte."""

    @property
    def name(self) -> str:
        """The last part of the run's path, such as `my` of `runs/my`."""
        return self.run.path.resolve().name

    @property
    def settings(self) -> Settings:
        """Those that the run was trained with; `generation` as its owner has set it."""
        return self.run.settings

    @property
    def model(self) -> ModelSettings:
        """The network's."""
        return self.run.settings.model

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary (V)."""
        return self.run.vocab_size

    @cached_property
    def tokenizer_sha256(self) -> str:
        """Of `tokenizer_json`, in hex."""
        return hashlib.sha256(self.tokenizer_json).hexdigest()


def open_source(path: Path) -> Source:
    """A run and all that an export is made of.

    Args:
        path: a run directory, or the name of a run that comes with the program.

    Raises:
        RunError: it is missing, damaged, or has no weights yet.
    """
    return load_source(open_run(path))


def load_source(run: Run) -> Source:
    """All that an export of an open run is made of; RunError as of `open_source`."""
    tokenizer = run.load_tokenizer()
    return Source(run, run.load_weights(), tokenizer, read_whole(run.path, "tokenizer.json"))
