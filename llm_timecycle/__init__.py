"""Train a small LSTM language model on your own text, generate from it, see where its time goes.

    import llm_timecycle as lt

    result = lt.train("novel.txt", run="runs/novel")
    print(lt.evaluate("runs/novel", split="test"))
    model = lt.load("runs/novel")
    print(model.generate("Once", length=100, temperature=0.8))
    print(lt.profile("runs/novel"))
    print(lt.export("runs/novel", to="onnx"))

Importing the package loads nothing: each name is loaded when it is first used.
"""

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
    "suggest",
    "train",
]

if TYPE_CHECKING:
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
    from llm_timecycle.training.api import TrainingResult, suggest, train

_HOMES = {
    "Comparison": "profiling.against",
    "EvaluationResult": "evaluation.result",
    "ExportResult": "exporting.result",
    "GeneratedText": "generation.generator",
    "Model": "generation.api",
    "ProfileResult": "profiling.api",
    "Score": "generation.scoring",
    "Settings": "config.settings",
    "TrainingResult": "training.api",
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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
