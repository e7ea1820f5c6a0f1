"""The copy meter on a run: what it counts, what it shows, and what it says without the text."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.config.settings import ModelSettings, Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import UsageError
from llm_timecycle.evaluation.copies.at_end import describe_copies
from llm_timecycle.evaluation.copies.meter import (
    TrainingText,
    choose_run,
    cut_pieces,
    draw_samples,
    measure_samples,
)
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import write_learned
from llm_timecycle.text.prepare import PreparedText, prepare_text

MODEL = ModelSettings(embedding_dim=2, hidden_units=3, num_layers=1)


def write_words(seed: int, words: int) -> str:
    """Lines of eight made-up words of a small vocabulary."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("abcdefgh", k=4)) for _ in range(300)]
    lines = (" ".join(draw.choices(vocabulary, k=8)) for _ in range(words // 8))
    return "\n".join(lines) + "\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, PreparedText]:
    """A run of words with weights of zero, so that it writes any word after any other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "novel.txt").write_text(write_words(1, 4000))
    settings = Settings.model_validate(
        {
            "data": {"train": str(tmp_path / "novel.txt"), "valid_fraction": 0.2},
            "tokenizer": {"level": "word", "word_split": "whitespace"},
            "model": MODEL.model_dump(),
        }
    )
    text = prepare_text(settings, tmp_path, tmp_path / "cache", False)
    V = text.tokenizer.vocab_size
    corpora = {
        name: {"sha256": stream.corpus_sha256}
        for name, stream in (("train", text.train), ("valid", text.valid), ("test", text.test))
        if stream is not None
    }
    run = create_run(
        tmp_path / "run",
        settings,
        text.tokenizer.to_json().encode(),
        V,
        corpora,
        learned=write_learned(text),
    )
    shapes = compute_parameter_shapes(MODEL, V)
    run.save_weights({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, {})
    return run, text


def test_a_planted_passage_is_shown_with_its_line(made: tuple[Run, PreparedText]) -> None:
    run, text = made
    ids = np.asarray(text.train.ids).astype(np.int64)
    fresh = np.random.default_rng(1).integers(2, text.tokenizer.vocab_size, 100)
    line = 123
    start = np.flatnonzero(ids == text.tokenizer.eos_id)[line - 2] + 1
    sample = np.concatenate([fresh[:40], ids[start : start + 20], fresh[40:80]])
    report = measure_samples(
        run,
        text.tokenizer,
        [sample, fresh],
        1,
        held_out=text.valid,
        training=TrainingText(text.corpora["train"], text.train),
    )
    longest = report.passages[0]
    assert (longest.tokens, longest.sample, longest.token_position) == (20, 0, start)
    assert longest.place == f"{run.path.parent / 'novel.txt'}:{line}"
    written = (run.path.parent / "novel.txt").read_text().splitlines()
    assert longest.text.startswith(written[line - 1])
    assert report.copied_share == pytest.approx(13 / (93 + 93))
    assert report.held_out_copied_share == 0.0
    assert (report.count, report.tokens, report.run_tokens) == (2, 200, 8)
    rows = report.list_rows()
    assert rows["copied_8-grams"] == "7.0 % (held-out text 0.0 %)"
    assert str(rows["longest_copy_1"]).startswith(f"20 tokens, {longest.place}: ")


def test_samples_are_those_of_their_seed_and_of_any_number(made: tuple[Run, PreparedText]) -> None:
    run, text = made
    three, seed = draw_samples(run, text.tokenizer, 3, 20)
    one, _ = draw_samples(run, text.tokenizer, 1, 20)
    assert (three[0] == one[0]).all()
    assert (len(three), len(three[0]), seed) == (3, 20, 1)
    assert text.tokenizer.unk_id not in np.concatenate(three)


def test_evaluate_measures_fresh_samples(made: tuple[Run, PreparedText]) -> None:
    run, text = made
    result = lt.evaluate(run.path, samples=2, show_progress=False)
    assert result.samples is not None
    assert result.samples.tokens == 400
    assert result.samples.note is None
    assert result.samples.searched_tokens == len(text.train.ids)
    assert "copied 8-grams" in str(result)
    assert result.to_dict()["samples"]["count"] == 2
    assert lt.evaluate(run.path, show_progress=False).to_dict()["samples"] is None


def test_without_the_training_text_the_rest_is_given_and_the_reason(
    made: tuple[Run, PreparedText], tmp_path: Path
) -> None:
    run, _ = made
    (tmp_path / "other.txt").write_text(write_words(2, 2000))
    (tmp_path / "novel.txt").write_text(write_words(3, 4000))
    result = lt.evaluate(run.path, "other.txt", samples=2, show_progress=False)
    report = result.samples
    assert report is not None
    assert report.copied_share is None
    assert report.passages == ()
    assert report.distinct_1 > 0
    assert report.note is not None
    assert "the training text of" in report.note
    assert "has changed since the run was trained" in report.note
    (tmp_path / "novel.txt").unlink()
    result = lt.evaluate(run.path, "other.txt", samples=2, show_progress=False)
    assert result.samples is not None
    assert "was not found: looked for" in str(result.samples.note)
    assert "--set data.train=FILE" in str(result)


def test_the_end_of_a_training_says_it_in_one_line(made: tuple[Run, PreparedText]) -> None:
    run, text = made
    line = describe_copies(run, text)
    assert line.startswith("Of 5 new texts, 0.0 % of the 8-grams stand in the training text")
    assert "held-out text 0.0 %" in line
    assert f"llm-timecycle evaluate {run.path} --samples 100" in line


def test_a_ban_that_is_no_token_does_not_end_a_training(made: tuple[Run, PreparedText]) -> None:
    run, text = made
    generation = run.settings.generation.model_copy(update={"ban": ["no-such-word"]})
    run = replace(run, settings=run.settings.model_copy(update={"generation": generation}))
    line = describe_copies(run, text)
    assert line.startswith("No new texts were looked at for copies of the training text: ban: rec")


@pytest.mark.parametrize("samples", [-1, 1.5, True, 1001])
def test_a_wrong_number_of_samples_is_named(samples: object) -> None:
    with pytest.raises(UsageError, match=f"samples: received {samples!r}; expected a whole number"):
        lt.evaluate("runs/none", samples=samples)  # type: ignore[arg-type]


def test_what_is_a_run_depends_on_what_a_token_is() -> None:
    from llm_timecycle.config.text_settings import TokenizerSettings
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

    def make(level: str, text: str) -> Tokenizer:
        return Tokenizer.train(TokenizerSettings(level=level, vocab_size=300), [text])

    assert choose_run(make("word", "one two\n")) == 8
    assert choose_run(make("char", "one two\n")) == 40
    assert choose_run(make("char", "春眠不觉晓\n")) == 8
    assert choose_run(make("byte", "春眠不觉晓\n")) == 40


def test_held_out_pieces_are_as_long_as_the_samples_and_fewer_where_there_is_less() -> None:
    pieces = cut_pieces(np.arange(20), [5, 0, 5, 15])
    assert [piece.tolist() for piece in pieces] == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]
