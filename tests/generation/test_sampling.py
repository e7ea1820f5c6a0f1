"""Sampling: every rule against literals worked by hand, and by the laws it keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm_timecycle.config.tree import GenerationSettings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.sampling import (
    apply_temperature,
    ban_tokens,
    choose_greedily,
    choose_tokens,
    draw_tokens,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    make_generators,
    penalize_repetition,
)

INF = math.inf
# Probabilities that float64 holds exactly; ids 1 and 3 are equally likely.
PROBABILITIES = [0.0625, 0.1875, 0.5, 0.1875, 0.0625]


def logits_of(probabilities: list[float]) -> np.ndarray:
    return np.log(np.array([probabilities]))


def list_kept(logits: np.ndarray) -> list[int]:
    """The ids of the only row that are still in."""
    assert len(logits) == 1
    return np.flatnonzero(logits[0] > -INF).tolist()


def draw_random_logits(seed: int) -> np.ndarray:
    """Rows with ties, and with tokens that are out already."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-6, 7, (3, int(rng.integers(2, 40)))).astype(np.float64)
    logits[:, 1:][rng.random(logits[:, 1:].shape) < 0.1] = -INF
    return logits


def test_repetition_penalty_by_hand() -> None:
    logits = np.array([[4.0, -4.0, 0.0, 4.0], [4.0, -4.0, 0.0, 4.0]])
    seen = np.array([[True, True, True, False], [False, False, False, True]])
    penalized = penalize_repetition(logits, seen, 1.25)
    assert penalized.tolist() == [[3.2, -5.0, 0.0, 4.0], [4.0, -4.0, 0.0, 3.2]]


def test_a_penalty_of_1_changes_nothing() -> None:
    logits = np.array([[0.1, -0.3, 7.0]])
    assert np.array_equal(penalize_repetition(logits, np.ones((1, 3), bool), 1.0), logits)


def test_banned_tokens_are_out() -> None:
    logits = np.array([[3.0, 2.0, 1.0]])
    assert ban_tokens(logits, [0, 2]).tolist() == [[-INF, 2.0, -INF]]
    assert logits.tolist() == [[3.0, 2.0, 1.0]]


def test_not_every_token_can_be_banned() -> None:
    with pytest.raises(UsageError, match="all 2 tokens are banned; leave at least one"):
        ban_tokens(np.zeros((1, 2)), [0, 1, 1])


def test_greedy_takes_the_lowest_id_of_the_likeliest() -> None:
    assert choose_greedily(np.array([[1.0, 5.0, 5.0], [2.0, 2.0, 1.0]])).tolist() == [1, 0]


def test_temperature_by_hand() -> None:
    # Half the temperature squares the odds: 1 : 3 becomes 1 : 9.
    scaled = apply_temperature(logits_of([0.25, 0.75]), 0.5)
    assert np.exp(scaled[0, 1] - scaled[0, 0]) == pytest.approx(9.0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-3, 100.0])
def test_no_temperature_overflows(temperature: float) -> None:
    logits = np.array([[3e38, -3e38, 3e38, 1.0]])
    drawn = {int(draw_tokens(apply_temperature(logits, temperature), u)[0]) for u in uniforms(50)}
    assert drawn == {0, 2}


