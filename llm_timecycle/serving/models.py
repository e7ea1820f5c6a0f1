"""The runs that are served, each under a name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.generation.sampling.token_ids import find_breakers, find_ends, make_plan
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.serving.errors import ApiError, show
from llm_timecycle.serving.writing.written_text import show_token
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

ENGINE = "numpy"
PLANS_KEPT = 256


class ServedModel:
    """A run, and what requests need of it.

    Attributes:
        name: what requests call it.
        run, tokenizer: the run.
        fingerprint: of weights and engine: equal ones give the same text for the same seed.
        created_s: when it was last trained, seconds since 1970.
        show_token: the text of a token by its id.
    """

    def __init__(self, run: Run, tokenizer: Tokenizer) -> None:
        self.run, self.tokenizer = run, tokenizer
        self.name = run.path.resolve().name
        sha256 = run.read_manifest()["files"]["model.safetensors"]["sha256"]
        identity = f"{sha256} {ENGINE} {__version__}"
        self.fingerprint = f"fp_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self.created_s = int(run.weights_path.stat().st_mtime)
        self.show_token = _remember(lambda id: show_token(tokenizer, id))
        self.make_plan = lru_cache(PLANS_KEPT)(self._make_plan)

    @property
    def generation(self) -> GenerationSettings:
        """The run's own settings, which the page begins with."""
        return self.run.settings.generation

    def describe(self) -> dict[str, Any]:
        """An entry of the list of models."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created_s,
            "owned_by": "llm-timecycle",
            "root": self.name,
            "parent": None,
            "max_model_len": None,
        }

    def _make_plan(
        self, settings_json: str, banned: tuple[int, ...], bias: tuple[tuple[int, float], ...]
    ) -> SamplingPlan:
        """One plan for all requests that sample alike, so that they are drawn together."""
        settings = GenerationSettings.model_validate_json(settings_json)
        has_dry = settings.dry_multiplier > 0
        return SamplingPlan(
            settings,
            banned,
            bias,
            breakers=find_breakers(self.tokenizer, settings) if has_dry else frozenset(),
            ends=find_ends(self.tokenizer) if settings.xtc_probability > 0 else (),
        )


def _remember(show: Callable[[int], str]) -> Callable[[int], str]:
    shown: dict[int, str] = {}

    def look_up(id: int) -> str:
        text = shown.get(id)
        if text is None:
            text = shown[id] = show(id)
        return text

    return look_up


def open_models(paths: Sequence[Path]) -> dict[str, ServedModel]:
    """The runs to serve, by name, in the order given.

    Raises:
        UsageError: two have the same name, or a setting of one names a token that there is not.
        RunError: one is missing, damaged, or has no weights yet.
    """
    models: dict[str, ServedModel] = {}
    for path in paths:
        run = open_run(path)
        run.check_weights_exist()
        model = ServedModel(run, run.load_tokenizer())
        try:
            make_plan(model.generation, model.tokenizer)  # the page sends them with every request
        except UsageError as error:
            raise UsageError(f"the settings of {run.name}: {error}") from error
        if model.name in models:
            raise UsageError(
                f"two runs are called {model.name}: {models[model.name].run.path} and {run.path}. "
                f"Requests choose a run by this name; rename one of the directories"
            )
        models[model.name] = model
    return models


def find_model(models: Mapping[str, ServedModel], name: object) -> ServedModel:
    """The model that a request names; without a name, the first one.

    Raises ApiError: 404 for a name that is not served.
    """
    if name is None or name == "":
        return next(iter(models.values()))
    if not isinstance(name, str):
        raise ApiError(
            400, f"model: received {show(name)}; expected the name of a model", param="model"
        )
    for model in models.values():
        if name in (model.name, model.run.name):
            return model
    served = ", ".join(models)
    raise ApiError(
        404,
        f"model: there is no model {show(name)} here; served: {served}",
        param="model",
        code="model_not_found",
    )
