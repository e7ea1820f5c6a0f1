"""Latency of generation: the prompt, the time to first token, the gaps between tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GenerationTimes:
    """The times of one request; None if there are too few tokens to measure one."""

    prompt_tokens: int
    """Tokens of the prompt that were read."""
    prompt_s: float
    """From the request to the logits after the prompt."""
    first_token_s: float | None
    """TTFT: from the request until every sample has its first token."""
    tokens: int
    """Generated tokens, over all samples."""
    wall_s: float
    """From the request to the last token."""
    token_median_s: float | None
    """Median ITL: the gap from one token to the next; samples are decoded together."""
    token_p95_s: float | None
    """95th percentile of the ITL."""
    token_p99_s: float | None
    """99th percentile of the ITL."""

    @property
    def prompt_tokens_per_s(self) -> float | None:
        """Prompt tokens over the time until the logits after the prompt."""
        return self.prompt_tokens / self.prompt_s if self.prompt_s > 0 else None

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens of all samples over the time from the end of the prompt to the last token."""
        decoding_s = self.wall_s - self.prompt_s
        return self.tokens / decoding_s if self.tokens and decoding_s > 0 else None


def summarize_times(
    request_s: float,
    prompt_end_s: float,
    token_ends_s: Sequence[float],
    *,
    prompt_tokens: int,
    tokens: int,
) -> GenerationTimes:
    """The times of a request, from readings of one clock.

    >>> times = summarize_times(1.0, 3.0, [4.0, 5.0, 7.0], prompt_tokens=8, tokens=3)
    >>> times.prompt_tokens_per_s, times.first_token_s, times.token_median_s, times.tokens_per_s
    (4.0, 3.0, 1.5, 0.75)

    Args:
        request_s: when it started. prompt_end_s: when the logits after the prompt were known.
        token_ends_s: each time when every unfinished sample had one more token, ascending.
        prompt_tokens: tokens read. tokens: tokens generated.
    """
    gaps_s = np.diff(np.asarray(token_ends_s, np.float64))
    quantiles: list[float | None] = [None, None, None]
    if len(gaps_s):
        quantiles = np.percentile(gaps_s, [50, 95, 99]).tolist()
    return GenerationTimes(
        prompt_tokens,
        prompt_end_s - request_s,
        token_ends_s[0] - request_s if len(token_ends_s) else None,
        tokens,
        (token_ends_s[-1] if len(token_ends_s) else prompt_end_s) - request_s,
        *quantiles,
    )
