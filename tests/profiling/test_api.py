"""`profile` from Python: a tiny model from end to end, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import ConfigError, UsageError
from llm_timecycle.profiling.api import ProfileResult, _measure_requests, check_request
from llm_timecycle.profiling.measure import machine_limits
from llm_timecycle.profiling.results import GROWTH_AXES, TRAINING_STAGES
from llm_timecycle.profiling.source import open_source
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.profiling.profiles import make_profile

if TYPE_CHECKING:
    from llm_timecycle.text.prepare import PreparedText

TINY = """\
data: {train: sample-english}
tokenizer: {level: char}
model: {embedding_dim: 4, hidden_units: 8, num_layers: 1}
training: {batch_size: 4, sequence_length: 8, precision: float32, threads: 1}
generation: {length: 4}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ProfileResult:
    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    path.write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:  # the real size is several of the last cache
        patch.setattr(machine_limits, "choose_array_bytes", lambda *_: 2**20)
        return lt.profile(path, overrides=["training.batch_size=8"], steps=5, inference=True)


def test_everything_that_was_asked_for_is_there(found: ProfileResult) -> None:
    profile = found.profile
    assert profile.name == "tiny"
    assert profile.training is not None
    assert (profile.training.batch_size, profile.training.sequence_length) == (8, 8)
    assert list(profile.training.stages) == list(TRAINING_STAGES)
    assert len(profile.training.wall.samples_s) == 5
    assert [point.name for point in profile.points][:3] == ["forward", "backward", "update"]
    assert profile.limits.keys() == {"float32", "bfloat16", "read", "copy"}
    assert profile.settings.training.batch_size == 8
    assert profile.inference is not None
    assert profile.inference.new_tokens == 4
    assert profile.growth == profile.sweeps == profile.history == ()
    assert profile.workers is None
    # E V + (E + H + 1) 4 H + (H + 1) V = 13 V + 416
    assert profile.parameters == 13 * profile.vocab_size + 416


def test_it_prints_goes_into_json_and_into_a_page(found: ProfileResult) -> None:
    assert re.search(r"^closure \d\.\d{3} ", str(found), re.MULTILINE)
    described = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert described["training"]["batch_size"] == 8
    assert found.to_html().startswith("<!doctype html>")
    assert found._repr_html_().startswith("<div")
    assert lt.compare(found, found).times[0].ratio == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 4}, "steps: received 4; expected a whole number from 5 to 10,000"),
        ({"workers": 65}, "workers: received 65; expected a whole number from 2 to 64"),
        ({"grow": ["T", "Z"]}, "expected axes out of T, B, E, H, L, V, length, received 'Z'"),
        ({"grow": "TB"}, r"grow: received 'TB'; expected a list of texts \(write \['TB'\]\)"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lt.profile("small", **arguments)


def test_a_configuration_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no settings named smal"):
        lt.profile("smal")


def test_each_axis_is_measured_once_and_every_axis_can_be() -> None:
    assert check_request(5, ["T", "B", "T"]) == ("T", "B")
    assert check_request(None, GROWTH_AXES) == GROWTH_AXES


def test_growth_that_does_not_fit_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr("llm_timecycle.profiling.api.read_free_bytes", lambda: 10**7)
    monkeypatch.setattr("llm_timecycle.profiling.api._measure", None)
    with pytest.raises(UsageError, match=r"growth along H: the sizes .* of memory may be used"):
        lt.profile(tmp_path / "tiny.yaml", grow=["H"])


def test_a_step_that_does_not_fit_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr("llm_timecycle.training.devices.read_free_bytes", lambda: 10**7)
    monkeypatch.setattr("llm_timecycle.profiling.api._measure", None)
    with pytest.raises(UsageError, match=r"a training step takes .* a smaller model would"):
        lt.profile(tmp_path / "tiny.yaml")


def test_texts_too_short_to_time_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr("llm_timecycle.profiling.api._measure", None)
    with pytest.raises(UsageError, match=r"length: expected at least 2 tokens.* received 1"):
        lt.profile(tmp_path / "tiny.yaml", overrides=["generation.length=1"], inference=True)


def test_inference_of_a_run_is_measured_with_the_settings_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        tokenizer=TokenizerSettings(level="char"),
        model=ModelSettings(embedding_dim=4, num_layers=1, hidden_units=6),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["Once upon a time"])
    V = tokenizer.vocab_size
    run = create_run(tmp_path / "run", settings, tokenizer.to_json().encode(), V, {})
    shapes = compute_parameter_shapes(settings.model, V)
    weights = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    run.save_weights(weights, {})
    seen: list[Run] = []

    def note(measured: Run) -> None:
        seen.append(open_run(measured.path))  # as a process that starts cold does
        np.testing.assert_equal(measured.load_weights(), weights)

    monkeypatch.setattr("llm_timecycle.profiling.measure.requests.measure_inference", note)
    for overrides in ([], ["generation.length=7", "generation.top_k=3"]):
        _measure_requests(open_source(run.path, overrides), cast("PreparedText", None))
    plain, changed = (measured.settings.generation for measured in seen)
    assert plain == settings.generation
    assert changed == settings.generation.model_copy(update={"length": 7, "top_k": 3})
    assert seen[0].path == run.path
    assert not seen[1].path.exists()


def test_results_are_shown_as_their_profile_is() -> None:
    result = ProfileResult(make_profile())
    assert str(result).startswith("tiny: 12,345 parameters\n")
    assert result.to_dict()["name"] == "tiny"
    assert "388 tokens/s" in str(result)
