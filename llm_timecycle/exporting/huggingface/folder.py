"""Writing the folder: a run directory, the files that the Hub and its readers look for, a card.

    model.safetensors  tokenizer.json  config.yaml  manifest.json  spelling.json   the run
    config.json  generation_config.json                                            for the Hub
    README.md                                                                      the model card
    example.py                                                                     in NumPy alone

Whoever downloads it has a run: `llm-timecycle generate FOLDER`. `run_files` says what is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_timecycle.errors import RunError
from llm_timecycle.exporting.huggingface.card import CardChoices, CardFacts, write_card
from llm_timecycle.exporting.huggingface.example import write_example
from llm_timecycle.exporting.huggingface.facts import read_facts
from llm_timecycle.exporting.huggingface.hub_configs import write_config, write_generation_config
from llm_timecycle.exporting.huggingface.languages import guess_language
from llm_timecycle.exporting.huggingface.run_files import (
    RUN_FILES,
    publish_settings,
    write_run_files,
)
from llm_timecycle.exporting.huggingface.samples import draw_samples
from llm_timecycle.exporting.source import Source
from llm_timecycle.files import write_durably
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.runs.directory import open_run
from llm_timecycle.runs.learned import SPELLING

if TYPE_CHECKING:
    from llm_timecycle.evaluation.copies.report import SampleReport

CARD, EXAMPLE = "README.md", "example.py"
CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"
FILES = (*RUN_FILES, CONFIG, GENERATION_CONFIG, CARD, EXAMPLE)
"""Everything that such a folder may have, and that is sent."""


def write(
    source: Source,
    staging: Path,
    precision: str = "float32",
    *,
    license: str | None = None,
    license_name: str | None = None,
    license_link: str | None = None,
    languages: tuple[str, ...] = (),
    datasets: tuple[str, ...] = (),
    repository: str | None = None,
    samples: bool = True,
    copies: SampleReport | None = None,
) -> None:
    """Write a run as a folder for the Hub.

    Args:
        source: the run, its weights and its tokenizer. The run is not changed.
        staging: a directory that is there; the caller gives it its final name.
        precision: float32, as a run stores its weights.
        license: an identifier of the Hub's list; None leaves it out, and the card says so.
        license_name, license_link: with the license "other", its name and where it is written.
        languages: ISO 639 codes; empty says what the text's script leaves no doubt about.
        datasets: names of datasets on the Hub that the model was trained on.
        repository: where it will be, USER/NAME; the card's title is NAME.
        samples: whether the card shows texts of the model, in which passages of the training text
            may stand.
        copies: what the copy meter says (`copies.measure_copies`), for the card.

    Raises:
        UsageError: a value is not one that the Hub takes.
        RunError: the run is damaged, or its logits are not finite.
        OSError: the directory cannot be written to.
    """
    choices = CardChoices(license, license_name, license_link, languages, datasets, repository)
    run, weights, tokenizer = source.run, source.weights, source.tokenizer
    settings, training = publish_settings(run.settings), read_facts(run)
    corpus = training.corpora.get("train", {})
    facts = CardFacts(
        settings,
        run.vocab_size,
        training,
        guess_language(run.settings.data.train, tokenizer, corpus),
        draw_samples(run, weights, tokenizer) if samples else None,
        copies,
        SPELLING in run.read_manifest()["files"],
    )
    card = write_card(facts, choices)
    write_run_files(run, weights, tokenizer, staging)
    write_durably(staging / CONFIG, write_config(settings, run.vocab_size))
    write_durably(staging / GENERATION_CONFIG, write_generation_config(settings))
    write_durably(staging / EXAMPLE, write_example(settings).encode())
    write_durably(staging / CARD, card.encode())
    _read_back(staging, weights)


def open_reader(folder: Path, source: Source | None = None) -> Callable[[int], np.ndarray]:
    """A written folder as a function from the next token of a text to the logits (V,) after it.

    For a comparison with the run that was exported.
    """
    run = open_run(folder)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    return lambda token: engine.step(np.array([token]))[0]


def _read_back(folder: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Check that the folder is a run with these weights, as whoever downloads it will open it."""
    run = open_run(folder)
    run.load_tokenizer()
    written = run.load_weights()
    if not all(np.array_equal(written[name], weight) for name, weight in weights.items()):
        raise RunError(f"{folder} does not hold the weights that were exported: the disk fails")
