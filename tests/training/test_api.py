"""`lt.train`: what its arguments mean, what it returns, and how a notebook interrupts it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.errors import ConfigError, DataError, RunError, RunExistsError, UsageError
from llm_timecycle.runs.directory import open_run
from llm_timecycle.training.result import TrainingResult

TINY: dict[str, Any] = {
    "tokenizer": {"level": "char"},
    "model": {"embedding_dim": 4, "hidden_units": 8, "num_layers": 1},
    "training": {
        **{"batch_size": 8, "sequence_length": 16, "max_steps": 2},
        **{"precision": "float32", "schedule": "constant", "threads": 1},
    },
}
TEXT = "the quick brown fox jumps over the lazy dog\n" * 60


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _quick_timing: None) -> None:
    """Be in an empty directory that holds one text."""
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text(TEXT)


def train(source: Any, **arguments: Any) -> lt.TrainingResult:
    return lt.train(source, **{**TINY, "show_progress": False, **arguments})


def test_a_text_becomes_a_run_that_loads_scores_and_resumes() -> None:
    result = train("novel.txt")
    assert (result.run, result.steps, result.best_step) == (Path("runs/novel"), 2, 2)
    assert result.settings.data.train == str(Path("novel.txt").absolute())
    assert result.settings.training.optimizer == "nadam"  # chosen
    assert "# " in (result.run / "config.yaml").read_text()  # with its reason
    assert result.best_loss is not None
    assert result.perplexity == pytest.approx(np.exp(result.best_loss))
    assert len(result.load().generate("the", length=3, seed=1).ids) == 3
    scored = lt.evaluate(result.run, show_progress=False)
    assert scored.loss_nats_per_token == pytest.approx(result.best_loss, rel=1e-3)
    longer = lt.train(
        result.run, resume=True, settings={"training.max_steps": 4}, show_progress=False
    )
    assert (longer.run, longer.steps, longer.settings.training.max_steps) == (result.run, 4, 4)
    by_text = lt.train("novel.txt", resume=True, training={"max_steps": 5}, show_progress=False)
    assert (by_text.run, by_text.steps, by_text.settings.model.hidden_units) == (result.run, 5, 8)


def test_minutes_are_the_budget_of_the_call() -> None:
    training = {**TINY["training"], "max_steps": None}
    result = train("novel.txt", training=training, minutes=0.02)
    assert result.settings.training.minutes == 0.02
    (plan, *_) = open_run(result.run).read_manifest()["plans"]
    assert (plan["minutes"], result.steps >= plan["step"]) == (0.02, True)


def test_the_result_is_a_table_when_printed_and_in_a_notebook() -> None:
    result = TrainingResult(Path("runs/<my>"), lt.Settings(), 5, 320, 1.5, 2.0, 4)
    assert "\nsteps                                  5\n" in str(result)
    assert "\nperplexity                        7.3891\n" in str(result)
    assert "<td>runs/&lt;my&gt;</td>" in result._repr_html_()
    unscored = TrainingResult(Path("runs/my"), lt.Settings(), 5, 320, 1.5, None, None)
    assert unscored.perplexity is None
    assert "<th>perplexity</th><td>-</td>" in unscored._repr_html_()


def test_settings_in_python_train_the_same_weights_as_those_of_a_file() -> None:
    file = "data: {train: novel.txt}\n" + "\n".join(f"{name}: {TINY[name]}" for name in TINY)
    Path("own.yaml").write_text(file)
    settings = lt.Settings(data={"train": "novel.txt"}, **{name: dict(TINY[name]) for name in TINY})
    runs = [
        lt.train("own.yaml", show_progress=False),
        lt.train(settings, run="runs/python", show_progress=False),
    ]
    assert [result.run for result in runs] == [Path("runs/own"), Path("runs/python")]
    weights = [(result.run / "model.safetensors").read_bytes() for result in runs]
    assert weights[0] == weights[1]
    config = [(result.run / "config.yaml").read_text() for result in runs]
    assert config[0] == config[1]


def test_several_texts_a_shipped_name_and_numbers_of_numpy(tmp_path: Path) -> None:
    Path("more.txt").write_text(TEXT.upper())
    once = {**TINY["training"], "max_steps": 1}
    both = train(["novel.txt", Path("more.txt")], run="both", training=once)
    assert both.settings.data.train == [str(tmp_path / "novel.txt"), str(tmp_path / "more.txt")]
    sizes = {**once, "max_steps": np.int64(1), "learning_rate": np.float32(0.5)}
    char = train("char", data={"train": "novel.txt"}, training=sizes)
    assert char.settings.training.learning_rate == 0.5
    assert (char.run, char.settings.tokenizer.level) == (Path("runs/char"), "char")


def test_all_wrong_settings_are_named_at_once_each_with_its_argument() -> None:
    with pytest.raises(ConfigError) as caught:
        lt.train(
            "novel.txt",
            training={"epochs": "many", "lr": 0.1},
            model={"hidden_units": object()},
            settings={"tokenizer.levle": "char", "epochs": 3},
        )
    message = str(caught.value)
    assert "5 problems in the settings of novel.txt" in message
    assert "argument training: training.epochs: received 'many'; expected" in message
    assert "training.learning_rate" in message
    assert "model.hidden_units: received <object object" in message
    assert "argument settings: tokenizer.levle: there is no such setting" in message
    assert "training.epochs" in message
    assert "--" not in message
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("smal", {}, "no text, settings or run called 'smal' was found. Did you mean 'small'"),
        (
            "novel.txt",
            {"training": 3},
            "training: received 3; expected a mapping of names to values",
        ),
        ("novel.txt", {"settings": []}, r"settings: received \[\]; expected a mapping of names"),
        ("novel.txt", {"run": ""}, "run is empty"),
        ([], {}, r"source: received \[\]; expected a text"),
        (3, {}, "source: received 3; expected a path, a list of paths or a Settings"),
        (lt.Settings(), {}, "run: expected a directory"),
        (["a.txt", "*.txt"][1:], {"resume": True}, "run: expected a directory"),
    ],
)
def test_wrong_arguments_are_named(source: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lt.train(source, **arguments)


def test_a_missing_text_or_run_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        train("nowhere.txt")
    with pytest.raises(RunError, match="no run at runs/none"):
        lt.train("runs/none", resume=True)


def test_settings_are_suggested_for_a_text_and_suit_what_is_given() -> None:
    settings = lt.suggest("novel.txt", minutes=1, show_progress=False)
    assert settings.tokenizer.level == "char"
    assert settings.training.epochs > 1
    words = lt.suggest("novel.txt", settings={"tokenizer.level": "word"}, show_progress=False)
    assert words.model.tie_embeddings
    with pytest.raises(ConfigError, match="minutes: received 0"):
        lt.suggest("novel.txt", minutes=0)
    with pytest.raises(UsageError, match=r"text: received \[\]; expected a text"):
        lt.suggest([])


def test_minutes_are_a_setting_where_settings_are_given() -> None:
    Path("own.yaml").write_text("data: {train: novel.txt}\n")
    with pytest.raises(ConfigError, match=r"minutes: training\.minutes: received -1"):
        lt.train("own.yaml", minutes=-1)


def test_a_run_is_neither_overwritten_nor_taken_for_a_text() -> None:
    Path("taken").mkdir()
    Path("taken/manifest.json").write_text("{}")
    with pytest.raises(RunExistsError, match=r"taken exists already.*resume=True"):
        train("novel.txt", run="taken")
    with pytest.raises(UsageError, match=r"taken is a run.*resume=True.*'taken/config\.yaml'"):
        lt.train("taken")


INTERRUPTED = """
import llm_timecycle as lt
from llm_timecycle.errors import Interrupted

