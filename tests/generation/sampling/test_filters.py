"""Filters: every one against literals worked by hand, against a full sort, and by its laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.generation.sampling import filters
from llm_timecycle.generation.sampling.filters import (
    find_top_k,
    mask_min_p,
    mask_top_p,
    mask_typical_p,
    mask_xtc,
)
from llm_timecycle.reference.repeats import exclude_top_choices

INF = math.inf
# Probabilities that float64 holds exactly; ids 1 and 3 are equally likely.
PROBABILITIES = np.array([0.0625, 0.1875, 0.5, 0.1875, 0.0625])


def list_kept(mask: Callable[..., np.ndarray], *arguments: object) -> list[int]:
    """The indices that a filter keeps in one row; arrays are given as (N,)."""
    rows = [x[np.newaxis] if isinstance(x, np.ndarray) else x for x in arguments]
    return np.flatnonzero(mask(*rows)[0]).tolist()


def list_top_k(logits: np.ndarray, k: int) -> list[int]:
    return find_top_k(logits[np.newaxis], k)[0].tolist()


def list_top_p(probabilities: np.ndarray, p: float) -> list[int]:
    with np.errstate(divide="ignore"):
        return list_kept(mask_top_p, np.log(probabilities), probabilities, p)


def list_typical(probabilities: np.ndarray, p: float) -> list[int]:
    with np.errstate(divide="ignore"):
        return list_kept(mask_typical_p, np.log(probabilities), probabilities, p)


def make_row(seed: int, N: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and weights with ties, and with one removed token."""
    gaps = np.round(np.random.default_rng(seed).normal(scale=scale, size=N), 2)
    gaps -= gaps.max()
    gaps[np.argmin(gaps)] = -INF
    return gaps, np.exp(gaps)


SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.builds(make_row, SEEDS, st.integers(2, 300))
SHARES = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


@pytest.fixture(params=["sorted", "in bins"], autouse=True, scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every row is sorted whole, or put in bins first, whatever its size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "SORTED_AT_MOST", 10**6 if request.param == "sorted" else 0)
        yield


