"""What may be profiled, and what is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError, RunError
from llm_timecycle.profiling.source import check_is_idle, open_source, read_history
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

METRICS = "step,epoch,train_loss_nats,valid_loss_nats\n2,1,3.5,\n4,1,3.25,inf\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of default settings that was never trained, with two rows of losses."""
    settings = Settings()
    tokenizer = Tokenizer.train(settings.tokenizer, ["a b c a b\n"])
    made = create_run(
        tmp_path / "run", settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {}
    )
    made.metrics_path.write_text(METRICS)
    made.record_logs()
    return made


def test_a_configuration_by_its_name_with_overrides() -> None:
    source = open_source("section5", ["training.batch_size=32"])
    assert (source.name, source.settings.training.batch_size) == ("section5", 32)
    assert source.settings.model.hidden_units == 512
    assert source.run is source.tokenizer is None
    assert source.history == ()


def test_a_run_by_its_directory_or_its_settings_file(run: Run) -> None:
    for path in (run.path, run.path / "config.yaml"):
        source = open_source(path)
        assert source.run == run
        assert source.tokenizer is not None
        assert source.tokenizer.vocab_size == run.vocab_size
        assert source.history == [
            {"step": 2.0, "epoch": 1.0, "train_loss_nats": 3.5},
            {"step": 4.0, "epoch": 1.0, "train_loss_nats": 3.25},  # infinite is no figure
        ]


@pytest.mark.parametrize(
    ("override", "has_run", "has_tokenizer"),
    [
        ("training.batch_size=4", True, True),
        ("model.hidden_units=32", False, True),
        ("tokenizer.level=char", False, False),
    ],
)
def test_weights_and_tokenizer_stay_only_where_they_fit_the_settings(
    run: Run, override: str, has_run: bool, has_tokenizer: bool
) -> None:
    source = open_source(run.path, [override])
    assert (source.run is not None, source.tokenizer is not None) == (has_run, has_tokenizer)
    section, _, key = override.partition("=")[0].partition(".")
    assert str(getattr(getattr(source.settings, section), key)) == override.partition("=")[2]


def test_a_run_that_is_still_trained_is_refused(run: Run) -> None:
    with run.lock(), pytest.raises(RunError, match=r"is still being trained.*wait for"):
        open_source(run.path)
    check_is_idle(run)


def test_a_run_that_nobody_can_write_to_is_idle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: Run) -> NoReturn:
        raise RunError("cannot lock it")

    monkeypatch.setattr(Run, "lock", refuse)
    check_is_idle(run)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run at"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere\.yaml"):
        open_source(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"no settings named sectoin5\. Did you mean section5"):
        open_source("sectoin5")
    with pytest.raises(RunError, match="is not a complete run"):
        open_source(tmp_path)


def test_damaged_metrics_are_refused(run: Run) -> None:
    run.metrics_path.write_text(METRICS.replace("3.5", "x"))
    with pytest.raises(RunError, match="was changed or damaged"):
        read_history(open_run(run.path))
    run.record_logs()
    with pytest.raises(RunError, match=r"metrics\.csv cannot be read: could not convert"):
        read_history(open_run(run.path))
    run.metrics_path.write_text(METRICS.replace("3.5", "x" * 100_000))
    run.record_logs()
    with pytest.raises(RunError, match=r"metrics\.csv cannot be read: [^\n]{200}$"):
        read_history(open_run(run.path))
    run.metrics_path.unlink()
    assert read_history(open_run(run.path)) == []
