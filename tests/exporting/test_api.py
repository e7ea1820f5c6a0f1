"""An export appears whole and right, or not at all, and replaces nothing unasked."""

from __future__ import annotations

import errno
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.errors import ExportError, ExportExistsError, UsageError
from llm_timecycle.exporting import comparison, formats
from llm_timecycle.exporting.companions import EXAMPLES
from llm_timecycle.exporting.onnx import graph, writer
from llm_timecycle.runs.directory import Run
from tests.exporting.variants import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "mine", seed=5)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_directory_and_what_is_told_of_it(run: Run, tmp_path: Path) -> None:
    result = lt.export(run.path, "onnx")
    assert result.path == Path("exports/mine-onnx")
    names = ["example.py", "export.json", "generation_config.json", "model.onnx", "tokenizer.json"]
    assert list_names(result.path) == names
    assert list_names(Path("exports")) == ["mine-onnx"]
    assert result.files == {name: (result.path / name).stat().st_size for name in names}
    assert result.comparison is not None
    assert 0 < result.comparison.largest_difference < 1e-5
    assert "largest difference of a logit" in str(result)
    assert "python exports/mine-onnx/example.py" in str(result)
    assert (result.path / "tokenizer.json").read_bytes() == run.tokenizer_path.read_bytes()
    settings = json.loads((result.path / "generation_config.json").read_bytes())
    assert settings.items() >= run.settings.generation.model_dump().items()
    assert (settings["bos_token_id"], settings["eos_token_id"], settings["unk_token_id"]) == (
        *(1, 1),
        0,
    )
    mark = json.loads((result.path / "export.json").read_bytes())
    model = (result.path / "model.onnx").read_bytes()
    assert mark["files"]["model.onnx"] == hashlib.sha256(model).hexdigest()
    assert mark["largest_difference"] == result.comparison.largest_difference


def test_what_is_there_is_replaced_only_if_asked_and_an_export(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "out"
    lt.export(run.path, "onnx", output=place)
    (place / "model.onnx").write_bytes(b"old")
    with pytest.raises(ExportExistsError, match="exists already: pass force=True"):
        lt.export(run.path, "onnx", output=place)
    assert (place / "model.onnx").read_bytes() == b"old"
    lt.export(run.path, "onnx", output=place, force=True)
    assert (place / "model.onnx").stat().st_size > 1000
    assert list_names(tmp_path) == ["out"]

    (tmp_path / "link").symlink_to(place)
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("link", "mine", "file"):
        with pytest.raises(ExportExistsError, match="is not an export: pass another path"):
            lt.export(run.path, "onnx", output=tmp_path / name, force=True)


def test_a_run_is_not_replaced(run: Run) -> None:
    with pytest.raises(ExportExistsError, match="is not an export"):
        lt.export(run.path, "onnx", output=run.path, force=True)


def test_a_wrong_export_is_refused_and_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "reorder_gates", lambda weight: weight)
    with pytest.raises(ExportError, match=r"differs from the run: by \d.* at most 0\.0001"):
        lt.export(run.path, "onnx", output=tmp_path / "a")
    assert list_names(tmp_path) == []


