"""Beam search over made-up models small enough to search exhaustively."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError
from llm_timecycle.generation.beam_search import (
    Hypothesis,
    compute_length_penalty,
    search_beams,
)
from llm_timecycle.generation.sampling.history import TextHistory
from llm_timecycle.generation.sampling.pipeline import SamplingPlan

END = 1
SEEDS = st.integers(0, 2**32 - 1)


class TableEngine:
    """An engine whose next-token probabilities are looked up by the last token read."""

    def __init__(self, table: np.ndarray) -> None:
        self.log_table = np.log(table)
        self.last: list[int] = []

    def reset(self) -> None:
        self.last = []

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        self.last = ids[:, -1].tolist()
        return self.log_table[self.last]

    def step(self, ids: np.ndarray) -> np.ndarray:
        assert len(ids) == len(self.last)
        self.last = ids.tolist()
        return self.log_table[self.last]

    def select_rows(self, rows: Sequence[int]) -> None:
        self.last = [self.last[row] for row in rows]


def search(
    table: Sequence[Sequence[float]], first: int = 0, ends: bool = True, **options: object
) -> list[Hypothesis]:
    engine = TableEngine(np.array(table))
    logits = engine.prefill(np.array([[first]]))
    banned, bias = options.pop("banned", ()), options.pop("bias", ())
    plan = SamplingPlan(GenerationSettings(**options), banned, bias)
    longest = plan.longest_match
    history = TextHistory([[first]], longest) if longest else None
    return search_beams(engine, logits, plan, lambda ids: ends and ids[-1] == END, history=history)


def draw_table(seed: int, V: int) -> np.ndarray:
    weights = np.random.default_rng(seed).dirichlet(np.full(V, 0.7), V) + 1e-3
    return weights / weights.sum(axis=1, keepdims=True)


def search_all(table: np.ndarray, length: int, alpha: float) -> list[tuple[float, tuple[int, ...]]]:
    """Every text with its score, best first."""
    found = []
    for tokens in range(1, length + 1):
        for ids in itertools.product(range(len(table)), repeat=tokens):
            if END in ids[:-1] or (tokens < length and ids[-1] != END):
                continue
            total = sum(math.log(table[a][b]) for a, b in itertools.pairwise((0, *ids)))
            found.append((total / ((5 + tokens) / 6) ** alpha, ids))
    return sorted(found, reverse=True)


# From 0: the likelier 2 leads nowhere in particular, the other, 3, to a sure end.
GARDEN_PATH = [[0.1, 0.1, 0.5, 0.3], [0.25] * 4, [0.28, 0.22, 0.25, 0.25], [0.02, 0.94, 0.02, 0.02]]


def test_length_penalty_by_hand() -> None:
    assert compute_length_penalty(1, 0.7) == 1.0
    assert compute_length_penalty(7, 1.0) == 2.0
    assert compute_length_penalty(49, 0.5) == 3.0
    assert compute_length_penalty(100, 0.0) == 1.0


def test_two_beams_find_what_greed_misses() -> None:
    greedy = search(GARDEN_PATH, beams=1, length=2)[0]
    assert greedy.ids == (2, 0)
    assert greedy.logprob == pytest.approx(math.log(0.5 * 0.28))
    best = search(GARDEN_PATH, beams=2, length=2)[0]
    assert best.ids == (3, END)
    assert best.logprob == pytest.approx(math.log(0.3 * 0.94))
    assert best.token_logprobs == pytest.approx((math.log(0.3), math.log(0.94)))
    assert best.score(1.0) == pytest.approx(math.log(0.3 * 0.94) / (7 / 6))


@given(seed=SEEDS)
@settings(max_examples=20)
def test_one_beam_is_greedy(seed: int) -> None:
    table = draw_table(seed, 6)
    (found,) = search(table, ends=False, beams=1, length=8)
    last, greedy = 0, []
    for _ in range(8):
        last = int(np.argmax(table[last]))
        greedy.append(last)
    assert list(found.ids) == greedy


@given(seed=SEEDS, alpha=st.floats(0.0, 2.0))
@settings(max_examples=30)
def test_enough_beams_find_what_an_exhaustive_search_finds(seed: int, alpha: float) -> None:
    table = draw_table(seed, 4)
    everything = search_all(table, 4, alpha)
    found = search(table, beams=100, length=4, length_penalty=alpha)[:5]
    scores = [hypothesis.score(alpha) for hypothesis in found]
    assert scores == pytest.approx([score for score, _ in everything[:5]])
    score_of = {ids: score for score, ids in everything}  # texts may tie
    assert scores == pytest.approx([score_of[hypothesis.ids] for hypothesis in found])


def test_a_length_penalty_prefers_the_longer_text() -> None:
    # Ending at once has 0.5; going on three tokens 0.5 * 0.9 * 0.9, which is less.
    table = [[0.01, 0.5, 0.48, 0.01], [0.25] * 4, [0.01, 0.08, 0.9, 0.01], [0.25] * 4]
    assert search(table, beams=2, length=3, length_penalty=0.0)[0].ids == (END,)
    assert search(table, beams=2, length=3, length_penalty=2.0)[0].ids == (2, 2, 2)


def test_texts_come_best_first_and_at_most_as_many_as_beams() -> None:
    found = search(draw_table(3, 5), beams=4, length=5)
    scores = [hypothesis.score(0.6) for hypothesis in found]
    assert len(found) == 4
    assert scores == sorted(scores, reverse=True)
    assert len({hypothesis.ids for hypothesis in found}) == 4


def test_it_ends_when_nothing_better_can_come() -> None:
    steps = []
    engine = TableEngine(np.array([[0.001, 0.997, 0.001, 0.001]] * 4))
    plan = SamplingPlan(GenerationSettings(beams=2, length=50, length_penalty=0.0))
    found = search_beams(
        engine,
        engine.prefill(np.array([[0]])),
        plan,
        lambda ids: ids[-1] == END,
        lambda: steps.append(1),
    )
    assert found[0].ids == (END,)
    assert len(steps) < 5


def test_banned_tokens_are_left_out_and_a_bias_counts() -> None:
    assert search(GARDEN_PATH, beams=2, length=2, banned=(3,))[0].ids == (2, 0)
    biased = search(GARDEN_PATH, beams=2, length=2, bias=((0, 5.0),))[0]
    assert biased.ids == (0, 0)
    assert biased.logprob == pytest.approx(2 * math.log(0.1) + 2 * 5.0)
    # The log-probabilities of the model have no bias in them.
    assert biased.token_logprobs == pytest.approx((math.log(0.1), math.log(0.1)))


@given(seed=SEEDS, n=st.integers(1, 3))
@settings(max_examples=20)
def test_no_found_text_has_an_ngram_twice_and_the_best_of_the_rest_is_found(
    seed: int, n: int
) -> None:
    table = draw_table(seed, 4)
    found = search(table, beams=300, length=4, length_penalty=0.0, no_repeat_ngram=n)

    def has_no_repeat(ids: tuple[int, ...]) -> bool:
        text = (0, *ids)  # the prompt counts
        ngrams = [text[start : start + n] for start in range(len(text) - n + 1)]
        return len(set(ngrams)) == len(ngrams)

    allowed = [score for score, ids in search_all(table, 4, 0.0) if has_no_repeat(ids)]
    assert all(has_no_repeat(hypothesis.ids) for hypothesis in found)
    assert found[0].score(0.0) == pytest.approx(allowed[0])


def test_equally_likely_texts_are_those_with_the_lowest_ids() -> None:
    found = search([[0.25] * 4] * 4, ends=False, beams=3, length=2)
    assert [hypothesis.ids for hypothesis in found] == [(0, 0), (0, 1), (0, 2)]


def test_fewer_texts_than_beams_where_there_are_no_more() -> None:
    assert len(search([[0.5, 0.5], [0.5, 0.5]], ends=False, beams=10, length=1)) == 2


def test_logits_that_are_not_finite_are_an_error() -> None:
    with np.errstate(divide="ignore"), pytest.raises(RunError, match="not finite: 1 of 4"):
        search([[0.0, 0.2, 0.4, 0.4]] * 4, beams=2)
