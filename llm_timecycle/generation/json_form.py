"""The JSON object of `generate --json`; `FORMAT_VERSION` names its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.generator import GeneratedText, find_unknown_tokens
from llm_timecycle.generation.latency import GenerationTimes
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

FORMAT_VERSION = 1


def describe_generation(
    *,
    run: str,
    engine: Engine,
    tokenizer: Tokenizer,
    settings: GenerationSettings,
    seed: int | None,
    prompt: str,
    texts: Sequence[GeneratedText],
    times: GenerationTimes,
    load_s: float,
    request_age_s: float | None,
) -> dict[str, Any]:
    """Everything about one request, as values that JSON can hold.

    Args:
        seed: the seed of the draws; None after a beam search.
        load_s: the time to open the run and load its weights.
        request_age_s: the age of the process when the request started; None if unknown.
    """
    unknown, unknown_tokens = find_unknown_tokens(tokenizer, prompt)
    first_s = times.first_token_s
    from_start_s = None if None in (request_age_s, first_s) else request_age_s + first_s  # type: ignore[operator]
    return {
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "run": run,
        "engine": type(engine).__name__.removesuffix("Engine").lower(),
        "settings": {**settings.model_dump(), "seed": seed},
        "prompt": {
            "text": prompt,
            "tokens": times.prompt_tokens,
            "unknown": unknown,
            "unknown_tokens": unknown_tokens,
        },
        "samples": [describe_text(text) for text in texts],
        "times": {
            "load_s": load_s,
            "prompt_s": times.prompt_s,
            "prompt_tokens_per_s": times.prompt_tokens_per_s,
            "first_token_s": first_s,
            "first_token_from_start_s": from_start_s,
            "token_median_s": times.token_median_s,
            "token_p95_s": times.token_p95_s,
            "token_p99_s": times.token_p99_s,
            "tokens_per_s": times.tokens_per_s,
        },
    }


def describe_text(text: GeneratedText) -> dict[str, Any]:
    """One generated text, as values that JSON can hold."""
    return {
        "text": text.text,
        "ids": list(text.ids),
        "log_probabilities": list(text.log_probabilities or ()),
        "top_log_probabilities": [
            [ranked._asdict() for ranked in place] for place in text.top_log_probabilities or ()
        ],
        "finish_reason": text.finish_reason,
    }
