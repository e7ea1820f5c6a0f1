"""A profile as JSON: the figures by hand, the way there and back, and what is no profile."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from llm_timecycle import __version__
from llm_timecycle.config.settings import DataSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.render.json_form import describe_profile, read_timings
from llm_timecycle.profiling.results import Durations, RooflinePoint
from tests.json_keys import list_keys
from tests.profiling.profiles import ROOF, SPREAD, make_cycle, make_profile, make_settings


def describe_inference(samples_s: object) -> dict[str, Any]:
    """A profile whose timings are all these."""
    inference = describe_profile(make_profile())["inference"]
    timed = {
        part: {"samples_s": samples_s}
        for part, described in inference.items()
        if isinstance(described, dict) and "samples_s" in described
    }
    return {"version": 1, "training": None, "inference": timed}


def test_the_keys_are_as_they_were(snapshot: SnapshotAssertion) -> None:
    described = describe_profile(make_profile())
    del described["settings"]
    assert sorted(list_keys(described)) == snapshot


def test_it_goes_through_json_unchanged() -> None:
    described = describe_profile(make_profile())
    text = json.dumps(described, allow_nan=False)
    assert json.loads(text) == described


def test_the_figures() -> None:
    described = describe_profile(make_profile())
    assert described["version"] == 1
    assert described["program_version"] == __version__
    assert described["parameters"] == 12_345
    assert described["settings"]["training"]["learning_rate"] == 0.001
    training = described["training"]
    assert training["tokens"] == 128
    assert training["sum_s"] == pytest.approx(0.333)
    assert training["closure"] == pytest.approx(0.333 / 0.33)
    forward = training["stages"]["forward"]
    assert forward["median_s"] == 0.1
    assert forward["share"] == pytest.approx(100 / 333)
    assert forward["token_s"] == pytest.approx(0.1 / 128)
    assert forward["samples_s"] == [0.1 * factor for factor in SPREAD]
    assert training["layers"]["output"]["backward"]["median_s"] == 0.06
    assert described["roofline"][0]["bound_s"] == pytest.approx(0.05)
    assert described["growth"][0]["constant_s"] == pytest.approx(0.012, rel=1e-3)
    assert [size["size"] for size in described["growth"][0]["sizes"]] == [8, 16, 32, 64, 128]
    assert described["growth"][0]["sizes"][1]["operations"] == 16e6
    assert described["inference"]["tokens_per_s"] == {"1": 500.0, "8": 1500.0, "32": 2000.0}
    assert described["inference"]["definitions"]["each output token"].startswith(
        "TPOT: time per output"
    )
    assert described["sweeps"][0]["serial_fraction"] == pytest.approx(0.2, abs=1e-3)
    assert described["sweeps"][0]["values"][2]["median_s"] == pytest.approx(0.4)
    assert described["advice"][0]["changes"] == ["model.tie_embeddings=true"]
    assert described["history"][1]["valid_loss_nats"] == 2.7


def test_what_is_not_finite_or_not_measured_is_null() -> None:
    registers = RooflinePoint("registers", 20, 0, 1.0, ROOF)
    assert registers.intensity == math.inf
    described = describe_profile(make_profile(points=(registers,), training=None, inference=None))
    assert described["roofline"][0]["intensity"] is None
    assert described["training"] is described["inference"] is None
    cycle = make_cycle()
    bare = type(cycle)(**{**vars(cycle), "hidden_input": Durations(())})
    times = describe_profile(make_profile(training=bare))["training"]["hidden_input"]
    assert times == {"median_s": None, "p95_s": None, "samples_s": []}


def test_several_texts_among_the_settings_are_a_list() -> None:
    settings = make_settings().model_copy(update={"data": DataSettings(train=["a", "b"])})
    described = describe_profile(make_profile(settings=settings))
    assert described["settings"]["data"]["train"] == ["a", "b"]


def test_the_timings_come_back_by_what_they_are_the_time_of() -> None:
    timings = read_timings(json.loads(json.dumps(describe_profile(make_profile()))))
    assert timings["step"] == tuple(0.33 * factor for factor in SPREAD)
    assert timings["lstm_1 backward"] == tuple(0.11 * factor for factor in SPREAD)
    assert timings["inference: first token"] == tuple(0.007 * factor for factor in SPREAD)
    assert list(timings)[:6] == ["step", "input", "forward", "backward", "update", "other"]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, "received something else"),
        ([], "received something else"),
        ({"version": 2, "training": None, "inference": None}, "received another version"),
        ({"version": 1, "training": {"wall": 3}, "inference": None}, "its field 'stages' is"),
        (
            {"version": 1, "training": None, "inference": {"load": {"samples_s": ["x"]}}},
            "is damaged",
        ),
        (describe_inference(["1"] * 9), "is damaged"),
        (describe_inference("123456"), "samples_s = '123456'"),
        (describe_inference([1.0, math.nan]), "nan, .* is missing or invalid"),
        (describe_inference([1.0, math.inf]), "inf, .* is missing or invalid"),
        (describe_inference([1.0, -0.5]), "-0.5, .* is missing or invalid"),
        (describe_inference([True]), "True, .* is missing or invalid"),
        ({"version": 1, "training": None, "inference": None}, "received none"),
        (describe_inference([]), "received none"),
    ],
)
def test_what_is_no_profile_is_refused(described: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_timings(described)
