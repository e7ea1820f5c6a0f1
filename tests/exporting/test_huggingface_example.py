"""`example.py` of an exported folder: the same text as the engine, by NumPy and two libraries."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import GeneratedText, TextGenerator
from llm_timecycle.runs.directory import open_run
from tests.cli.random_runs import call
from tests.exporting.hub_runs import Exported, export, make_run

TOKENS = 80
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one layer": {"num_layers": 1},
    "tied": {"embedding_dim": 16, "tie_embeddings": True},
    "tied, with projection": {"tie_embeddings": True},
    "layer norm": {"layer_norm": True},
    "residual from layer 2": {"residual": True, "num_layers": 3},
    "residual from layer 1": {"residual": True, "embedding_dim": 16},
    "all": {"residual": True, "layer_norm": True, "tie_embeddings": True, "num_layers": 3},
}


def generate(source: Exported, prompt: str) -> GeneratedText:
    settings = GenerationSettings(length=TOKENS, temperature=0.0)
    engine = NumpyEngine(source.weights, source.run.settings.model)
    (text,) = TextGenerator(engine, source.tokenizer, settings).generate(prompt)
    return text


def run_example(
    folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[str, dict[str, Any]]:
    """What it prints, and its names."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["example.py", *arguments])
        names = runpy.run_path(str(folder / "example.py"))
    return capsys.readouterr().out, names


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_kind_of_model_computes_what_the_engine_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any]
) -> None:
    """The logits after each of 80 tokens, whatever they are; then the greedy text."""
    source = make_run(tmp_path / "run", model=model, eos_bias=-50.0)
    folder = export(source, tmp_path / "folder")
    _, names = run_example(folder, capsys, "", "0")
    engine = NumpyEngine(source.weights, source.run.settings.model)
    for id in np.random.default_rng(1).integers(2, source.run.vocab_size, TOKENS):
        expected = engine.step(np.array([id]))[0]
        assert np.abs(names["read"](id) - expected).max() < 1e-4
    for prompt in ("", "The fox"):
        text = generate(source, prompt)
        assert len(text.ids) == TOKENS
        assert run_example(folder, capsys, prompt, str(TOKENS), "0")[0] == f"{prompt}{text}\n"


@pytest.mark.parametrize(
    ("name", "prompt"), [("demo", "The fox said"), ("demo", ""), ("demo-zh", "从前")]
)
def test_a_trained_model_writes_the_same_greedy_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, prompt: str
) -> None:
    """Its documents are short: they are kept from ending."""
    run = open_run(Path(name))
    weights = {key: weight.copy() for key, weight in run.load_weights().items()}
    weights["output.bias"][1] = -50.0
    source = Exported(run, weights, run.load_tokenizer())
    folder = export(source, tmp_path / "folder")
    text = generate(source, prompt)
    assert len(text.ids) == TOKENS
    assert len(set(text.ids)) > 8
    assert run_example(folder, capsys, prompt, str(TOKENS), "0")[0] == f"{prompt}{text}\n"


