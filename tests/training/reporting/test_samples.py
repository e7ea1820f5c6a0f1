"""samples.txt: what the network writes after each validation, and again when it is resumed."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings, Settings, TokenizerSettings
from llm_timecycle.errors import Interrupted
from llm_timecycle.model.network import build_network, start_from_frequencies
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.training import progress as progress_module
from llm_timecycle.training.reporting.growing_file import GrowingFile
from llm_timecycle.training.reporting.samples import Sampler
from llm_timecycle.training.signals import StopRequest
from tests.training.test_loop import MODEL, StopAfter, V, make_loop, make_run, read_rows

TOKENIZER = Tokenizer.train(TokenizerSettings(level="char"), ["abcdefghi"])


def make_sampler(**generation: Any) -> Sampler:
    settings = Settings(model=MODEL, generation=GenerationSettings(**generation))
    return Sampler(settings, TOKENIZER)


def read_entries(run: Run) -> list[tuple[str, str]]:
    entries = run.samples_path.read_text(encoding="utf-8").split("=== ")[1:]
    return [tuple(entry.rstrip("\n").split("\n", 1)) for entry in entries]  # type: ignore[misc]


def test_the_vocabulary_is_that_of_the_network() -> None:
    assert TOKENIZER.vocab_size == V


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a sample at every validation."""
    run = make_run(tmp_path_factory.mktemp("whole") / "run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(progress_module, "TOKENS_BETWEEN_SAMPLES", 1)
        make_loop(run, sampler=make_sampler(length=20)).train()
    return run


def test_each_validation_has_an_entry_with_its_loss(whole: Run) -> None:
    rows = [row for row in read_rows(whole) if row["valid_loss_nats"]]
    entries = read_entries(whole)
    assert [heading.split(", ")[1].split(":")[0] for heading, _ in entries] == [
        f"step {row['step']}" for row in rows
    ]
    for (heading, text), row in zip(entries, rows, strict=True):
        assert heading.endswith(f"valid loss {float(row['valid_loss_nats']):.4f}")
        assert len(text) <= 20
    assert len({text for _, text in entries}) > 1  # the network has learned meanwhile
    size = whole.samples_path.stat().st_size
    assert whole.read_manifest()["files"]["samples.txt"]["bytes"] == size


def test_the_first_validation_and_the_last_have_a_sample_however_small_the_text(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run", eval_every=2, max_steps=6)
    make_loop(run, sampler=make_sampler(length=20)).train()
    assert [heading.split(", ")[1].split(":")[0] for heading, _ in read_entries(run)] == [
        "step 2",
        "step 6",
    ]


def test_a_resumed_run_has_the_same_samples(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "TOKENS_BETWEEN_SAMPLES", 1)
    run, request = make_run(tmp_path / "run"), StopRequest()
    stop, sampler = StopAfter(request, 9, signal.SIGINT), make_sampler(length=20)
    with pytest.raises(Interrupted):
        make_loop(run, sampler=sampler, callbacks=[stop], request=request).train()
    with run.samples_path.open("a") as file:
        file.write("written after the checkpoint\n")
    make_loop(run, sampler=sampler).train()
    assert run.samples_path.read_bytes() == whole.samples_path.read_bytes()


def test_samples_that_are_gone_are_no_reason_to_stop(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "samples.txt", length_bytes=500)
    file.append("龙\n")
    assert file.flush() == 4
    file.close()


def test_settings_that_do_not_suit_the_vocabulary_end_no_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "llm_timecycle")
    sampler, network = make_sampler(ban=["z"]), build_network(MODEL, V, seed=1)
    assert sampler.sample(network) is None
    assert sampler.sample(network) is None
    (message,) = caplog.messages
    assert message.startswith("no samples are written to samples.txt: ")


def test_a_beam_search_becomes_sampling_and_long_texts_short() -> None:
    network = build_network(MODEL, V, seed=1)
    counts = np.full(V, 10**9)
    counts[TOKENIZER.eos_id] = 0  # so that the text does not end
    start_from_frequencies(network, counts)
    text = make_sampler(length=1_000, beams=3).sample(network)
    assert text is not None
    assert len(text) == 160
