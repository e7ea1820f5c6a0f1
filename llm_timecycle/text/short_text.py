"""Texts that are too short for their settings: what to say, and the settings that would fit."""

from __future__ import annotations

from collections.abc import Mapping

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.validation import SHORTEST_VARIED
from llm_timecycle.errors import ShortTextError

TOKENS_AT_LEAST = 2
"""Of a part: one to predict, and one to predict it from."""
STEPS_PER_EPOCH = 8
"""Where lanes are cut to fit a small text, each has at least these windows."""
SMALLEST_BATCH = 4
SHORTEST_WINDOW = 8
"""Both shrink below these only where nothing else is left to shrink."""


def check_lengths(
    settings: Settings, names: Mapping[str, str], tokens: Mapping[str, int], *, is_trained: bool
) -> None:
    """Check every part of a text at once.

    Args:
        names: of the corpora "train", "valid" and "test", where there are such parts.
        tokens: in each of them.
        is_trained: whether the first part must have enough for a training step too.

    Raises:
        ShortTextError: a part is too short.
    """
    B, T = settings.training.batch_size, settings.training.sequence_length
    step = B * T + 1
    problems = []
    if is_trained and TOKENS_AT_LEAST <= tokens["train"] < step:
        problems.append(
            f"{names['train']} is too short: one training step takes {step:,} tokens (batch_size "
            f"{B} x sequence_length {T} + 1), and it has {tokens['train']:,}"
        )
    for part, found in tokens.items():
        if found < TOKENS_AT_LEAST:
            count = "1 token" if found == 1 else f"{found} tokens"
            problems.append(
                f"{names[part]} is too short: it has {count}; expected at least {TOKENS_AT_LEAST}"
            )
    if problems:
        raise ShortTextError("; ".join(problems), find_changes(settings, tokens, is_trained))


def find_changes(settings: Settings, tokens: Mapping[str, int], is_trained: bool) -> dict[str, str]:
    """The settings, by dotted path, with which a text that is too short is not; none if none do."""
    changes = {}
    left = tokens["train"]
    for part in ("valid", "test"):
        is_short = tokens.get(part, TOKENS_AT_LEAST) < TOKENS_AT_LEAST
        if getattr(settings.data, part) is not None:  # a text that the user chose
            if is_short:
                return {}
            continue
        if part not in tokens or not (is_short or tokens["train"] < TOKENS_AT_LEAST):
            continue
        changes[f"data.{part}_fraction"] = "0"
        left += tokens[part]
    if left < TOKENS_AT_LEAST:
        return {}
    training = settings.training
    if "data.valid_fraction" in changes:
        changes |= {
            f"training.{key}": "null"
            for key in ("patience", "eval_every")
            if getattr(training, key) is not None
        }
        if training.schedule == "plateau":
            changes["training.schedule"] = "linear"
        if training.averaging != "none":
            changes["training.averaging"] = "none"
    if is_trained and left < training.batch_size * training.sequence_length + 1:
        B, T = fit_lanes(left, training.batch_size, training.sequence_length)
        fitting = {"batch_size": B, "sequence_length": T}
        if training.vary_sequence_length and T < SHORTEST_VARIED:
            changes["training.vary_sequence_length"] = "false"
        changes |= {
            f"training.{key}": str(value)
            for key, value in fitting.items()
            if value != getattr(training, key)
        }
    return changes


def fit_lanes(
    tokens: int,
    lanes: int,
    window: int,
    *,
    keeps_lanes: bool = False,
    keeps_window: bool = False,
    is_varied: bool = False,
) -> tuple[int, int]:
    """Lanes (B) and window (T), halved until each lane of a text has `STEPS_PER_EPOCH` windows.

    Args:
        tokens: of the training text.
        lanes, window: where to begin.
        keeps_lanes, keeps_window: whether they stay as they are.
        is_varied: whether the window's length varies, for which it must not be too short.

    >>> fit_lanes(500, 64, 32)
    (4, 8)
    """
    shortest = SHORTEST_VARIED if is_varied else 1
    floors = ((SMALLEST_BATCH, max(SHORTEST_WINDOW, shortest)), (1, shortest))
    for least_lanes, least_window in floors:
        while tokens < lanes * window * STEPS_PER_EPOCH:
            if lanes > least_lanes and not keeps_lanes:
                lanes //= 2
            elif window // 2 >= least_window and not keeps_window:
                window //= 2
            else:
                break
    return lanes, window