@pytest.mark.parametrize(
    ("k", "kept"), [(1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_exactly_k_and_of_equals_the_lowest(k: int, kept: list[int]) -> None:
    assert list_top_k(np.log(PROBABILITIES), k) == kept


@given(seed=SEEDS, k=st.integers(1, 2000))
@settings(max_examples=50)
def test_top_k_equals_a_full_sort(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-40, 40, 2000).astype(np.float64)
    logits[rng.random(2000) < 0.02] = -INF
    ranked = sorted(range(2000), key=lambda index: (-logits[index], index))
    assert list_top_k(logits, k) == sorted(ranked[:k])


def test_top_k_where_most_tokens_are_removed() -> None:
    logits = np.full(5000, -INF)
    logits[[7, 4000]] = 1.0
    assert list_top_k(logits, 3) == [0, 7, 4000]


@pytest.mark.parametrize(
    ("p", "kept"),
    [
        (1e-300, [2]),
        (0.4, [2]),
        (0.5, [2]),
        (0.6, [1, 2]),
        (0.7, [1, 2, 3]),
        (0.9, [0, 1, 2, 3]),
        (0.95, [0, 1, 2, 3, 4]),
        (1.0 - 2**-53, [0, 1, 2, 3, 4]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(p: float, kept: list[int]) -> None:
    assert list_top_p(PROBABILITIES, p) == kept


@pytest.mark.parametrize("N", [4, 4096])
def test_top_p_that_is_reached_exactly(N: int) -> None:
    # Equal weights of exactly 1, so half of them are exactly one half.
    half = list(range(N // 2))
    assert list_top_p(np.ones(N), 0.5) == half
    assert list_top_p(np.ones(N), 0.5 + 2**-40) == [*half, N // 2]


@given(row=ROWS, p=SHARES)
@settings(max_examples=50)
def test_top_p_equals_a_full_sort(row: tuple[np.ndarray, np.ndarray], p: float) -> None:
    gaps, weights = row
    order = sorted(range(len(gaps)), key=lambda index: (-gaps[index], index))
    reached = np.cumsum(weights[order])
    kept = list_kept(mask_top_p, gaps, weights, p)
    assert kept == sorted(order[: len(kept)])
    # One token fewer falls short; rounding may decide within the last bits.
    total = weights.sum()
    assert reached[len(kept) - 1] >= p * total * (1 - 1e-12)
    assert len(kept) == 1 or reached[len(kept) - 2] < p * total * (1 + 1e-12)


@pytest.mark.parametrize(
    ("min_p", "kept"), [(0.12, [0, 1, 2, 3, 4]), (0.13, [1, 2, 3]), (0.37, [1, 2, 3]), (0.38, [2])]
)
def test_min_p_is_a_share_of_the_likeliest(min_p: float, kept: list[int]) -> None:
    # 0.0625 / 0.5 is 0.125, and 0.1875 / 0.5 is 0.375
    assert list_kept(mask_min_p, PROBABILITIES, min_p) == kept


def test_min_p_of_1_keeps_all_of_the_likeliest() -> None:
    assert list_kept(mask_min_p, np.array([1.0, 2.0, 2.0]), 1.0) == [1, 2]


@pytest.mark.parametrize(
    ("p", "kept"),
    [
        # In bits the surprises are 4, 2.415, 1, 2.415, 4 and H = 0.5 + 2 * 0.4528 + 0.5 = 1.906,
        # so they are off by 2.09, 0.51, 0.91, 0.51, 2.09: the likeliest comes third.
        (0.1, [1]),
        (0.1875, [1]),
        (0.2, [1, 3]),
        (0.375, [1, 3]),
        (0.4, [1, 2, 3]),
        (0.875, [1, 2, 3]),
        (0.9, [0, 1, 2, 3]),
        (0.95, [0, 1, 2, 3, 4]),
    ],
)
def test_typical_by_hand(p: float, kept: list[int]) -> None:
    assert list_typical(PROBABILITIES, p) == kept


def test_a_factor_on_all_weights_changes_no_typical_token() -> None:
    assert list_typical(0.125 * PROBABILITIES, 0.2) == [1, 3]


def test_a_removed_token_is_not_typical_and_changes_nothing() -> None:
    assert list_typical(np.array([0.0, *PROBABILITIES, 0.0]), 0.4) == [2, 3, 4]


@given(row=ROWS, p=SHARES)
@settings(max_examples=50)
def test_typical_equals_a_full_sort(row: tuple[np.ndarray, np.ndarray], p: float) -> None:
    gaps, weights = row
    probabilities = weights / weights.sum()
    is_in = probabilities > 0
    surprise = -np.log(probabilities[is_in])
    entropy = np.sum(probabilities[is_in] * surprise)
    distances = np.full(len(gaps), INF)
    distances[is_in] = np.abs(surprise - entropy)
    kept = list_kept(mask_typical_p, gaps, weights, p)
    others = np.setdiff1d(np.arange(len(gaps)), kept)
    # The closest tokens are kept, up to rounding, and no more of them than p needs.
    assert distances[kept].max() <= distances[others].min(initial=INF) + 1e-9
    assert probabilities[kept].sum() >= p - 1e-12
    furthest = kept[int(np.argmax(distances[kept]))]
    assert len(kept) == 1 or probabilities[kept].sum() - probabilities[furthest] < p + 1e-9


@given(seed=SEEDS, N=st.integers(2, 300), exponent=st.floats(-3.0, 3.0), p=SHARES)
@settings(max_examples=50)
def test_one_always_stays(seed: int, N: int, exponent: float, p: float) -> None:
    gaps, weights = make_row(seed, N, 10.0**exponent)
    for share in (5e-324, p, 1.0 - 2**-53):
        for mask in (mask_top_p, mask_typical_p):
            assert np.sum(weights[list_kept(mask, gaps, weights, share)]) > 0.0
        assert np.argmax(weights) in list_kept(mask_top_p, gaps, weights, share)
        assert np.argmax(weights) in list_kept(mask_min_p, weights, share)


@given(seed=SEEDS, k=st.integers(1, 300))
@settings(max_examples=20)
def test_rows_are_filtered_the_same_alone_and_with_others(seed: int, k: int) -> None:
    rows = [make_row(seed + row, 300) for row in range(4)]
    gaps, weights = (np.stack(each) for each in zip(*rows, strict=True))
    assert find_top_k(gaps, k).tolist() == [list_top_k(row, k) for row in gaps]
    for mask, arguments in (
        (mask_top_p, (gaps, weights)),
        (mask_typical_p, (gaps, weights)),
        (mask_min_p, (weights,)),
    ):
        together = mask(*arguments, 0.4)
        alone = [list_kept(mask, *(each[row] for each in arguments), 0.4) for row in range(4)]
        assert [np.flatnonzero(row).tolist() for row in together] == alone


def list_xtc(probabilities: np.ndarray, threshold: float) -> list[int]:
    return list_kept(mask_xtc, probabilities, threshold)


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.5, [0, 1, 2, 3, 4]),  # one alone reaches it, and stays
        (0.1875, [0, 1, 4]),  # of 1, 2 and 3, which reach it, the least likely with the lowest id
        (0.0625, [0]),  # all reach it
        (0.25, [0, 1, 2, 3, 4]),
    ],
)
def test_xtc_keeps_the_least_of_the_likely_and_the_unlikely(
    threshold: float, kept: list[int]
) -> None:
    assert list_xtc(PROBABILITIES, threshold) == kept
    assert list_xtc(PROBABILITIES * 16.0, threshold) == kept  # weights up to a factor


@given(row=ROWS, threshold=st.floats(0.001, 0.5))
def test_xtc_equals_its_twin(row: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    probabilities = row[1] / row[1].sum()
    removed = exclude_top_choices(dict(enumerate(probabilities.tolist())), threshold)
    assert list_xtc(probabilities, threshold) == [
        token for token in range(len(probabilities)) if token not in removed
    ]
