"""The model card: what the Hub reads of it, and what people do."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult

from llm_timecycle.cli.generate import command as generate
from llm_timecycle.errors import UsageError
from llm_timecycle.evaluation.copies.report import Passage, SampleReport
from llm_timecycle.exporting.huggingface.card import CardChoices
from llm_timecycle.exporting.huggingface.copies import describe_copies, measure_copies
from llm_timecycle.exporting.huggingface.languages import find_language
from tests.exporting.hub_runs import ENGLISH, Exported, export, make_run

CHINESE = "从前有一只狐狸。它看见河边有一块石头，就笑了。\n没有人知道为什么，老周也不说。\n" * 20
QUOTING_KOREAN = "가나다라마바사아자차카타파하거너더러\n" + "the fox saw a boat\n" * 200
REPORT = SampleReport(
    count=20,
    tokens=4000,
    seed=1,
    run_tokens=8,
    repetition=0.1,
    held_out_repetition=None,
    distinct_1=0.5,
    distinct_2=0.5,
    held_out_distinct_1=None,
    held_out_distinct_2=None,
    copied_share=0.125,
    held_out_copied_share=0.02,
    passages=(Passage("a secret passage", 31, 0, "/home/ann/diary.txt, line 3", 7),),
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make_run(tmp_path_factory.mktemp("source") / "run")


def read_card(folder: Path) -> ModelCard:
    return ModelCard((folder / "README.md").read_text(encoding="utf-8"))


def test_the_metadata_are_those_that_the_hub_reads(source: Exported, tmp_path: Path) -> None:
    folder = export(
        source,
        tmp_path / "folder",
        license="cc-by-4.0",
        languages=("no", "en"),
        datasets=("ann/tales",),
        repository="ann/fox-tales",
    )
    card = read_card(folder)
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag, data.language, data.datasets) == (
        *("cc-by-4.0", "llm-timecycle", "text-generation"),
        *(["no", "en"], ["ann/tales"]),
    )
    assert "character-level" in data.tags
    assert data.model_name == "fox-tales"
    results = {result.metric_type: result for result in data.eval_results}
    assert all(isinstance(result, EvalResult) for result in data.eval_results)
    assert {(each.dataset_type, each.dataset_split) for each in results.values()} == {
        ("ann/tales", "validation")
    }
    assert results["perplexity"].metric_value == pytest.approx(math.exp(2.5), rel=1e-5)
    assert results["loss"].metric_value == 2.5
    assert results["accuracy"].metric_value == 0.5
    corpus = source.run.read_manifest()["corpora"]["valid"]
    assert corpus["unknown"] == 0
    bits = 2.5 * (corpus["tokens"] - 1) / math.log(2) / corpus["characters"]
    assert results["bits_per_character"].metric_value == pytest.approx(bits, rel=1e-5)
    assert results["loss"].metric_args["command"] == "llm-timecycle train config.yaml"
    # What the library writes is what it read: nothing in the card is in a form of its own.
    assert ModelCard(str(card)).data.to_dict() == data.to_dict()


def test_bits_are_left_out_where_unknown_words_are_not_charged(tmp_path: Path) -> None:
    source = make_run(tmp_path / "run", "word")
    assert source.run.read_manifest()["corpora"]["valid"]["unknown"] > 0
    metrics = read_card(export(source, tmp_path / "folder")).data.metrics
    assert metrics == ["perplexity", "loss", "accuracy"]


def test_a_card_without_a_license_says_so(source: Exported, tmp_path: Path) -> None:
    card = read_card(export(source, tmp_path / "folder"))
    assert card.data.license is None
    assert "**No license has been chosen yet.**" in card.text
    other = {"license": "other", "license_name": "mine-1.0", "license_link": "https://x.org/mine"}
    card = read_card(export(source, tmp_path / "other", **other))
    assert card.data.license_name == "mine-1.0"
    assert "[mine-1.0](https://x.org/mine)" in card.text


@pytest.mark.parametrize(
    ("choices", "parts"),
    [
        ({"license": "Apache 2.0"}, ["'Apache 2.0'", "Did you mean apache-2.0?"]),
        ({"license": "all mine"}, ["'all mine'", "cc-by-4.0", "other"]),
        ({"license": "unknown"}, ["'unknown'"]),
        ({"license": "other"}, ["license_name", "license_link"]),
        (
            {"license": "other", "license_name": "x", "license_link": "mine) [a](b"},
            ["license_link"],
        ),
        ({"license": "mit", "license_name": "x"}, ["leave them out"]),
        ({"languages": ("English",)}, ["'English'", "en"]),
        ({"datasets": ("my texts",)}, ["'my texts'", "Leave it out"]),
        ({"repository": "fox-tales"}, ["'fox-tales'", "USER/NAME"]),
        ({"repository": "../a/b"}, ["'../a/b'"]),
    ],
)
def test_what_the_hub_would_not_take_is_refused(
    choices: dict[str, object], parts: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        CardChoices(**choices)  # type: ignore[arg-type]
    assert [part for part in parts if part not in str(caught.value)] == []


def test_the_samples_are_what_their_command_writes(
    source: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(source, tmp_path / "folder")
    text = read_card(folder).text
    line = next(line for line in text.splitlines() if line.startswith("As they come"))
    arguments = shlex.split(line.split("`")[1])
    assert arguments[:3] == ["llm-timecycle", "generate", "."]
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(generate, arguments[2:], catch_exceptions=False)
    assert result.exit_code == 0
    written = re.split(r"=== sample \d of \d ===\n", result.stdout)[1:]
    shown = re.findall(r"^```text\n(.*?)\n```$", text.split("## Samples")[1], re.DOTALL | re.M)
    assert [f"{sample}\n" for sample in shown] == written
    assert len(shown) == 3


def test_a_card_without_samples(source: Exported, tmp_path: Path) -> None:
    assert "## Samples" not in read_card(export(source, tmp_path / "f", samples=False)).text


@pytest.mark.parametrize(
    "generation", [{"beams": 2}, {"seed": 9, "length": 5}, {"bias": {"zz": 1.0}}]
)
def test_samples_follow_the_settings_of_the_run(
    tmp_path: Path, generation: dict[str, object]
) -> None:
    text = read_card(export(make_run(tmp_path / "r", generation=generation), tmp_path / "f")).text
    if "bias" in generation:  # of a token that this vocabulary lacks
        assert "## Samples" not in text
    elif "beams" in generation:
        assert "--samples 2 --length 30`" in text
    else:
        assert "--samples 3 --length 5 --seed 9`" in text


def test_a_text_of_the_model_cannot_leave_its_block(tmp_path: Path) -> None:
    """A vocabulary of characters that mean something in Markdown, YAML and a terminal."""
    text = "```\n---\n<b>|\x1b[31m\x07`" * 60
    source = make_run(tmp_path / "run", text=text)
    card = read_card(export(source, tmp_path / "folder", license="mit"))
    assert card.data.license == "mit"
    samples = card.text.split("## Samples")[1].split("## Limits")[0]
    marks = re.findall(r"^(`{3,})text\n(.*?)\n\1$", samples, re.DOTALL | re.M)
    assert len(marks) == 3
    for mark, sample in marks:
        assert max(map(len, re.findall("`+", sample)), default=0) < len(mark)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", card.text)
    assert "\\x1b" in samples


def test_how_it_was_trained(tmp_path: Path) -> None:
    origin = {"run": "/home/ann/old", "weights_sha256": 64 * "0"}
    model = {"layer_norm": True, "tie_embeddings": True}
    source = make_run(tmp_path / "run", "word", model=model, origin=origin)
    text = read_card(export(source, tmp_path / "folder")).text
    corpus = source.run.read_manifest()["corpora"]["train"]
    weights = sum(weight.size for weight in source.weights.values())
    for part in (
        f"{weights:,} weights, word-level with a vocabulary of 30 tokens",
        "2 x LSTM(16) with layer normalization",
        "Dense(12), the weights of the embedding (tied), softmax",
        f"| Text | a text of the author: {corpus['tokens']:,} tokens, "
        f"{corpus['characters']:,} characters, {corpus['words']:,} words",
        "| Steps | 8 of 4 x 8 tokens: 2 passes over the text, 256 tokens read |",
        "| Time | 1.5 minutes |",
        "| Weights | of step 8, the best by validation loss |",
        "| Began with | the weights of another model |",
        "the last 5 % of the author's text",
        "The training text itself is not in this folder",
        "was not measured",
    ):
        assert part in text


def test_what_the_copy_meter_found_is_told_without_the_passages(
    source: Exported, tmp_path: Path
) -> None:
    text = read_card(export(source, tmp_path / "folder", copies=REPORT)).text
    assert (
        "Of the runs of 8 tokens in 20 new texts of 4,000 tokens together, 12.5 % stand word for "
        "word in the training text (of held-out text, 2.0 %). The longest copied passage has 31 "
        "tokens."
    ) in text
    assert "secret" not in text
    assert "/home" not in text


def test_the_copy_meter_reads_the_training_text_where_it_is(
    source: Exported, tmp_path: Path
) -> None:
    report = measure_copies(source.run, source.tokenizer, tmp_path / "cache")
    assert report is not None
    assert report.count == 20
    assert report.copied_share is not None
    assert describe_copies(report)
    text = source.run.path.with_suffix(".txt")
    text.rename(text.with_suffix(".moved"))
    try:
        assert measure_copies(source.run, source.tokenizer, tmp_path / "cache") is None
    finally:
        text.with_suffix(".moved").rename(text)


@pytest.mark.parametrize(
    ("text", "tokenizer", "language"),
    [
        (CHINESE, "char", "zh"),
        (ENGLISH, "char", None),
        (CHINESE, "byte", None),
        (QUOTING_KOREAN, "char", None),
    ],
)
def test_a_language_is_named_where_the_script_leaves_no_doubt(
    tmp_path: Path, text: str, tokenizer: str, language: str | None
) -> None:
    source = make_run(tmp_path / "run", tokenizer, text=text)
    expected = None if language is None else [language]
    assert read_card(export(source, tmp_path / "folder")).data.language == expected


@pytest.mark.parametrize(
    ("letters", "language"),
    [
        ("가나다라마바사아자차카타파하거너더 abc", "ko"),
        ("กขคฆงจฉชซฌญฎฏฐฑฒณดตถท", "th"),
        ("".join(map(chr, range(0x3041, 0x3090))) + "日本語中文字" * 20, "ja"),
        ("一二三四五六七八九十百千万天地人の", "zh"),
        ("一二三四五六七八九十百千万天地人" + "あいうえおかきくけこ", None),
        ("абвгдежзийклмнопрстуф", None),
        ("ابتثجحخدذرزسشصضطظع", None),
        ("αβγδεζηθικλμνξоабвгд", None),
        ("abcdefghijklmnopqrstuvwxyz", None),
        ("가나", None),
    ],
)
def test_letters_and_the_language_that_has_them(letters: str, language: str | None) -> None:
    assert find_language(set(letters)) == language
