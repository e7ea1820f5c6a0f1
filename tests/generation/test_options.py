"""Settings replaced one by one: what is accepted, and the message for what is not."""

from __future__ import annotations

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.options import override_settings


def refuse(settings: GenerationSettings, given: dict[str, object]) -> str:
    with pytest.raises(UsageError) as caught:
        override_settings(settings, given, lambda name: f"--{name.replace('_', '-')}")
    return str(caught.value)


def test_what_is_given_takes_the_place_and_the_rest_stays() -> None:
    settings = GenerationSettings(top_k=5, stop=["x"], bias={"a": 1.0})
    changed = override_settings(settings, {"stop": ("y", "z"), "length": 7, "ban": {"q"}})
    assert changed == GenerationSettings(
        top_k=5, stop=["y", "z"], length=7, ban=["q"], bias={"a": 1.0}
    )
    assert settings == GenerationSettings(top_k=5, stop=["x"], bias={"a": 1.0})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temprature": 1}, "--temprature: there is no such setting; did you mean --temperature?"),
        ({"qqq": 1}, "--qqq: there is no such setting; see the settings of generation"),
        ({"temperature": "0.8"}, "--temperature: received '0.8'; expected a number from 0 to 100"),
        ({"length": 2.5}, "--length: received 2.5; expected a whole number from 1 to 1000000000"),
        ({"seed": 1.5}, "--seed: received 1.5; expected a whole number from 0 to"),
        ({"typical_p": 0.0}, "--typical-p: received 0.0; expected a number above 0 and at most 1"),
        ({"presence_penalty": 101.0}, "expected a number from -100 to 100"),
        ({"frequency_penalty": float("nan")}, "--frequency-penalty: received nan; expected"),
        ({"bias": {"the": float("inf")}}, "--bias: received the=inf; expected a mapping from"),
        ({"bias": {"the": 1, "": 2}}, "--bias: received an empty text; expected at least one"),
        ({"bias": {}, "stop": [""]}, "--stop: received an empty text; expected at least one"),
        ({"ban": "the"}, "--ban: received 'the'; expected a list of texts"),
        ({"length": None}, "--length: received None; expected a whole number from 1 to 1000000000"),
        ({"bias": {"the": "5"}}, "--bias: received the='5'; expected a mapping from"),
        ({"stop": ["\udcff"]}, r"--stop: received '\udcff', which is not UTF-8; expected text in"),
        ({"bias": {"\udcff": 1}}, r"--bias: received '\udcff', which is not UTF-8; expected text"),
        ({"beams": 0}, "--beams: received 0; expected a whole number from 1 to 1000"),
        ({"allow_unknown": "yes"}, "--allow-unknown: received 'yes'; expected true or false"),
    ],
)
def test_wrong_values(given: dict[str, object], message: str) -> None:
    assert message in refuse(GenerationSettings(), given)


def test_all_problems_are_named() -> None:
    assert len(refuse(GenerationSettings(), {"top_k": 0, "length": 0}).splitlines()) == 2


@pytest.mark.parametrize(
    "name", ["temperature", "seed", "top_k", "top_p", "min_p", "typical_p", "presence_penalty"]
)
def test_what_a_beam_search_does_not_use_is_refused_beside_it(name: str) -> None:
    flag = f"--{name.replace('_', '-')}"
    message = refuse(GenerationSettings(), {"beams": 3, name: 1})
    assert message.startswith(f"{flag} has no effect with --beams 3")
    assert message.endswith("set --beams to 1")
    assert flag in refuse(GenerationSettings(beams=3), {name: 1})


def test_what_only_the_run_says_is_no_conflict() -> None:
    assert override_settings(GenerationSettings(top_k=5, seed=1), {"beams": 3}).beams == 3


def test_a_length_penalty_without_a_search_is_refused() -> None:
    message = refuse(GenerationSettings(), {"length_penalty": 1.0})
    assert "--length-penalty has no effect" in message
    assert message.endswith("set --beams")
    assert override_settings(GenerationSettings(), {"length_penalty": 1.0, "beams": 2}).beams == 2


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"length": np.int32(5), "top_p": np.float32(0.5), "bias": {"a": np.int64(-2)}}
    assert override_settings(GenerationSettings(), given) == GenerationSettings(
        length=5, top_p=0.5, bias={"a": -2.0}
    )


def test_a_bias_for_unknown_tokens_needs_that_they_may_come() -> None:
    message = refuse(GenerationSettings(), {"bias": {"<unk>": 5}})
    assert "--bias for <unk> has no effect" in message
    assert message.endswith("set --allow-unknown")
    allowed = override_settings(GenerationSettings(allow_unknown=True), {"bias": {"<unk>": 5}})
    assert allowed.bias == {"<unk>": 5.0}


@pytest.mark.parametrize(
    ("given", "switch", "named"),
    [
        ({"dry_base": 2.0}, "--dry-multiplier", "without DRY"),
        ({"dry_allowed_length": 2}, "--dry-multiplier", "without DRY"),
        ({"dry_sequence_breakers": ["x"]}, "--dry-multiplier", "without DRY"),
        ({"xtc_threshold": 0.2}, "--xtc-probability", "without XTC"),
    ],
)
def test_what_does_nothing_without_another_setting_is_refused(
    given: dict[str, object], switch: str, named: str
) -> None:
    message = refuse(GenerationSettings(), given)
    assert f"has no effect {named}: leave it out, or set {switch}" in message
    setting = switch.removeprefix("--").replace("-", "_")
    changed = override_settings(GenerationSettings(**{setting: 0.5}), given)
    assert changed.model_dump().items() >= given.items()
