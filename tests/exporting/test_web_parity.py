"""The page writes what `generate` writes: at every level, with every network, for every setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.runs.directory import Run, open_run
from tests.exporting.web_pages import (
    CHINESE,
    ENGLISH,
    change_run,
    continue_text,
    make_run,
    open_run_page,
    write_directly,
)

NO_RETURN = {"ban": ["\\r"]}
"""A field of text makes a line feed of a carriage return."""
LEVELS: dict[str, tuple[str, dict[str, object]]] = {
    "char": ("char", {}),
    "byte": ("byte", {"generation": NO_RETURN}),
    "word": ("word", {}),
    "word-lines": ("word", {"documents": "line"}),
    "unicode": ("word", {"word_split": "unicode"}),
    "subword": ("subword", {"generation": NO_RETURN}),
}
GREEDY = {"temperature": 0.0, "no_repeat_ngram": 3}
"""The likeliest token, but weights that were not trained would soon go round in circles."""
NETWORKS: dict[str, dict[str, object]] = {
    "one-layer": {"num_layers": 1},
    "tied": {"tie_embeddings": True, "embedding_dim": 20},
    "tied-projection": {"tie_embeddings": True},
    "all": {"tie_embeddings": True, "layer_norm": True, "residual": True, "num_layers": 3},
    "residual-first": {"residual": True, "embedding_dim": 20, "layer_norm": True},
}
DRAWS: dict[str, dict[str, object]] = {
    "plain": {"temperature": 1.0, "seed": 7},
    "hot": {"temperature": 1.7, "seed": 2**63 - 1},
    "top-k": {"top_k": 5, "seed": 0},
    "top-p": {"top_p": 0.7, "seed": 1},
    "others": {"min_p": 0.05, "typical_p": 0.9, "xtc_probability": 0.5, "seed": 2**40},
    "penalties": {
        "repetition_penalty": 1.3,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.2,
        "seed": 3,
    },
    "dry": {"dry_multiplier": 0.8, "temperature": 0.3, "seed": 4},
    "ngram": {"no_repeat_ngram": 2, "temperature": 0.1, "seed": 8},
    "tokens": {"bias": {"a": 3.0}, "ban": ["e"], "allow_unknown": True, "seed": 5},
}


def check_same(shared_page: Any, run: Run, *prompts: str, precision: Any = "float32") -> list[int]:
    """Compare the texts, written one after the other on one page; gives the numbers of tokens."""
    expected = {prompt: write_directly(run, prompt, precision) for prompt in prompts}
    assert all(len(set(text.ids)) > 5 for text in expected.values())
    with open_run_page(shared_page, run, precision) as page:
        for prompt, text in expected.items():
            assert continue_text(page, prompt) == text.text
    return [len(text.ids) for text in expected.values()]


@pytest.mark.parametrize("name", LEVELS)
def test_the_greedy_text_is_that_of_generate_at_every_level(
    shared_page: Any, tmp_path: Path, name: str
) -> None:
    level, options = LEVELS[name]
    text = ENGLISH + CHINESE
    run = make_run(tmp_path / "run", level, text, **options)  # type: ignore[arg-type]
    check_same(shared_page, change_run(run, **GREEDY), "Once upon a time", "猫坐在")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("name", "prompt"), [("demo", "Once upon a time"), ("demo-zh", "有一天")])
def test_trained_models_write_the_same_two_hundred_tokens(
    shared_page: Any, tmp_path: Path, name: str, prompt: str, precision: Any
) -> None:
    shipped = open_run(Path(name))
    copy = tmp_path / name
    copy.mkdir()
    for file in shipped.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    run = change_run(open_run(copy), temperature=0.0, ban=["<eos>"], length=200)
    assert check_same(shared_page, run, prompt, precision=precision) == [200]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_writes_the_same(shared_page: Any, tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", "char", generation=GREEDY, **NETWORKS[name])
    for precision in ("float32", "int8") if name in ("all", "tied") else ("float32",):
        check_same(shared_page, run, "Once", precision=precision)


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_gives_the_same_text(shared_page: Any, tmp_path: Path, name: str) -> None:
    """That of `generate --seed`: random numbers, filters and penalties are the same."""
    run = make_run(tmp_path / "run", "char", generation=DRAWS[name])
    check_same(shared_page, run, "Once upon a time")


def test_a_stop_sequence_ends_the_text(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char", generation={"temperature": 1.0, "seed": 7})
    text = write_directly(run, "Once").text
    stopped = change_run(run, stop=[text[50:54], "no such text"])
    expected = write_directly(stopped, "Once")
    assert expected.finish_reason == "stop"
    check_same(shared_page, stopped, "Once")
