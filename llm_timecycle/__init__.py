"""Train a small LSTM language model on your own text, generate from it, see where its time goes.

    import llm_timecycle as lt

    result = lt.train("novel.txt", run="runs/novel")
    print(lt.evaluate("runs/novel", split="test"))
    model = lt.load("runs/novel")
    print(model.generate("Once", length=100, temperature=0.8))
    print(lt.profile("runs/novel"))
    print(lt.export("runs/novel", to="onnx"))
    print(lt.runs("runs"))

Importing the package loads nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "EvaluationResult",
    "ExportResult",
    "GeneratedText",
    "Model",
    "ProfileResult",
    "Score",
    "Settings",
    "TrainingResult",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "load",
    "profile",
    "runs",
    "suggest",
    "train",
]

if TYPE_CHECKING:
    from pathlib import Path

    from llm_timecycle.comparing.listing import RunRows, runs
    from llm_timecycle.config.settings import Settings
    from llm_timecycle.evaluation.api import evaluate
    from llm_timecycle.evaluation.result import EvaluationResult
    from llm_timecycle.exporting.api import export
    from llm_timecycle.exporting.result import ExportResult
    from llm_timecycle.generation.api import Model, load
    from llm_timecycle.generation.generator import GeneratedText
    from llm_timecycle.generation.scoring import Score
    from llm_timecycle.profiling.against import Comparison, compare
    from llm_timecycle.profiling.api import ProfileResult, profile
    from llm_timecycle.training.api import suggest, train
    from llm_timecycle.training.result import TrainingResult

_HOMES = {
    "Comparison": "profiling.against",
    "EvaluationResult": "evaluation.result",
    "ExportResult": "exporting.result",
    "GeneratedText": "generation.generator",
    "Model": "generation.api",
    "ProfileResult": "profiling.api",
    "Score": "generation.scoring",
    "Settings": "config.settings",
    "TrainingResult": "training.result",
    "compare": "profiling.against",
    "evaluate": "evaluation.api",
    "export": "exporting.api",
    "load": "generation.api",
    "profile": "profiling.api",
    "suggest": "training.api",
    "train": "training.api",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    from importlib import import_module

    if name == "runs":  # see `_RunsRoom`
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)


class _RunsRoom(ModuleType):
    """The room `llm_timecycle.runs`, which is also the function `lt.runs`.

    Python makes every room that is imported an attribute of the package, in place of a function.
    """

    def __call__(self, directory: str | Path = "runs") -> RunRows:
        """The runs in a directory; see `comparing.listing.runs`."""
        from llm_timecycle.comparing.listing import runs

        return runs(directory)


class _Package(ModuleType):
    """This package, which makes that room callable when it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "runs" and isinstance(value, ModuleType):
            value.__class__ = _RunsRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
