"""The arithmetic of an evaluation harness through the server equals the model's own scores.

The harness sends ids of context and continuation with `echo`, `logprobs: 1` and `max_tokens: 1`,
drops the last entry, and adds up those after the context. A token is greedy if nothing in its
`top_logprobs` is likelier. For a rolling score, the context is the token that ends documents.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

import llm_timecycle as lt
from llm_timecycle.runs.directory import Run
from tests.serving.servers import RunningServer

TEXT = "a cat, def abc 中文. the cat sat on the mat"


def score(
    server: RunningServer, model: str, requests: list[tuple[list[int], list[int]]], most: int = 1
) -> list[tuple[float, bool]]:
    answer = server.complete(
        model=model,
        prompt=[context + continuation for context, continuation in requests],
        max_tokens=most,
        logprobs=1,
        seed=1234,
        echo=True,
    )
    scores = []
    for choice, (context, continuation) in zip(answer["choices"], requests, strict=True):
        end = len(context) + len(continuation)
        logprobs = choice["logprobs"]["token_logprobs"][len(context) : end]
        tops = choice["logprobs"]["top_logprobs"][len(context) : end]
        is_greedy = all(
            logprob == max(top.values()) for logprob, top in zip(logprobs, tops, strict=True)
        )
        scores.append((sum(logprobs), is_greedy))
    return scores


@pytest.mark.parametrize("level", ["char", "word", "byte", "subword"])
@pytest.mark.parametrize("most", [0, 1])
def test_scores_of_continuations(
    server: RunningServer, runs: dict[str, Run], level: str, most: int
) -> None:
    model = lt.load(runs[level].path)
    whole = model.score(TEXT)
    ids = list(whole.ids)
    starts = [1, 2, len(ids) - 1]
    requests = [([1, *ids[:start]], ids[start:]) for start in starts]
    scores = score(server, level, requests, most)
    for start, (found, _) in zip(starts, scores, strict=True):
        assert found == pytest.approx(sum(whole.log_probabilities[start:]), abs=1e-4)


@pytest.mark.parametrize("level", ["char", "word", "byte", "subword"])
def test_a_rolling_score(server: RunningServer, runs: dict[str, Run], level: str) -> None:
    model = lt.load(runs[level].path)
    whole = model.score(TEXT * 5)
    ids = list(whole.ids)
    ((found, _),) = score(server, level, [([1], ids)])
    assert -found == pytest.approx(whole.nats, abs=1e-4)


def test_a_greedy_continuation_is_known_as_one(server: RunningServer) -> None:
    prompt = [1, 3, 4]
    body = {"prompt": prompt, "temperature": 0, "max_tokens": 12, "return_token_ids": True}
    (choice,) = server.complete(**body)["choices"]
    written = choice["token_ids"]
    other = [*written[:-1], written[-1] % 5 + 2]
    assert other != written
    (_, is_greedy), (_, other_is_greedy) = score(
        server, "char", [(prompt, written), (prompt, other)]
    )
    assert is_greedy
    assert not other_is_greedy


def test_continuations_of_one_context_add_up(server: RunningServer, runs: dict[str, Run]) -> None:
    import math

    V = runs["char"].vocab_size
    each = score(server, "char", [([1, 3], [id]) for id in range(V)], most=0)
    assert math.fsum(math.exp(logprob) for logprob, _ in each) == pytest.approx(1.0, abs=1e-5)
    assert [is_greedy for _, is_greedy in each].count(True) == 1
    assert all(a != b for a, b in pairwise(logprob for logprob, _ in each))
