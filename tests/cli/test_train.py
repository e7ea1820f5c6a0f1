"""`train` and `evaluate` from end to end on a tiny model, resumed and refused."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_timecycle import system
from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import TINY, Outcome

Call = Callable[..., Outcome]


def copy_run(trained: Path, place: Path) -> Path:
    shutil.copytree(trained / "runs" / "tiny", place / "run")
    return place / "run"


def test_a_run_has_all_its_files_and_its_manifest_tells_the_truth(trained: Path) -> None:
    run = trained / "runs" / "tiny"
    names = {"config.yaml", "tokenizer.json", "model.safetensors", "metrics.csv", "manifest.json"}
    names |= {"spelling.json", "shingles.safetensors", "samples.txt"}
    assert {path.name for path in run.iterdir()} == {*names, "checkpoints", ".lock"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["files"].keys() == names - {"manifest.json"}
    assert manifest["corpora"]["train"]["tokens"] > 5_000
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-4", "step-6"]
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    guessing_nats = math.log(manifest["vocab_size"])
    assert all(0 < float(row["train_loss_nats"]) < guessing_nats for row in rows)


def test_train_says_what_it_did_and_what_to_do_next_on_stderr_only(call: Call) -> None:
    outcome = call("train", "tiny.yaml")
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "Next: llm-timecycle evaluate runs/tiny" in outcome.stderr
    assert "perplexity" in outcome.stderr


def test_a_longer_run_in_two_sessions_equals_one_in_one(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    resumed = copy_run(trained, tmp_path)
    longer = ("--set", "training.max_steps=8")
    outcome = call("train", resumed, "--resume", *longer)
    assert outcome.exit_code == 0, outcome.stderr
    assert "resuming after step 6 of 8" in outcome.stderr
    assert "max_steps: 8" in (resumed / "config.yaml").read_text()
    assert call("train", "tiny.yaml", "--run", "whole", *longer).exit_code == 0
    tensors = Path("checkpoints/step-8/tensors.safetensors")
    assert (resumed / tensors).read_bytes() == (tmp_path / "whole" / tensors).read_bytes()


def test_resuming_a_finished_run_changes_nothing_and_says_so(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    run = copy_run(trained, tmp_path)
    before = (run / "model.safetensors").read_bytes(), (run / "metrics.csv").read_bytes()
    outcome = call("train", run, "--resume")
    assert outcome.exit_code == 0, outcome.stderr
    assert "complete (6 steps); to train it further: llm-timecycle train" in outcome.stderr
    assert ((run / "model.safetensors").read_bytes(), (run / "metrics.csv").read_bytes()) == before


def test_resuming_with_other_settings_names_them(call: Call, trained: Path, tmp_path: Path) -> None:
    run = copy_run(trained, tmp_path)
    outcome = call(
        *("train", "tiny.yaml", "--run", run, "--resume"),
        *("--set", "model.hidden_units=9", "--set", "training.seed=2"),
    )
    assert outcome.exit_code == 3
    assert "model.hidden_units: 8 in the run, 9 now" in outcome.stderr
    assert "training.seed: 1 in the run, 2 now" in outcome.stderr


def test_a_refused_resume_changes_nothing(call: Call, trained: Path, tmp_path: Path) -> None:
    run = copy_run(trained, tmp_path)
    (run / "metrics.csv").write_text("something else\n")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = call("train", run, "--resume", "--set", "training.max_steps=9")
    assert outcome.exit_code == 5
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_in_training_is_left_alone_by_another_resume(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    run = copy_run(trained, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with open_run(run).lock():
        outcome = call("train", run, "--resume", "--set", "training.max_steps=9")
    assert outcome.exit_code == 5
    assert "is being trained by another process" in outcome.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_resuming_takes_over_how_to_generate(call: Call, trained: Path, tmp_path: Path) -> None:
    run = copy_run(trained, tmp_path)
    assert call("train", run, "--resume", "--set", "generation.length=7").exit_code == 0
    assert "length: 7" in (run / "config.yaml").read_text()


def test_a_text_that_moved_with_its_settings_is_the_same_text(call: Call, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "text.txt").write_text("the quick brown fox jumps over the dog\n" * 60)
    (tmp_path / "here" / "own.yaml").write_text(TINY.replace("sample-english", "text.txt"))
    assert call("train", "here/own.yaml").exit_code == 0
    (tmp_path / "here").rename(tmp_path / "there")
    outcome = call("train", "there/own.yaml", "--resume", "--set", "training.max_steps=8")
    assert outcome.exit_code == 0, outcome.stderr
    assert call("evaluate", "runs/own").exit_code == 0


def test_a_run_named_by_its_own_settings_file_is_that_run(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    run = copy_run(trained, tmp_path)
    outcome = call("train", run / "config.yaml", "--resume", "--set", "training.max_steps=7")
    assert outcome.exit_code == 0, outcome.stderr
    assert (run / "checkpoints" / "step-7").is_dir()


def test_without_a_validation_text_the_advice_fits(call: Call) -> None:
    none = ["--set", "data.valid_fraction=0", "--set", "data.test_fraction=0"]
    outcome = call("train", "tiny.yaml", "--run", "with space", *none)
    assert "the last weights are kept: there is no validation text" in outcome.stderr
    assert "llm-timecycle evaluate 'with space' --data FILE" in outcome.stderr


def test_a_run_that_exists_is_not_touched(call: Call, trained: Path, tmp_path: Path) -> None:
    run = copy_run(trained, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = call("train", "tiny.yaml", "--run", run)
    assert outcome.exit_code == 5
    assert (
        "add --resume; to train a new run, choose another directory with --run DIR"
        in outcome.stderr
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_corpus_that_changed_is_noticed_when_resuming_and_when_scoring(
    call: Call, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    (tmp_path / "own.yaml").write_text(TINY.replace("sample-english", "text.txt"))
    assert call("train", "own.yaml").exit_code == 0
    text.write_text("the quick brown fox jumps over the lazy cat\n" * 60)
    outcome = call("train", "own.yaml", "--resume")
    assert outcome.exit_code == 4
    assert "the train text has changed since runs/own began" in outcome.stderr
    outcome = call("evaluate", "runs/own")
    assert outcome.exit_code == 4
    assert "has changed since the run was trained" in outcome.stderr
    assert "To score another text, use --data FILE" in outcome.stderr


def test_evaluate_gives_figures_that_belong_together(call: Call, trained: Path) -> None:
    outcome = call("evaluate", trained / "runs" / "tiny", "--split", "test", "--json")
    figures = json.loads(outcome.stdout)
    assert list(figures)[:11] == [
        *("split", "loss_nats_per_token", "perplexity", "perplexity_per_word"),
        *("bits_per_character", "bits_per_byte", "accuracy"),
        *("tokens", "words", "characters", "bytes"),
    ]
    assert figures["split"] == "test"
    assert figures["perplexity"] == pytest.approx(math.exp(figures["loss_nats_per_token"]))
    nats = figures["loss_nats_per_token"] * (figures["tokens"] - 1)
    assert figures["bits_per_character"] == pytest.approx(
        nats / math.log(2) / figures["characters"]
    )
    assert figures["perplexity_per_word"] == pytest.approx(math.exp(nats / figures["words"]))
    # It begins as the unigram model; that of English letters has about 2.9 nats a character.
    assert math.exp(2.2) < figures["perplexity"] < math.exp(3.2)


def test_evaluate_agrees_with_the_validation_of_training(call: Call, trained: Path) -> None:
    run = trained / "runs" / "tiny"
    figures = json.loads(call("evaluate", run, "--json").stdout)
    best = json.loads((run / "manifest.json").read_text())["best"]
    assert figures["loss_nats_per_token"] == pytest.approx(best["valid_loss_nats"], rel=1e-3)


def test_evaluate_scores_a_text_never_seen_and_counts_what_it_does_not_know(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    text = "plain words, and 龙 and 龙\n"
    (tmp_path / "other.txt").write_text(text, encoding="utf-8")
    outcome = call("evaluate", trained / "runs" / "tiny", "--data", "other.txt", "--json")
    figures = json.loads(outcome.stdout)
    assert figures["unknown_tokens"] == 2
    assert figures["characters"] == len(text)
    assert figures["bytes"] == len(text.encode())
    assert figures["tokens"] == len(text) + 1  # <eos> ends a document
    assert figures["spelled_tokens"] == 2
    spelled = figures["bits_per_character"] + figures["spelling_bits_per_character"]
    assert figures["bits_per_character_with_spelling"] == pytest.approx(spelled)
    assert figures["spelling_bits_per_character"] > 20 * 2 / len(text)  # of Unicode, 20 bits
    assert "2 tokens" in outcome.stderr
    assert "unknown to the model" in outcome.stderr


def test_evaluate_prints_a_table_for_people(call: Call, trained: Path) -> None:
    outcome = call("evaluate", trained / "runs" / "tiny")
    assert outcome.stdout.startswith("split ")
    assert "\nperplexity  " in outcome.stdout


def test_evaluate_with_data_and_split_is_a_mistake(call: Call, trained: Path) -> None:
    outcome = call("evaluate", trained / "runs" / "tiny", "--data", "x", "--split", "test")
    assert outcome.exit_code == 2
    assert "not both" in outcome.stderr


def list_steps(run: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (run / "checkpoints").glob("step-*"))


def test_a_real_process_that_is_stopped_goes_on_to_the_same_weights(
    call: Call, tmp_path: Path
) -> None:
    """By SIGTERM; SIGINT and SIGHUP have tests elsewhere, and SIGKILL has one below."""
    run = tmp_path / "runs" / "tiny"
    settings = ("training.epochs=1000", "training.schedule=constant", "training.threads=2")
    train = ["train", "tiny.yaml", *(word for setting in settings for word in ("--set", setting))]
    program = [sys.executable, "-m", "llm_timecycle", *train, "--set", "training.max_steps=4000"]
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list_steps(run) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "everything is saved. Resume with: llm-timecycle train" in stderr
    steps = list_steps(run)[-1] + 3
    for arguments in (["--resume"], ["--run", "alone"]):
        outcome = call(*train, "--set", f"training.max_steps={steps}", *arguments)
        assert outcome.exit_code == 0, outcome.stderr
    tensors = f"checkpoints/step-{steps}/tensors.safetensors"
    assert (run / tensors).read_bytes() == (tmp_path / "alone" / tensors).read_bytes()


BUDGET = ["--minutes", "0.05", "--set", "training.max_steps=null"]
EVERY_CHECKPOINT = ["training.checkpoint_every=100", "training.keep_checkpoints=100000"]


def read_plans(run: Path) -> list[dict[str, float]]:
    manifest = json.loads((run / "manifest.json").read_text()) if run.exists() else {}
    plans: list[dict[str, float]] = manifest.get("plans", [])
    return plans


def test_a_killed_run_with_a_budget_follows_its_plans_to_the_same_weights(
    call: Call, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "tiny"
    options = [word for setting in EVERY_CHECKPOINT for word in ("--set", setting)]
    train = ["train", "tiny.yaml", *BUDGET, *options]
    program = [sys.executable, "-m", "llm_timecycle", *train]
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not read_plans(run) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
    before = read_plans(run)
    assert before
    done = call(*train, "--resume")
    assert done.exit_code == 0, done.stderr
    plans, steps = read_plans(run), list_steps(run)
    assert plans[: len(before)] == before
    assert steps[-1] == plans[-1]["steps"]
    assert f"Trained {steps[-1]:,} steps in " in done.stderr
    assert " of 0.05 min; " in done.stderr
    final = run / "checkpoints" / f"step-{steps[-1]}" / "tensors.safetensors"
    weights = final.read_bytes()
    for step in steps[1:]:
        shutil.rmtree(run / "checkpoints" / f"step-{step}")
    assert call(*train, "--resume").exit_code == 0
    assert (read_plans(run), final.read_bytes()) == (plans, weights)


def test_a_budget_counts_no_more_than_a_start_as_gone_before_the_command(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "measure_process_age_s", lambda: 6000.0)
    outcome = call("train", "tiny.yaml", "--minutes", "0.02", "--set", "training.max_steps=null")
    assert outcome.exit_code == 0, outcome.stderr
    assert re.search(r"^Trained \S+ steps? in \d+ s of 0\.02 min", outcome.stderr, re.MULTILINE)


def test_minutes_and_max_steps_contradict_each_other(call: Call) -> None:
    outcome = call("train", "tiny.yaml", "--minutes", "5")
    assert outcome.exit_code == 3
    assert "training.minutes: 5 plans the number of steps" in outcome.stderr
    assert "max_steps: 6 fixes it" in outcome.stderr


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "nan", "100001"])
def test_a_budget_out_of_range_is_refused(call: Call, minutes: str) -> None:
    outcome = call("train", "tiny.yaml", "--minutes", minutes)
    assert outcome.exit_code == 3
    assert "training.minutes: received" in outcome.stderr
