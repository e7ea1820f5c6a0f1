"""Every bad input: one message, its exit code, no traceback, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Outcome

Call = Callable[..., Outcome]


def expect_refusal(outcome: Outcome, exit_code: int, *parts: str) -> None:
    """One message on stderr with all `parts`, the exit code, and nothing on stdout."""
    assert outcome.stderr.count("Error: ") == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for part in parts:
        assert part in outcome.stderr
    assert (outcome.exit_code, outcome.stdout) == (exit_code, "")


def write_own(place: Path, train: str, **training: str) -> str:
    """A settings file whose text is `train`; returns its name."""
    text = TINY.replace("sample-english", train)
    for key, value in training.items():
        text = text.replace(f"{key}: 8", f"{key}: {value}")
    (place / "own.yaml").write_text(text)
    return "own.yaml"


def test_a_missing_text(call: Call, tmp_path: Path) -> None:
    expect_refusal(call("train", write_own(tmp_path, "no.txt")), 4, "no.txt")
    assert not (tmp_path / "runs" / "own").exists()


def test_a_directory_with_no_text(call: Call, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    expect_refusal(call("train", write_own(tmp_path, "texts")), 4, "texts", ".txt")


def test_an_empty_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    expect_refusal(call("train", write_own(tmp_path, "empty.txt")), 4, "empty.txt", "empty")


def test_a_file_that_is_not_utf8_names_the_byte(call: Call, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"caf\xe9 au lait\n" * 100)
    expect_refusal(call("train", write_own(tmp_path, "old.txt")), 4, "old.txt", "offset 3", "UTF-8")
    assert not (tmp_path / "runs" / "own").exists()


def test_a_text_shorter_than_one_batch(call: Call, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("abc\n" * 25)
    outcome = call("train", write_own(tmp_path, "short.txt"))
    expect_refusal(outcome, 4, "too short", "takes 129 tokens", "train on it with")
    assert not (tmp_path / "runs" / "own").exists()


def test_wrong_keys_and_values_are_all_named_at_once(call: Call, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(
        "trainig: {epochs: 3}\nmodel: {hiden_units: 5, dropout: 1.5}\ntraining: {epochs: many}\n"
    )
    outcome = call("train", "wrong.yaml", "--set", "training.seed=-1")
    expect_refusal(
        outcome,
        3,
        *("trainig", "training", "hiden_units", "hidden_units", "model.dropout", "1.5"),
        *("training.epochs", "many", "training.seed", "-1", "wrong.yaml:1", "wrong.yaml:2"),
    )


def test_an_unknown_name_of_a_configuration(call: Call) -> None:
    expect_refusal(call("train", "smal"), 3, "smal", "small", "section5")


def test_a_missing_run(call: Call) -> None:
    for command in ("evaluate", "generate"):
        expect_refusal(call(command, "runs/none"), 5, "no run at runs/none", "llm-timecycle train")
    expect_refusal(call("train", "tiny.yaml", "--resume"), 5, "no run at runs/tiny")
    expect_refusal(call("train", "runs/none", "--resume"), 5, "no run at runs/none")


def test_what_is_meant_by_the_name_of_no_run(call: Call, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "runs", tmp_path / "runs")
    for name, parts in {
        "tiny": ("no run at tiny", "mean runs/tiny?"),
        "small": ("no run at small", "llm-timecycle train small"),
        "tiny.yaml": ("is a file", "llm-timecycle train tiny.yaml"),
        "runs/tiny/config.yaml": ("is a file", "such as runs/tiny"),
        "runs": ("not a complete run", "runs/tiny"),
    }.items():
        for command in ("evaluate", "generate"):
            expect_refusal(call(command, name), 5, *parts)


def test_the_name_of_a_command_misspelt(call: Call) -> None:
    expect_refusal(call("trian"), 2, "trian", "mean train?")
    expect_refusal(call("xyz"), 2, "No such command 'xyz'.")


def test_a_token_that_the_model_lacks(call: Call, trained: Path) -> None:
    run = trained / "runs" / "tiny"
    expect_refusal(call("generate", run, "--ban", "zebra"), 2, "--ban: received 'zebra'")
    expect_refusal(call("generate", run, "--bias", "zebra=1"), 2, "--bias: received 'zebra'")


def test_a_directory_that_is_no_complete_run(call: Call, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    expect_refusal(call("evaluate", "half"), 5, "not a complete run", "manifest.json")


def test_a_run_of_a_newer_format(call: Call, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "new")
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    (tmp_path / "new" / "manifest.json").write_text(json.dumps({**manifest, "format_version": 9}))
    for command in ("evaluate", "generate"):
        expect_refusal(call(command, "new"), 5, "newer llm-timecycle", "upgrade")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_run_whose_files_do_not_match_its_manifest(
    call: Call, trained: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "run")
    content = bytearray((tmp_path / "run" / name).read_bytes())
    content[-2] ^= 1
    (tmp_path / "run" / name).write_bytes(content)
    for command in ("evaluate", "generate"):
        expect_refusal(call(command, "run"), 5, name, "not what the manifest says")


def test_a_run_without_weights(call: Call, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    expect_refusal(call("generate", "run"), 5, "model.safetensors, is missing", "train again")
    expect_refusal(
        call("train", "run", "--resume"), 5, "model.safetensors, is missing", "train again"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("checkpoints", "incomplete: its directory checkpoints is missing"),
        ("metrics.csv", "incomplete: metrics.csv cannot be read"),
        ("config.yaml", "incomplete: config.yaml cannot be read"),
    ],
)
def test_a_run_to_resume_that_lacks_a_part(
    call: Call, trained: Path, tmp_path: Path, name: str, message: str
) -> None:
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "run")
    part = tmp_path / "run" / name
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()
    expect_refusal(call("train", "run", "--resume"), 5, message)


def test_a_directory_that_is_no_run_is_not_offered_to_be_resumed(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    outcome = call("train", "tiny.yaml", "--run", "photos")
    expect_refusal(outcome, 5, "photos exists already and is not a run", "--run DIR")
    assert "--resume" not in outcome.stderr


def test_empty_names_are_mistakes(call: Call, trained: Path) -> None:
    for arguments in (
        ("evaluate", trained / "runs" / "tiny", "--data", ""),
        ("train", "tiny.yaml", "--run", ""),
    ):
        outcome = call(*arguments)
        assert outcome.exit_code == 2
        assert "is empty; expected" in outcome.stderr


def test_a_model_beyond_all_memory_says_what_it_takes(call: Call, tmp_path: Path) -> None:
    huge = ["--set", "model.hidden_units=65536", "--set", "model.num_layers=64"]
    outcome = call("train", "tiny.yaml", *huge)
    expect_refusal(outcome, 2, "a training step takes", "GB or more", "--set model.hidden_units=")
    assert not (tmp_path / "runs" / "tiny").exists()


def test_a_place_that_cannot_be_written(call: Call, tmp_path: Path) -> None:
    """A file where a directory is needed: refused for everyone, the superuser included."""
    (tmp_path / "file").touch()
    expect_refusal(call("train", "tiny.yaml", "--run", "file/run"), 5, "cannot make a run in file")


def test_a_cache_that_cannot_be_written(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path / "file"))
    expect_refusal(call("train", "tiny.yaml"), 5, "LLM_TIMECYCLE_CACHE")
    assert not (tmp_path / "runs" / "tiny").exists()


def test_a_prompt_with_unknown_tokens_is_a_warning_that_names_them(
    call: Call, trained: Path
) -> None:
    outcome = call("generate", trained / "runs" / "tiny", "--prompt", "龙 and 凤", "--seed", "1")
    assert outcome.exit_code == 0
    assert "Warning: " in outcome.stderr
    assert "龙" in outcome.stderr
    assert "凤" in outcome.stderr
    assert outcome.stdout.startswith("龙 and 凤")


def test_an_unknown_command_or_option_is_a_mistake_of_usage(call: Call) -> None:
    for arguments in (("trian",), ("train",), ("train", "tiny.yaml", "--sett", "x")):
        outcome = call(*arguments)
        assert outcome.exit_code == 2
        assert "Traceback" not in outcome.stderr
