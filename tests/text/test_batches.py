"""Lanes: what each step reads, and the message for a text that is too short."""

from __future__ import annotations

import mmap
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.reference.windows import choose_width, scale_rate
from llm_timecycle.text.batches import (
    Lanes,
    _round_widths,
    count_tokens,
    cut_lanes,
    draw_widths,
    mark_kept,
    release_pages,
)


def test_two_lanes_of_eleven_tokens_worked_by_hand() -> None:
    lanes = Lanes(np.arange(11, dtype=np.uint8), lanes=2, window=3)
    # (11 - 1) // 2 = 5 predictions a lane: a window of 3, then one of 2; lane 2 begins at 5.
    assert (lanes.lane_length, lanes.steps_per_epoch) == (5, 2)
    tokens, targets = lanes.read_window(0)
    assert tokens.tolist() == [[0, 1, 2], [5, 6, 7]]
    assert targets.tolist() == [[1, 2, 3], [6, 7, 8]]
    tokens, targets = lanes.read_window(1)
    assert tokens.tolist() == [[3, 4], [8, 9]]
    assert targets.tolist() == [[4, 5], [9, 10]]
    assert tokens.dtype == np.int32
    assert [lanes.count_predictions(steps) for steps in range(5)] == [0, 6, 10, 16, 20]


@given(B=st.integers(1, 7), T=st.integers(1, 7), more=st.integers(1, 150))
@settings(max_examples=50)
def test_an_epoch_predicts_every_token_of_the_lanes_once(B: int, T: int, more: int) -> None:
    N = B * T + more
    lanes = cut_lanes(np.arange(N), B, T)
    windows = [lanes.read_window(position) for position in range(lanes.steps_per_epoch)]
    tokens = np.concatenate([tokens for tokens, _ in windows], axis=1)
    targets = np.concatenate([targets for _, targets in windows], axis=1)
    assert sorted(targets.ravel().tolist()) == list(range(1, targets.size + 1))
    assert np.array_equal(targets, tokens + 1)
    assert N - 1 - targets.size < B


def vary(tokens: int, B: int, T: int, seed: int = 1) -> Lanes:
    return replace(cut_lanes(np.arange(tokens), B, T), width_seed=seed)


@given(
    B=st.integers(1, 4), T=st.integers(10, 80), more=st.integers(1, 3_000), seed=st.integers(0, 99)
)
@settings(max_examples=60)
def test_random_widths_read_every_token_of_every_epoch_once(
    B: int, T: int, more: int, seed: int
) -> None:
    lanes = vary(B * T + more, B, T, seed)
    steps = lanes.steps_per_epoch
    for epoch in range(2):
        windows = [lanes.read_window(epoch * steps + position) for position in range(steps)]
        targets = np.concatenate([targets for _, targets in windows], axis=1)
        assert sorted(targets.ravel().tolist()) == list(range(1, B * lanes.lane_length + 1))
        tokens = np.concatenate([tokens for tokens, _ in windows], axis=1)
        assert np.array_equal(targets, tokens + 1)
        widths = [tokens.shape[1] for tokens, _ in windows]
        assert lanes.count_predictions((epoch + 1) * steps) == (epoch + 1) * targets.size
        assert lanes.count_predictions(epoch * steps + 1) == epoch * targets.size + B * widths[0]
        assert min(widths) >= 5
        assert max(widths) <= T + 10 + 4
        assert all(width % 5 == 0 for width in widths[:-1])


def test_random_widths_are_those_of_the_twin() -> None:
    generator = np.random.default_rng(0)
    uniforms, normals = generator.random(500), generator.standard_normal(500)
    for T in (10, 32, 70):
        fast = 5 * _round_widths(T, uniforms, normals)
        pairs = zip(uniforms.tolist(), normals.tolist(), strict=True)
        assert fast.tolist() == [choose_width(T, u, z) for u, z in pairs]


def test_random_widths_have_the_published_distribution() -> None:
    widths = draw_widths(1, 0, windows=20_000, length=round(20_000 * 0.975 * 70), window=70)
    assert widths.mean() == pytest.approx(0.975 * 70, rel=1e-4)
    assert np.mean(widths < 52) == pytest.approx(0.05, abs=0.01)
    assert widths[widths >= 52].std() == pytest.approx(5.2, abs=0.2)  # 5, and the rounding to fives
    assert len(np.unique(widths)) <= (70 + 10) // 5


def test_random_widths_differ_by_epoch_and_seed_and_by_nothing_else() -> None:
    lanes, other = vary(20_000, 2, 50), vary(20_000, 2, 50, seed=2)
    steps = lanes.steps_per_epoch

    def list_widths(lanes: Lanes, epoch: int) -> list[int]:
        return [lanes.find_window(epoch * steps + position)[1] for position in range(steps)]

    assert list_widths(lanes, 0) != list_widths(lanes, 1)
    assert list_widths(lanes, 0) != list_widths(other, 0)
    assert list_widths(lanes, 1) == list_widths(vary(20_000, 2, 50), 1)


