"""Beginning with another run's weights: which settings must fit, and the weights of new tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.load import check_sources
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import ConfigError, RunError, UsageError
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.warm_start import WarmStart, extend_weights, open_warm_start
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.runs.conftest import SETTINGS, make_weights


@pytest.fixture
def start(tmp_path: Path) -> WarmStart:
    """A run of words with weights and the five tokens `<unk> <eos> a b c`."""
    tokenizer = Tokenizer.train(SETTINGS.tokenizer, ["a a a b b c"])
    run = create_run(tmp_path / "old", SETTINGS, tokenizer.to_json().encode(), 5, {})
    run.save_weights(make_weights(1.0), {"step": 3})
    return open_warm_start(tmp_path / "old", False)


def resolve(start: WarmStart, **values: Any) -> Settings:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return check_sources([start.defaults, PythonValues(named, "new")], "new")


def test_what_a_new_run_leaves_out_is_taken_from_the_old_one(start: WarmStart) -> None:
    settings = resolve(start, training__epochs=3, model__dropout=0.5)
    start.check(settings)
    assert settings.model == SETTINGS.model.model_copy(update={"dropout": 0.5})
    assert settings.training.epochs == 3


def test_every_setting_that_does_not_fit_is_named_with_both_values(start: WarmStart) -> None:
    settings = resolve(
        start,
        model__hidden_units=9,
        model__tie_embeddings=True,
        model__num_layers=2,
        model__layer_norm=True,
        model__residual=True,
        tokenizer__lowercase=True,
        tokenizer__vocab_size=7,
        data__normalize="NFC",
    )
    with pytest.raises(ConfigError) as caught:
        start.check(settings)
    assert str(caught.value).splitlines() == [
        f"the weights of {start.run.path} do not fit these settings:",
        "  data.normalize: none in the run, NFC now",
        "  tokenizer.lowercase: False in the run, True now",
        "  model.num_layers: 1 in the run, 2 now",
        "  model.hidden_units: 3 in the run, 9 now",
        "  model.tie_embeddings: False in the run, True now",
        "  model.layer_norm: False in the run, True now",
        "  model.residual: False in the run, True now",
        "  tokenizer.vocab_size: 10000 in the run, 7 now",
        "Leave these settings out; they are taken from the run",
    ]


def test_an_extended_vocabulary_has_the_maximum_that_is_set(start: WarmStart) -> None:
    extended = WarmStart(start.run, extend_vocabulary=True)
    assert extended.count_added(resolve(extended)) is None
    settings = resolve(extended, tokenizer__vocab_size=7)
    extended.check(settings)
    assert extended.count_added(settings) == 2
    with pytest.raises(ConfigError, match=r"vocab_size: received 4, but the vocabulary .* has 5"):
        extended.check(resolve(extended, tokenizer__vocab_size=4))


@pytest.mark.parametrize("level", ["subword", "byte"])
def test_a_vocabulary_without_unknown_tokens_is_not_extended(tmp_path: Path, level: Any) -> None:
    settings = Settings(tokenizer=TokenizerSettings(level=level), model=SETTINGS.model)
    run = create_run(tmp_path / level, settings, b"{}", 5, {})
    run.save_weights(make_weights(1.0), {})
    with pytest.raises(UsageError, match=f"at {level} level, no text has unknown tokens"):
        open_warm_start(run.path, True)


def test_a_run_without_weights_is_nothing_to_begin_from(tmp_path: Path) -> None:
    run = create_run(tmp_path / "old", SETTINGS, b"{}", 5, {})
    with pytest.raises(RunError, match="no trained weights yet"):
        open_warm_start(run.path, False)


def test_the_manifest_says_where_the_weights_are_from(start: WarmStart, tmp_path: Path) -> None:
    described = start.describe(tmp_path / "runs" / "new", 8)
    assert described["run"] == "../../old"
    assert described["best"] == {"step": 3}
    assert (described["vocab_size"], described["added_tokens"]) == (5, 3)
    entry = start.run.read_manifest()["files"]["model.safetensors"]
    assert described["weights_sha256"] == entry["sha256"]


def test_new_tokens_get_the_last_ids_the_most_frequent_first() -> None:
    old = Tokenizer.train(TokenizerSettings(vocab_size=5), ["a a a b b c"])
    new = Tokenizer.train(TokenizerSettings(vocab_size=5), ["x x x x b b b y y z"])
    assert old.encode("a b c").tolist() == [2, 3, 4]
    extended = old.extend(new, None)
    assert extended.encode("a b c x y z").tolist() == [2, 3, 4, 5, 6, 0]
    assert (extended.vocab_size, extended.settings.vocab_size) == (7, 7)
    assert old.extend(new, 1).encode("x y").tolist() == [5, 0]


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_extended_to_the_shapes_of_the_larger_vocabulary(tied: bool) -> None:
    model = ModelSettings(
        embedding_dim=2, hidden_units=3, num_layers=2, tie_embeddings=tied, layer_norm=tied
    )
    draw = np.random.default_rng(1)
    old = {
        name: draw.normal(size=shape).astype(np.float32)
        for name, shape in compute_parameter_shapes(model, 5).items()
    }
    new = extend_weights(old, 8)
    assert {name: w.shape for name, w in new.items()} == compute_parameter_shapes(model, 8)
    for name, weights in old.items():
        kept = tuple(slice(0, size) for size in weights.shape)
        assert np.array_equal(new[name][kept], weights)
        assert new[name].dtype == np.float32
    assert extend_weights(old, 5).keys() == old.keys()
