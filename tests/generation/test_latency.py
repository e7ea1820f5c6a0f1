"""The times of a request, from readings of a clock."""

from __future__ import annotations

from llm_timecycle.generation.latency import summarize_times


def test_figures_by_hand() -> None:
    # Read from 10 to 12; tokens at 13, then 1, 1, 1 and 5 later, two samples side by side.
    times = summarize_times(
        10.0, 12.0, [13.0, 14.0, 15.0, 16.0, 21.0], prompt_tokens=100, tokens=10
    )
    assert (times.prompt_s, times.prompt_tokens_per_s) == (2.0, 50.0)
    assert (times.first_token_s, times.wall_s) == (3.0, 11.0)
    assert times.tokens_per_s == 10 / 9
    assert times.token_median_s == 1.0
    # Of four gaps, the 95th percentile is at index 2.85 of 0 to 3: 1 + 0.85 * 4.
    assert times.token_p95_s is not None
    assert round(times.token_p95_s, 9) == 4.4
    assert times.token_p99_s is not None
    assert round(times.token_p99_s, 9) == 4.88


def test_one_token_has_no_token_after_it() -> None:
    times = summarize_times(0.0, 1.0, [1.5], prompt_tokens=1, tokens=1)
    assert (times.first_token_s, times.tokens_per_s) == (1.5, 2.0)
    assert (times.token_median_s, times.token_p95_s, times.token_p99_s) == (None, None, None)


def test_no_token_has_no_times() -> None:
    times = summarize_times(0.0, 0.0, [], prompt_tokens=1, tokens=0)
    assert (times.first_token_s, times.tokens_per_s, times.prompt_tokens_per_s) == (None,) * 3
