"""The Python interface on a tiny run: `lt.load`, and its examples in docstrings and READMEs."""

from __future__ import annotations

import doctest
import inspect
import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation import api
from llm_timecycle.generation.keyword_arguments import GenerationOptions
from llm_timecycle.runs.create import create_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

READMES = [Path(__file__).parents[2] / name for name in ("README.md", "README.zh-CN.md")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run at runs/my, whose weights are drawn, and which never ends a text."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "runs").mkdir()
    settings = Settings(
        tokenizer=TokenizerSettings(level="char", vocab_size=50),
        model=ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6),
        generation=GenerationSettings(length=12, temperature=1.0),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["Once upon a time, 从前有座山。"])
    run = create_run(
        folder / "runs/my", settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {}
    )
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return folder


@pytest.fixture
def model(folder: Path) -> lt.Model:
    return lt.load(folder / "runs/my")


def test_a_text_follows_the_settings_of_the_run_and_of_the_call(model: lt.Model) -> None:
    text = model.generate("Once", seed=3)
    assert isinstance(text, lt.GeneratedText)
    assert len(text.ids) == 12
    assert text.finish_reason == "length"
    assert str(text) == text.text == model.tokenizer.decode(text.ids)
    assert text.log_probabilities is None
    assert len(model.generate("Once", seed=3, length=5).ids) == 5
    assert model.settings.generation.length == 12


@pytest.mark.parametrize("given", [5, None, b"Once", ["Once"]])
def test_what_is_no_text_is_refused(model: lt.Model, given: Any) -> None:
    for call in (model.generate, model.score, lambda prompt: list(model.stream(prompt))):
        with pytest.raises(UsageError, match=r"received .*; expected a text"):
            call(given)


def test_a_tokenizer_of_another_size_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Tokenizer.train(TokenizerSettings(level="char", vocab_size=50), ["abc"])  # 5 tokens
    monkeypatch.setattr(Tokenizer, "parse", lambda *_, **__: other)
    with pytest.raises(RunError, match="has 5 tokens, and the manifest of the run says"):
        lt.load(folder / "runs/my")


def test_samples_make_a_list(model: lt.Model) -> None:
    texts = model.generate("Once", samples=3, seed=3)
    assert len(texts) == 3
    assert texts[0] == model.generate("Once", seed=3)
    assert model.generate("Once", samples=1, seed=3) == texts[:1]


def test_a_stream_joins_to_the_text(model: lt.Model) -> None:
    assert "".join(model.stream("On", seed=8)) == model.generate("On", seed=8).text


def test_calls_do_not_disturb_a_stream_that_is_not_finished(model: lt.Model) -> None:
    expected = [model.generate(prompt, seed=1).text for prompt in ("On", "Tw")]
    first, second = model.stream("On", seed=1), model.stream("Tw", seed=1)
    pieces = list(itertools.zip_longest(first, second, fillvalue=""))
    model.score("Once")
    assert ["".join(column) for column in zip(*pieces, strict=True)] == expected


def test_engines_are_used_again(model: lt.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model.generate(seed=1)
    monkeypatch.setattr(api, "make_engine", lambda *_, **__: pytest.fail("made again"))
    model.score("Once")
    assert model.generate(seed=1).text == first.text
    assert "".join(model.stream(seed=1)) == first.text


def test_a_score_equals_the_log_probabilities_of_generation(model: lt.Model) -> None:
    text = model.generate(length=30, seed=1, log_probabilities=True)
    score = model.score(text.text)
    assert score.ids == text.ids
    assert score.log_probabilities == pytest.approx(text.log_probabilities, abs=1e-5)


def test_keras_model_gives_the_same_logits(model: lt.Model) -> None:
    network = model.keras_model
    assert model.keras_model is network
    score = model.score("Once upon")
    ids = np.array([[model.tokenizer.eos_id, *score.ids]], np.int32)
    logits, *_ = network([ids, *(np.zeros((1, 6), np.float32) for _ in range(4))])
    rows = np.asarray(logits)[0].astype(np.float64)
    logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    expected = logprobs[np.arange(9), ids[0, 1:]].tolist()
    assert score.log_probabilities == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 1}, "temprature: there is no such setting; did you mean temperature?"),
        ({"temperature": -1}, "temperature: received -1; expected a number from 0 to 100"),
        ({"samples": 0}, "samples: received 0; expected a whole number from 1 to 1,000"),
        ({"samples": True}, "samples: received True; expected a whole number or None"),
        ({"beams": 2, "top_k": 3}, "top_k has no effect with beams 2"),
        ({"ban": ["Zzz"]}, "ban: received 'Zzz', which the model does not know"),
    ],
)
def test_options_that_cannot_work(
    model: lt.Model, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        model.generate("Once", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("options", [{"temprature": 1}, {"beams": 2}])
def test_a_stream_that_cannot_work_is_refused_at_once(
    model: lt.Model, options: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=r"temprature|beams: a beam search cannot stream"):
        model.stream("Once", **options)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run at"):
        lt.load(tmp_path / "gone")


def test_options_are_the_settings() -> None:
    assert list(GenerationOptions.__annotations__) == list(GenerationSettings.model_fields)


def test_examples_in_docstrings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    tests = [test for test in doctest.DocTestFinder().find(api) if test.examples]
    assert len(tests) >= 4
    for test in tests:
        for example in test.examples:
            example.options.pop(doctest.SKIP)  # here is the run that they need
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_the_example_of_the_readme_runs(
    readme: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Training and profiling take minutes: a run is copied in their place, the calls are bound."""
    takes = {name: inspect.signature(getattr(lt, name)) for name in ("train", "profile")}

    def train(*arguments: object, **options: object) -> None:
        bound = takes["train"].bind(*arguments, **options)
        shutil.copytree(folder / "runs/my", Path("runs") / Path(bound.arguments["source"]).stem)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lt, "train", train)
    monkeypatch.setattr(lt, "profile", lambda *given, **more: takes["profile"].bind(*given, **more))
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert "lt.load" in blocks[0]
    for block in blocks:
        exec(compile(block, readme.name, "exec"), {})
    assert capsys.readouterr().out.count("\n") >= 2
