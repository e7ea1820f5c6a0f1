"""The parts of the page's thread, each against its twin in Python, in a browser without a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import GenerationSettings, ModelSettings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.exporting.web.model_data import describe_sampling, describe_tokenizer
from llm_timecycle.exporting.web.modules import join_modules
from llm_timecycle.exporting.web.weights import Precision, pack_weights, round_weights
from llm_timecycle.generation.sample import encode_prompt, find_open_line
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import sample_tokens
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from tests.browser import open_page
from tests.exporting.web_pages import CHINESE, ENGLISH

TEXTS = [
    *("", " ", "\n", "\n\n", "a", " a", "a ", "a  b"),
    *("Once upon a time", "Once\r\nupon\ta  time \n", "x" * 60 + "1" * 9 + "!" * 30),
    *("<eos>", "<unk> the <eos> the", "the\n<eos>\nthe", "don't 'tis we'll 1,000.50 a_b x.y.z"),
    *("从前有一只猫，猫坐。", "猫 sat 在 mat 上", "カタカナ ひらがな ー", "𠮷野家 𠀀"),
    *("한국어 텍스트", "ไทย ກຳ မြန်မာ", 'שלום "א"ב ג', "ΟΔΟΣ Σ İ ß", "ﬁ Ｆ", "¼ ² ⅷ ٣٤"),
    *("👩‍👩‍👧 🇫🇷🇩🇪 👍🏽", "e\u0301 a\u0300b", "\u200d a\u200db", "\U000e0100a\U0001f1eb"),
    *("a\u00a0b\u3000c\u2028d\x1ee", "\ufeffa\x00b", "__init__ a-b a:b", "„Wort“ «mot» …"),
]
"""What tokenizers divide in different ways."""
TOKENIZERS: dict[str, dict[str, Any]] = {
    "char": {"level": "char"},
    "char-lower": {"level": "char", "lowercase": True},
    "byte": {"level": "byte"},
    "word": {"level": "word"},
    "word-lines": {"level": "word", "documents": "line"},
    "unicode": {"level": "word", "word_split": "unicode"},
    "unicode-nfkc": {"level": "word", "word_split": "unicode", "normalize": "NFKC"},
    "subword": {"level": "subword"},
    "subword-nfc": {"level": "subword", "normalize": "NFC", "lowercase": True},
}


@pytest.fixture(scope="module")
def worker(browser: Any) -> Iterator[Any]:
    """A blank page in which the names of the worker can be called."""
    with open_page(browser) as page:
        page.goto("about:blank")
        page.add_script_tag(content=join_modules("worker", "worker.js"))
        yield page
        assert page.troubles == []


def make_tokenizer(
    level: str, documents: Any = "file", normalize: Any = "none", **options: Any
) -> Tokenizer:
    settings = TokenizerSettings(level=level, vocab_size=600, **options)
    chunks = [ENGLISH * 3, CHINESE * 3, *TEXTS]
    return Tokenizer.train(settings, chunks, documents=documents, normalize=normalize)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_prompt_is_encoded_as_by_the_tokenizer(worker: Any, name: str) -> None:
    tokenizer = make_tokenizer(**TOKENIZERS[name])
    rng = np.random.default_rng(3)
    pieces = np.array([*TEXTS, *ENGLISH[:60], *CHINESE[:20], "Q", "犬"], object)
    mixed = ["".join(rng.choice(pieces, 6)) for _ in range(200)]
    encoded = worker.evaluate(
        """([facts, texts]) => {
          const tokenizer = new Tokenizer(facts);
          return texts.map((text) => tokenizer.encodePrompt(text));
        }""",
        [describe_tokenizer(tokenizer), [*TEXTS, *mixed]],
    )
    for text, ids in zip([*TEXTS, *mixed], encoded, strict=True):
        assert (text, ids) == (text, encode_prompt(tokenizer, text).tolist())


@pytest.mark.parametrize("name", TOKENIZERS)
def test_each_token_shows_the_same_piece(worker: Any, name: str) -> None:
    """Of any tokens, so that bytes of half a character wait, and wrong ones are replaced."""
    tokenizer = make_tokenizer(**TOKENIZERS[name])
    rng = np.random.default_rng(4)
    rows = rng.integers(0, tokenizer.vocab_size, (40, 30)).tolist()
    rows.append([*tokenizer.encode("\ufeff猫, 👍🏽").tolist(), 0, 1, 0])
    prompts = ["", "Once", "Once\n", "the ,"] * 11
    prompt_ids = [encode_prompt(tokenizer, prompt) for prompt in prompts[: len(rows)]]
    shown = worker.evaluate(
        """([facts, rows, prompts]) => rows.map((ids, row) => {
          const stream = makeStream(facts, prompts[row]);
          return [...ids.map((id) => stream.push(id)), stream.finish()];
        })""",
        [describe_tokenizer(tokenizer), rows, [ids.tolist() for ids in prompt_ids]],
    )
    for ids, prompt, pieces in zip(rows, prompt_ids, shown, strict=True):
        stream = tokenizer.stream()
        for id in find_open_line(tokenizer, prompt).tolist():
            stream.push(id)
        assert pieces == [*(stream.push(id) for id in ids), stream.finish()]


def test_random_numbers_are_those_of_numpy(worker: Any) -> None:
    seeds = [0, 1, 7, 2**32 - 1, 2**32, 2**48 + 5, 2**63 - 1]
    drawn = worker.evaluate(
        """(seeds) => seeds.map((seed) => {
          const generator = new Generator(BigInt(seed));
          return Array.from({ length: 20 }, () => generator.draw());
        })""",
        [str(seed) for seed in seeds],
    )
    for seed, bits in zip(seeds, drawn, strict=True):
        sequence = np.random.SeedSequence(seed, spawn_key=(0,))
        expected = np.random.Generator(np.random.PCG64(sequence)).random(20)
        assert [each * 2.0**-53 for each in bits] == expected.tolist()


@pytest.mark.parametrize("vocab_size", [7, 1200])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.0},
        {"top_k": 3},
        {"top_k": 400, "top_p": 0.6},
        {"top_p": 0.05},
        {"min_p": 0.2},
        {"typical_p": 0.4},
        {"xtc_probability": 0.6, "xtc_threshold": 0.02, "temperature": 0.4},
        {"repetition_penalty": 1.5, "presence_penalty": -0.3, "frequency_penalty": 0.2},
        {"dry_multiplier": 0.8, "dry_allowed_length": 1, "temperature": 0.2},
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 3, "top_p": 0.9, "min_p": 0.01},
    ],
)
def test_a_token_is_drawn_as_by_the_sampler(
    worker: Any, settings: dict[str, Any], vocab_size: int
) -> None:
    """Of logits with many equal ones, where the lowest ids go first."""
    letters = "".join(chr(0x4E00 + n) for n in range(vocab_size - 3)) + "\n"
    tokenizer = Tokenizer.train(TokenizerSettings(level="char", vocab_size=vocab_size), [letters])
    assert tokenizer.vocab_size == vocab_size
    chosen = GenerationSettings(**settings)
    plan = make_plan(chosen, tokenizer)
    rng = np.random.default_rng(9)
    logits = np.round(rng.normal(size=(60, vocab_size)) * 3, 1).astype(np.float32)
    read = rng.integers(2, min(vocab_size, 6), 30).tolist()
    bits = rng.integers(0, 2**53, 60)
    drawn = worker.evaluate(
        """(text) => {
          const [plan, read, logits, bits, settings] = JSON.parse(text);
          const sampler = new Sampler(plan, read);
          const rows = logits.map((row) => Float32Array.from(row));
          return rows.map((row, index) => sampler.sample(row, settings, bits[index]));
        }""",
        json.dumps(  # quicker than a list of so many numbers
            [
                describe_sampling(chosen, tokenizer),
                read,
                logits.astype(np.float64).tolist(),
                [int(each) for each in bits],
                {name: getattr(chosen, name) for name in ("temperature", "top_k", "top_p")},
            ],
            allow_nan=False,
        ),
    )
    counts = np.bincount(read, minlength=vocab_size)
    history = TextHistory([read], plan.longest_match, plan.breakers) if plan.longest_match else None
    for row, each, found in zip(logits, bits, drawn, strict=True):
        uniform = np.array([int(each) * 2.0**-53])
        (token,) = sample_tokens(row[np.newaxis], uniform, plan, [counts], history)
        assert found == token
        counts[token] += 1
        if history is not None:
            history.push(np.array([token]))


def test_stop_sequences_are_as_the_model_writes_them() -> None:
    tokenizer = make_tokenizer("char", lowercase=True)
    settings = GenerationSettings(stop=["The End"])
    assert describe_sampling(settings, tokenizer)["stop"] == ["the end"]


def test_every_float16_is_read(worker: Any) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    values = worker.evaluate(
        """() => {
          const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
          const { values } = readTensors(bytes, [["all", [65536]]], "float16").get("all");
          return Array.from(new Uint32Array(values.buffer));
        }"""
    )
    read = np.array(values, np.uint32).view(np.float32)
    np.testing.assert_array_equal(read, halves.astype(np.float32))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_weights_are_read_as_they_were_rounded(worker: Any, precision: Precision) -> None:
    settings = ModelSettings(embedding_dim=3, num_layers=1, hidden_units=5, tie_embeddings=True)
    rng = np.random.default_rng(2)
    shapes = compute_parameter_shapes(settings, vocab_size=7)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["embedding.embeddings"][3] = 0.0
    tensors, packed = pack_weights(weights, precision)
    read = worker.evaluate(
        """([bytes, tensors, precision]) =>
          [...readTensors(Uint8Array.from(bytes), tensors, precision)].map(
            ([name, { shape, values }]) => [name, shape, Array.from(values)])""",
        [list(packed), json.loads(json.dumps(tensors)), precision],
    )
    rounded = round_weights(weights, precision)
    assert [name for name, _, _ in read] == list(weights)
    for name, shape, values in read:
        is_turned = len(shape) == 2 and name != "embedding.embeddings"
        expected = rounded[name].T if is_turned else rounded[name]
        np.testing.assert_array_equal(np.float32(values).reshape(shape), expected)
        step = (
            np.abs(weights[name]).max() / {"float32": 1e9, "float16": 1000, "int8": 250}[precision]
        )
        assert np.abs(rounded[name] - weights[name]).max() <= step
