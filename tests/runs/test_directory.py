"""The run directory: whole or not at all, and validated on load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, RunExistsError, RunInUseError
from llm_timecycle.runs.directory import Run, check_run_is_new, create_run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SETTINGS = Settings(model=ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1))


def make_weights(value: float) -> dict[str, np.ndarray]:
    shapes = compute_parameter_shapes(SETTINGS.model, 5)
    return {name: np.full(shape, value, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "mine", SETTINGS, b"{}", 5, {"train": {"sha256": "0"}})


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


def test_a_kill_between_any_two_writes_of_a_replacement_leaves_a_sound_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut `save_weights` short before each of its renames in turn; the run must load each time."""
    run.save_weights(make_weights(1.0), {"step": 1})
    rename = Path.replace
    for survivors in range(4):
        left = [survivors]

        def replace(self: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            run.save_weights(make_weights(2.0), {"step": 2})
        monkeypatch.undo()
        value = open_run(run.path).load_weights()["output.bias"][0]
        assert value == (1.0 if survivors < 3 else 2.0)
    run.save_weights(make_weights(2.0), {"step": 2})
    assert run.read_manifest()["replacing"] == {}


def test_settings_can_be_replaced(run: Run) -> None:
    longer = SETTINGS.model_copy(update={"training": TrainingSettings(epochs=99)})
    run.replace_settings(longer)
    assert open_run(run.path).settings.training.epochs == 99


def test_a_path_that_is_taken_is_refused_with_both_ways_out(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunExistsError, match=r"mine exists already.*resume=True.*as run") as caught:
        check_run_is_new(run.path)
    assert (caught.value.path, caught.value.is_run) == (run.path, True)
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunExistsError, match="not a run: pass another directory") as caught:
        check_run_is_new(tmp_path / "photos")
    assert not caught.value.is_run


def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(RunError, match="cannot make a run in /proc"):
        check_run_is_new(Path("/proc/nowhere/run"))


def test_a_missing_run_is_told_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run at .*: train one with"):
        open_run(tmp_path / "none")


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; a run is a directory"):
        open_run(tmp_path / "file")


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


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json"])
def test_a_changed_file_is_found(run: Run, name: str) -> None:
    (run.path / name).write_text((run.path / name).read_text() + " ")
    with pytest.raises(RunError, match=f"{name} is not what the manifest says"):
        open_run(run.path)


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json"])
def test_a_missing_file_is_named(run: Run, name: str) -> None:
    (run.path / name).unlink()
    with pytest.raises(RunError, match=f"incomplete: {name} cannot be read"):
        open_run(run.path)


def test_a_run_without_weights_says_how_to_go_on(run: Run) -> None:
    with pytest.raises(RunError, match=r"no trained weights yet.*--resume"):
        run.load_weights()


def test_weights_that_were_there_and_are_gone_are_missing(run: Run) -> None:
    run.save_weights(make_weights(1.0), {})
    run.weights_path.unlink()
    with pytest.raises(RunError, match=r"model\.safetensors, is gone\. Restore it from a copy, or"):
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


def test_truncated_weights_are_refused(run: Run) -> None:
    run.save_weights(make_weights(1.0), {})
    run.weights_path.write_bytes(run.weights_path.read_bytes()[:-4])
    with pytest.raises(
        RunError, match=r"damaged or not a safetensors file.*Restore it from a copy"
    ):
        run.load_weights()


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
        ({"extra": np.zeros(1, np.float32)}, r"do not call for: extra\. Restore it"),
    ],
)
def test_weights_of_another_shape_type_or_name_are_refused(
    run: Run, change: dict[str, np.ndarray], message: str
) -> None:
    save_file({**make_weights(1.0), **change}, run.weights_path)
    with pytest.raises(RunError, match=message):
        run.load_weights()


def test_weights_that_are_missing_are_named(run: Run) -> None:
    weights = make_weights(1.0)
    del weights["lstm_1.bias"]
    save_file(weights, run.weights_path)
    with pytest.raises(RunError, match=r"lacks the tensors lstm_1\.bias\. Restore it"):
        run.load_weights()


def test_a_header_that_claims_an_absurd_size_is_refused_before_memory_is_taken(run: Run) -> None:
    header = json.dumps(
        {"output.bias": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    run.weights_path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(RunError, match="damaged or not a safetensors file"):
        run.load_weights()


def test_metrics_may_grow_but_not_change(run: Run) -> None:
    run.metrics_path.write_text("step\n1\n")
    run.record_metrics()
    run.metrics_path.write_text("step\n1\n2\n")
    run.check_metrics()
    run.metrics_path.write_text("step\n9\n2\n")
    with pytest.raises(RunError, match=r"metrics\.csv is not what the manifest says"):
        run.check_metrics()


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
