"""A against B: in turn, in processes of their own, each with its own settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.errors import ConfigError, DataError, RunError, TimecycleError, UsageError
from llm_timecycle.profiling import against
from llm_timecycle.profiling.measure.subprocesses import Finished
from llm_timecycle.profiling.render.json_form import describe_profile
from tests.profiling.profiles import make_cycle, make_profile

FOUR_TIMINGS = json.dumps(
    {
        "version": 1,
        "training": {"wall": {"samples_s": [1.0] * 4}, "stages": {}, "layers": {}},
        "inference": None,
    }
)


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
        options=["--steps", "5"],
        measure=measuring,
    )
    a = ["small", "--set", "training.batch_size=8", "--steps", "5"]
    b = ["section5", "--steps", "5"]
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
        (FOUR_TIMINGS, UsageError, "at least 5 timings of a thing, received at most 4"),
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
    monkeypatch.setattr(against, "run_child", lambda _: Finished(["profile"], exit_code, "", said))
    with pytest.raises(error, match=rf"^small could not be profiled: {message}$") as caught:
        against.profile_in_process(["small"])
    assert caught.type is error
