"""What a step takes of the memory: by hand, and what is refused before any is taken."""

from __future__ import annotations

import pytest

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import NotEnoughMemoryError
from llm_timecycle.training.budget.memory import (
    LEAST_SHARE,
    check_step_fits,
    estimate_step_bytes,
    estimate_weight_bytes,
)

SECTION5 = Settings(training=TrainingSettings(threads=2, precision="float32"))


def test_a_step_that_does_not_fit_is_refused_and_what_would_is_said() -> None:
    least = int(LEAST_SHARE * estimate_step_bytes(SECTION5, 10_000))
    check_step_fits(SECTION5, 10_000, least + 1)
    check_step_fits(SECTION5, 10_000, None)  # nobody knows
    # Half of the batch leaves out 64 / 2 x 50 tokens, far more than a byte.
    with pytest.raises(NotEnoughMemoryError, match=r"0\.8 GB .* used: training.accumulate=2 would"):
        check_step_fits(SECTION5, 10_000, least - 1)
    with pytest.raises(NotEnoughMemoryError, match=r"training\.batch_size=32 would"):
        check_step_fits(SECTION5, 10_000, least - 1, at_once=True)
    wide = SECTION5.model_copy(update={"model": ModelSettings(hidden_units=60_000)})
    # The weights alone are beyond it; those of H = 60,000 / 2^k are not, for some k.
    with pytest.raises(NotEnoughMemoryError, match=r"model.hidden_units=\d+ would fit"):
        check_step_fits(wide, 10_000, least)
    with pytest.raises(NotEnoughMemoryError, match="a smaller model would"):
        check_step_fits(SECTION5, 10_000, 1_000)


@pytest.mark.parametrize(
    ("accumulate", "workers", "lanes"), [(1, 1, 64), (4, 1, 16), (5, 1, 13), (1, 4, 16), (4, 2, 16)]
)
def test_a_step_takes_the_memory_of_the_lanes_that_are_computed_at_once(
    accumulate: int, workers: int, lanes: int
) -> None:
    grouped = SECTION5.training.model_copy(update={"accumulate": accumulate})
    fewer = SECTION5.training.model_copy(update={"batch_size": lanes})
    found, expected = (
        estimate_step_bytes(SECTION5.model_copy(update={"training": training}), 10_000, size)
        for training, size in ((grouped, workers), (fewer, 1))
    )
    assert found == expected


def test_a_size_that_would_contradict_other_settings_is_not_proposed() -> None:
    """A window of 8 tokens would fit too, and is too short to vary."""
    model = ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1)
    training = TrainingSettings(batch_size=1, sequence_length=16, precision="float32")
    for varies, change in ((False, "training.sequence_length=8"), (True, "model.hidden_units=4")):
        varied = training.model_copy(update={"vary_sequence_length": varies})
        with pytest.raises(NotEnoughMemoryError) as caught:
            check_step_fits(Settings(model=model, training=varied), 1_000_000, 430_000_000)
        assert caught.value.change == change


def test_the_memory_of_a_step_is_that_of_weights_and_activations() -> None:
    parameters = sum(
        rows * (columns[0] if columns else 1)
        for rows, *columns in compute_parameter_shapes(ModelSettings(), 10_000).values()
    )
    assert parameters == 11_364_112
    assert estimate_weight_bytes(SECTION5, 10_000) == 20 * parameters
    # Of a token: embedding 12 E, two layers of 60 H + 4 H, logits 12 V.
    token = 12 * 256 + 2 * 64 * 512 + 12 * 10_000
    expected = 170_000_000 + 20 * parameters + 64 * 50 * token
    assert estimate_step_bytes(SECTION5, 10_000) == expected
    half = SECTION5.training.model_copy(update={"precision": "mixed_bfloat16"})
    in_half = estimate_step_bytes(SECTION5.model_copy(update={"training": half}), 10_000)
    assert 0.6 * expected < in_half < expected
    sgd = SECTION5.training.model_copy(update={"optimizer": "sgd"})  # which keeps no moments
    no_moments = SECTION5.model_copy(update={"training": sgd})
    assert estimate_weight_bytes(no_moments, 10_000) == 12 * parameters
