"""Train a small LSTM language model on your own text, generate from it, see where its time goes.

    import llm_timecycle as lt

    model = lt.load("runs/my")
    print(model.generate("Once", length=100, temperature=0.8))
    print(lt.profile("runs/my"))

Importing the package loads nothing; what a name stands for is loaded when the name is used.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "GeneratedText",
    "Model",
    "ProfileResult",
    "Score",
    "__version__",
    "compare",
    "load",
    "profile",
]

if TYPE_CHECKING:
    from llm_timecycle.generation.api import Model, load
    from llm_timecycle.generation.generator import GeneratedText
    from llm_timecycle.generation.scoring import Score
    from llm_timecycle.profiling.against import Comparison, compare
    from llm_timecycle.profiling.api import ProfileResult, profile

_HOMES = {
    "Comparison": "profiling.against",
    "GeneratedText": "generation.generator",
    "Model": "generation.api",
    "ProfileResult": "profiling.api",
    "Score": "generation.scoring",
    "compare": "profiling.against",
    "load": "generation.api",
    "profile": "profiling.api",
}


def __getattr__(name: str) -> object:
    """A public name, from the file where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