def test_the_rate_follows_random_widths_only() -> None:
    lanes = vary(20_000, 2, 50)
    widths = [lanes.find_window(step)[1] for step in range(40)]
    assert len(set(widths)) > 3
    rates = [0.02 * lanes.scale_rate(step) for step in range(40)]
    assert rates == pytest.approx([scale_rate(0.02, width, 50) for width in widths])
    assert replace(lanes, width_seed=None).scale_rate(7) == 1.0


def test_the_state_is_reset_before_the_eos_in_front_of_each_document() -> None:
    # Documents begin at 1, 4, 6, 10: their <eos> is at 0, 3, 5, 9. Lanes of 5 begin at 0 and 5.
    starts = np.array([1, 4, 6, 10])
    lanes = Lanes(np.arange(11, dtype=np.uint8), lanes=2, window=3, document_starts=starts)
    tokens, targets, keep = lanes.read_window(0)
    assert tokens.tolist() == [[0, 1, 2], [5, 6, 7]]
    assert targets.tolist() == [[1, 2, 3], [6, 7, 8]]
    assert keep.tolist() == [[0, 1, 1], [0, 1, 1]]
    assert keep.dtype == np.float32
    tokens, targets, keep = lanes.read_window(1)
    assert tokens.tolist() == [[3, 4], [8, 9]]
    assert keep.tolist() == [[0, 1], [1, 0]]


@given(
    st.sets(st.integers(1, 60)),
    st.lists(st.integers(-8, 50), min_size=1, max_size=5),
    st.integers(1, 12),
)
def test_what_is_kept_is_all_but_the_positions_before_starts(
    starts: set[int], first: list[int], width: int
) -> None:
    keep = mark_kept(np.array(sorted(starts), np.int64), np.array(first), width)
    expected = [[float(f + t + 1 not in starts) for t in range(width)] for f in first]
    assert keep.tolist() == expected


def test_a_text_of_exactly_one_step_is_enough() -> None:
    assert cut_lanes(np.zeros(13, np.uint8), 4, 3).steps_per_epoch == 1


def test_a_short_text_is_an_error_that_says_what_would_fit() -> None:
    with pytest.raises(DataError) as caught:
        cut_lanes(np.zeros(101, np.uint8), 64, 50)
    message = str(caught.value)
    assert "takes 3,201 tokens" in message
    assert "has 101, 3,100 too few" in message
    assert "training.batch_size=2 or training.sequence_length=1 would fit" in message


@pytest.mark.parametrize(("key", "value"), [("batch_size", 2), ("sequence_length", 1)])
def test_the_suggested_settings_do_fit(key: str, value: int) -> None:
    B, T = (value, 50) if key == "batch_size" else (64, value)
    assert cut_lanes(np.zeros(101, np.uint8), B, T).steps_per_epoch >= 1


def test_a_text_of_one_token_has_no_setting_that_fits() -> None:
    with pytest.raises(DataError, match=r"Use a longer text$"):
        cut_lanes(np.zeros(1, np.uint8), 2, 2)


def test_counts_cover_every_id_even_those_that_never_occur() -> None:
    assert count_tokens(np.array([3, 1, 3, 3, 0], np.uint16), 5).tolist() == [1, 1, 0, 3, 0]


def read_mapped_megabytes() -> float:
    """Memory of this process that holds mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_a_mapped_stream_keeps_no_memory(tmp_path: Path) -> None:
    np.zeros(40_000_000, np.uint16).tofile(tmp_path / "ids.bin")
    ids = np.memmap(tmp_path / "ids.bin", np.uint16, "r")
    before = read_mapped_megabytes()
    assert int(ids.sum()) == 0
    assert read_mapped_megabytes() - before > 70  # so the figure does see it
    assert count_tokens(ids, 3).tolist() == [40_000_000, 0, 0]
    assert read_mapped_megabytes() - before < 10
    lanes = cut_lanes(ids, 16, 1000)
    for position in range(lanes.steps_per_epoch):
        lanes.read_window(position)
    assert read_mapped_megabytes() - before < 40


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is unknown")
def test_what_was_read_of_a_part_of_mapped_ids_leaves_memory(tmp_path: Path) -> None:
    def count_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    path = tmp_path / "ids"
    path.write_bytes(bytes(64 << 20))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    part = np.ndarray(len(mapped), np.uint8, mapped)[1 << 20 :][: 48 << 20]
    before = count_pages()
    part.sum()
    read = count_pages()
    release_pages(part)
    assert read - before > 10_000
    assert count_pages() - before < 1_000
