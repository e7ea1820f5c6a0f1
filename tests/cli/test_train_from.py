"""`train --from`: a new run that begins with the weights of another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import llm_timecycle as lt
from llm_timecycle.errors import ConfigError, RunError, UsageError
from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import Outcome

pytestmark = pytest.mark.usefixtures("_quick_timing")

Call = Callable[..., Outcome]

NEW = """\
data: {train: sample-english, valid_fraction: 0.02}
training:
  {batch_size: 8, sequence_length: 16, max_steps: 1, precision: float32, learning_rate: 1.0e-12,
   threads: 1}
"""
"""One step that all but changes nothing: what is scored after it is what it began with."""
STORIES = Path(__file__).parents[2] / "data" / "english.txt"
OTHER_TEXT = "THE QUICK BROWN FOX, 龙, jumps over the lazy dog\n" * 60


@pytest.fixture
def old(call: Call, tmp_path: Path, trained: Path) -> Path:
    """A copy of the run of `trained`, and `new.yaml` beside it in the current directory."""
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "old")
    (tmp_path / "new.yaml").write_text(NEW)
    (tmp_path / "other.txt").write_text(OTHER_TEXT)
    return Path("old")


def read_loss(call: Call, run: str | Path, *arguments: str) -> float:
    outcome = call("evaluate", run, "--exact", "--json", *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    return float(json.loads(outcome.stdout)["loss_nats_per_token"])


def test_a_new_run_begins_where_the_old_one_ended(call: Call, old: Path) -> None:
    outcome = call("train", "--from", old, "new.yaml")
    assert outcome.exit_code == 0, outcome.stderr
    assert "starts with the weights of old and its vocabulary of" in outcome.stderr
    assert "0.00 % of the new training tokens are unknown (<unk>)" in outcome.stderr
    run = open_run(Path("runs/new"))
    assert run.settings.model == open_run(old).settings.model
    assert (run.path / "tokenizer.json").read_bytes() == (old / "tokenizer.json").read_bytes()
    assert read_loss(call, "runs/new") == pytest.approx(read_loss(call, old), rel=1e-6)
    origin = run.read_manifest()["origin"]
    assert (origin["run"], origin["added_tokens"]) == ("../../old", 0)
    assert origin["best"] == open_run(old).read_manifest()["best"]


def test_a_text_is_trained_on_with_settings_that_suit_it_and_the_old_weights(
    call: Call, old: Path
) -> None:
    options = ["--set", "training.max_steps=2", "--set", "training.precision=float32"]
    options += ["--set", "training.threads=1"]
    outcome = call("train", "--from", old, "other.txt", *options)
    assert outcome.exit_code == 0, outcome.stderr
    assert "% of the new training tokens are unknown (<unk>); extend the vocab" in outcome.stderr
    settings = open_run(Path("runs/other")).settings
    assert settings.model == open_run(old).settings.model
    assert settings.training.optimizer == "nadam"  # chosen for the text


def test_an_extended_vocabulary_knows_the_new_text(call: Call, old: Path) -> None:
    few = ["--set", "data.train=other.txt"]
    outcome = call("train", "--from", old, "new.yaml", "--extend-vocabulary", *few)
    assert outcome.exit_code == 0, outcome.stderr
    assert "0.00 % of the new training tokens are unknown (<unk>)" in outcome.stderr
    before, after = open_run(old), open_run(Path("runs/new"))
    added = after.vocab_size - before.vocab_size
    assert added == after.read_manifest()["origin"]["added_tokens"]
    assert f"to which {added} are added" in outcome.stderr
    old_tokenizer, tokenizer = before.load_tokenizer(), after.load_tokenizer()
    assert tokenizer.encode("the fox").tolist() == old_tokenizer.encode("the fox").tolist()
    assert tokenizer.unknown_tokens("龙") == []
    assert old_tokenizer.unknown_tokens("龙") == ["龙"]
    # New tokens are as rare as the rarest old one: of the old text, little is forgotten.
    Path("stories.txt").write_text(STORIES.read_text(encoding="utf-8")[:6_000], encoding="utf-8")
    loss = read_loss(call, "runs/new", "--data", "stories.txt")
    assert read_loss(call, old, "--data", "stories.txt") < loss
    assert loss == pytest.approx(read_loss(call, old, "--data", "stories.txt"), abs=0.05)


def test_the_maximum_of_an_extended_vocabulary_is_kept(call: Call, old: Path) -> None:
    room = open_run(old).vocab_size + 2
    options = ["--set", "data.train=other.txt", "--set", f"tokenizer.vocab_size={room}"]
    assert call("train", "--from", old, "new.yaml", "--extend-vocabulary", *options).exit_code == 0
    assert open_run(Path("runs/new")).vocab_size == room


def test_settings_that_do_not_fit_are_named(call: Call, old: Path) -> None:
    wrong = ["--set", "model.hidden_units=9", "--set", "tokenizer.level=word"]
    outcome = call("train", "--from", old, "new.yaml", *wrong)
    assert outcome.exit_code == 3
    assert "the weights of old do not fit these settings:" in outcome.stderr
    assert "  tokenizer.level: char in the run, word now" in outcome.stderr
    assert "  model.hidden_units: 8 in the run, 9 now" in outcome.stderr
    assert not Path("runs/new").exists()


def test_options_that_do_not_go_together(call: Call, old: Path) -> None:
    for arguments, message in (
        (["--from", old, "new.yaml", "--resume"], "--from begins a new run"),
        (["new.yaml", "--extend-vocabulary"], "--extend-vocabulary needs --from RUN"),
    ):
        outcome = call("train", *arguments)
        assert outcome.exit_code == 2
        assert message in outcome.stderr
    assert call("train", "--from", "none/here", "new.yaml").exit_code == 5


def test_a_new_run_that_was_killed_early_resumes_with_the_weights_it_began_with(
    call: Call, old: Path
) -> None:
    """Without its first checkpoint, a resumed run would begin with fresh weights."""
    steps = ["--set", "training.max_steps=3", "--set", "training.learning_rate=0.01"]
    keep = ["--set", "training.keep_checkpoints=9"]
    assert call("train", "--from", old, "new.yaml", *steps, *keep).exit_code == 0
    run = Path("runs/new")
    whole = (run / "model.safetensors").read_bytes()
    shutil.rmtree(run / "checkpoints" / "step-3")
    assert call("train", run, "--resume").exit_code == 0
    assert (run / "model.safetensors").read_bytes() == whole
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    outcome = call("train", run, "--resume")
    assert outcome.exit_code == 5
    assert (
        "the weights that it began with are lost. Delete it, and train it again" in outcome.stderr
    )


def test_from_python(call: Call, old: Path) -> None:
    settings = lt.Settings(
        data={"train": "other.txt"},
        training={
            **{"batch_size": 8, "sequence_length": 16, "max_steps": 1, "precision": "float32"},
            **{"learning_rate": 1e-12, "threads": 1},
        },
    )
    quiet = {"show_progress": False, "run": "runs/python"}
    result = lt.train(settings, from_run=old, extend_vocabulary=True, **quiet)
    assert result.settings.model == open_run(old).settings.model
    assert result.load().tokenizer.unknown_tokens("龙") == []
    with pytest.raises(ConfigError, match=r"model\.hidden_units: 8 in the run, 9 now"):
        lt.train("new.yaml", from_run=old, model={"hidden_units": 9}, show_progress=False)
    with pytest.raises(UsageError, match="from_run, which begins a new run, or resume, not both"):
        lt.train("new.yaml", from_run=old, resume=True)
    with pytest.raises(UsageError, match="nothing to extend without from_run"):
        lt.train("new.yaml", extend_vocabulary=True)
    with pytest.raises(RunError, match="there is no run at gone"):
        lt.train("new.yaml", from_run="gone")
