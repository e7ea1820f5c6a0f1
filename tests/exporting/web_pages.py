"""Runs to export as pages, the pages in a browser, and the text that our own engine writes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.config.settings import DataSettings, ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.exporting.web.page import write_page
from llm_timecycle.exporting.web.weights import Precision, round_weights
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.generation.sample import Sample
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.browser import show

LENGTH = 100
ENGLISH = 'Once upon a time there was a cat, and "the cat" sat on 1,000 mats.\nIt sat.\n' * 2
CHINESE = "从前有一只猫，猫坐在垫子上。\n有一天，猫走了。\n春 眠 不 觉 晓 处 处 闻 啼 鸟\n" * 2


def make_run(
    path: Path,
    level: str,
    text: str = ENGLISH,
    *,
    word_split: str = "whitespace",
    documents: str = "file",
    generation: dict[str, object] | None = None,
    **model: object,
) -> Run:
    """A run whose weights are drawn, not trained, and which never ends a text by <eos>."""
    sizes = {"embedding_dim": 12, "num_layers": 2, "hidden_units": 20}
    settings = Settings(
        data=DataSettings(documents=documents),
        tokenizer=TokenizerSettings(level=level, vocab_size=320, word_split=word_split),
        model=ModelSettings(**sizes | model),
    )
    settings = change_generation(settings, **{"length": LENGTH} | (generation or {}))
    tokenizer = Tokenizer.train(settings.tokenizer, [text], documents=documents)
    run = create_run(path, settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {})
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {
        name: rng.normal(size=shape, scale=0.8).astype(np.float32) for name, shape in shapes.items()
    }
    if tokenizer.does_eos_end_documents:
        weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return run


def change_generation(settings: Settings, **changed: object) -> Settings:
    values = settings.model_dump()
    values["generation"] |= changed
    return Settings.model_validate(values)


def change_run(run: Run, **changed: object) -> Run:
    """The run with other settings of `generation`, on the disk as before."""
    return replace(run, settings=change_generation(run.settings, **changed))


def write_directly(run: Run, prompt: str, precision: Precision = "float32") -> Sample:
    """What `generate` writes with the weights of that precision, as far as it is whole."""
    weights = round_weights(run.load_weights(), precision)
    engine = NumpyEngine(weights, run.settings.model)
    generator = TextGenerator(engine, run.load_tokenizer(), run.settings.generation)
    decoder = generator.begin(prompt, is_final=False)
    for _ in decoder.advance():
        pass
    return decoder.samples[0]


@contextmanager
def open_file(page: Any, path: Path) -> Iterator[Any]:
    """A written page, ready; trouble on it fails the test."""
    with show(page, path.as_uri()):
        wait_until_idle(page)
        yield page
        assert page.troubles == []


@contextmanager
def open_run_page(page: Any, run: Run, precision: Precision = "float32") -> Iterator[Any]:
    """The page of a run, ready; anything that it asks the network for fails the test."""
    path = run.path.with_name(f"{run.path.name}-{precision}.html")
    write_page(run, path, precision)
    with open_file(page, path):
        yield page
        asked = [request.url.split(":")[0] for request in page.seen_requests]
        assert set(asked) <= {"file", "blob", "data"}


def wait_until_idle(page: Any) -> None:
    """Until the button that continues is there and can be used."""
    api = importlib.import_module("playwright.sync_api")
    button = page.locator("[data-action=continue]")
    api.expect(button).to_be_visible(timeout=60_000)
    api.expect(button).to_be_enabled(timeout=60_000)


def set_value(page: Any, **values: object) -> None:
    for name, value in values.items():
        page.locator(f"[name={name}]").fill(str(value))


def press(page: Any, action: str) -> None:
    page.locator(f"[data-action={action}]").click()


def read_text(page: Any) -> str:
    return page.locator("textarea").input_value()


def read_status(page: Any) -> str:
    return page.locator("#status").inner_text()


def continue_text(page: Any, text: str | None = None) -> str:
    """What the model adds to this text, or to the text that is there."""
    if text is not None:
        page.locator("textarea").fill(text)
    before = read_text(page)
    press(page, "continue")
    wait_until_idle(page)
    after = read_text(page)
    assert after.startswith(before)
    return after[len(before) :]
