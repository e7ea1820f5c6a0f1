"""Shingles: the exact shares, samples that fit together, and what counts as a copy."""

import importlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.reference.text.overlap import compute_overlap_share, compute_repeated_share
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.shingles import (
    SHINGLE_BYTES,
    Overlap,
    Sketch,
    SketchBuilder,
    choose_level,
    compute_overlap,
    hash_shingles,
    sketch_piece,
)

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "was",
    "his",
    "with",
    "it",
    "said",
    "as",
    "for",
    "had",
    "but",
    "not",
    "at",
    "her",
    "on",
    "she",
]


def write_prose(seed: int, words: int) -> str:
    """Words in random order, with made-up names between them: no run of it is repeated."""
    draw = random.Random(seed)
    made = (draw.choice([*WORDS, f"name{draw.randrange(10**6)}"]) for _ in range(words))
    return " ".join(made) + "\n"


def sketch(text: str, *, kept_at_most: int = 1 << 16, piece: int = 5000) -> Sketch:
    """The sketch of a text that comes in pieces."""
    builder = SketchBuilder(kept_at_most)
    for start in range(0, len(text), piece):
        builder.add(sketch_piece(text[start : start + piece].encode(), choose_level(len(text))))
    return builder.finish()


TRAINING = write_prose(1, 30_000)


@given(st.binary(max_size=120), st.binary(min_size=100, max_size=120), st.integers(0, 60))
@settings(max_examples=50)
def test_at_level_zero_the_shares_are_exact(extra: bytes, training: bytes, start: int) -> None:
    training, text = training * 3, extra + training[start:] + extra
    overlap = compute_overlap(sketch_piece(text, 0), sketch_piece(training, 0))
    if overlap is not None:
        assert overlap.share == compute_overlap_share(text, training, SHINGLE_BYTES)
        assert overlap.expected == compute_repeated_share(training, SHINGLE_BYTES)


@pytest.mark.parametrize("level", [1, 5, 8, 9])
def test_a_higher_level_keeps_part_of_a_lower_one(level: int) -> None:
    content = TRAINING.encode()
    everything = np.sort(hash_shingles(content, 0))
    kept = np.sort(hash_shingles(content, level))
    assert kept.tolist() == everything[everything >> np.uint64(58) >= level].tolist()
    expected = len(everything) / 2**level
    assert 0.2 * expected < len(kept) < 2 * expected  # few words: few of their beginnings chosen


def test_a_sketch_is_bounded_and_depends_on_the_text_alone() -> None:
    small = sketch(TRAINING, kept_at_most=1000)
    assert 300 < len(small.keys) <= 1000
    builder = SketchBuilder(kept_at_most=1000)
    for start in reversed(range(0, len(TRAINING), 5000)):
        builder.add(sketch_piece(TRAINING[start : start + 5000].encode(), 0))
        assert len(builder.finish().keys) <= 1000
    again = builder.finish().raise_to(small.level)
    assert again.level == small.level
    assert again.keys.tolist() == small.keys.tolist()
    assert again.counts.tolist() == small.counts.tolist()


@pytest.mark.parametrize("kept_at_most", [1 << 16, 4000])
@pytest.mark.parametrize(
    ("planted", "is_leak"), [(0.0, False), (0.3, False), (0.6, True), (1.0, True)]
)
def test_planted_copies_are_found(planted: float, is_leak: bool, kept_at_most: int) -> None:
    fresh, size = write_prose(2, 6000), 30_000
    copied = round(planted * size)
    text = TRAINING[50_000 : 50_000 + copied] + fresh[: size - copied]
    overlap = compute_overlap(sketch(text), sketch(TRAINING, kept_at_most=kept_at_most))
    assert overlap is not None
    assert overlap.share == pytest.approx(planted, abs=0.07)
    assert overlap.is_leak == is_leak


@pytest.mark.parametrize("name", ["sample-english", "sample-chinese", "topics"])
def test_the_end_of_a_text_is_no_copy_of_its_beginning(name: str, tmp_path) -> None:
    if name == "topics":  # of Python's help: much of it is there twice
        topics = importlib.import_module("pydoc_data.topics").topics
        text = "\n".join(topics[key] for key in sorted(topics))
    else:
        document = next(open_corpus(name, tmp_path, tmp_path).documents())
        text = "".join(chunk.text for chunk in document.chunks())
    for share in (0.8, 0.9, 0.95):
        cut = round(share * len(text))
        overlap = compute_overlap(sketch(text[cut:]), sketch(text[:cut]))
        assert overlap is not None
        assert not overlap.is_leak


def test_a_repetitive_text_is_no_copy_of_itself() -> None:
    lines = [
        f"2024-01-01 service{n % 7} started: everything is as it should be\n" for n in range(900)
    ]
    log = "".join(lines)
    overlap = compute_overlap(sketch(log[-5000:]), sketch(log[:-5000]))
    assert overlap is not None
    assert overlap.share > 0.99
    assert not overlap.is_leak


def test_a_copy_of_a_text_that_is_there_twice_is_found() -> None:
    twice = TRAINING + TRAINING
    overlap = compute_overlap(sketch(twice[-20_000:]), sketch(twice[:-20_000]))
    assert overlap is not None
    assert overlap.expected > 0.8
    assert overlap.is_leak


def test_of_too_short_a_text_nothing_is_said() -> None:
    assert compute_overlap(sketch(TRAINING[:60]), sketch(TRAINING)) is None
    assert compute_overlap(sketch("short"), sketch("short")) is None


def test_half_a_text_is_the_border() -> None:
    assert not Overlap(share=0.44, expected=0.0).is_leak
    assert Overlap(share=0.45, expected=0.0).is_leak
    assert not Overlap(share=1.0, expected=1.0).is_leak


def test_a_sketch_survives_its_file() -> None:
    before = sketch(TRAINING)
    after = Sketch.from_bytes(before.to_bytes())
    assert after.level == before.level
    assert np.array_equal(after.keys, before.keys)
    assert np.array_equal(after.counts, before.counts)


@pytest.mark.parametrize("content", [b"", b"nonsense", sketch("").to_bytes()[:-1]])
def test_a_file_that_is_no_sketch(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Sketch.from_bytes(content)


def test_tensors_of_other_types_are_no_sketch() -> None:
    keys = np.zeros(3, np.float32)
    content = Sketch(0, keys, np.zeros(3, np.int64)).to_bytes()
    with pytest.raises(ValueError, match="wrong types or shapes"):
        Sketch.from_bytes(content)
