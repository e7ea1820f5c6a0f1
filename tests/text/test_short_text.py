"""Texts too short for their settings: one message, and settings that do fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.settings import Settings, TrainingSettings
from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import ShortTextError
from llm_timecycle.text.short_text import check_lengths, find_changes, fit_lanes

NAMES = {"train": "the training part", "valid": "the validation part", "test": "held.txt"}


def make_settings(B: int = 16, T: int = 32, **data: str | float) -> Settings:
    return Settings(
        data=DataSettings(**data),  # type: ignore[arg-type]
        training=TrainingSettings(batch_size=B, sequence_length=T, patience=3),
    )


def check(settings: Settings, *, is_trained: bool = True, **tokens: int) -> None:
    check_lengths(settings, NAMES, tokens, is_trained=is_trained)


def test_all_that_is_too_short_is_said_at_once() -> None:
    with pytest.raises(ShortTextError) as caught:
        check(make_settings(), train=300, valid=0, test=2)
    assert caught.value.problem == (
        "the training part is too short: one training step takes 513 tokens (batch_size 16 x "
        "sequence_length 32 + 1), and it has 300; the validation part is too short: it has 0 "
        "tokens; expected at least 2"
    )
    assert caught.value.changes == {
        "data.valid_fraction": "0",
        "training.patience": "null",  # it needs a validation text
        "training.batch_size": "4",
        "training.sequence_length": "8",
    }
    assert str(caught.value).endswith("training.batch_size=4, training.sequence_length=8")


def test_what_the_fitting_settings_do_not_allow_is_turned_off() -> None:
    training = {"averaging": "triggered", "vary_sequence_length": True}
    settings = make_settings().model_copy(
        update={"training": TrainingSettings(batch_size=16, sequence_length=32, **training)}
    )
    with pytest.raises(ShortTextError) as caught:
        check(settings, train=300, valid=0, test=2)
    changes = caught.value.changes
    assert (changes["training.averaging"], changes["training.vary_sequence_length"]) == (
        "none",
        "false",
    )
    assert changes["training.sequence_length"] == "8"


def test_exactly_one_step_is_enough() -> None:
    check(make_settings(), train=513, valid=2, test=2)
    with pytest.raises(ShortTextError, match="it has 512"):
        check(make_settings(), train=512)


def test_a_text_that_is_only_scored_needs_no_step() -> None:
    check(make_settings(), is_trained=False, train=2, valid=2)
    with pytest.raises(ShortTextError, match="validation part is too short: it has 1 token;"):
        check(make_settings(), is_trained=False, train=2, valid=1)


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        (make_settings(), {"train": 1}),
        (make_settings(), {"train": 0, "valid": 1}),
        (make_settings(test="held.txt"), {"train": 9000, "test": 1}),  # the user's own choice
    ],
)
def test_where_only_a_longer_text_helps_nothing_else_is_advised(settings, tokens) -> None:
    with pytest.raises(ShortTextError, match=r"Use a longer text$") as caught:
        check(settings, **tokens)
    assert caught.value.changes == {}


def test_plateau_needs_validation() -> None:
    training = TrainingSettings(schedule="plateau", eval_every=5)
    changes = find_changes(Settings(training=training), {"train": 5000, "valid": 1}, True)
    assert changes == {
        "data.valid_fraction": "0",
        "training.eval_every": "null",
        "training.schedule": "linear",
    }


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (64 * 32 * 8, (64, 32)),
        (64 * 32 * 8 - 1, (32, 32)),
        (4 * 32 * 8 - 1, (4, 16)),
        (4 * 8 * 8 - 1, (2, 8)),
        (1 * 8 * 8 - 1, (1, 4)),
        (1, (1, 1)),
    ],
)
def test_lanes_shrink_before_windows_and_both_to_one(tokens, expected) -> None:
    assert fit_lanes(tokens, 64, 32) == expected


def test_what_is_kept_stays() -> None:
    assert fit_lanes(100, 64, 32, keeps_lanes=True) == (64, 1)
    assert fit_lanes(100, 64, 32, keeps_window=True) == (1, 32)


def test_a_window_that_varies_stays_long_enough_to_vary() -> None:
    assert fit_lanes(500, 64, 32, is_varied=True) == (2, 16)
    assert fit_lanes(100, 64, 32, is_varied=True) == (1, 16)


@given(st.integers(2, 10_000), st.integers(1, 300), st.integers(1, 300))
def test_what_is_advised_fits(tokens: int, B: int, T: int) -> None:
    settings = make_settings(B, T)
    changes = find_changes(settings, {"train": tokens}, True)
    fitting = {
        key: int(changes.get(f"training.{key}", getattr(settings.training, key)))
        for key in ("batch_size", "sequence_length")
    }
    assert fitting["batch_size"] * fitting["sequence_length"] + 1 <= tokens
    assert (changes == {}) == (tokens >= B * T + 1)
