"""The folder for the Hub: whoever downloads it has the run, and nothing of its owner's."""

from __future__ import annotations

import getpass
import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import llm_timecycle as lt
from llm_timecycle.cli.generate import command as generate
from llm_timecycle.errors import RunError
from llm_timecycle.evaluation.texts import open_split, open_training_text
from llm_timecycle.exporting.huggingface.facts import read_facts
from llm_timecycle.exporting.huggingface.folder import FILES, open_reader
from llm_timecycle.exporting.huggingface.run_files import publish_settings
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.runs.directory import open_run
from llm_timecycle.runs.learned import load_spelling
from llm_timecycle.runs.manifest import read_manifest, record_files, write_manifest
from llm_timecycle.runs.warm_start import open_warm_start
from tests.exporting.hub_runs import ENGLISH, Exported, export, make_run

PRIVATE = "annas-diary"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make_run(tmp_path_factory.mktemp("source") / "run", "word")


@pytest.fixture(scope="module")
def folder(source: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(source, tmp_path_factory.mktemp("exported") / "folder", license="mit")


def read_all(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()}


def test_it_has_these_files_and_no_others(folder: Path) -> None:
    assert set(read_all(folder)) == set(FILES)


def test_generate_writes_what_the_run_writes(source: Exported, folder: Path) -> None:
    options = ["--prompt", "The fox", "--seed", "4", "--length", "25"]
    written = [
        CliRunner().invoke(generate, [str(path), *options], catch_exceptions=False).stdout
        for path in (source.run.path, folder)
    ]
    assert written[0] == written[1] != ""
    model = lt.load(folder)
    text = model.generate("The fox", seed=4, length=25)
    assert f"The fox{text}\n" == written[0]
    assert model.settings.generation == source.run.settings.generation


def test_it_is_a_run_like_the_one_that_was_exported(source: Exported, folder: Path) -> None:
    run = open_run(folder)
    assert publish_settings(source.run.settings).model == run.settings.model
    weights = run.load_weights()
    assert all(np.array_equal(weights[name], weight) for name, weight in source.weights.items())
    assert load_spelling(run) is not None
    assert run.read_manifest()["best"] == {"step": 8, "valid_loss_nats": 2.5}
    assert open_warm_start(folder, extend_vocabulary=True).run.vocab_size == run.vocab_size


def test_a_folder_is_read_as_a_run(source: Exported, folder: Path) -> None:
    read = open_reader(folder)
    engine = NumpyEngine(source.weights, source.run.settings.model)
    for token in (1, 5, 2, 2, 9):
        assert np.array_equal(read(token), engine.step(np.array([token]))[0])


def test_who_has_the_text_can_score_it_again(
    source: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is found under the name that the folder's settings have, and known by its hash."""
    monkeypatch.chdir(tmp_path)
    run = open_run(export(source, tmp_path / "folder"))
    where = (source.tokenizer, tmp_path / "cache", False)
    text = run.path / "training-text.txt"
    assert Path(str(run.settings.data.train)) == text
    text.write_text(ENGLISH, encoding="utf-8")
    for split in ("valid", "test"):
        _, scored = open_split(run, run.settings, where[0], split, *where[1:])
        assert scored.tokens == source.run.read_manifest()["corpora"][split]["tokens"] > 0
    text.write_text(ENGLISH + "more", encoding="utf-8")
    with pytest.raises(lt.errors.DataError, match="changed"):
        open_training_text(run, run.settings, *where)


def make_private_run(tmp_path: Path) -> Exported:
    """A run with something private wherever a run can have it."""
    records = "".join(json.dumps({f"{PRIVATE}-key": line}) + "\n" for line in ENGLISH.splitlines())
    source = make_run(
        tmp_path / f"{PRIVATE}-runs" / f"{PRIVATE}-run",
        documents="record",
        text=records,
        field=f"{PRIVATE}-key",
        origin={"run": f"/home/{PRIVATE}/runs/old", "weights_sha256": 64 * "0", "note": PRIVATE},
    )
    run = source.run
    config = run.path / "config.yaml"
    config.write_text(f"# {PRIVATE}\n" + config.read_text(encoding="utf-8"), encoding="utf-8")
    run.samples_path.write_text(f"=== {PRIVATE}\n")
    run.metrics_path.write_text(run.metrics_path.read_text() + f"# {PRIVATE}\n")
    manifest = read_manifest(run.path)
    manifest["corpora"]["train"]["name"] = f"/home/{PRIVATE}/letters.jsonl"
    manifest["versions"]["host"] = PRIVATE
    manifest["best"]["note"] = PRIVATE
    manifest["owner"] = PRIVATE
    write_manifest(run.path, manifest)
    record_files(run.path, {"samples.txt": None})
    return replace(source, run=open_run(run.path))


def test_nothing_private_is_in_it(tmp_path: Path) -> None:
    source = make_private_run(tmp_path)
    everything = b"".join(read_all(source.run.path).values())
    secrets = [PRIVATE, str(tmp_path), str(Path.home()), getpass.getuser(), socket.gethostname()]
    assert PRIVATE.encode() in everything
    folder = export(source, tmp_path / "folder", license="mit", repository="ann/tale")
    for name, content in read_all(folder).items():
        if name == "model.safetensors":
            continue
        found = [secret for secret in secrets if len(secret) > 4 and secret.encode() in content]
        assert not found, f"{name} tells {found}"
    assert PRIVATE.encode() not in (folder / "model.safetensors").read_bytes()
    assert open_run(folder).settings.data.train == str(folder / "training-text.jsonl")


def test_the_manifest_has_the_keys_that_are_published_and_no_more(folder: Path) -> None:
    """What a later version writes into a manifest is not published before somebody decides so."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert set(manifest) == {
        *("format_version", "versions", "vocab_size", "corpora", "replacing", "best", "settings"),
        *("files", "sha256"),
    }
    keys = {"sha256", "tokens", "unknown", "words", "characters", "bytes"}
    assert [set(corpus) for corpus in manifest["corpora"].values()] == [keys, keys, keys]


def test_texts_that_come_with_the_program_keep_their_names(tmp_path: Path) -> None:
    source = make_run(tmp_path / "run", train="sample-english", documents="line")
    run = open_run(export(source, tmp_path / "folder"))
    assert run.settings.data.train == "sample-english"


def test_the_run_is_not_changed(source: Exported, tmp_path: Path) -> None:
    before = read_all(source.run.path)
    export(source, tmp_path / "folder")
    assert read_all(source.run.path) == before


def test_a_row_that_the_manifest_does_not_vouch_for_is_not_counted(tmp_path: Path) -> None:
    """A process that was killed may leave half a row."""
    run = make_run(tmp_path / "run").run
    with run.metrics_path.open("a") as file:
        file.write("12,3,38")
    facts = read_facts(run)
    assert (facts.steps, facts.epochs, facts.tokens_read, facts.minutes) == (8, 2.0, 256, 1.5)


def test_metrics_of_another_kind_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run").run
    run.metrics_path.write_text("step,epoch\n1,many\n")
    record_files(run.path, {"metrics.csv": None})
    with pytest.raises(RunError, match=r"metrics\.csv cannot be read: could not convert"):
        read_facts(run)


def test_a_disk_that_loses_bytes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_timecycle.exporting.huggingface import folder as module

    source = make_run(tmp_path / "run")
    other = {name: weight + 1 for name, weight in source.weights.items()}
    write = module.write_run_files
    monkeypatch.setattr(
        module,
        "write_run_files",
        lambda run, _, tokenizer, place: write(run, other, tokenizer, place),
    )
    with pytest.raises(RunError, match="does not hold the weights"):
        export(source, tmp_path / "folder")


def test_the_configurations_of_the_hub(folder: Path, source: Exported) -> None:
    config = json.loads((folder / "config.json").read_bytes())
    assert (config["model_type"], config["hidden_units"]) == ("llm-timecycle-lstm", 16)
    assert config["vocab_size"] == source.tokenizer.vocab_size
    assert config["parameters"] == sum(weight.size for weight in source.weights.values())
    generation = json.loads((folder / "generation_config.json").read_bytes())
    assert (generation["max_new_tokens"], generation["temperature"]) == (30, 1.0)
    assert "eos_token_id" not in generation, "<eos> is a line break here"
    assert generation["suppress_tokens"] == [0]
