"""Where the time of a request goes: from a cold start to the first token, and each token after it.

`render.rows.INFERENCE_DEFINITIONS` says what each time means.

N counts the ids that were emitted; no text is tokenized again to count them. The end of a text is
banned and stop sequences are ignored, so every request emits N. Requests with an observer, which
the parts come from, alternate with requests without, which everything else comes from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.decoding import DecodeObserver, DecodePart, Decoder
from llm_timecycle.generation.engines.cached_engine import add_cache
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.generation.sample import SampleRequest
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.profiling.measure.interleave import Clock, interleave
from llm_timecycle.profiling.measure.subprocesses import explain_failure, run_module
from llm_timecycle.profiling.results import Durations, InferenceCycle
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

StartProcess = Callable[[Sequence[str], str], str]

BATCHES = (1, 8, 32)
PROMPT_TOKENS = 32  # of the prompt that the model writes itself where none is given
SHORTEST = 2  # tokens of a request: the first, and one after it
BATCH_REQUESTS = 5  # at each batch size, at most


def start_process(arguments: Sequence[str], text: str) -> str:
    """What a process of this program writes to stdout, given `text` on stdin.

    Raises:
        RunError: the process fails.
    """
    done = run_module("llm_timecycle", arguments, text)
    if done.returncode:
        raise RunError(f"a cold start of the run failed: {explain_failure(done)}")
    return done.stdout


def measure_inference(
    run: Run,
    *,
    prompt: str | None = None,
    requests: int = 10,
    cold_starts: int = 3,
    batches: Sequence[int] = BATCHES,
    now: Clock = time.perf_counter,
    start: StartProcess = start_process,
) -> InferenceCycle:
    """Time requests to a trained run.

    Args:
        prompt: the text to continue; None takes `PROMPT_TOKENS` tokens of the model's own.
        requests: with a loaded engine, of each kind. cold_starts: new processes.
        batches: batch sizes, texts generated together.
        now: seconds on a clock that never goes back. start: runs a command of this program.

    Raises:
        UsageError: the run's `generation.length` is below two tokens.
        RunError: the run has no weights, or a cold start fails.
    """
    length = run.settings.generation.length
    check_length(length)
    tokenizer = run.load_tokenizer()
    session = _Session(tokenizer, _plan_requests(run, tokenizer), now)
    loaded = make_engine(run, "auto", rows=1, tokens=length)
    if prompt is None:
        prompt = _write_prompt(loaded, session)
    plain, parts = _RequestTimes(), _PartTimes(now)
    request = partial(session.request, loaded, prompt)
    request(_RequestTimes())  # warms up
    kinds: dict[str, Callable[[], object]] = {
        "plain": partial(request, taken=plain),
        "observed": partial(request, taken=_RequestTimes(), observer=parts),
    }
    interleave(kinds, requests, now=now)
    return InferenceCycle(
        engine=type(loaded).__name__.removesuffix("Engine").lower(),
        prompt_tokens=plain.prompt_tokens,
        new_tokens=length,
        load=_measure_load(run.path, length, now, requests),
        cold_first_token=_measure_cold_starts(run, prompt, cold_starts, now, start),
        prefill=parts.get("prefill"),
        first_token=Durations(tuple(plain.first_token_s)),
        per_output_token=Durations(tuple(plain.per_output_token_s)),
        between_tokens=Durations(tuple(plain.gaps_s)),
        step=parts.get("step"),
        sampling=parts.get("sampling"),
        decoding=parts.get("decoding"),
        tokens_per_s={
            rows: _measure_rate(run, session, prompt, rows, requests) for rows in batches
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
class _RequestTimes:
    """What requests without an observer took."""

    prompt_tokens: int = 0
    first_token_s: list[float] = field(default_factory=list)
    per_output_token_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)


class _PartTimes:
    """Observes requests: the seconds of each part of every token."""

    def __init__(self, now: Clock) -> None:
        self._now, self._began = now, 0.0
        self._parts_s: dict[DecodePart, list[float]] = {}

    def begin(self) -> None:
        self._began = self._now()

    def end(self, part: DecodePart) -> None:
        ended = self._now()
        self._parts_s.setdefault(part, []).append(ended - self._began)
        self._began = self._now()

    def get(self, part: DecodePart) -> Durations:
        return Durations(tuple(self._parts_s[part]))


@dataclass(frozen=True)
class _Session:
    """Requests with one tokenizer and one sampling plan."""

    tokenizer: Tokenizer
    plan: SamplingPlan
    now: Clock

    def request(
        self,
        engine: Engine,
        prompt: str,
        taken: _RequestTimes,
        samples: int = 1,
        observer: DecodeObserver | None = None,
    ) -> Decoder:
        """One request; its times are added to `taken`, those of its parts are for the observer."""
        began = self.now()
        decoder = Decoder(
            add_cache(engine, self.plan.settings), self.tokenizer, self.plan,
            [SampleRequest(prompt, number) for number in range(samples)],
            now=self.now, observer=observer,
        )  # fmt: skip
        ends_s = [self.now() for _ in decoder.advance()]
        first, last = ends_s[0], ends_s[-1]
        emitted = sum(len(sample.ids) for sample in decoder.samples)
        taken.prompt_tokens = decoder.measure().prompt_tokens
        taken.first_token_s.append(first - began)
        taken.per_output_token_s.append((last - first) / (len(ends_s) - 1))
        taken.gaps_s += np.diff(ends_s).tolist()
        taken.tokens_per_s.append((emitted - len(decoder.samples)) / (last - first))
        return decoder


def _plan_requests(run: Run, tokenizer: Tokenizer) -> SamplingPlan:
    """The run's sampling, for texts of exactly the length that its settings name."""
    changes = {"stop": [], "beams": 1}
    settings: GenerationSettings = run.settings.generation.model_copy(update=changes)
    plan = make_plan(settings, tokenizer)
    ends = (tokenizer.eos_id,) if tokenizer.does_eos_end_documents else ()
    banned = tuple(dict.fromkeys((*plan.banned, *ends)))
    if len(banned) >= tokenizer.vocab_size:
        raise UsageError(
            "every token but the end of the text is banned, so no text can reach the length "
            "to time: shorten generation.ban."
        )
    return replace(plan, banned=banned)