@pytest.mark.parametrize(
    ("k", "kept"), [(1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_exactly_k_and_of_equals_the_lowest_ids(k: int, kept: list[int]) -> None:
    assert list_kept(keep_top_k(logits_of(PROBABILITIES), k)) == kept


@pytest.mark.parametrize(
    ("p", "kept"),
    [
        (1e-300, [2]),
        (0.4, [2]),
        (0.6, [1, 2]),
        (0.7, [1, 2, 3]),
        (0.9, [0, 1, 2, 3]),
        (0.95, [0, 1, 2, 3, 4]),
        (1.0 - 2**-53, [0, 1, 2, 3, 4]),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_p(p: float, kept: list[int]) -> None:
    assert list_kept(keep_top_p(logits_of(PROBABILITIES), p)) == kept


def test_top_p_of_what_is_reached_exactly() -> None:
    # Equal logits have weights of exactly 1, so two of four are exactly one half.
    assert list_kept(keep_top_p(np.zeros((1, 4)), 0.5)) == [0, 1]
    assert list_kept(keep_top_p(np.zeros((1, 4)), 0.5 + 2**-52)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("min_p", "kept"), [(0.12, [0, 1, 2, 3, 4]), (0.13, [1, 2, 3]), (0.37, [1, 2, 3]), (0.38, [2])]
)
def test_min_p_is_a_share_of_the_likeliest(min_p: float, kept: list[int]) -> None:
    # 0.0625 / 0.5 is 0.125, and 0.1875 / 0.5 is 0.375
    assert list_kept(keep_min_p(logits_of(PROBABILITIES), min_p)) == kept


def test_min_p_of_1_keeps_all_of_the_likeliest() -> None:
    assert list_kept(keep_min_p(np.array([[1.0, 2.0, 2.0]]), 1.0)) == [1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_identities(seed: int) -> None:
    logits = draw_random_logits(seed)
    V = logits.shape[1]
    for unchanged in (
        keep_top_k(logits, V),
        keep_top_k(logits, None),
        keep_top_p(logits, 1.0),
        keep_min_p(logits, 0.0),
        ban_tokens(logits, []),
    ):
        assert np.array_equal(unchanged, logits)


@pytest.mark.parametrize("seed", range(20))
def test_the_likeliest_always_stays_and_logits_of_those_that_stay_are_untouched(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = draw_random_logits(seed)
    for kept in (
        keep_top_k(logits, int(rng.integers(1, logits.shape[1] + 1))),
        keep_top_p(logits, 1.0 - float(rng.random())),
        keep_min_p(logits, float(rng.random())),
    ):
        rows = np.arange(len(logits))
        assert np.array_equal(kept[rows, choose_greedily(logits)], logits.max(axis=1))
        assert np.array_equal(kept, np.where(kept > -INF, logits, -INF))


@pytest.mark.parametrize("seed", range(20))
def test_top_p_is_what_a_full_sort_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, p = rng.normal(scale=3, size=(1, 200)), float(rng.random())
    probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum()
    kept, reached = [], 0.0
    for token in sorted(range(200), key=lambda token: -probabilities[token]):
        if reached < p:
            kept.append(token)
        reached += probabilities[token]
    assert list_kept(keep_top_p(logits, p)) == sorted(kept)


def uniforms(count: int) -> np.ndarray:
    """Evenly spaced numbers of [0, 1), each for one row."""
    return (np.arange(count) / count)[:, np.newaxis]


@pytest.mark.parametrize(
    ("u", "token"), [(0.0, 1), (0.24, 1), (0.26, 2), (0.74, 2), (0.76, 4), (1.0 - 2**-53, 4)]
)
def test_a_draw_is_where_the_sum_of_probabilities_passes_u(u: float, token: int) -> None:
    logits = np.array([[-INF, math.log(0.25), math.log(0.5), -INF, math.log(0.25), -INF]])
    assert draw_tokens(logits, np.array([u])).tolist() == [token]


def test_100_000_draws_are_as_likely_as_the_model_says() -> None:
    # Chi-squared: 99.9 % of honest draws stay below 18.467 with 5 - 1 = 4 degrees of freedom.
    (generator,) = make_generators(7, 1)
    rows = np.repeat(logits_of(PROBABILITIES), 1000, axis=0)
    counts = np.zeros(5)
    for _ in range(100):
        counts += np.bincount(draw_tokens(rows, generator.random(1000)), minlength=5)
    expected = 100_000 * np.array(PROBABILITIES)
    assert np.sum((counts - expected) ** 2 / expected) < 18.467


def test_a_sample_is_the_same_alone_and_with_others() -> None:
    alone = make_generators(3, 1)[0].random(5).tolist()
    with_others = [generator.random(5).tolist() for generator in make_generators(3, 4)]
    assert with_others[0] == alone
    assert len({tuple(numbers) for numbers in with_others}) == 4


def test_a_row_is_chosen_the_same_alone_and_with_others() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(6, 999)).astype(np.float32)
    u, seen = rng.random(6), rng.random((6, 999)) < 0.1
    settings = GenerationSettings(top_k=200, top_p=0.9, min_p=0.01, repetition_penalty=1.3)
    together = choose_tokens(logits, u, settings, seen=seen).tolist()
    alone = [int(choose_tokens(logits[[n]], u[[n]], settings, seen=seen[[n]])[0]) for n in range(6)]
    assert together == alone


def test_a_seed_of_none_is_new_each_time() -> None:
    assert make_generators(None, 1)[0].random() != make_generators(None, 1)[0].random()


def choose(logits: list[float], u: float = 0.5, **options: object) -> int:
    """The token chosen from one row; `banned` and `seen` beside the settings."""
    settings = GenerationSettings(
        **{"temperature": 1.0}
        | {key: value for key, value in options.items() if key not in ("banned", "seen")}
    )
    seen = options.get("seen")
    ids = choose_tokens(
        np.array([logits], np.float32),
        np.array([u]),
        settings,
        banned=options.get("banned", ()),
        seen=None if seen is None else np.array([seen]),
    )
    return int(ids[0])


def test_temperature_0_takes_the_likeliest_whatever_the_draw() -> None:
    assert {choose([1, 3, 3, 2], u, temperature=0.0) for u in (0.0, 0.5, 0.99)} == {1}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_banned_token_is_never_chosen(temperature: float) -> None:
    chosen = {
        choose([9, 1, 1], u / 20, temperature=temperature, banned=[0], top_k=2) for u in range(20)
    }
    assert chosen == ({1} if temperature == 0.0 else {1, 2})


def test_the_penalty_comes_before_all_else() -> None:
    # 4 / 2 falls below 3, so the greedy choice moves on.
    seen = [True, False, False]
    assert choose([4, 3, 1], temperature=0.0, repetition_penalty=2.0, seen=seen) == 1


def test_temperature_comes_before_top_p() -> None:
    # Odds 2 : 1 : 1 give the first half; at temperature 0.5 they are 4 : 1 : 1, two thirds.
    logits = [math.log(2), 0.0, 0.0]
    assert choose(logits, 0.9, top_p=0.6) == 1
    assert choose(logits, 0.9, top_p=0.6, temperature=0.5) == 0


def test_top_k_comes_before_top_p() -> None:
    # Of all four, the first has 0.4 < 0.5; of the two likeliest, 0.4 / 0.7 > 0.5.
    logits = np.log([0.4, 0.3, 0.2, 0.1]).tolist()
    assert choose(logits, 0.9, top_p=0.5) == 1
    assert choose(logits, 0.9, top_p=0.5, top_k=2) == 0


@pytest.mark.parametrize("bad", [math.nan, INF, -INF])
def test_logits_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(RunError, match="the model's logits are not finite: 1 of 3 are infinite or"):
        choose([0.0, bad, 1.0])
