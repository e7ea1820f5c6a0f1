"""The run directory: whole or not at all, and validated on load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from llm_timecycle.config.dump import read_comments
from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.errors import RunError, RunExistsError, RunInUseError
from llm_timecycle.runs.create import check_run_is_new, create_run
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.manifest import replace_file, write_manifest
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.runs.conftest import SETTINGS, make_weights


def test_a_new_run_is_complete_and_alone(run: Run) -> None:
    assert {path.name for path in run.path.iterdir()} == {
        "config.yaml",
        "tokenizer.json",
        "manifest.json",
        "checkpoints",
    }
    assert [path.name for path in run.path.parent.iterdir()] == ["mine"]
    assert open_run(run.path) == run


def test_weights_are_read_back_as_saved(run: Run) -> None:
    run.save_weights(make_weights(1.5), {"step": 3})
    weights = open_run(run.path).load_weights()
    assert all(np.array_equal(weights[name], w) for name, w in make_weights(1.5).items())
    assert run.read_manifest()["best"] == {"step": 3}


def test_settings_can_be_replaced(run: Run) -> None:
    longer = SETTINGS.model_copy(update={"training": TrainingSettings(epochs=99)})
    run.replace_settings(longer)
    assert open_run(run.path).settings.training.epochs == 99


def test_a_comment_goes_with_the_setting_that_it_explains(tmp_path: Path) -> None:
    comments = {"training.epochs": "enough", "model.num_layers": "one will do"}
    run = create_run(tmp_path / "run", SETTINGS, b"{}", 5, {}, comments)
    assert read_comments((run.path / "config.yaml").read_text()) == comments
    run.replace_settings(SETTINGS.model_copy(update={"training": TrainingSettings(epochs=99)}))
    assert read_comments((run.path / "config.yaml").read_text()) == {
        "model.num_layers": "one will do"
    }
    assert open_run(run.path).settings.training.epochs == 99


def test_a_path_that_is_taken_is_refused_with_both_ways_out(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunExistsError, match=r"mine exists already.*resume=True.*as run") as caught:
        check_run_is_new(run.path)
    assert (caught.value.path, caught.value.is_run) == (run.path, True)
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunExistsError, match="not a run: pass another directory") as caught:
        check_run_is_new(tmp_path / "photos")
    assert not caught.value.is_run


def test_a_run_that_another_process_made_meanwhile_is_refused_as_one_that_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_timecycle.runs.create.check_run_is_new", lambda path: None)
    before = sorted(run.path.iterdir())
    with pytest.raises(RunExistsError, match="exists already"):
        create_run(run.path, SETTINGS, b"{}", 5, {})
    assert sorted(run.path.iterdir()) == before
    assert [path.name for path in run.path.parent.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(RunError, match="cannot make a run in /proc"):
        check_run_is_new(Path("/proc/nowhere/run"))


def test_a_missing_run_is_told_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run at .*: train one with"):
        open_run(tmp_path / "none")


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; expected a run directory"):
        open_run(tmp_path / "file")


def test_a_run_without_weights_says_how_to_go_on(run: Run) -> None:
    with pytest.raises(RunError, match=r"no trained weights yet.*--resume"):
        run.load_weights()


def test_weights_that_were_there_and_are_gone_are_missing(run: Run) -> None:
    run.save_weights(make_weights(1.0), {})
    run.weights_path.unlink()
    with pytest.raises(
        RunError, match=r"model\.safetensors, is missing\. Restore it from a copy, or"
    ):
        run.load_weights()


@pytest.mark.parametrize("added", [0, 1])
def test_the_tokenizer_of_a_run_must_fit_its_model(tmp_path: Path, added: int) -> None:
    tokenizer = Tokenizer.train(SETTINGS.tokenizer, ["a b c d"])
    vocab_size = tokenizer.vocab_size + added
    run = create_run(tmp_path / "run", SETTINGS, tokenizer.to_json().encode(), vocab_size, {})
    if added == 0:
        assert run.load_tokenizer().encode("c a").tolist() == tokenizer.encode("c a").tolist()
        return
    with pytest.raises(RunError, match=r"has 6 tokens, and the manifest .* says 7.*Restore it"):
        run.load_tokenizer()


def test_a_flipped_bit_in_the_weights_is_found(run: Run) -> None:
    run.save_weights(make_weights(1.0), {})
    content = bytearray(run.weights_path.read_bytes())
    content[-1] ^= 1
    run.weights_path.write_bytes(content)
    with pytest.raises(RunError, match="is not what the manifest says"):
        run.load_weights()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output.bias": np.zeros(6, np.float32)}, r"output.bias should be F32 \(5,\).*Restore it"),
        ({"output.bias": np.zeros(5, np.float64)}, "found F64"),
        ({"extra": np.zeros(1, np.float32)}, r"do not expect: extra\. Restore it"),
    ],
)
def test_weights_of_another_shape_type_or_name_are_refused(
    run: Run, change: dict[str, np.ndarray], message: str
) -> None:
    replace_file(run.path, "model.safetensors", save({**make_weights(1.0), **change}), {})
    with pytest.raises(RunError, match=message):
        run.load_weights()


def test_more_bytes_than_weights_of_these_shapes_can_have_are_not_read(run: Run) -> None:
    """A file of holes takes no room on the disk, and its manifest may fit: hashing takes hours."""
    run.save_weights(make_weights(1.0), {})
    with run.weights_path.open("rb+") as file:
        file.truncate(1 << 40)
    size = {"bytes": 1 << 40, "sha256": "0" * 64}
    files = run.read_manifest()["files"] | {run.weights_path.name: size}
    write_manifest(run.path, run.read_manifest() | {"files": files})
    for use in (run.load_weights, run.check_files):
        with pytest.raises(RunError, match=r"has 1,099,511,627,776 bytes, and expected are at "):
            use()


def test_runs_of_other_settings_are_told_apart(tmp_path: Path) -> None:
    """And the same training, made again somewhere else, is the same run."""

    def identify(name: str, seed: int) -> str | None:
        path = tmp_path / name / "run"
        path.parent.mkdir()
        settings = SETTINGS.model_copy(update={"training": TrainingSettings(seed=seed)})
        return create_run(path, settings, b"{}", 5, {}).read_identity()

    identities = [identify(name, seed) for name, seed in (("a", 1), ("b", 2), ("c", 1))]
    assert identities[0] is not None
    assert identities[0] == identities[2] != identities[1]


def test_weights_that_are_missing_are_named(run: Run) -> None:
    weights = make_weights(1.0)
    del weights["lstm_1.bias"]
    replace_file(run.path, "model.safetensors", save(weights), {})
    with pytest.raises(RunError, match=r"lacks the tensors lstm_1\.bias\. Restore it"):
        run.load_weights()


def test_only_one_process_may_train_a_run(run: Run) -> None:
    with run.lock(), pytest.raises(RunInUseError, match="trained by another process"), run.lock():
        pass
    with run.lock():
        pass


def test_a_killed_process_holds_no_lock(run: Run) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from llm_timecycle.runs.directory import open_run\n"
        "with open_run(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(600)"
    )
    holder = [sys.executable, "-c", code, str(run.path)]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RunInUseError), run.lock():
            pass
        process.kill()
        process.wait()
        with run.lock():
            pass


def test_a_run_that_cannot_be_written_to_cannot_be_locked(run: Run) -> None:
    (run.path / ".lock").mkdir()  # stands in for a read-only directory, for the superuser too
    with pytest.raises(RunError, match=f"cannot lock {run.path}") as caught, run.lock():
        pass
    assert not isinstance(caught.value, RunInUseError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
@pytest.mark.parametrize("name", ["metrics.csv", "samples.txt"])
def test_what_would_be_written_through_is_found_before_training(
    run: Run, kind: str, name: str
) -> None:
    """A run that a user was handed may have a link to a file of theirs, which would be cut."""
    mine = run.path.parent / "mine.txt"
    mine.write_text("kept")
    place = run.path / name
    if kind == "link":
        place.symlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(RunError, match=rf"cannot be trained: .*{name} cannot be"), run.lock():
        pass
    assert mine.read_text() == "kept"


def test_a_lock_that_is_a_link_leads_nowhere(run: Run) -> None:
    mine = run.path.parent / "mine.txt"
    mine.write_text("kept")
    (run.path / ".lock").symlink_to(mine)
    with (
        pytest.raises(RunError, match=r"cannot lock .*a link is where a file is needed"),
        run.lock(),
    ):
        pass
    assert mine.read_text() == "kept"


@pytest.mark.parametrize("kind", ["link", "file"])
@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/step-3", "tensorboard"])
def test_what_is_no_directory_where_one_is_needed_is_found_before_training(
    run: Run, kind: str, place: str
) -> None:
    path = run.path / place
    if path.is_dir():
        path.rmdir()
    if kind == "link":
        path.symlink_to(run.path.parent)
    else:
        path.write_text("x")
    with (
        pytest.raises(RunError, match=rf"{path.name} is a {kind}, and a directory.*\nmv |: mv "),
        run.lock(),
    ):
        pass
    subprocess.run(["mv", str(path), f"{path}-moved"], check=True)  # as the message says
    path.mkdir()
    with run.lock():
        pass


def test_what_killed_processes_left_goes_away_before_training(run: Run) -> None:
    left = (".model.safetensors.123.tmp", ".model.safetensors.new", "checkpoints/.step-9.tmp")
    kept = ("notes.txt", ".hidden", ".git", "checkpoints/step-3")
    for name in (*left, *kept):
        (run.path / name).mkdir()
    with run.lock():
        run.remove_leftovers()
    assert not any((run.path / name).exists() for name in left)
    assert all((run.path / name).exists() for name in kept)


def test_a_run_that_was_never_made_goes_away_after_a_day(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}" for name in ("a.making-1", "a.making-2", "a.mine"))
    for path in (old, new, other):
        path.mkdir()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    create_run(tmp_path / "a", SETTINGS, b"{}", 5, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.making-2", ".a.mine", "a"]
