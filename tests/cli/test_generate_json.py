"""The JSON object of `generate --json`."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_timecycle import __version__
from llm_timecycle.cli import generate
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import PROGRAM, call, generate_directly, make_run


def test_the_time_to_load_does_not_include_the_prompt(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s = iter(range(100))  # each reading is a second later
    readings = SimpleNamespace(perf_counter=lambda: next(clock_s))
    monkeypatch.setattr(generate, "time", readings)
    monkeypatch.setattr(generate, "describe_unknown_tokens", lambda *_: str(next(clock_s)))
    times = json.loads(call(run, "--prompt", "abc", "--json").stdout)["times"]
    assert times["load_s"] == 1


def test_json_is_one_object_with_everything(runs: dict[str, Run]) -> None:
    run = runs["char"]
    options = ["--prompt", "abz", "--samples", "2", "--length", "5", "--bias", "a=1", "--json"]
    result = call(run.path, *options)
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: the prompt contains 1 token that the model does not")
    report = json.loads(result.stdout)
    assert list(report) == [
        *("format_version", "program_version", "run", "engine"),
        *("settings", "prompt", "samples", "times"),
    ]
    assert (report["format_version"], report["program_version"]) == (1, __version__)
    assert (report["run"], report["engine"]) == (str(run.path), "numpy")
    assert report["settings"] == {
        **run.settings.generation.model_dump(),
        **{"length": 5, "bias": {"a": 1.0}, "seed": 3},
    }
    assert report["prompt"] == {"text": "abz", "tokens": 3, "unknown": 1, "unknown_tokens": ["z"]}
    texts = generate_directly(run, "abz", 2, length=5, bias={"a": 1.0})
    assert [sample["text"] for sample in report["samples"]] == texts
    for sample in report["samples"]:
        assert list(sample) == [
            *("text", "ids", "log_probabilities", "top_log_probabilities", "finish_reason"),
        ]
        assert sample["top_log_probabilities"] == []
        assert len(sample["ids"]) == len(sample["log_probabilities"]) == 5
        assert all(logprob < 0 for logprob in sample["log_probabilities"])
        assert sample["finish_reason"] == "length"


def test_json_has_times_that_fit_together(run: Path) -> None:
    finished = subprocess.run(
        [*PROGRAM, str(run), "--prompt", "abc", "--length", "20", "--json"],
        capture_output=True,
        check=True,
    )
    times = json.loads(finished.stdout)["times"]
    assert list(times) == [
        *("load_s", "prompt_s", "prompt_tokens_per_s", "first_token_s", "first_token_from_start_s"),
        *("token_median_s", "token_p95_s", "token_p99_s", "tokens_per_s"),
    ]
    assert 0 < times["prompt_s"] <= times["first_token_s"]
    assert times["prompt_tokens_per_s"] == 3 / times["prompt_s"]
    assert 0 < times["token_median_s"] <= times["token_p95_s"] <= times["token_p99_s"]
    if times["first_token_from_start_s"] is not None:  # a system without /proc does not know
        assert times["first_token_from_start_s"] > times["load_s"] + times["first_token_s"] - 0.02


def test_json_names_a_seed_that_gives_the_same_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "unseeded", "char", seed=None).path
    report = json.loads(call(run, "--json").stdout)
    again = call(run, "--seed", str(report["settings"]["seed"]))
    assert again.stdout == report["samples"][0]["text"] + "\n"
    assert json.loads(call(run, "--json").stdout)["settings"]["seed"] != report["settings"]["seed"]


def test_json_of_one_token_has_no_time_between_tokens(run: Path) -> None:
    report = json.loads(call(run, "--json", "--length", "1").stdout)
    assert report["times"]["token_median_s"] is None
    assert report["prompt"] == {"text": "", "tokens": 1, "unknown": 0, "unknown_tokens": []}


def test_json_of_a_beam_search(run: Path) -> None:
    report = json.loads(call(run, "--json", "--beams", "3", "--samples", "2").stdout)
    totals = [math.fsum(sample["log_probabilities"]) for sample in report["samples"]]
    assert report["settings"]["seed"] is None
    assert totals == sorted(totals, reverse=True)


def test_json_says_how_fast_a_long_prompt_was_read(run: Path) -> None:
    report = json.loads(call(run, "--prompt-file", "-", "--json", stdin=b"abc " * 5_000).stdout)
    assert report["prompt"]["tokens"] == 20_000
    assert report["times"]["prompt_tokens_per_s"] == 20_000 / report["times"]["prompt_s"]


def test_json_says_why_a_text_ended(runs: dict[str, Run]) -> None:
    (text,) = generate_directly(runs["char"], "abc")
    stop = text[4:6]
    report = json.loads(call(runs["char"].path, "--prompt", "abc", "--stop", stop, "--json").stdout)
    (sample,) = report["samples"]
    assert sample["finish_reason"] == "stop"
    assert sample["text"] == text[: text.index(stop)]
