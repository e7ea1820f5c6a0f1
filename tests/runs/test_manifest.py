"""The manifest: true at every moment, and every difference from it is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run, open_run
from tests.runs.conftest import SETTINGS, make_weights


@contextmanager
def cut_short(monkeypatch: pytest.MonkeyPatch, *, after_renames: int) -> Iterator[None]:
    """Interrupt what is done inside, as Ctrl-C would, before one more file is renamed."""
    rename, left = Path.replace, after_renames

    def replace(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_kill_between_any_two_writes_of_a_replacement_leaves_a_sound_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut `save_weights` short before each of its renames in turn; the run must load each time."""
    run.save_weights(make_weights(1.0), {"step": 1})
    for survivors in range(4):
        with cut_short(monkeypatch, after_renames=survivors):
            run.save_weights(make_weights(2.0), {"step": 2})
        value = open_run(run.path).load_weights()["output.bias"][0]
        assert value == (1.0 if survivors < 3 else 2.0)
    run.save_weights(make_weights(2.0), {"step": 2})
    assert run.read_manifest()["replacing"] == {}


def test_a_replacement_that_was_cut_short_is_finished_by_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the new config.yaml was in place and the manifest was not written yet."""
    longer = SETTINGS.model_copy(update={"training": TrainingSettings(epochs=99)})
    with cut_short(monkeypatch, after_renames=3):
        run.replace_settings(longer)
    assert open_run(run.path).settings.training.epochs == 99
    run.save_weights(make_weights(2.0), {"step": 2})
    assert open_run(run.path).settings.training.epochs == 99


def test_a_directory_without_a_manifest_is_no_complete_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a complete run: it has no manifest\.json"):
        open_run(tmp_path)


def test_a_newer_format_asks_for_an_upgrade(run: Run) -> None:
    manifest = run.read_manifest()
    (run.path / "manifest.json").write_text(json.dumps({**manifest, "format_version": 2}))
    with pytest.raises(RunError, match=r"newer llm-timecycle \(format 2.*pip install --upgrade"):
        open_run(run.path)


@pytest.mark.parametrize("content", ["", "[1]", '{"format_version": "1"}', "{" * 5000])
def test_a_manifest_that_makes_no_sense_is_refused(run: Run, content: str) -> None:
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json (cannot be read|is not a manifest)"):
        open_run(run.path)


@pytest.mark.parametrize("key", ["files", "corpora", "replacing", "vocab_size"])
def test_a_manifest_with_a_part_of_another_kind_is_damaged(run: Run, key: str) -> None:
    manifest = run.read_manifest()
    (run.path / "manifest.json").write_text(json.dumps({**manifest, key: None}))
    with pytest.raises(RunError, match=f"damaged: its entry {key} is missing or of the wrong type"):
        open_run(run.path)


def test_a_changed_file_is_found(run: Run) -> None:
    (run.path / "tokenizer.json").write_text((run.path / "tokenizer.json").read_text() + " ")
    with pytest.raises(RunError, match=r"tokenizer\.json is not what the manifest says"):
        open_run(run.path)


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json"])
def test_a_missing_file_is_named(run: Run, name: str) -> None:
    (run.path / name).unlink()
    with pytest.raises(RunError, match=f"incomplete: {name} cannot be read"):
        open_run(run.path)


def test_metrics_may_grow_but_not_change(run: Run) -> None:
    run.metrics_path.write_text("step\n1\n")
    run.record_logs()
    run.metrics_path.write_text("step\n1\n2\n")
    run.check_metrics()
    run.metrics_path.write_text("step\n9\n2\n")
    with pytest.raises(RunError, match=r"metrics\.csv is not what the manifest says"):
        run.check_metrics()