def test_a_state_that_is_lost_on_the_way_is_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first token alone does not tell."""
    monkeypatch.setattr(comparison, "GREEDY_STEPS", 3)
    open_reader = writer.open_reader
    monkeypatch.setattr(
        writer,
        "open_reader",
        lambda directory, source: lambda token: open_reader(directory, source)(token),
    )
    with pytest.raises(ExportError, match="differs from the run"):
        lt.export(run.path, "onnx", output=tmp_path / "a")


def test_an_old_export_outlives_a_new_one_that_fails(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lt.export(run.path, "onnx", output=tmp_path / "a")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(writer, "write", fail)
    with pytest.raises(UsageError, match="the disk is full"):
        lt.export(run.path, "onnx", output=tmp_path / "a", force=True)
    assert list_names(tmp_path) == ["a"]
    assert (tmp_path / "a/model.onnx").exists()


def test_a_killed_export_has_not_appeared(run: Run, tmp_path: Path) -> None:
    """Killed while the model, which is written already, is compared."""
    code = (
        "import sys, time; from llm_timecycle.exporting import api\n"
        "api._compare = lambda *_: (print('comparing', flush=True), time.sleep(60))\n"
        "api.export(sys.argv[1], 'onnx', output=sys.argv[2])"
    )
    arguments = [sys.executable, "-c", code, str(run.path), str(tmp_path / "a")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "comparing\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    lt.export(run.path, "onnx", output=tmp_path / "a")


def test_without_its_runtime_nothing_is_claimed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = formats.find_spec
    monkeypatch.setattr(
        formats, "find_spec", lambda name: None if name == "onnxruntime" else find_spec(name)
    )
    result = lt.export(run.path, "onnx")
    assert result.comparison is None
    assert "Not compared: onnxruntime is not installed: pip install" in str(result)
    assert json.loads((result.path / "export.json").read_bytes())["largest_difference"] is None


def test_a_package_that_is_needed_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs onnx: install with\npip install .*\[export\]"):
        lt.export(run.path, "onnx")


def test_wrong_arguments(run: Run) -> None:
    with pytest.raises(UsageError, match="to: received 'onyx'; expected one of onnx, "):
        lt.export(run.path, "onyx")
    with pytest.raises(UsageError, match="precision: received 'int8'; expected float32, as onnx"):
        lt.export(run.path, "onnx", precision="int8")
    assert not Path("exports").exists()


def test_every_format_has_what_the_table_names() -> None:
    for name, form in formats.FORMATS.items():
        module = form.load()
        assert callable(module.write), name
        assert form.runtime is None or callable(module.open_reader)
        assert form.example is None or (EXAMPLES / form.example).exists()


def test_rounding_is_told_as_perplexity(run: Run) -> None:
    """Logits that are shifted by one number give the same distribution; H(q) is H."""
    from llm_timecycle.exporting.comparison import compare
    from llm_timecycle.exporting.source import open_source
    from llm_timecycle.generation.engines.numpy_engine import NumpyEngine

    source = open_source(run.path)

    def open_shifted(shift: np.ndarray | float) -> formats.Reader:
        engine = NumpyEngine(source.weights, source.model)
        return lambda token: engine.step(np.array([token]))[0] + shift

    same = compare(source, lambda: open_shifted(0.01), "this test", "int8")
    assert same.largest_difference == pytest.approx(0.01, rel=1e-3)
    assert same.export_perplexity == pytest.approx(same.run_perplexity, rel=1e-6)
    noise = np.random.default_rng(1).uniform(-0.01, 0.01, source.vocab_size)
    worse = compare(source, lambda: open_shifted(noise), "this test", "int8")
    assert worse.export_perplexity > worse.run_perplexity == same.run_perplexity  # type: ignore[operator]
    with pytest.raises(ExportError, match=r"by 0\.5\d* in a logit.* float32 there is no"):
        compare(source, lambda: open_shifted(0.5), "this test", "int8")
    with pytest.raises(ExportError, match=r"by inf in a logit"):
        compare(source, lambda: open_shifted(np.nan), "this test", "float32")


@pytest.mark.parametrize(
    ("to", "choices", "message"),
    [
        ("onnx", {"license": "mit"}, "license: the format onnx has no such choice; huggingface"),
        ("web", {"samples": False}, "samples: the format web has no such choice"),
        ("web", {"push": "ann/novel"}, "push: the format web has no such choice"),
        ("huggingface", {"push": "ann/novel"}, "license: received none, and nothing is pushed"),
        ("huggingface", {"private": True}, "private: nothing is sent; expected it with push"),
        ("huggingface", {"precision": "int8"}, "precision: received 'int8'"),
    ],
)
def test_what_a_format_has_not_is_refused_before_anything_is_written(
    to: str, choices: dict[str, Any], message: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(UsageError, match=message):
        lt.export(run.path, to, output=tmp_path / "out", **choices)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("to", ["web", "huggingface"])
def test_a_page_and_a_folder_for_the_hub_are_exports_too(to: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    result = lt.export(run.path, to, output=tmp_path / "out")
    assert result.comparison is not None
    assert result.comparison.largest_difference <= result.comparison.limit
    assert set(result.files) >= {"export.json", "index.html" if to == "web" else "README.md"}
    if to == "huggingface":
        assert lt.load(result.path).generate("once").text == lt.load(run.path).generate("once").text


def test_a_license_that_the_hub_does_not_list_has_a_name_and_a_link(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    own = {"license": "other", "license_name": "mine-1.0", "license_link": "https://x.org/mine"}
    result = lt.export(run.path, "huggingface", output=tmp_path / "out", **own)  # type: ignore[arg-type]
    card = (result.path / "README.md").read_text("utf-8")
    assert "license_name: mine-1.0" in card
    assert "[mine-1.0](https://x.org/mine)" in card
