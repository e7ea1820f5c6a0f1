"""The time of a request, on a clock that only planted costs move, and once in earnest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation import decoding as decoder
from llm_timecycle.profiling.measure import requests as inference
from llm_timecycle.profiling.measure.requests import measure_inference, start_process
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

# What each part of a request costs, in seconds; sums of these tell which parts a figure holds.
HIDDEN_S, PREFILL_S, STEP_S, CHOICE_S, WRITING_S = 16.0, 8.0, 4.0, 2.0, 1.0


class Time:
    """A clock that moves only where it is told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> float:
        return self.s


class SlowEngine:
    """Every token is equally likely."""

    def __init__(self, time: Time, V: int) -> None:
        self._time, self._V, self._rows = time, V, 0

    def reset(self) -> None:
        self._rows = 0

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        self._time.s += PREFILL_S
        self._rows = len(ids)
        return np.zeros((len(ids), self._V), np.float32)

    def step(self, ids: np.ndarray) -> np.ndarray:
        self._time.s += STEP_S
        self._rows = self._rows or len(ids)
        assert len(ids) == self._rows
        return np.zeros((len(ids), self._V), np.float32)

    def select_rows(self, rows: Sequence[int]) -> None:
        self._rows = len(rows)

    def read_hidden(self) -> np.ndarray:
        self._time.s += HIDDEN_S
        return np.ones((self._rows, 2), np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny run that has stop texts and would rather end its texts at once."""
    settings = Settings(
        tokenizer=TokenizerSettings(level="char", vocab_size=50),
        model=ModelSettings(embedding_dim=4, num_layers=1, hidden_units=6),
        generation=GenerationSettings(length=5, temperature=1.0, stop=["n", "e", " "]),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["Once upon a time"])
    run = create_run(
        tmp_path_factory.mktemp("place") / "run",
        settings,
        tokenizer.to_json().encode(),
        tokenizer.vocab_size,
        {},
    )
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = 50.0
    run.save_weights(weights, {"step": 0})
    return run


@pytest.fixture
def time(run: Run, monkeypatch: pytest.MonkeyPatch) -> Time:
    """A clock that the parts of a request move by what they cost."""
    time = Time()
    sample_tokens, push = decoder.sample_tokens, decoder.Sample.push

    def choose(*arguments: Any) -> np.ndarray:
        time.s += CHOICE_S
        return sample_tokens(*arguments)

    def write(sample: decoder.Sample, token: int) -> None:
        time.s += WRITING_S
        push(sample, token)

    monkeypatch.setattr(decoder, "sample_tokens", choose)
    monkeypatch.setattr(decoder.Sample, "push", write)
    monkeypatch.setattr(
        inference, "make_engine", lambda run, *_, **__: SlowEngine(time, run.vocab_size)
    )
    return time


class Processes:
    """Cold starts that are only written down."""

    def __init__(self, *first_token_s: float | None, time: Time | None = None) -> None:
        self.calls: list[tuple[Sequence[str], str]] = []
        self._reports, self._time = list(first_token_s), time

    def start(self, arguments: Sequence[str], text: str) -> str:
        self.calls.append((arguments, text))
        if self._time:
            self._time.s += 0.75
        return json.dumps({"times": {"first_token_from_start_s": self._reports.pop(0)}})


def test_every_figure_is_made_of_the_parts_that_its_definition_names(run: Run, time: Time) -> None:
    processes = Processes(0.5, 0.25)
    cycle = measure_inference(
        run,
        prompt="Once",
        requests=3,
        cold_starts=2,
        batches=(1, 4),
        now=time.now,
        start=processes.start,
    )
    assert (cycle.engine, cycle.prompt_tokens, cycle.new_tokens) == ("slow", 4, 5)
    assert cycle.prefill.samples_s == (PREFILL_S,) * 3
    assert cycle.first_token.samples_s == (PREFILL_S + CHOICE_S + WRITING_S,) * 3
    each_s = STEP_S + CHOICE_S + WRITING_S
    assert cycle.per_output_token.samples_s == (each_s,) * 3
    assert cycle.between_tokens.samples_s == (each_s,) * 3 * 4
    assert cycle.step.samples_s == (STEP_S,) * 3 * 4  # no step is needed for the first token
    assert cycle.sampling.samples_s == (CHOICE_S,) * 3 * 5
    assert cycle.decoding.samples_s == (WRITING_S,) * 3 * 5
    assert cycle.cold_first_token.samples_s == (0.5, 0.25)
    # A round of 4 texts is one step and one choice, and 4 are written.
    assert cycle.tokens_per_s == {
        1: pytest.approx(1 / each_s),
        4: pytest.approx(4 / (STEP_S + CHOICE_S + 4 * WRITING_S)),
    }
    assert len(cycle.load.samples_s) == 3


def test_a_neural_cache_counts_as_part_of_the_network(run: Run, time: Time) -> None:
    generation = run.settings.generation.model_copy(update={"cache": 0.5})
    settings = run.settings.model_copy(update={"generation": generation})
    cycle = measure_inference(
        Run(run.path, settings, run.vocab_size),
        prompt="Once",
        requests=1,
        cold_starts=1,
        batches=(1,),
        now=time.now,
        start=Processes(1.0).start,
    )
    assert cycle.engine == "slow"
    assert cycle.prefill.samples_s == (4 * (STEP_S + HIDDEN_S),)  # the cache reads each token
    assert cycle.step.samples_s == (STEP_S + HIDDEN_S,) * 4
    assert cycle.first_token.samples_s == (4 * (STEP_S + HIDDEN_S) + CHOICE_S + WRITING_S,)


def test_a_cold_start_asks_for_one_token_after_the_same_prompt(run: Run, time: Time) -> None:
    processes = Processes(1.0)
    measure_inference(
        run,
        prompt="Once",
        requests=1,
        cold_starts=1,
        batches=(1,),
        now=time.now,
        start=processes.start,
    )
    ((arguments, text),) = processes.calls
    assert text == "Once\n"
    assert list(arguments[:2]) == ["generate", str(run.path)]
    for option, value in (("--length", "1"), ("--prompt-file", "-")):
        assert arguments[arguments.index(option) + 1] == value


def test_where_a_process_cannot_tell_its_age_its_whole_time_counts(run: Run, time: Time) -> None:
    cycle = measure_inference(
        run,
        prompt="Once",
        requests=1,
        cold_starts=1,
        batches=(1,),
        now=time.now,
        start=Processes(None, time=time).start,
    )
    assert cycle.cold_first_token.samples_s == (0.75,)


def test_without_a_prompt_the_model_writes_one(run: Run, time: Time) -> None:
    cycle = measure_inference(
        run, requests=1, cold_starts=1, batches=(1,), now=time.now, start=Processes(1.0).start
    )
    assert cycle.prompt_tokens == inference.PROMPT_TOKENS
    assert cycle.new_tokens == 5


def test_a_run_in_earnest(run: Run) -> None:
    cycle = measure_inference(run, prompt="Once", requests=4, cold_starts=1, batches=(1, 8))
    assert cycle.engine == "numpy"
    for times in (cycle.cold_first_token, cycle.first_token, cycle.load, cycle.prefill):
        assert times.median_s > 0
    for parts in (cycle.step, cycle.sampling, cycle.decoding):
        assert parts.median_s > 0
    assert cycle.tokens_per_s.keys() == {1, 8}


def test_fewer_than_two_tokens_are_refused(run: Run) -> None:
    generation = run.settings.generation.model_copy(update={"length": 1})
    settings = run.settings.model_copy(update={"generation": generation})
    with pytest.raises(UsageError, match=r"at least 2 tokens.*received 1"):
        measure_inference(Run(run.path, settings, run.vocab_size))


def test_a_cold_start_that_fails_says_why() -> None:
    with pytest.raises(RunError, match=r"cold start.*there is no run at nowhere"):
        start_process(["generate", "nowhere"], "")


def test_texts_that_could_only_end_are_refused(run: Run) -> None:
    tokenizer = run.load_tokenizer()
    every = [tokenizer.token(id) for id in range(tokenizer.vocab_size) if id != tokenizer.eos_id]
    generation = run.settings.generation.model_copy(update={"ban": every})
    settings = run.settings.model_copy(update={"generation": generation})
    with pytest.raises(UsageError, match=r"every token but the end .* is banned"):
        measure_inference(Run(run.path, settings, run.vocab_size))
