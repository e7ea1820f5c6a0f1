"""A against B: measured in turn in separate processes, compared, shown side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.errors import ConfigError, DataError, RunError, TimecycleError, UsageError
from llm_timecycle.profiling import against
from llm_timecycle.profiling.against import Comparison, compare
from llm_timecycle.profiling.measure.subprocesses import Finished
from llm_timecycle.profiling.render.json_form import describe_profile
from llm_timecycle.profiling.results import ComparedTime
from tests.profiling.profiles import make_cycle, make_profile, make_settings

FOUR_TIMINGS = json.dumps(
    {
        "version": 1,
        "training": {"wall": {"samples_s": [1.0] * 4}, "stages": {}, "layers": {}},
        "inference": None,
    }
)


def change_profile(**changes: object) -> str:
    """The JSON of a profile with other values for some of its fields."""
    return json.dumps(describe_profile(make_profile(training=make_cycle(1.0))) | changes)


def find(comparison: Comparison, name: str) -> ComparedTime:
    return next(time for time in comparison.times if time.name == name)


class Measuring:
    """Instead of processes: keeps what was asked, and lets A be a fifth faster."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> dict[str, Any]:
        self.asked.append(list(arguments))
        scale = 0.8 if "--set" in arguments else 1.0
        return describe_profile(make_profile(training=make_cycle(scale)))


def test_both_are_measured_twice_in_turn_and_overrides_are_of_the_first() -> None:
    measuring = Measuring()
    found = against.compare_in_turn(
        "small",
        "section5",
        overrides=["training.batch_size=8"],
        steps=5,
        inference=True,
        measure=measuring,
    )
    a = ["small", "--set", "training.batch_size=8", "--steps", "5", "--inference"]
    b = ["section5", "--steps", "5", "--inference"]
    assert measuring.asked == [a, b, b, a]
    assert found.times[0].ratio == pytest.approx(0.8)
    assert found.times[0].verdict == "A is faster"


