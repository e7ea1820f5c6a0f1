"""The manifest: true at every moment, and every difference from it is found."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run, open_run
from tests.full_disk import limit_file_size
from tests.runs.conftest import SETTINGS, change_manifest, make_weights


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
    change_manifest(run, format_version=9)
    with pytest.raises(RunError, match=r"newer llm-timecycle \(format 9.*pip install --upgrade"):
        open_run(run.path)


@pytest.mark.parametrize("content", ["", "[1]", '{"format_version": "1"}', "{" * 5000])
def test_a_manifest_that_makes_no_sense_is_refused(run: Run, content: str) -> None:
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json (cannot be read|is not a manifest)"):
        open_run(run.path)


WRONG = [
    *[{key: None} for key in ("files", "corpora", "replacing", "vocab_size")],
    *[{"vocab_size": size} for size in (1, -1, 5.0, True, 10**400)],
    {"files": {"tokenizer.json": {"bytes": -1, "sha256": 64 * "0"}}},
    {"files": {"tokenizer.json": {"bytes": 10**30, "sha256": 64 * "0"}}},
    {"files": {"tokenizer.json": {"bytes": 1, "sha256": "0"}}},
    {"files": {"../tokenizer.json": {"bytes": 1, "sha256": 64 * "0"}}},
    {"replacing": {"model.safetensors": 3}},
    {"corpora": {"train": {"sha256": 64 * "0", "tokens": 1, "unknown": 2}}},
    {"corpora": {"train": {"sha256": 64 * "0", "words": 2, "characters": 1, "bytes": 1}}},
    {"best": {"step": -1}},
    {"best": {"step": 1, "valid_loss_nats": "low"}},
    {"settings": 3},
    {"origin": []},
]


@pytest.mark.parametrize("entries", WRONG, ids=str)
def test_a_manifest_with_an_entry_that_cannot_be_is_damaged(
    run: Run, entries: dict[str, Any]
) -> None:
    change_manifest(run, **entries)
    with pytest.raises(RunError, match=rf"damaged: its entry {next(iter(entries))}.*Restore it"):
        open_run(run.path)


def test_every_digit_of_a_manifest_is_covered(run: Run) -> None:
    file = run.path / "manifest.json"
    content = file.read_text()
    places = [place for place, character in enumerate(content) if character.isdigit()]
    assert len(places) > 100
    for place in places:
        digit = str((int(content[place]) + 1) % 10)
        changed = content[:place] + digit + content[place + 1 :]
        if json.loads(changed) == json.loads(content):  # the 17th digit of a fraction
            continue
        file.write_text(changed)
        with pytest.raises(RunError, match=r"manifest\.json|newer llm-timecycle"):
            run.read_manifest()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("name", ["manifest.json", "config.yaml", "tokenizer.json"])
def test_what_is_no_regular_file_is_refused_without_waiting(run: Run, name: str) -> None:
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match="not a regular file"):
        open_run(run.path)


def test_a_manifest_as_large_as_a_disk_is_not_read(run: Run) -> None:
    with (run.path / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(RunError, match=r"it has 1,099,511,627,776 bytes"):
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
    assert run.read_metrics() == "step\n1\n2\n"
    run.metrics_path.write_text("step\n9\n2\n")
    with pytest.raises(RunError, match=r"metrics\.csv is not what the manifest says"):
        run.read_metrics()


def test_a_file_that_is_copied_has_a_bound(run: Run) -> None:
    """Checked before it is read: a file of holes takes no room on the disk, but all of memory."""
    file = run.path / "tokenizer.json"
    with file.open("r+b") as opened:
        opened.truncate(1 << 40)
    entry = {"bytes": 1 << 40, "sha256": 64 * "0"}
    change_manifest(run, files={**run.read_manifest()["files"], file.name: entry})
    with pytest.raises(RunError, match=r"tokenizer.json cannot be read \(it has 1,099,511,627,776"):
        open_run(run.path)


def test_weights_that_are_used_are_those_that_were_checked(run: Run) -> None:
    """Another process replaces the best weights without end; each load is of one state, whole."""
    run.save_weights(make_weights(1.0), {"step": 1})
    stop = threading.Event()

    def train() -> None:
        value = 1
        while not stop.is_set():
            value += 1
            run.save_weights(make_weights(float(value)), {"step": value})

    thread = threading.Thread(target=train)
    thread.start()
    try:
        loads = [open_run(run.path).load_weights() for _ in range(50)]
    finally:
        stop.set()
        thread.join()
    values = [{float(each) for w in weights.values() for each in w.ravel()} for weights in loads]
    assert all(len(found) == 1 for found in values)
    assert len(set(map(min, values))) > 1


def test_bytes_that_change_after_they_were_checked_are_not_used(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save_weights(make_weights(1.0), {"step": 1})
    weights = run.load_weights()
    with run.weights_path.open("r+b") as file:
        file.truncate(0)
        file.write(bytes(run.read_manifest()["files"]["model.safetensors"]["bytes"]))
    assert all((w == 1.0).all() for w in weights.values())
    with pytest.raises(RunError, match=r"model\.safetensors is not what the manifest says"):
        run.load_weights()


def test_a_full_disk_while_the_logs_are_noted_leaves_the_manifest(run: Run) -> None:
    run.metrics_path.write_text("step\n")
    before = (run.path / "manifest.json").read_bytes()
    message = (
        r"cannot write .*manifest\.json: the disk is full.* then resume, .*: llm-timecycle train"
    )
    with limit_file_size(100), pytest.raises(RunError, match=message):
        run.record_logs()
    assert (run.path / "manifest.json").read_bytes() == before
    run.record_logs()
    assert run.read_metrics() == "step\n"
