"""The time of a request: from a cold start to the first token, and each token after it.

    cold first token   from the start of a process to its first token, each in a fresh process
    load               opening the run, its tokenizer and its weights, imports already done
    prefill            the engine reads the whole prompt
    first token        from a warm request to its first token: prompt encoded, read, token chosen
    per output token   (end to end - first token) / (N - 1), of each request by itself
    between tokens     every gap from one token to the next, of all requests together
    step, sampling,    of one token: the engine; the choice from its logits; from its id to text
    decoding

N counts the ids that were emitted; no text is tokenized again to count them. The end of a text is
not chosen, nor is a stop text looked for, so every request emits N. Requests with spans, which the
parts come from, and requests without, which the rest comes from, are made in turn.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from llm_timecycle.clock import StageClock
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.decoding import Decoder
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_child
from llm_timecycle.profiling.results import Durations, InferenceCycle
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

Clock = Callable[[], float]
StartProcess = Callable[[Sequence[str], str], str]

BATCHES = (1, 8, 32)
PROMPT_TOKENS = 32  # of the prompt that the model writes itself where none is given
SHORTEST = 2  # with fewer tokens there is none after the first


def start_process(arguments: Sequence[str], text: str) -> str:
    """What a process of this program writes to stdout, given `text` on stdin.

    Raises RunError where it fails.
    """
    command = [sys.executable, "-m", "llm_timecycle", *arguments]
    done = run_child(command, text)
    if done.returncode:
        raise RunError(f"a cold start of the run failed: {explain_failure(done)}")
    return done.stdout


def measure_inference(
    run: Run,
    *,
    prompt: str | None = None,
    length: int | None = None,
    engine: str = "auto",
    requests: int = 10,
    cold_starts: int = 3,
    batches: Sequence[int] = BATCHES,
    now: Clock = time.perf_counter,
    start: StartProcess = start_process,
) -> InferenceCycle:
    """Time requests to a trained run.

    Args:
        prompt: the text to continue; None takes `PROMPT_TOKENS` tokens that the model writes.
        length: N, tokens of a request; None takes the run's `generation.length`.
        engine: `auto`, `numpy` or `tensorflow`.
        requests: warm ones of each kind. cold_starts: fresh processes.
        batches: how many texts side by side.
        now: seconds on a clock that never goes back. start: runs a command of this program.

    Raises:
        UsageError: fewer than two tokens, or fewer than one request, cold start or text.
        RunError: the run has no weights, or a cold start fails.
    """
    length = run.settings.generation.length if length is None else length
    check_length(length)
    if min(requests, cold_starts, *batches) < 1:
        raise UsageError(
            f"expected at least 1 request, cold start and text, received {requests}, "
            f"{cold_starts} and {min(batches)}."
        )
    tokenizer = run.load_tokenizer()
    session = _Session(tokenizer, _plan_requests(run, tokenizer, length), now)
    loaded = make_engine(run, engine, rows=1, tokens=length)
    if prompt is None:
        prompt = _write_prompt(loaded, session)
    plain, spans = _Requests(), _Requests()
    session.request(loaded, prompt, _Requests())  # brings the weights into order, and is not told
    for _ in range(requests):
        session.request(loaded, prompt, plain)
        session.request_with_spans(loaded, prompt, spans)
    return InferenceCycle(
        engine=_name_engine(loaded),
        prompt_tokens=plain.prompt_tokens,
        new_tokens=length,
        load=_measure_load(run.path, engine, length, now, requests),
        cold_first_token=_measure_cold_starts(run, prompt, engine, cold_starts, now, start),
        prefill=Durations(tuple(spans.prefill_s)),
        first_token=Durations(tuple(plain.first_token_s)),
        per_output_token=Durations(tuple(plain.per_output_token_s)),
        between_tokens=Durations(tuple(plain.gaps_s)),
        step=Durations(tuple(spans.parts_s["step"])),
        sampling=Durations(tuple(spans.parts_s["sampling"])),
        decoding=Durations(tuple(spans.parts_s["decoding"])),
        tokens_per_s={
            rows: _measure_rate(run, engine, session, prompt, rows, requests) for rows in batches
        },
    )


def check_length(length: int) -> None:
    """Raise UsageError where a request has no token after the first."""
    if length < SHORTEST:
        raise UsageError(
            f"length: expected at least {SHORTEST} tokens, the first and one after it, "
            f"received {length}."
        )


@dataclass
class _Requests:
    """What requests took."""

    prompt_tokens: int = 0
    first_token_s: list[float] = field(default_factory=list)
    per_output_token_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)
    prefill_s: list[float] = field(default_factory=list)
    parts_s: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "sampling": [], "decoding": []}
    )


@dataclass(frozen=True)
class _Session:
    """Requests with one tokenizer and one way of choosing."""

    tokenizer: Tokenizer
    plan: SamplingPlan
    now: Clock

    def request(self, engine: Engine, prompt: str, taken: _Requests, samples: int = 1) -> Decoder:
        """One request, undisturbed; its times are added to `taken`."""
        began = self.now()
        decoder = Decoder(engine, self.tokenizer, self.plan, prompt, samples=samples, now=self.now)
        ends_s = [self.now() for _ in decoder.advance()]
        self._add(decoder, began, ends_s, taken)
        return decoder

    def request_with_spans(self, engine: Engine, prompt: str, taken: _Requests) -> None:
        """One request whose parts are timed token by token."""
        clock = StageClock(self.now)
        decoder = _SpannedDraft(
            _SpannedEngine(engine, clock), self.tokenizer, self.plan, prompt, clock
        )
        spans = clock.take()
        taken.prefill_s.append(spans["prefill"])
        for _ in decoder.advance():
            for part, seconds in clock.take().items():
                taken.parts_s[part].append(seconds)

    def _add(self, decoder: Decoder, began: float, ends_s: list[float], taken: _Requests) -> None:
        first, last = ends_s[0], ends_s[-1]
        rounds = len(ends_s) - 1
        emitted = sum(len(sample.ids) for sample in decoder.samples)
        taken.prompt_tokens = decoder.measure().prompt_tokens
        taken.first_token_s.append(first - began)
        taken.per_output_token_s.append((last - first) / rounds)
        taken.gaps_s += np.diff(ends_s).tolist()
        taken.tokens_per_s.append((emitted - len(decoder.samples)) / (last - first))


class _SpannedEngine:
    """An engine whose work is counted on a clock."""

    def __init__(self, engine: Engine, clock: StageClock) -> None:
        self._engine, self._clock = engine, clock

    def reset(self) -> None:
        self._engine.reset()

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        with self._clock.measure("prefill"):
            return self._engine.prefill(ids)

    def read(self, ids: np.ndarray) -> np.ndarray:
        with self._clock.measure("prefill"):
            return self._engine.read(ids)

    def step(self, ids: np.ndarray) -> np.ndarray:
        with self._clock.measure("step"):
            return self._engine.step(ids)

    def select_rows(self, rows: Sequence[int]) -> None:
        self._engine.select_rows(rows)


class _SpannedDraft(Decoder):
    """A decoder whose choices and whose writing are counted on a clock."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        plan: SamplingPlan,
        prompt: str,
        clock: StageClock,
    ) -> None:
        self._clock = clock
        super().__init__(engine, tokenizer, plan, prompt, now=lambda: 0.0)

    def _sample(self, logits: np.ndarray) -> np.ndarray:
        with self._clock.measure("sampling"):
            return super()._sample(logits)

    def _push(self, n: int, token: int) -> None:
        with self._clock.measure("decoding"):
            super()._push(n, token)


