"""What a row says of a run, and what it is read from."""

from __future__ import annotations

import fcntl
import math
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_timecycle.comparing.summary import Split, compute_score, read_summary
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.errors import RunError, RunInUseError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.locking import WAIT_S, is_locked
from llm_timecycle.sealed_json import write_sealed
from tests.comparing.made_runs import make_run, set_date


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "my")


def change_manifest(run: Run, **entries: object) -> None:
    (run.path / "manifest.json").write_bytes(write_sealed({**run.read_manifest(), **entries}))


def test_a_row_says_what_was_trained_and_how_well(run: Run) -> None:
    set_date(run, 1)
    row = read_summary(run.path)
    assert (row.name, row.path) == ("my", str(run.path))
    assert (row.text, row.level, row.vocab_size) == ("novel.txt", "char", run.vocab_size)
    assert row.weights == count_parameters(run.settings.model, run.vocab_size)
    assert (row.steps, row.planned_steps, row.epochs, row.tokens) == (30, 30, 3.0, 3600)
    assert row.minutes == 0.75  # 45 s
    assert (row.best_step, row.has_weights, row.is_training) == (30, True, False)
    assert row.date == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_the_figures_follow_from_the_loss_and_the_size_of_the_validation_text(run: Run) -> None:
    score = read_summary(run.path).score
    assert score.valid_loss_nats == 1.25
    assert score.perplexity == pytest.approx(3.490343)  # exp(1.25)
    # 101 tokens, so 100 predictions of 1.25 / ln 2 bits, over 100 characters and 200 bytes
    assert score.bits_per_character == pytest.approx(1.803369)
    assert score.bits_per_byte == pytest.approx(0.901684)
    assert score.bits_per_character_with_spelling == score.bits_per_character


def test_unknown_words_are_not_charged_and_that_is_said(tmp_path: Path) -> None:
    row = read_summary(make_run(tmp_path / "words", level="word", unknown=10).path)
    assert row.unknown_share == pytest.approx(10 / 101)
    assert row.score.bits_per_character == pytest.approx(1.803369)
    assert row.score.bits_per_character_with_spelling is None
    assert row.score.bits_per_byte_with_spelling is None


def test_a_loss_over_a_text_of_unknown_size_has_a_perplexity_and_no_bits() -> None:
    for size in (None, Split(), Split(tokens=1, characters=1)):
        score = compute_score(math.log(8), size)
        assert score.perplexity == pytest.approx(8)
        assert (score.bits_per_character, score.bits_per_byte) == (None, None)
    assert compute_score(1000.0, None).perplexity == math.inf
    assert compute_score(None, Split(tokens=5, characters=5)).perplexity is None


def test_json_has_no_number_that_is_not_finite(run: Run) -> None:
    change_manifest(run, best={"step": 10, "valid_loss_nats": 1000.0})
    row = read_summary(run.path)
    assert row.score.perplexity == math.inf
    assert row.to_dict()["perplexity"] is None
    assert row.to_dict()["date"].endswith("+00:00")


def test_a_run_before_its_first_validation_has_no_figures(tmp_path: Path) -> None:
    row = read_summary(make_run(tmp_path / "new", losses=()).path)
    assert not row.has_weights
    assert (row.steps, row.minutes, row.best_step, row.score.valid_loss_nats) == (None,) * 4


def test_neither_weights_nor_tokenizer_are_read(run: Run) -> None:
    before = read_summary(run.path)
    run.weights_path.unlink()
    os.mkfifo(run.weights_path)  # which would never end
    run.tokenizer_path.write_bytes(b"")
    assert read_summary(run.path) == before


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (["a.txt", "b/c.txt", "d.txt", "e.txt"], "a.txt, c.txt, d.txt and 1 more"),
        ("小说 全集.txt", "小说 全集.txt"),
        ("books/*.txt", "books/*.txt"),
        ("python-docs", "python-docs"),
    ],
)
def test_texts_are_named(tmp_path: Path, text: str | list[str], name: str) -> None:
    assert read_summary(make_run(tmp_path / "my", text=text).path).text == name


@pytest.mark.parametrize(
    "written",
    ["  train: 'a b.txt' # mine", "  train:\n    - a b.txt", '  train: [\n    "a b.txt"]'],
)
def test_a_config_that_its_owner_edited_is_understood(run: Run, written: str) -> None:
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace("  train: novel.txt", written))
    assert read_summary(run.path).text == "a b.txt"


@pytest.mark.parametrize("content", ["data: {train: 5}\n", "data: [\n", "", "\0"])
def test_a_config_that_cannot_be_read_is_an_error(run: Run, content: str) -> None:
    (run.path / "config.yaml").write_text(content)
    with pytest.raises(RunError, match=r"the settings of .*my cannot be read"):
        read_summary(run.path)


def test_settings_that_cannot_be_are_an_error(run: Run) -> None:
    for settings in ({"model": {"num_layers": 10**6}}, {"tokenizer": {"level": 5}}):
        change_manifest(run, settings=settings)
        with pytest.raises(RunError, match="damaged in its entry for the settings"):
            read_summary(run.path)


def test_a_run_of_before_the_manifest_had_settings_is_listed(run: Run) -> None:
    before = read_summary(run.path)
    manifest = run.read_manifest()
    del manifest["settings"]
    (run.path / "manifest.json").write_bytes(write_sealed(manifest))
    assert (read_summary(run.path).level, read_summary(run.path).weights) == (
        "char",
        before.weights,
    )


HOLD = """
import sys
from pathlib import Path
from llm_timecycle.runs.directory import open_run
with open_run(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_trains_says_so(run: Run) -> None:
    assert not read_summary(run.path).is_training
    assert not (run.path / ".lock").exists()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert read_summary(run.path).is_training
        holder.communicate()
    assert (run.path / ".lock").exists()
    assert not read_summary(run.path).is_training


def test_asking_whether_a_run_is_trained_changes_nothing(run: Run) -> None:
    lock = run.path / ".lock"
    lock.write_text("mine")
    lock.chmod(0o444)
    before = lock.stat()
    assert not read_summary(run.path).is_training
    after = lock.stat()
    assert (lock.read_text(), after.st_mtime_ns) == ("mine", before.st_mtime_ns)
    lock.unlink()
    os.mkfifo(lock)
    assert not read_summary(run.path).is_training


def test_a_training_waits_for_whoever_asked_whether_it_goes_on(run: Run) -> None:
    with run.lock():
        pass
    with (run.path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(RunInUseError), run.lock():
            pass
        threading.Timer(WAIT_S / 4, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with run.lock():
            pass


def test_the_other_way_to_ask_says_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Windows, which has no `fcntl`."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert not is_locked(run.path)
    with run.lock():
        assert is_locked(run.path)
    assert not is_locked(run.path)
