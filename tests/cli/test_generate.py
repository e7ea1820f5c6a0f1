"""The `generate` command on tiny runs with random weights: what it prints, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import replace_file
from tests.cli.random_runs import call, generate_directly, make_run


def test_prints_the_prompt_and_what_follows(runs: dict[str, Run]) -> None:
    result = call(runs["char"].path, "--prompt", "abc")
    (text,) = generate_directly(runs["char"], "abc")
    assert (result.stdout, result.stderr, result.exit_code) == (f"abc{text}\n", "", 0)
    assert len(text) == 12


@pytest.mark.parametrize("way", [[], ["--stream"], ["--no-stream"]])
def test_streaming_changes_only_when_text_is_printed(run: Path, way: list[str]) -> None:
    assert call(run, *way).stdout == call(run, "--no-stream").stdout != "\n"


def test_options_override_settings(runs: dict[str, Run]) -> None:
    options = [
        *("--length", "30", "--temperature", "1.5", "--top-k", "7", "--top-p", "0.9"),
        *("--min-p", "0.01", "--repetition-penalty", "1.1", "--seed", "9"),
        *("--typical-p", "0.8", "--presence-penalty", "0.3", "--frequency-penalty", "-0.1"),
        *("--bias", "a=1.5", "--bias", "文=-2", "--ban", "f", "--ban", "\\n", "--allow-unknown"),
        *("--stop", "ab", "--stop", "中"),
    ]
    settings = {
        **{"length": 30, "temperature": 1.5, "top_k": 7, "top_p": 0.9, "min_p": 0.01},
        **{"typical_p": 0.8, "presence_penalty": 0.3, "frequency_penalty": -0.1},
        **{"bias": {"a": 1.5, "文": -2.0}, "ban": ["f", "\n"], "allow_unknown": True},
        **{"repetition_penalty": 1.1, "seed": 9, "stop": ["ab", "中"]},
    }
    (text,) = generate_directly(runs["char"], "abc", **settings)
    assert call(runs["char"].path, "--prompt", "abc", *options).stdout == f"abc{text}\n"


def test_a_beam_search_prints_its_best_texts(runs: dict[str, Run]) -> None:
    settings = {"beams": 3, "length_penalty": 1.5}
    first, second = generate_directly(runs["char"], "ab", 2, **settings)
    options = ["--prompt", "ab", "--beams", "3", "--length-penalty", "1.5"]
    assert call(runs["char"].path, *options).stdout == f"ab{first}\n"
    assert call(runs["char"].path, *options, "--samples", "2").stdout == (
        f"=== sample 1 of 2 ===\nab{first}\n=== sample 2 of 2 ===\nab{second}\n"
    )


def test_a_token_that_holds_an_equals_sign_can_be_biased(tmp_path: Path) -> None:
    run = make_run(tmp_path / "equals", "char", text="a=b")
    assert set(call(run.path, "--bias", "==100").stdout) == {"=", "\n"}


@pytest.mark.parametrize("allow_unknown", [False, True])
def test_a_flag_that_is_not_given_leaves_the_setting_of_the_run(
    tmp_path: Path, allow_unknown: bool
) -> None:
    run = make_run(tmp_path / "run", "char", allow_unknown=allow_unknown)
    report = json.loads(call(run.path, "--json").stdout)
    assert report["settings"]["allow_unknown"] is allow_unknown
    report = json.loads(call(run.path, "--allow-unknown", "--json").stdout)
    assert report["settings"]["allow_unknown"] is True


def test_several_samples_are_numbered(runs: dict[str, Run]) -> None:
    first, second = generate_directly(runs["char"], "ab", 2)
    assert first != second
    assert call(runs["char"].path, "--prompt", "ab", "--samples", "2").stdout == (
        f"=== sample 1 of 2 ===\nab{first}\n=== sample 2 of 2 ===\nab{second}\n"
    )


def test_the_first_sample_equals_the_only_one(run: Path) -> None:
    alone = call(run, "--prompt", "ab").stdout
    assert call(run, "--prompt", "ab", "--samples", "3").stdout.startswith(
        f"=== sample 1 of 3 ===\n{alone}"
    )


def test_unknown_tokens_are_a_warning(runs: dict[str, Run]) -> None:
    result = call(runs["word"].path, "--prompt", "once upon a throne")
    assert result.exit_code == 0
    assert result.stdout.startswith("once upon a throne ")
    assert result.stderr.startswith("Warning: the prompt contains 1 token that the model does not")
    assert result.stderr.endswith(": 'throne'\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "--temperature: received -1.0; expected a number from 0 to 100"),
        (["--temperature", "nan"], "--temperature: received nan; expected a number from 0 to 100"),
        (["--top-p", "0"], "--top-p: received 0.0; expected a number above 0 and at most 1"),
        (["--top-p", "1.1"], "--top-p: received 1.1; expected a number above 0 and at most 1"),
        (["--min-p", "2"], "--min-p: received 2.0; expected a number from 0 to 1"),
        (["--top-k", "0"], "--top-k: received 0; expected a whole number from 1 to 1000000000"),
        (
            ["--length", "0"],
            "--length: received 0; expected a whole number from 1 to 1000000000",
        ),
        (
            ["--repetition-penalty", "0"],
            "--repetition-penalty: received 0.0; expected a number from 0.01 to 100",
        ),
        (
            ["--seed", "-5"],
            "--seed: received -5; expected a whole number from 0 to 9223372036854775807",
        ),
        (["--stop", ""], "--stop: received an empty text; expected at least one character"),
        (
            ["--length", "-1", "--top-k", "0"],
            "--length: received -1; expected a whole number from 1 to 1000000000\n"
            "--top-k: received 0; expected a whole number from 1 to 1000000000",
        ),
        (
            ["--typical-p", "0"],
            "--typical-p: received 0.0; expected a number above 0 and at most 1",
        ),
        (
            ["--presence-penalty", "101"],
            "--presence-penalty: received 101.0; expected a number from -100 to 100",
        ),
        (
            ["--frequency-penalty", "nan"],
            "--frequency-penalty: received nan; expected a number from -100 to 100",
        ),
        (["--beams", "0"], "--beams: received 0; expected a whole number from 1 to 1000"),
        (
            ["--beams", "2", "--length-penalty", "-1"],
            "--length-penalty: received -1.0; expected a number from 0 to 10",
        ),
        (
            ["--bias", "a=inf"],
            "--bias: received a=inf; expected",
        ),
        (
            ["--bias", "a=1", "--bias", "b=1", "--bias", "a=2"],
            "--bias: received two values for 'a', 1 and 2; expected one",
        ),
        (["--ban", ""], "--ban: received an empty text; expected at least one character"),
        (["--ban", "q"], "ban: received 'q', which the model does not know; expected one token"),
        (
            ["--bias", "ab=1"],
            "bias: received 'ab', which is 2 tokens of this model ('a', 'b'); expected one token",
        ),
        (
            ["--beams", "2", "--top-k", "3"],
            "--top-k has no effect with --beams 2, because a beam search does not sample",
        ),
        (
            ["--length-penalty", "1"],
            "--length-penalty has no effect without a beam search: leave it out, or set --beams",
        ),
        (
            ["--beams", "2", "--stream"],
            "--stream cannot be combined with --beams: the best text of a beam search is only",
        ),
        (
            ["--beams", "2", "--samples", "3"],
            "--samples: received 3; expected at most 2, the number of texts that --beams 2 finds",
        ),
        (
            ["--json", "--stream"],
            "--json prints one object at the end: leave out --stream or --json",
        ),
        (
            ["--interactive", "--prompt", "a", "--json"],
            "--interactive reads prompts and prints each text as it grows: leave out --prompt and "
            "--json",
        ),
        (["--prompt", "a", "--prompt-file", "-"], "give --prompt or --prompt-file, not both"),
        (
            ["--stream", "--samples", "2"],
            "--stream prints one text as it grows: leave out --stream or --samples",
        ),
    ],
)
def test_options_that_cannot_work(run: Path, options: list[str], message: str) -> None:
    result = call(run, *options)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "1.5"], "Invalid value for '--seed': '1.5' is not a valid integer"),
        (["--samples", "0"], "Invalid value for '--samples': 0 is not in the range 1<=x<=1000"),
        (["--temperature", "hot"], "Invalid value for '--temperature': 'hot' is not a valid"),
        (["--bias", "a"], "'--bias': received 'a'; expected TOKEN=VALUE, such as the=2.5"),
        (["--bias", "a=b"], "'--bias': received 'a=b'; expected TOKEN=VALUE, such as the=2.5"),
        (["--bias", "=1"], "'--bias': received '=1'; expected TOKEN=VALUE, such as the=2.5"),
    ],
)
def test_options_that_are_not_numbers(run: Path, options: list[str], message: str) -> None:
    result = call(run, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    result = call(tmp_path / "gone")
    assert isinstance(result.exception, RunError)
    assert "there is no run at" in str(result.exception)


def test_a_model_whose_logits_are_not_finite(tmp_path: Path) -> None:
    run = make_run(tmp_path / "broken", "char")
    weights = {name: weight.copy() for name, weight in run.load_weights().items()}
    weights["output.bias"][3] = np.nan
    run.save_weights(weights, {"step": 1})
    result = call(run.path)
    assert isinstance(result.exception, RunError)
    assert "the model's logits are not finite: 1 of 14" in str(result.exception)


def test_a_tokenizer_of_another_size_than_the_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char")
    content = json.loads(run.tokenizer_path.read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary["z"] = len(vocabulary)
    replace_file(run.path, "tokenizer.json", json.dumps(content).encode(), {})
    result = call(run.path)
    assert isinstance(result.exception, RunError)
    assert "has 15 tokens, and the manifest of the run says 14" in str(result.exception)


def test_ctrl_c_ends_the_line_and_the_program(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TextGenerator, "stream", interrupt)
    result = call(run, "--prompt", "abc")
    assert (result.stdout, result.stderr, result.exit_code) == ("abc\n", "", 130)
