"""`generate --prompts FILE --output FILE`, and `--top-logprobs`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_timecycle.errors import DataError, Interrupted, UsageError
from llm_timecycle.generation.prompt_batches import PromptBatches
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import call, generate_directly


def test_every_prompt_has_its_line(runs: dict[str, Run], tmp_path: Path) -> None:
    prompts, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    prompts.write_text('"abc"\n{"prompt": "de", "id": "d", "length": 5}\n')
    arguments = ["--prompts", str(prompts), "--output", str(output), "--top-logprobs", "2"]
    result = call(runs["char"].path, *arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{output}: 2 texts\n"
    first, second = (json.loads(line) for line in output.read_text().splitlines())
    assert [first["text"]] == generate_directly(runs["char"], "abc")
    assert (second["id"], second["prompt"], len(second["ids"])) == ("d", "de", 5)
    assert [len(place) for place in second["top_log_probabilities"]] == [2] * 5
    again = call(runs["char"].path, *arguments)
    assert again.stderr == f"{output}: 2 texts, 2 of them there before\n"
    changed = call(runs["char"].path, *arguments, "--temperature", "0.3")
    assert isinstance(changed.exception, UsageError)
    assert "temperature was 1.0 and is now 0.3" in str(changed.exception)


def test_a_wrong_line_is_named_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    prompts, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    prompts.write_text('"abc"\nabc\n')
    result = call(run, "--prompts", str(prompts), "--output", str(output))
    assert isinstance(result.exception, DataError)
    assert "p.jsonl, line 2: not JSON" in str(result.exception)
    assert not output.exists()


def test_a_line_for_which_nothing_is_recorded_is_named_before_anything_is_written(
    run: Path, tmp_path: Path
) -> None:
    prompts, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    prompts.write_text('"abc"\n{"prompt": "abc", "beams": 4}\n')
    arguments = ["--prompts", str(prompts), "--output", str(output), "--top-logprobs", "3"]
    result = call(run, *arguments)
    assert isinstance(result.exception, DataError)
    assert "p.jsonl, line 2: top_logprobs: a beam search (beams: 4)" in str(result.exception)
    assert not output.exists()


def test_ctrl_c_says_what_is_done(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: PromptBatches, output: Path, note_done: object) -> int:
        note_done(1)
        raise KeyboardInterrupt

    (tmp_path / "p.jsonl").write_text('"a"\n"b"\n"c"\n')
    monkeypatch.setattr(PromptBatches, "write", interrupt)
    result = call(run, "--prompts", str(tmp_path / "p.jsonl"), "--output", str(tmp_path / "o"))
    assert isinstance(result.exception, Interrupted)
    assert result.exception.exit_code == 130
    assert str(result.exception) == "Stopped after 1 of 3 prompts; the same command goes on."
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompts", "p"], "--prompts FILE needs --output FILE: give both, or leave both out"),
        (["--output", "o"], "--output FILE needs --prompts FILE: give both, or leave both out"),
        (
            ["--prompts", "p", "--output", "o", "--prompt", "a", "--samples", "2", "--json"],
            "--prompts reads its prompts from a file and writes one text for each: leave out "
            "--prompt and --samples and --json",
        ),
        (["--prompts", "p", "--output", "o", "--stream"], "leave out --stream"),
        (["--interactive", "--top-logprobs", "3"], "leave out --top-logprobs"),
        (["--top-logprobs", "3"], "--top-logprobs is part of the JSON object: add --json"),
        (
            ["--top-logprobs", "3", "--json", "--beams", "2"],
            "--top-logprobs cannot be combined with --beams 2",
        ),
        (["--top-logprobs", "99", "--json"], "--top-logprobs: received 99; expected at most 14"),
        (["--prompts", "none", "--output", "o"], "none cannot be read: No such file"),
    ],
)
def test_options_that_cannot_work(run: Path, options: list[str], message: str) -> None:
    result = call(run, *options)
    assert isinstance(result.exception, UsageError | DataError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_the_likeliest_tokens_are_in_the_json_object(run: Path) -> None:
    options = ["--json", "--top-logprobs", "3", "--length", "4", "--temperature", "0"]
    (sample,) = json.loads(call(run, *options).stdout)["samples"]
    assert len(sample["top_log_probabilities"]) == 4
    for token, logprob, place in zip(
        sample["ids"], sample["log_probabilities"], sample["top_log_probabilities"], strict=True
    ):
        assert [list(each) for each in place] == [["token", "id", "log_probability"]] * 3
        likeliest = next(each for each in place if each["token"] != "<unk>")
        assert (likeliest["id"], likeliest["log_probability"]) == (token, logprob)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_process_goes_on(run: Path, tmp_path: Path) -> None:
    prompts, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"prompt": "ab", "id": n}) for n in range(200)]
    prompts.write_text("\n".join(lines))
    arguments = [str(run), "--prompts", str(prompts), "--output", str(output), "--length", "40"]
    program = [sys.executable, "-c", KILLING, *arguments]
    killed = subprocess.run(program, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept = output.read_bytes()
    assert 0 < kept.count(b"\n") < 200
    assert call(*map(str, arguments)).exit_code == 0
    assert output.read_bytes().startswith(kept)
    texts = [json.loads(line) for line in output.read_text().splitlines()]
    assert [text["id"] for text in texts] == list(range(200))


KILLING = """
import os, signal, sys
from llm_timecycle.cli.main import main
from llm_timecycle.generation import prompt_batches

flush = os.fsync
def flush_and_die(file):
    flush(file)
    if os.fstat(file).st_size > 20_000:
        os.kill(os.getpid(), signal.SIGKILL)

prompt_batches.os.fsync = flush_and_die
sys.argv = ["llm-timecycle", "generate", *sys.argv[1:]]
main()
"""