def test_b_may_be_what_was_written_down_before(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_text(json.dumps(describe_profile(make_profile(training=make_cycle(2.0)))))
    measuring = Measuring()
    found = against.compare_in_turn("small", str(file), measure=measuring)
    assert measuring.asked == [["small"], ["small"]]
    assert found.times[0].ratio == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", DataError, "is not JSON"),
        ("{}", UsageError, "expected what llm-timecycle profile --json prints"),
        (None, DataError, "cannot be read"),
        ('{"version": 1, "training": null, "inference": null}', UsageError, "received none"),
        ("[" * 50_000, DataError, "nested too deeply"),
        (change_profile(name=[]), UsageError, "its field name is invalid"),
        (change_profile(machine=[]), UsageError, "its field machine is invalid"),
        (change_profile(machine={"cores": "two"}), UsageError, "field machine.cores is invalid"),
        (change_profile(machine={"new": {"a": {}}}), UsageError, "field machine.new"),
        (change_profile(settings={"model": {"a": {"b": {}}}}), UsageError, "field settings.model"),
        (FOUR_TIMINGS, UsageError, "at least 5 timings of each stage, found at most 4"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_before_anything_is_measured(
    tmp_path: Path, content: str | None, error: type[Exception], message: str
) -> None:
    file = tmp_path / "before.json"
    if content is not None:
        file.write_text(content)
    measuring = Measuring()
    with pytest.raises(error, match=message):
        against.compare_in_turn("small", str(file), measure=measuring)
    assert measuring.asked == []


def test_an_unknown_second_is_refused_before_the_first_is_measured() -> None:
    measuring = Measuring()
    with pytest.raises(ConfigError, match="no settings named smal"):
        against.compare_in_turn("small", "smal", measure=measuring)
    assert measuring.asked == []


def test_a_process_that_fails_passes_its_message_on() -> None:
    with pytest.raises(
        ConfigError, match="smal could not be profiled: there are no settings named"
    ):
        against.profile_in_process(["smal", "--steps", "5"])


@pytest.mark.parametrize(
    ("exit_code", "error", "message"),
    [
        (1, TimecycleError, "too bad"),
        (2, UsageError, "too bad"),
        (3, ConfigError, "too bad"),
        (4, DataError, "too bad"),
        (5, RunError, "too bad"),
        (-9, TimecycleError, r"ended by signal 9 \(SIGKILL\)"),
    ],
)
def test_a_process_that_fails_passes_its_kind_of_error_on(
    monkeypatch: pytest.MonkeyPatch, exit_code: int, error: type[Exception], message: str
) -> None:
    said = "Error: not this\nmeasuring\nError: too bad\n"
    finished = Finished(["profile"], exit_code, "", said)
    monkeypatch.setattr(against, "run_module", lambda *_: finished)
    with pytest.raises(error, match=rf"^small could not be profiled: {message}$") as caught:
        against.profile_in_process(["small"])
    assert caught.type is error


def test_a_ratio_is_that_of_the_medians() -> None:
    found = compare(make_profile(training=make_cycle(0.8)), make_profile())
    step = find(found, "step")
    assert (step.a_s, step.b_s) == (pytest.approx(0.264), pytest.approx(0.33))
    assert step.ratio == pytest.approx(0.8)
    assert step.low < 0.8 < step.high < 0.85
    assert step.verdict == "A is faster"
    assert find(found, "inference: prefill").verdict == "within the noise"
    assert find(found, "inference: prefill").ratio == 1


def test_the_other_way_round_is_the_inverse() -> None:
    found = compare(make_profile(), make_profile(training=make_cycle(0.8)))
    assert find(found, "step").ratio == pytest.approx(1.25)
    assert find(found, "step").verdict == "A is slower"


def test_the_same_draws_give_the_same_interval() -> None:
    pair = make_profile(training=make_cycle(0.97)), make_profile()
    assert compare(*pair) == compare(*pair)
    assert compare(*pair).to_dict() == compare(*map(describe_profile, pair)).to_dict()


def test_several_processes_of_a_side_are_taken_together() -> None:
    rounds = [make_profile(training=make_cycle(scale)) for scale in (1.0, 1.02)]
    step = find(compare(rounds, [make_profile()]), "step")
    assert step.ratio == pytest.approx(1.01, abs=0.01)
    assert step.verdict == "within the noise"


def test_the_table_says_what_differs_beside_the_times() -> None:
    other = make_profile(name="other", settings=make_settings(batch_size=16))
    found = compare(make_profile(), other)
    assert found.differences["training.batch_size"] == (8, 16)
    assert list(found.differences) == ["training.batch_size"]
    text = str(found)
    assert "A: tiny (A Processor, 2 cores, 24.0 GiB)\nB: other" in text
    assert "1.000  0.9" in text
    assert "within the noise" in text
    assert "training.batch_size" in text
    assert found.to_dict()["differences"]["training.batch_size"] == [8, 16]
    assert "<td>within the noise</td>" in found._repr_html_()


@pytest.mark.parametrize(
    ("a", "message"),
    [
        ([], "an empty list"),
        (3, "a: expected results of lt.profile, received 3"),
        ({"version": 1}, "received something else"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(a, make_profile())


def test_profiles_with_no_time_in_common_are_refused() -> None:
    with pytest.raises(UsageError, match="share no timing"):
        compare(make_profile(inference=None), make_profile(training=None))


def test_profiles_with_too_few_timings_are_refused() -> None:
    described = describe_profile(make_profile(inference=None))
    training = described["training"]
    passes = [pair for layer in training["layers"].values() for pair in layer.values()]
    for times in (training["wall"], *training["stages"].values(), *passes):
        times["samples_s"] = times["samples_s"][:4]
    with pytest.raises(UsageError, match="share no timing that was taken at least 5 times"):
        compare(make_profile(), described)