def _plan_requests(run: Run, tokenizer: Tokenizer, length: int) -> SamplingPlan:
    """The run's own way of choosing, for texts of exactly `length` tokens."""
    changes = {"length": length, "stop": [], "beams": 1}
    settings: GenerationSettings = run.settings.generation.model_copy(update=changes)
    plan = make_plan(settings, tokenizer)
    ends = () if tokenizer.settings.level == "word" else (tokenizer.eos_id,)
    banned = tuple(dict.fromkeys((*plan.banned, *ends)))
    if len(banned) >= tokenizer.vocab_size:
        raise UsageError(
            "every token but the end of the text is banned, so no text has the length that is to "
            "be timed: shorten generation.ban."
        )
    return replace(plan, banned=banned)


def _write_prompt(engine: Engine, session: _Session) -> str:
    """A text that the model writes after nothing."""
    settings = session.plan.settings.model_copy(update={"length": PROMPT_TOKENS, "seed": 1})
    writing = replace(session, plan=replace(session.plan, settings=settings))
    return writing.request(engine, "", _Requests()).samples[0].text


def _measure_load(path: Path, engine: str, length: int, now: Clock, repeats: int) -> Durations:
    """From the path of a run to an engine that is ready, again and again."""
    taken = []
    for _ in range(repeats):
        began = now()
        run = open_run(path)
        run.load_tokenizer()
        make_engine(run, engine, rows=1, tokens=length)
        taken.append(now() - began)
    return Durations(tuple(taken))


def _measure_cold_starts(
    run: Run, prompt: str, engine: str, cold_starts: int, now: Clock, start: StartProcess
) -> Durations:
    """From the start of a process to its first token.

    As the process itself reports it, to a hundredth of a second; where the system does not tell a
    process when it was started, until the process has ended.
    """
    arguments = ["generate", str(run.path), "--prompt-file", "-", "--length", "1", "--beams", "1"]
    taken = []
    for _ in range(cold_starts):
        began = now()
        report = json.loads(start([*arguments, "--engine", engine, "--json"], f"{prompt}\n"))
        whole_s = now() - began
        first_token_s = report["times"]["first_token_from_start_s"]
        taken.append(whole_s if first_token_s is None else float(first_token_s))
    return Durations(tuple(taken))


def _measure_rate(
    run: Run, engine: str, session: _Session, prompt: str, rows: int, requests: int
) -> float:
    """Tokens a second of `rows` texts side by side, from their first tokens on."""
    loaded = make_engine(run, engine, rows=rows, tokens=session.plan.settings.length)
    session.request(loaded, prompt, _Requests(), samples=rows)
    taken = _Requests()
    for _ in range(min(requests, 5)):
        session.request(loaded, prompt, taken, samples=rows)
    return median(taken.tokens_per_s)


def _name_engine(engine: Engine) -> str:
    return type(engine).__name__.removesuffix("Engine").lower()
