"""Which tokens stay: every rule against literals worked by hand, a full sort, and its laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from llm_timecycle.generation.sampling import filters as keeping
from llm_timecycle.generation.sampling.filters import mask_min_p, mask_top_p, mask_typical_p

INF = math.inf
# Probabilities that float64 holds exactly; ids 1 and 3 are equally likely.
PROBABILITIES = np.array([0.0625, 0.1875, 0.5, 0.1875, 0.0625])


def list_kept(find: Callable[..., np.ndarray], *arguments: object) -> list[int]:
    """The places that a rule keeps of one row; arrays are given as (N,)."""
    rows = [x[np.newaxis] if isinstance(x, np.ndarray) else x for x in arguments]
    return np.flatnonzero(find(*rows)[0]).tolist()


def list_top_k(logits: np.ndarray, k: int) -> list[int]:
    return keeping.find_top_k(logits[np.newaxis], k)[0].tolist()


def list_top_p(probabilities: np.ndarray, p: float) -> list[int]:
    with np.errstate(divide="ignore"):
        return list_kept(mask_top_p, np.log(probabilities), probabilities, p)


def list_typical(probabilities: np.ndarray, p: float) -> list[int]:
    with np.errstate(divide="ignore"):
        return list_kept(mask_typical_p, np.log(probabilities), probabilities, p)


def draw_gaps(seed: int, N: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaps and weights with ties, and with one token that is out."""
    rng = np.random.default_rng(seed)
    gaps = np.round(rng.normal(scale=scale, size=N), 2)
    gaps -= gaps.max()
    gaps[np.argmin(gaps)] = -INF
    return gaps, np.exp(gaps)


@pytest.fixture(params=["few", "many"])
def size(request: pytest.FixtureRequest) -> int:
    """A number of tokens that are sorted at once, and one of which only a bin is."""
    return 300 if request.param == "few" else 3 * keeping.SORTED_AT_ONCE


@pytest.mark.parametrize(
    ("k", "kept"), [(1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_exactly_k_and_of_equals_the_lowest(k: int, kept: list[int]) -> None:
    assert list_top_k(np.log(PROBABILITIES), k) == kept


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("k", [1, 7, 100, 260, 1999, 2000])
def test_top_k_is_what_a_full_sort_says(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.integers(-40, 40, 2000).astype(np.float64)
    logits[rng.random(2000) < 0.02] = -INF
    ranked = sorted(range(2000), key=lambda place: (-logits[place], place))
    assert list_top_k(logits, k) == sorted(ranked[:k])


def test_top_k_among_tokens_of_which_most_are_out() -> None:
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
def test_top_p_keeps_the_fewest_that_reach_p(p: float, kept: list[int]) -> None:
    assert list_top_p(PROBABILITIES, p) == kept


@pytest.mark.parametrize("N", [4, 4096])
def test_top_p_of_what_is_reached_exactly(N: int) -> None:
    # Equal weights of exactly 1, so half of them are exactly one half.
    half = list(range(N // 2))
    assert list_top_p(np.ones(N), 0.5) == half
    assert list_top_p(np.ones(N), 0.5 + 2**-40) == [*half, N // 2]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("p", [1e-6, 0.3, 0.9, 0.999])
def test_top_p_is_what_a_full_sort_says(seed: int, p: float, size: int) -> None:
    gaps, weights = draw_gaps(seed, size)
    kept, reached = [], 0.0
    for place in sorted(range(size), key=lambda place: (-gaps[place], place)):
        if reached < p * weights.sum():
            kept.append(place)
        reached += weights[place]
    assert list_kept(mask_top_p, gaps, weights, p) == sorted(kept)


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


def test_a_token_that_is_out_is_not_typical_and_changes_nothing() -> None:
    assert list_typical(np.array([0.0, *PROBABILITIES, 0.0]), 0.4) == [2, 3, 4]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_typical_is_what_a_full_sort_says(seed: int, p: float, size: int) -> None:
    gaps, weights = draw_gaps(seed, size)
    probabilities = weights / weights.sum()
    is_in = probabilities > 0
    surprise = np.full(size, INF)
    surprise[is_in] = -np.log(probabilities[is_in])
    entropy = np.sum(probabilities[is_in] * surprise[is_in])
    order = np.argsort(np.abs(surprise - entropy), kind="stable")
    count = int(np.searchsorted(np.cumsum(probabilities[order]), p)) + 1
    (found,) = mask_typical_p(gaps[np.newaxis], weights[np.newaxis], p)
    # Rounding may order tokens otherwise that are equally far off; their number is the same.
    assert np.count_nonzero(found) == count
    assert np.abs(surprise - entropy)[found].max() == pytest.approx(
        np.abs(surprise - entropy)[order[count - 1]]
    )


@pytest.mark.parametrize("seed", range(20))
def test_one_always_stays(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    gaps, weights = draw_gaps(seed, size, scale=float(10.0 ** rng.uniform(-3, 3)))
    for p in (5e-324, float(rng.random()), 1.0 - 2**-53):
        for find in (mask_top_p, mask_typical_p):
            assert np.sum(weights[list_kept(find, gaps, weights, p)]) > 0.0
        assert np.argmax(weights) in list_kept(mask_top_p, gaps, weights, p)
        assert np.argmax(weights) in list_kept(mask_min_p, weights, p)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 40, 300])
def test_rows_are_kept_the_same_alone_and_with_others(seed: int, k: int, size: int) -> None:
    rows = [draw_gaps(10 * seed + row, size) for row in range(4)]
    gaps, weights = (np.stack(each) for each in zip(*rows, strict=True))
    assert keeping.find_top_k(gaps, k).tolist() == [list_top_k(row, k) for row in gaps]
    for find, arguments in (
        (mask_top_p, (gaps, weights)),
        (mask_typical_p, (gaps, weights)),
        (mask_min_p, (weights,)),
    ):
        together = find(*arguments, 0.4)
        alone = [list_kept(find, *(each[row] for each in arguments), 0.4) for row in range(4)]
        assert [np.flatnonzero(row).tolist() for row in together] == alone