try:
    lt.train("novel.txt", run="my runs", show_progress=False, tokenizer={"level": "char"},
             model={"embedding_dim": 4, "hidden_units": 8, "num_layers": 1},
             training={"batch_size": 8, "sequence_length": 16, "precision": "float32", "threads": 1,
                       "epochs": 100_000, "checkpoint_every": 5, "schedule": "constant"})
except Interrupted as stop:
    print(stop, flush=True)
steps = max(int(p.name[5:]) for p in __import__("pathlib").Path("my runs/checkpoints").iterdir())
again = lt.train("my runs", resume=True, training={"max_steps": steps + 3}, show_progress=False)
print("went on from", steps, "to", again.steps)
"""


def test_interrupting_a_cell_leaves_a_run_that_resumes(tmp_path: Path) -> None:
    """A kernel interrupts a cell with SIGINT in its process; afterwards the process goes on."""
    kernel = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("my runs/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    kernel.send_signal(signal.SIGINT)
    stdout, stderr = kernel.communicate(timeout=120)
    assert kernel.returncode == 0, stderr
    assert "everything is saved" in stdout
    assert "llm-timecycle train 'my runs' --resume" in stdout
    assert "lt.train('my runs', resume=True)" in stdout
    words = stdout.splitlines()[-1].split()
    assert words[:3] == ["went", "on", "from"]
    assert int(words[5]) == int(words[3]) + 3
