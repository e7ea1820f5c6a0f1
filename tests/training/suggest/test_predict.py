"""Predictions: hand-computed literals, the steps that were measured, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.training.suggest.calibration import LOSS_CURVES, LossCurve, StepCost
from llm_timecycle.training.suggest.predict import (
    MachineSpeed,
    count_lstm_weights,
    count_product_weights,
    predict_loss,
    predict_step_s,
)

SPEED = MachineSpeed("mixed_bfloat16", 1.2e12, cores=2)


def make_model(H: int, E: int, tied: bool = False) -> ModelSettings:
    return ModelSettings(hidden_units=H, embedding_dim=E, tie_embeddings=tied)


def test_the_weights_that_a_token_is_multiplied_with() -> None:
    layers = 4 * 6 * (4 + 6) + 4 * 6 * (6 + 6)
    assert count_product_weights(make_model(6, 4), 10) == layers + 6 * 10
    assert count_product_weights(make_model(6, 4, tied=True), 10) == layers + 6 * 4 + 4 * 10


def test_the_lstm_weights_leave_out_embedding_and_output() -> None:
    layers = 4 * 6 * (4 + 6) + 4 * 6 * (6 + 6)
    assert count_lstm_weights(make_model(6, 4)) == layers
    assert count_lstm_weights(make_model(6, 4, tied=True)) == layers  # nor the projection


def test_a_step_counted_by_hand() -> None:
    cost = StepCost(0.5, 1.0, 0.1, 0.01, 0.001, cores=4)
    speed = MachineSpeed("float32", 1_000.0, cores=2)
    model = ModelSettings(hidden_units=2, embedding_dim=1, num_layers=1)
    # B 2, T 3, V 5: 4 x 2 (1 + 2) + 2 x 5 = 34 product weights, 16 recurrent, 52 parameters
    expected = 6 * 6 * 34 / (0.5 * 1_000) + 3 * (1.0 + 0.1 * 16) + 0.01 * 52 + 0.001 * 30 * 2
    assert predict_step_s(model, 5, 2, 3, speed, cost) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("model", "V", "B", "T", "measured_tokens_per_s"),
    [
        (make_model(128, 64), 65, 64, 32, 145_800),
        (make_model(256, 128), 65, 64, 32, 72_200),
        (make_model(512, 256), 65, 64, 32, 22_000),
        (make_model(512, 256), 65, 32, 32, 14_900),
        (make_model(512, 256), 65, 64, 16, 19_900),
        (make_model(1024, 512), 65, 64, 32, 6_200),
        (make_model(512, 512, tied=True), 10_000, 64, 32, 9_460),
        (make_model(512, 512, tied=True), 33_278, 64, 32, 3_800),
    ],
)
def test_measured_steps(
    model: ModelSettings, V: int, B: int, T: int, measured_tokens_per_s: float
) -> None:
    predicted = B * T / predict_step_s(model, V, B, T, SPEED)
    assert predicted == pytest.approx(measured_tokens_per_s, rel=0.1)


def test_a_loss_computed_by_hand() -> None:
    curve = LossCurve(1.0, 10.0, 0.5, 20.0, 0.5, 0.1, 1.0, repeats=1.0)
    # one epoch: every token is new
    expected = 1.0 + 10 / 5 + 20 / 20 + 0.1 * (100 * 1 / 400)
    assert predict_loss(25, 100, 400, 400, curve) == pytest.approx(expected)
    # two: the second is worth 1 - 1 / e of the first
    expected = 1.0 + 2.0 + 20 / (400 * 1.6321205588) ** 0.5 + 0.1 * (100 * 2 / 400)
    assert predict_loss(25, 100, 800, 400, curve) == pytest.approx(expected)


@settings(max_examples=60)
@given(
    level=st.sampled_from(sorted(LOSS_CURVES)),
    lstm_weights=st.floats(1e4, 1e8),
    embedding_weights=st.floats(0.0, 1e8),
    tokens=st.floats(1e4, 1e9),
    text_tokens=st.floats(1e3, 1e8),
)
def test_more_text_never_predicts_a_higher_loss(
    level: str, lstm_weights: float, embedding_weights: float, tokens: float, text_tokens: float
) -> None:
    curve = LOSS_CURVES[level]
    weights = (lstm_weights, lstm_weights + embedding_weights)
    loss = predict_loss(*weights, tokens, text_tokens, curve)
    assert loss > curve.floor
    assert predict_loss(*weights, tokens, 2 * text_tokens, curve) <= loss
