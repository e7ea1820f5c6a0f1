"""The formats: what each is for, what writes it, what reads it back.

A format is a module with

    write(source: Source, staging: Path, precision: str, **choices) -> object
        put its files into the directory `staging`, where the tokenizer, the settings of generation
        and the example are already; a format that needs others replaces them

and, unless `runtime` is None,

    open_reader(directory: Path, source: Source) -> Reader
        what was written, in that runtime, to be compared with the run

The module is imported when its format is asked for, so that no other format's packages are needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from llm_timecycle.arguments import write_received
from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.source import Source

Reader = Callable[[int], np.ndarray]
"""Reads one more token of a text; gives the logits (V,), float32, for the one after it."""


class FormatModule(Protocol):
    """What the module of a format has."""

    def write(self, source: Source, staging: Path, precision: str, **choices: Any) -> object:
        """Put the files of the format into `staging`; may tell what became of the settings."""

    def open_reader(self, directory: Path, source: Source) -> Reader:
        """What is in `directory`, at the start of a text."""


@dataclass(frozen=True)
class Format:
    """A format: an entry of `FORMATS`."""

    help: str
    """One line."""
    module: str
    """In this room."""
    precisions: tuple[str, ...] = ("float32",)
    """How weights may be stored; the first is the default."""
    needs: tuple[str, ...] = ()
    """Packages that write it, besides those that the program always has."""
    uses_tensorflow: bool = False
    """Whether its module imports TensorFlow."""
    runtime: str | None = None
    """The package that reads it back, by its import name; None where nothing here does."""
    example: str | None = None
    """The file of `examples/` that says how it is loaded and called; None where a format has all
    that it needs without what stands beside the others."""

    def load(self) -> FormatModule:
        """The module.

        Raises:
            UsageError: a package that it needs is not installed.
        """
        if missing := [name for name in self.needs if find_spec(name) is None]:
            raise UsageError(
                f"this format needs {' and '.join(missing)}: install with\n"
                f'pip install "llm-timecycle[export]"'
            )
        if self.uses_tensorflow:
            from llm_timecycle.model.tf_import import import_tensorflow

            import_tensorflow()
        module = importlib.import_module(f"llm_timecycle.exporting.{self.module}")
        return cast(FormatModule, module)

    @property
    def has_runtime(self) -> bool:
        """Whether what is written can be read back here."""
        return self.runtime is not None and find_spec(self.runtime) is not None


FORMATS = {
    "onnx": Format(
        "ONNX, for onnxruntime and the many programs that read it; written without TensorFlow",
        module="onnx.writer",
        needs=("onnx",),
        runtime="onnxruntime",
        example="onnx.txt",
    ),
    "keras": Format(
        "a .keras file of stock layers, which Keras loads without this program",
        module="keras.keras_file",
        uses_tensorflow=True,
        runtime="keras",
        example="keras.txt",
    ),
    "saved_model": Format(
        "a TensorFlow SavedModel, with the states as inputs and outputs of its signature",
        module="keras.saved_model",
        uses_tensorflow=True,
        runtime="tensorflow",
        example="saved_model.txt",
    ),
    "litert": Format(
        "LiteRT (TensorFlow Lite), for phones and small computers; float32 or int8",
        module="keras.litert",
        precisions=("float32", "int8"),
        uses_tensorflow=True,
        runtime="ai_edge_litert",
        example="litert.txt",
    ),
    "web": Format(
        "one HTML file that writes by itself in a browser, without a network",
        module="web.page",
        precisions=("float16", "int8", "float32"),
        runtime="numpy",
    ),
    "huggingface": Format(
        "a folder for the Hugging Face Hub with a model card, which is a run itself",
        module="huggingface.folder",
        runtime="safetensors",
    ),
}


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(
            f"to: received {write_received(name)}; expected one of {', '.join(FORMATS)}"
        )
    return FORMATS[name]


def check_precision(to: str, precision: str, shown: str = "precision") -> None:
    """Raise UsageError unless a format can store weights in this precision.

    Args:
        to: the format, one of `FORMATS`.
        shown: how the user writes the argument.
    """
    allowed = FORMATS[to].precisions
    if precision not in allowed:
        raise UsageError(
            f"{shown}: received {write_received(precision)}; expected {' or '.join(allowed)}, "
            f"as {to} stores no other"
        )
