"""The arithmetic of an evaluation harness through the server equals the model's own scores.

`Harness` does what `local-completions` of lm-evaluation-harness does, with its remote tokenizer: it
asks for the tokenizer, sends ids of context and continuation with `echo`, `logprobs: 1` and
`max_tokens: 1`, leaves out the last entry, which is the generated token, and adds up those after
the context. A token is greedy if nothing in its `top_logprobs` is likelier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.sampling.pipeline import compute_logprobs
from llm_timecycle.runs.directory import Run
from tests.serving.servers import RunningServer

TEXT = "a cat, def abc 中文. the cat sat on the mat"
LEVELS = ["char", "word", "byte", "subword"]
Pair = tuple[list[int], list[int]]


@dataclass
class Harness:
    """A client that scores."""

    server: RunningServer
    model: str
    max_length: int = 2048

    def encode(self, text: str) -> list[int]:
        body = {"prompt": text, "add_special_tokens": False, "model": self.model}
        return self.server.post(body, "/tokenize").json()["tokens"]

    def find_prefix(self) -> int:
        """What an empty context is: the token that begins documents, or else the one that ends."""
        info = self.server.client.get("/tokenizer_info", params={"model": self.model}).json()
        return self.encode(info["bos_token"] or info["eos_token"])[0]

    def encode_pair(self, context: str, continuation: str) -> Pair:
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        if not context:
            return [self.find_prefix()], self.encode(continuation)
        before = self.encode(context)
        return before, self.encode(context + continuation)[len(before) :]

    def score_ids(self, pairs: list[Pair]) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation, and whether it is the greedy one."""
        answer = self.server.complete(
            model=self.model,
            prompt=[context + continuation for context, continuation in pairs],
            temperature=0,
            max_tokens=1,
            logprobs=1,
            seed=1234,
            echo=True,
        )
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        return [
            self._read(choice["logprobs"], len(context))
            for choice, (context, _) in zip(choices, pairs, strict=True)
        ]

    def _read(self, logprobs: dict, start: int) -> tuple[float, bool]:
        tokens = logprobs["token_logprobs"][start:-1]
        tops = logprobs["top_logprobs"][start:-1]
        is_greedy = not any(
            token != max(top.values()) for token, top in zip(tokens, tops, strict=True)
        )
        return sum(tokens), is_greedy

    def score_rolling(self, text: str) -> float:
        """The log-likelihood of a text, in windows that do not overlap."""
        ids = [self.find_prefix(), *self.encode(text)]
        size = self.max_length - 2
        pairs = [
            (ids[start : start + 1], ids[start + 1 : start + 1 + size])
            for start in range(0, len(ids) - 1, size)
        ]
        return sum(score for score, _ in self.score_ids(pairs))


@pytest.fixture(params=LEVELS)
def harness(request: pytest.FixtureRequest, server: RunningServer) -> Harness:
    return Harness(server, request.param)


def compute_directly(run: Run, context: list[int], continuation: list[int]) -> float:
    ids = [*context, *continuation]
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    (logits,) = engine.read(np.array([ids[:-1]]))
    logprobs = compute_logprobs(logits, np.array(ids[1:]))
    return float(logprobs[len(context) - 1 :].sum())


def test_a_text_without_a_context(harness: Harness, runs: dict[str, Run]) -> None:
    ((found, _),) = harness.score_ids([harness.encode_pair("", TEXT)])
    whole = lt.load(runs[harness.model].path).score(TEXT)
    assert found == pytest.approx(sum(whole.log_probabilities), abs=1e-4)


def test_continuations_of_a_context(harness: Harness, runs: dict[str, Run]) -> None:
    pairs = [
        harness.encode_pair("the cat sat", end) for end in (" on the mat", " abc", " 中文 " * 30)
    ]
    pairs.append(harness.encode_pair("a cat, ", "def"))
    for (found, _), (context, continuation) in zip(harness.score_ids(pairs), pairs, strict=True):
        assert continuation
        expected = compute_directly(runs[harness.model], context, continuation)
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_context_that_begins_a_document(harness: Harness, runs: dict[str, Run]) -> None:
    whole = lt.load(runs[harness.model].path).score(TEXT)
    prefix, ids = harness.find_prefix(), list(whole.ids)
    starts = [1, 2, len(ids) - 1]
    scores = harness.score_ids([([prefix, *ids[:start]], ids[start:]) for start in starts])
    for start, (found, _) in zip(starts, scores, strict=True):
        assert found == pytest.approx(sum(whole.log_probabilities[start:]), abs=1e-4)


def test_a_rolling_score(harness: Harness, runs: dict[str, Run]) -> None:
    whole = lt.load(runs[harness.model].path).score(TEXT * 20)
    assert -harness.score_rolling(TEXT * 20) == pytest.approx(whole.nats, abs=1e-4)


def test_a_rolling_score_in_windows(harness: Harness, runs: dict[str, Run]) -> None:
    harness.max_length = 32
    ids = [harness.find_prefix(), *harness.encode(TEXT * 3)]
    expected = sum(
        compute_directly(runs[harness.model], ids[start : start + 1], ids[start + 1 : start + 31])
        for start in range(0, len(ids) - 1, 30)
    )
    assert harness.score_rolling(TEXT * 3) == pytest.approx(expected, abs=1e-4)


def test_greedy_text_until_a_stop(harness: Harness) -> None:
    context = harness.encode("the cat")
    body = {
        **{"model": harness.model, "prompt": [context], "max_tokens": 12, "temperature": 0},
        **{"stop": ["\n\n", "<eos>"], "seed": 1234, "return_token_ids": True},
    }
    (choice,) = harness.server.complete(**body)["choices"]
    written = choice["token_ids"]
    V = harness.server.client.get(f"/tokenizer_info?model={harness.model}").json()["vocab_size"]
    other = [*written[:-1], 2 + (written[-1] - 1) % (V - 2)]
    assert other != written
    (_, is_greedy), (_, other_is_greedy) = harness.score_ids([(context, written), (context, other)])
    assert (is_greedy, other_is_greedy) == (True, False)


def test_without_a_generated_token_the_lists_end_with_the_prompt(server: RunningServer) -> None:
    body = {"prompt": [[1, 3, 4], [1, 3]], "echo": True, "logprobs": 1}
    alone = server.complete(**body, max_tokens=0)["choices"]
    longer = server.complete(**body, max_tokens=1, temperature=0)["choices"]
    for short, long in zip(alone, longer, strict=True):
        for name, values in short["logprobs"].items():
            assert values == long["logprobs"][name][:-1]


def test_continuations_of_one_context_add_up(server: RunningServer, runs: dict[str, Run]) -> None:
    V = runs["char"].vocab_size
    each = Harness(server, "char").score_ids([([1, 3], [id]) for id in range(V)])
    assert math.fsum(math.exp(logprob) for logprob, _ in each) == pytest.approx(1.0, abs=1e-5)
    assert [is_greedy for _, is_greedy in each].count(True) == 1
    assert all(a != b for a, b in pairwise(logprob for logprob, _ in each))
