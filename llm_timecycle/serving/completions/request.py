"""POST /v1/completions: from the body to what is to be written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from llm_timecycle.errors import DataError
from llm_timecycle.generation.decoding import SEED_BYTES
from llm_timecycle.generation.sample import encode_prompt
from llm_timecycle.serving.completions.fields import (
    Body,
    read_flag,
    read_ids,
    read_text,
    read_whole,
)
from llm_timecycle.serving.completions.sampling import Drawing
from llm_timecycle.serving.errors import ApiError, refuse_field, show
from llm_timecycle.serving.models import ServedModel
from llm_timecycle.serving.writing.jobs import Prompt
from llm_timecycle.serving.writing.written_text import WritingPlan

DEFAULT_MAX_TOKENS = 16
LOGPROBS_AT_MOST = 100
TEXTS_AT_MOST = 128
STOPS_AT_MOST = 1000
SEED_AT_MOST = 2**63 - 1
SEED_DIGITS = "^[0-9]{1,19}$"

UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "suffix": (None, ""),
    "response_format": (None, {"type": "text"}),
    "grammar": (None, ""),
    "json_schema": (None,),
    "guided_json": (None,),
    "guided_regex": (None,),
    "guided_choice": (None,),
    "guided_grammar": (None,),
    "structured_outputs": (None,),
    "use_beam_search": (None, False),
    "beams": (None, 1),
    "cache": (None, 0, 0.0, False),
    "mirostat": (None, 0),
    "prompt_embeds": (None,),
    "truncate_prompt_tokens": (None,),
    "include_stop_str_in_output": (None, False),
    "logits_processors": (None, []),
}
"""Fields that would change the text, with the values that leave it as it is."""


@dataclass(frozen=True)
class Limits:
    """What a request may ask for."""

    max_tokens: int = 4096
    max_prompt_tokens: int = 100_000


@dataclass(frozen=True)
class CompletionRequest:
    """A checked request."""

    model: ServedModel
    prompts: tuple[Prompt, ...]
    n: int
    plan: WritingPlan
    echo: bool
    stream: bool
    includes_usage: bool
    """Whether a stream ends with a chunk of token counts."""
    includes_ids: bool
    """Whether the ids of tokens are returned."""
    includes_metrics: bool
    """Whether times are returned."""

    @property
    def is_scored(self) -> bool:
        """Whether the log-probabilities of the prompts are wanted."""
        return self.echo and self.plan.top_logprobs is not None


def parse_request(body: Body, model: ServedModel, limits: Limits) -> CompletionRequest:
    """Check every field of a body.

    Raises ApiError, which names the field.
    """
    refuse_unsupported(body, UNSUPPORTED)
    V = model.tokenizer.vocab_size
    n = read_whole(body, "n", 1, TEXTS_AT_MOST, default=1)
    best_of = read_whole(body, "best_of", 1, TEXTS_AT_MOST, default=n)
    if best_of > n:
        raise refuse_field(
            "best_of", best_of, f"n ({n}), because texts are not ranked: set n and choose yourself"
        )
    echo = read_flag(body, "echo")
    logprobs = None
    if body.get("logprobs") is not None:
        logprobs = read_whole(body, "logprobs", 0, LOGPROBS_AT_MOST, default=0)
    is_scored = echo and logprobs is not None
    prompts = _read_prompts(body.get("prompt"), model, limits, echo=echo, is_scored=is_scored)
    if len(prompts) * n > TEXTS_AT_MOST:
        raise ApiError(
            400,
            f"prompt: received {len(prompts)} prompts with n = {n}; expected at most "
            f"{TEXTS_AT_MOST} texts in one request",
            param="prompt",
        )
    stream = read_flag(body, "stream")
    return CompletionRequest(
        model,
        prompts,
        n,
        _read_plan(body, model, limits, logprobs, V),
        echo,
        stream,
        _read_stream_options(body, stream),
        read_flag(body, "return_token_ids"),
        read_flag(body, "metrics"),
    )


def refuse_unsupported(body: Body, unsupported: Mapping[str, tuple[object, ...]]) -> None:
    """Raise ApiError for a field that would change the text, where its value is not neutral."""
    for name, neutral in unsupported.items():
        value = body.get(name)
        if not any(value == each and type(value) is type(each) for each in neutral):
            raise ApiError(
                400,
                f"{name}: received {show(value)}; this server does not support {name}, and "
                f"ignoring it would change the text: leave it out",
                param=name,
                code="unsupported_parameter",
            )


def _read_prompts(
    value: object, model: ServedModel, limits: Limits, *, echo: bool, is_scored: bool
) -> tuple[Prompt, ...]:
    """One prompt or several: texts, lists of ids, or null, which begins a document."""
    if value is None or isinstance(value, str):
        each: list[object] = [value or ""]
    elif not isinstance(value, list):
        raise refuse_field("prompt", value, "a text, a list of texts, or token ids")
    elif not value:
        raise refuse_field("prompt", value, "at least one prompt; null begins a document")
    elif any(all(isinstance(item, kind) for item in value) for kind in (str, list)):
        each = value
    elif any(isinstance(item, (str, list)) for item in value):
        raise refuse_field(
            "prompt", value, "texts only, token ids only, or lists of token ids only"
        )
    else:
        each = [value]
    if len(each) > TEXTS_AT_MOST:
        raise refuse_field("prompt", f"{len(each)} prompts", f"at most {TEXTS_AT_MOST}")
    return tuple(_read_prompt(item, model, limits, echo=echo, is_scored=is_scored) for item in each)


def _read_prompt(
    value: object, model: ServedModel, limits: Limits, *, echo: bool, is_scored: bool
) -> Prompt:
    tokenizer = model.tokenizer
    if isinstance(value, str):
        text = read_text(value, "prompt")
        try:
            ids = encode_prompt(tokenizer, text)
        except DataError as error:
            raise ApiError(400, f"prompt: {error}", param="prompt") from error
    else:
        text = None
        read = read_ids(value, "prompt", tokenizer.vocab_size)
        ids = np.array(read or [tokenizer.eos_id], np.int64)
    if len(ids) > limits.max_prompt_tokens:
        raise ApiError(
            400,
            f"prompt: received {len(ids):,} tokens; expected at most {limits.max_prompt_tokens:,}",
            param="prompt",
            code="context_length_exceeded",
        )
    pieces: tuple[str, ...] = ()
    if is_scored or (echo and text is None):
        stream = tokenizer.stream()
        pieces = tuple(stream.push(id) for id in ids.tolist())
    shown = "".join(pieces) if text is None or is_scored else text  # offsets are into this
    return Prompt(ids.astype(np.int64), shown, pieces if is_scored else ())


def _read_stream_options(body: Body, stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise refuse_field("stream_options", options, 'an object, such as {"include_usage": true}')
    if not stream:
        raise refuse_field("stream_options", options, "none without stream")
    return read_flag(options, "include_usage")


def _read_plan(
    body: Body, model: ServedModel, limits: Limits, logprobs: int | None, V: int
) -> WritingPlan:
    most = limits.max_tokens
    max_tokens = read_whole(body, "max_tokens", 0, most, min(DEFAULT_MAX_TOKENS, most))
    min_tokens = read_whole(body, "min_tokens", 0, most, 0)
    if min_tokens > max_tokens:
        raise refuse_field("min_tokens", min_tokens, f"at most max_tokens, which is {max_tokens}")
    stop_ids = frozenset(
        []
        if body.get("stop_token_ids") is None
        else read_ids(body["stop_token_ids"], "stop_token_ids", V)
    )
    seed = _read_seed(body)
    drawing = Drawing(body, model)
    sampling = drawing.make_plan()
    return WritingPlan(
        sampling,
        drawing.make_early_plan(stop_ids) if min_tokens else sampling,
        int.from_bytes(os.urandom(SEED_BYTES), "big") if seed == -1 else seed,
        max_tokens,
        min_tokens,
        read_stop_texts(body),
        stop_ids,
        logprobs,
    )


def _read_seed(body: Body) -> int:
    """A whole number or its digits as a text: where numbers are floats, 2^53 is the largest."""
    value = body.get("seed")
    if isinstance(value, str) and re.fullmatch(SEED_DIGITS, value):
        body = {"seed": int(value)}
    return read_whole(body, "seed", -1, SEED_AT_MOST, -1)


def read_stop_texts(body: Body) -> tuple[str, ...]:
    """The texts before which a text ends.

    Raises ApiError, which names the field.
    """
    value = body.get("stop")
    if value is None:
        return ()
    stops = value if isinstance(value, list) else [value]
    if len(stops) > STOPS_AT_MOST:
        raise refuse_field("stop", f"{len(stops)} texts", f"at most {STOPS_AT_MOST}")
    texts = tuple(read_text(stop, "stop") for stop in stops)
    if "" in texts:
        raise refuse_field("stop", "", "texts of at least one character")
    return texts
