"""Continuous batching: a text is the same alone and in company, whenever it joins."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import GenerationSettings, ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.generation.scoring import score_text
from llm_timecycle.serving.writing.batch import ARRIVAL_WINDOW_S, WINDOW_S, Batch
from llm_timecycle.serving.writing.jobs import Job, Prompt, PromptScores, Update
from llm_timecycle.serving.writing.written_text import WritingPlan, WrittenText
from tests.generation.fake_engine import BYTES, CHARACTERS, make_tokenizer

NETWORK = ModelSettings(embedding_dim=8, num_layers=2, hidden_units=16)
PLAIN = SamplingPlan(GenerationSettings(temperature=1.0), banned=(0,))
PENALIZED = SamplingPlan(
    GenerationSettings(temperature=0.8, frequency_penalty=0.4, dry_multiplier=0.8, top_k=4),
    banned=(0,),
)


def make_engine(tokenizer=CHARACTERS, *, seed: int = 5, can_end: bool = False) -> NumpyEngine:
    shapes = compute_parameter_shapes(NETWORK, tokenizer.vocab_size)
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    if not can_end:
        weights["output.bias"][tokenizer.eos_id] = -1000.0
    return NumpyEngine(weights, NETWORK)


def make_batch(max_rows: int = 8, tokenizer=CHARACTERS, clock: int = 0, **kinds: bool) -> Batch:
    return Batch(make_engine(tokenizer, **kinds), max_rows, make_fitful_clock(clock))


def make_fitful_clock(seed: int) -> Callable[[], float]:
    """A clock of which no two windows take equally long, so that they have all lengths."""
    rng = np.random.default_rng(seed)
    steps_s = (10 ** rng.uniform(-2.4, -1) for _ in itertools.count())
    moments_s = itertools.accumulate(steps_s)
    return lambda: next(moments_s)


def make_job(
    *prompts: Sequence[int],
    n: int = 1,
    length: int = 10,
    seed: int = 1,
    sampling: SamplingPlan = PLAIN,
    tokenizer=CHARACTERS,
    scored: bool = False,
    streamed: bool = False,
    **plan: object,
) -> Job:
    written = WritingPlan(sampling, sampling, seed, length, **plan)
    made = [Prompt(np.array(ids), "", ("",) * len(ids)) for ids in prompts]
    return Job(tokenizer, made, n, written, is_scored=scored, is_streamed=streamed)


def finish(batch: Batch) -> list[Update]:
    updates = []
    while batch.has_work:
        updates += batch.advance()
    return updates


def assert_same_records(
    found: Iterable[WrittenText | PromptScores], expected: Iterable[WrittenText | PromptScores]
) -> None:
    """To the last bit where the engine promises it, else to rounding."""
    for one, other in zip(found, expected, strict=True):
        if make_engine().is_exact:
            assert one.records == other.records
            continue
        for record, same in zip(one.records, other.records, strict=True):
            assert (record.id, record.offset) == (same.id, same.offset)
            assert record.logprob == pytest.approx(same.logprob, abs=1e-4)


def list_ids(job: Job) -> list[list[int]]:
    assert job.unfinished == 0
    return [text.ids for text in job.texts]


def test_a_text_is_the_one_that_generate_writes() -> None:
    batch = make_batch()
    job = make_job([2, 3, 4], n=3, length=20)
    batch.add(job)
    finish(batch)
    direct = GenerationSettings(temperature=1.0, seed=1, length=20)
    prompt = CHARACTERS.decode([2, 3, 4])
    texts = TextGenerator(make_engine(), CHARACTERS, direct).generate(prompt, 3)
    assert list_ids(job) == [list(text.ids) for text in texts]


REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.lists(st.integers(2, 5), min_size=1, max_size=70),
            "n": st.integers(1, 4),
            "length": st.integers(0, 12),
            "seed": st.integers(0, 3),
            "joins": st.integers(0, 20),
            "penalized": st.booleans(),
            "scored": st.booleans(),
        }
    ),
    min_size=2,
    max_size=6,
)


@given(requests=REQUESTS, max_rows=st.integers(1, 9))
@settings(max_examples=40)
def test_company_changes_nothing(requests: list[dict], max_rows: int) -> None:
    def make(request: dict) -> Job:
        return make_job(
            request["prompt"],
            n=request["n"],
            length=request["length"],
            seed=request["seed"],
            sampling=PENALIZED if request["penalized"] else PLAIN,
            scored=request["scored"],
            top_logprobs=2,
        )

    together, jobs = make_batch(max_rows, clock=1), [make(request) for request in requests]
    for turn in range(21):
        for request, job in zip(requests, jobs, strict=True):
            if request["joins"] == turn:
                together.add(job)
        together.advance()
        assert together.rows <= max_rows
    finish(together)
    for request, job in zip(requests, jobs, strict=True):
        alone, only = make_batch(clock=2), make(request)
        alone.add(only)
        finish(alone)
        assert list_ids(job) == list_ids(only)
        assert_same_records(job.texts, only.texts)
        assert_same_records(filter(None, job.scores), filter(None, only.scores))


def test_a_prompt_is_scored_as_score_text_does() -> None:
    text = "abc\n中文ab" * 30
    ids = [CHARACTERS.eos_id, *CHARACTERS.encode(text).tolist()]
    job = make_job(ids, length=0, scored=True, top_logprobs=1)
    batch = make_batch()
    batch.add(job)
    finish(batch)
    (scores,) = job.scores
    first, *others = scores.records
    assert first.logprob is None
    expected = score_text(make_engine(), CHARACTERS, text).log_probabilities
    assert [record.logprob for record in others] == pytest.approx(expected, abs=1e-6)
    for record in others:
        ((likeliest, logprob),) = record.top
        assert record.logprob <= logprob
        assert (likeliest == record.id) == (record.logprob == logprob)


@pytest.mark.parametrize("token_s", [0.0001, 0.003, 0.05])
def test_the_windows_of_a_long_prompt_follow_the_clock(token_s: float) -> None:
    now_s, engine = [0.0], make_engine()
    extend = engine.extend

    def extend_slowly(texts: Sequence[np.ndarray]) -> None:
        now_s[0] += token_s * len(texts[0])
        extend(texts)

    engine.extend = extend_slowly  # type: ignore[method-assign]
    batch = Batch(engine, 8, lambda: now_s[0])
    writer = make_job([2], length=1000, streamed=True)
    batch.add(writer)
    batch.advance()
    reader = make_job([2, 3] * 400, length=1)
    batch.add(reader)
    gaps_s = []
    while reader.unfinished:
        before, before_s = len(writer.texts[0].ids), now_s[0]
        batch.advance()
        gaps_s.append(now_s[0] - before_s)
        assert len(writer.texts[0].ids) == before + 1
    first, *between, _ = gaps_s
    assert first <= 1.001 * max(ARRIVAL_WINDOW_S, token_s)
    assert len(between) > 1
    assert between == pytest.approx([max(WINDOW_S, token_s)] * len(between), rel=0.2)


def test_a_long_prompt_that_is_scored_holds_no_other_prompt_up() -> None:
    batch = make_batch()
    scored = make_job([2, 3] * 2000, length=0, scored=True)
    batch.add(scored)
    batch.advance()
    other = make_job([2, 3], length=1)
    batch.add(other)
    for _ in range(2):
        batch.advance()
    assert other.unfinished == 0
    assert scored.unfinished == 1
    finish(batch)
    (scores,) = scored.scores
    assert len(scores.records) == 4000


def test_a_cancelled_job_leaves_before_the_next_token() -> None:
    batch = make_batch(2)
    job, other = make_job([2], n=2, length=100), make_job([3], length=5)
    batch.add(job)
    batch.add(other)
    batch.advance()
    assert batch.rows == 2
    job.is_cancelled = True
    batch.advance()
    assert batch.list_jobs() == [other]
    finish(batch)
    assert len(job.texts[0].ids) <= 2
    assert len(other.texts[0].ids) == 5


def test_more_texts_than_rows_are_written_one_after_another() -> None:
    few, many = make_batch(2), make_batch(16)
    jobs = [make_job([2, 3], [4], n=5, length=7) for _ in range(2)]
    few.add(jobs[0])
    many.add(jobs[1])
    finish(few)
    finish(many)
    assert list_ids(jobs[0]) == list_ids(jobs[1])


def test_only_a_text_that_is_being_written_holds_its_prompt_again() -> None:
    batch = make_batch(2)
    job = make_job([2, 3], [4, 5], n=5, length=3, sampling=PENALIZED)

    def list_held() -> list[WrittenText]:
        return [text for text in job.texts if text.counts is not None or text.history is not None]

    assert list_held() == []
    batch.add(job)
    turns_with_all = 0
    while batch.has_work:
        batch.advance()
        assert len(list_held()) == batch.rows
        turns_with_all += all(text.counts is not None and text.history for text in list_held())
    assert job.unfinished == 0
    assert turns_with_all > 0


def test_every_token_of_a_stream_is_reported_once_in_order() -> None:
    batch = make_batch()
    job = make_job([2], [3, 4], n=2, length=6, streamed=True)
    batch.add(job)
    updates = finish(batch)
    for index, text in enumerate(job.texts):
        own = [update for update in updates if update.text == index]
        assert [id for update in own for id in update.ids] == text.ids
        assert "".join(update.piece for update in own) == text.text
        assert [update.is_text_finished for update in own] == [False] * 5 + [True]
    assert [update.is_finished for update in updates].count(True) == 1
    assert updates[-1].is_finished
    assert sorted(update.prompt for update in updates if update.prompt is not None) == [0, 1]


def test_an_end_of_document_and_a_stop_token_end_a_text() -> None:
    batch = make_batch(can_end=True)
    ended = [make_job([2], length=200, seed=seed) for seed in range(20)]
    stopped = [make_job([2], length=200, seed=seed, stop_ids=frozenset({3})) for seed in range(20)]
    for job in (*ended, *stopped):
        batch.add(job)
    finish(batch)
    for job in ended:
        (text,) = job.texts
        assert (text.finish_reason, text.stop_reason) == ("stop", None)
        assert text.ids[-1] == CHARACTERS.eos_id
    reasons = {job.texts[0].stop_reason for job in stopped}
    assert reasons == {3, None}
    assert all(3 not in job.texts[0].ids[:-1] for job in stopped)


def test_weights_that_are_not_finite_are_an_error() -> None:
    shapes = compute_parameter_shapes(NETWORK, CHARACTERS.vocab_size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["output.bias"][:] = np.nan
    batch = Batch(NumpyEngine(weights, NETWORK), 4, lambda: 0.0)
    batch.add(make_job([2]))
    with pytest.raises(RunError, match="not finite"):
        batch.advance()
    assert len(batch.list_jobs()) == 1
    batch.clear()
    assert not batch.has_work


def test_half_a_character_waits_for_its_other_half() -> None:
    tokenizer = BYTES
    ids = tokenizer.encode("中").tolist()
    forced = SamplingPlan(
        GenerationSettings(temperature=0.0), banned=(0,), bias=((ids[1], 1e5), (ids[2], 0.0))
    )
    batch = make_batch(tokenizer=tokenizer)
    job = make_job(
        [*tokenizer.encode("a").tolist(), ids[0]], length=1, sampling=forced, tokenizer=tokenizer
    )
    batch.add(job)
    finish(batch)
    (text,) = job.texts
    assert text.ids == [ids[1]]
    assert text.text == "\ufffd"  # cut inside the character


def test_words_continue_an_open_line() -> None:
    words = make_tokenizer("the cat sat\n", "word")
    job = make_job(words.encode("the").tolist(), length=3, tokenizer=words)
    batch = make_batch(tokenizer=words)
    batch.add(job)
    finish(batch)
    assert job.texts[0].text == words.decode([*words.encode("the"), *job.texts[0].ids])[3:]