def test_generate_writes_its_greedy_text_once_dry_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the options that docs/huggingface.md names; the shipped model has DRY."""
    run, prompt, tokens = open_run(Path("demo")), "One morning", "200"
    assert run.settings.generation.dry_multiplier > 0.0
    source = Exported(run, run.load_weights(), run.load_tokenizer())
    folder = export(source, tmp_path / "folder")
    greedy = ("--prompt", prompt, "--temperature", "0", "--length", tokens)
    options = (*greedy, "--engine", "numpy", "--no-stream")
    printed, _ = run_example(folder, capsys, prompt, tokens, "0")
    assert call(folder, *options, "--dry-multiplier", "0").stdout == printed
    assert call(folder, *options).stdout != printed


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("tokenizer", ["char", "word", "unicode", "subword", "byte"])
def test_every_tokenizer_writes_the_text_of_the_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tokenizer: str, documents: str
) -> None:
    source = make_run(tmp_path / "run", tokenizer, documents=documents)
    folder = export(source, tmp_path / "folder")
    for prompt in ("", "The fox", "The zebra, 中 ", "saw a\n", "zebra"):
        text = generate(source, prompt)
        printed, _ = run_example(folder, capsys, prompt, str(TOKENS), "0")
        assert printed == f"{prompt}{text}\n"


@pytest.mark.parametrize("tokenizer", ["char", "word", "unicode"])
def test_a_text_ends_where_the_model_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tokenizer: str
) -> None:
    source = make_run(tmp_path / "run", tokenizer, documents="line", eos_bias=8.0)
    folder = export(source, tmp_path / "folder")
    texts = [generate(source, prompt) for prompt in ("The fox", "Nobody", "a boat")]
    assert {text.finish_reason for text in texts} == {"end_of_text"}
    for prompt, text in zip(("The fox", "Nobody", "a boat"), texts, strict=True):
        assert run_example(folder, capsys, prompt, str(TOKENS), "0")[0] == f"{prompt}{text}\n"


def test_words_are_told_from_what_is_between_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "one 2 don't 3.5 _x , ; …  \t中 の ก naïve é 🇫🇷 👍🏽 שלום عربي\n" * 60
    source = make_run(tmp_path / "run", "unicode", text=text)
    _, names = run_example(export(source, tmp_path / "folder"), capsys, "", "1")
    tokenizer = source.tokenizer
    (word,) = tokenizer.encode("one").tolist()
    between = {id: tokenizer.decode([word, id])[3:] for id in range(2, tokenizer.vocab_size)}
    joined = {id: text.startswith(" ") for id, text in between.items()}
    own_space = {id for id in between if tokenizer.decode([id]).startswith(" ")}
    expected = {id for id, has_space in joined.items() if has_space and id not in own_space}
    assert {id for id in between if names["is_word"](id)} == expected
    assert 5 < len(expected) < len(between) - 5


def test_it_needs_numpy_safetensors_and_tokenizers_alone(tmp_path: Path) -> None:
    source = make_run(tmp_path / "run", eos_bias=-1000.0)
    folder = export(source, tmp_path / "folder")
    watched = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0]); "
        "loaded = {name.split('.')[0] for name in sys.modules}; "
        "sys.exit(bool(loaded & {'llm_timecycle', 'tensorflow', 'keras', 'huggingface_hub'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", watched, str(folder / "example.py"), "The", "20", "0.8", "7"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The")
    assert len(done.stdout) == len("The") + 20 + 1


def test_a_temperature_draws_from_the_softmax(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 first tokens beside the probabilities that the engine's logits give, <unk> left out."""
    source = make_run(tmp_path / "run", eos_bias=-1000.0)
    folder = export(source, tmp_path / "folder")
    _, names = run_example(folder, capsys, "a", "1", "1")
    engine = NumpyEngine(source.weights, source.run.settings.model)
    logits = engine.prefill(source.tokenizer.encode("a")[np.newaxis].astype(np.int64))[0]
    logits[0] = -np.inf
    weights = np.exp((logits - logits.max()) / 2.0)
    likeliest = int(np.argmax(weights))
    share = float(weights[likeliest] / weights.sum())
    drawn = [
        run_example(folder, capsys, "a", "1", "2", str(seed))[1]["ids"][-1] for seed in range(200)
    ]
    spread = 4 * (share * (1 - share) / 200) ** 0.5
    assert abs(drawn.count(likeliest) / 200 - share) < spread
    assert names["logits"].shape == logits.shape


def test_it_stays_short(tmp_path: Path) -> None:
    """The plain model, without imports and blank lines."""
    folder = export(make_run(tmp_path / "run"), tmp_path / "folder")
    lines = (folder / "example.py").read_text(encoding="utf-8").split('"""', 2)[2].splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import", "from"))]
    assert len(code) <= 30
    assert max(map(len, lines)) <= 100