def _write_prompt(engine: Engine, session: _Session) -> str:
    """A text that the model writes without a prompt."""
    settings = session.plan.settings.model_copy(update={"length": PROMPT_TOKENS, "seed": 1})
    writing = replace(session, plan=replace(session.plan, settings=settings))
    return writing.request(engine, "", _RequestTimes()).samples[0].text


def _measure_load(path: Path, length: int, now: Clock, repeats: int) -> Durations:
    """From the path of a run to an engine that is ready."""

    def load() -> None:
        run = open_run(path)
        run.load_tokenizer()
        make_engine(run, "auto", rows=1, tokens=length)

    return Durations(interleave({"load": load}, repeats, now=now)["load"])


def _measure_cold_starts(
    run: Run, prompt: str, cold_starts: int, now: Clock, start: StartProcess
) -> Durations:
    """From the start of a process to its first token.

    As the process itself reports it, to a hundredth of a second; where the system does not tell a
    process when it was started, until the process has ended.
    """
    options = "--prompt-file - --length 1 --beams 1 --json"
    reported_s: list[float | None] = []

    def start_cold() -> None:
        report = json.loads(start(["generate", str(run.path), *options.split()], f"{prompt}\n"))
        reported_s.append(report["times"]["first_token_from_start_s"])

    whole_s = interleave({"start": start_cold}, cold_starts, now=now)["start"]
    pairs = zip(reported_s, whole_s, strict=True)
    return Durations(tuple(whole if first is None else float(first) for first, whole in pairs))


def _measure_rate(run: Run, session: _Session, prompt: str, rows: int, requests: int) -> float:
    """Tokens a second of `rows` texts together, from their first tokens on."""
    loaded = make_engine(run, "auto", rows=rows, tokens=session.plan.settings.length)
    session.request(loaded, prompt, _RequestTimes(), samples=rows)  # warms up
    taken = _RequestTimes()
    request = partial(session.request, loaded, prompt, taken, samples=rows)
    interleave({"request": request}, min(requests, BATCH_REQUESTS), now=session.now)
    return median(taken.tokens_per_s)
