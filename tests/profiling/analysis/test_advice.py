"""Advice: each piece from planted figures, its saving computed by hand.

`scripts/check_advice.py` follows it on the real thing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llm_timecycle.config.settings import (
    ModelSettings,
    Settings,
    TokenizerSettings,
    TrainingSettings,
)
from llm_timecycle.profiling.analysis.advice import give_advice
from llm_timecycle.profiling.analysis.flops import count_step_costs
from llm_timecycle.profiling.analysis.power_law import fit_growth
from llm_timecycle.profiling.analysis.what_if import StepModel
from llm_timecycle.profiling.results import (
    Advice,
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    Sweep,
    TrainingCycle,
)

# V 4000, E 2, H 4, one layer, 10 tokens a step.
V = 4_000
SETTINGS = Settings(
    tokenizer=TokenizerSettings(level="word", vocab_size=V),
    model=ModelSettings(embedding_dim=2, hidden_units=4, num_layers=1),
    training=TrainingSettings(batch_size=2, sequence_length=5, precision="float32", threads=1),
)
# Weights: V E + (E + H + 1) 4 H + H V + V = 8000 + 112 + 16000 + 4000.
WEIGHTS = 28_112
# Products of a token, forward: output 2 H V = 32000, so 320000 a step; LSTM 2 (2 + 4) 16 = 192.
OUTPUT_PRODUCTS = 320_000
PEAK = 3_200_000.0  # the output's forward products take 0.1 s, its backward ones 0.2 s


def same(seconds: float) -> Durations:
    return Durations((seconds,) * 5)


def make_cycle(**stages_s: float) -> TrainingCycle:
    """A step of 1 s: the output takes 0.15 s forward and 0.3 s backward, two thirds in products."""
    times_s = {"input": 0.0, "forward": 0.3, "backward": 0.6, "update": 0.1, "other": 0.0}
    layers = {
        "embedding": {"forward": same(0.05), "backward": same(0.1)},
        "lstm_1": {"forward": same(0.1), "backward": same(0.2)},
        "output": {"forward": same(0.15), "backward": same(0.3)},
    }
    return TrainingCycle(
        stages={stage: same(s) for stage, s in (times_s | stages_s).items()},
        layers=layers,
        wall=same(1.0),
        hidden_input=same(0.0),
        batch_size=2,
        sequence_length=5,
    )


def make_profile(settings: Settings = SETTINGS, **parts: Any) -> Profile:
    profile = Profile(
        name="planted",
        machine={"cores": 1},
        versions={},
        settings=settings,
        vocab_size=V,
        training=make_cycle(),
        limits={"float32": PEAK, "bfloat16": PEAK, "read": 1e9, "copy": 1e9},
    )
    return replace(profile, **parts)


def find(advice: list[Advice], title: str) -> Advice:
    (found,) = [piece for piece in advice if title in piece.title]
    return found


def list_titles(profile: Profile) -> list[str]:
    return [advice.title for advice in give_advice(profile)]


def test_the_counts_are_those_of_the_settings() -> None:
    assert make_profile().parameters == WEIGHTS
    costs = count_step_costs(SETTINGS, V)
    assert [c.products for c in costs if c.layer == "output"] == [
        OUTPUT_PRODUCTS, 2 * OUTPUT_PRODUCTS, 0
    ]  # fmt: skip
    model = ModelSettings(embedding_dim=2, hidden_units=4, num_layers=1, tie_embeddings=True)
    tied = count_step_costs(SETTINGS.model_copy(update={"model": model}), V)
    assert {cost.layer: cost.products for cost in tied if cost.stage == "forward"} == {
        "embedding": 0,
        "lstm_1": 1_920,
        "projection": 160,
        "output": 160_000,
    }


def test_the_same_settings_save_nothing() -> None:
    model = StepModel(SETTINGS, V, make_cycle(), make_profile().limits)
    assert model.step_s == pytest.approx(1.0)
    assert model.sum_layer_s("output") == pytest.approx(0.45)
    assert model.estimate_saving_s(SETTINGS) == 0.0


def test_half_the_vocabulary_halves_what_goes_with_it() -> None:
    advice = find(give_advice(make_profile()), "Halve the vocabulary")
    assert advice.changes == ("tokenizer.vocab_size=2000",)
    # Output: products 0.3 s halved; the rest, 0.15 s, nearly so. Update 0.1 s: weights nearly
    # halved. Embedding: the gradient that is written, of V rows, is nearly all of 0.1 s.
    assert advice.saves_s == pytest.approx(0.15 + 0.075 + 0.05 + 0.05, rel=0.02)
    assert "45.0 % of the step" in advice.reason
    assert "more words become <unk>" in advice.reason


def test_tying_saves_the_difference_of_the_widths() -> None:
    advice = find(give_advice(make_profile()), "Tie the output layer")
    assert advice.changes == ("model.tie_embeddings=true",)
    # Products 2 E in place of 2 H: 0.15 s of 0.3 s. Update: 12120 of 28112 weights are left, since
    # H V go and the projection's H E come. Its products are nothing; what else changes is the
    # bytes beside the products.
    assert 0.15 + 0.057 < advice.saves_s < 0.15 + 0.057 + 0.15
    assert "multiply 2 numbers a token instead of 4, and need 15,992 fewer" in advice.reason


def test_tying_that_needs_more_weights_is_not_advised() -> None:
    # E 8, H 64, V 6: H V = 384 weights of the output layer go, H E = 512 of the projection come.
    model = ModelSettings(embedding_dim=8, hidden_units=64, num_layers=1)
    settings = SETTINGS.model_copy(update={"model": model})
    assert "Tie the output" not in str(list_titles(make_profile(settings, vocab_size=6)))


def test_a_model_that_is_tied_or_small_is_left_alone() -> None:
    tied = SETTINGS.model.model_copy(update={"tie_embeddings": True})
    profile = make_profile(SETTINGS.model_copy(update={"model": tied}))
    assert "Tie the output layer to the embedding" not in list_titles(profile)
    small = replace(make_profile(), vocab_size=1_500)
    assert "Halve the vocabulary" not in list_titles(small)
    characters = SETTINGS.model_copy(update={"tokenizer": TokenizerSettings(level="char")})
    assert "Halve the vocabulary" not in list_titles(make_profile(characters))


def test_bfloat16_saves_of_the_products_what_it_is_faster_by() -> None:
    limits = make_profile().limits | {"bfloat16": 2 * PEAK}
    advice = find(give_advice(make_profile(limits=limits)), "Multiply in bfloat16")
    lstm_s = 3 * 1_920 / PEAK  # forward once, backward twice
    assert advice.saves_s == pytest.approx((0.3 + lstm_s) / 2)
    assert advice.changes == ("training.precision=mixed_bfloat16",)
    assert "2.0 times as fast" in advice.reason
    slower = make_profile().limits | {"bfloat16": 1.2 * PEAK}
    assert "Multiply in bfloat16" not in list_titles(make_profile(limits=slower))


def test_a_larger_batch_saves_what_twice_as_many_lanes_were_measured_to_save() -> None:
    fit = fit_growth({n: [0.4 + 0.3 * n] * 5 for n in (1, 2, 4, 8, 16)})  # 1 s at B = 2
    growth = Growth("B", fit, 1.0, "", {})
    advice = find(give_advice(make_profile(growth=(growth,))), "Increase the batch size")
    assert advice.saves_s == pytest.approx(0.2, rel=0.01)  # 1 s - (0.4 + 0.3 x 4) / 2
    assert advice.changes == ("training.batch_size=4",)
    assert "Increase the batch size" not in list_titles(make_profile())
    # Of 4 lanes nothing was measured, so nothing is promised.
    fit = fit_growth({n: [0.4 + 0.3 * n] * 5 for n in (0.25, 0.5, 1, 2)})
    beyond = make_profile(growth=(Growth("B", fit, 1.0, "", {}),))
    assert "Increase the batch size" not in list_titles(beyond)


def test_threads_are_advised_from_the_sweep() -> None:
    sweep = Sweep("threads", {1: (1.0,) * 5, 2: (0.7,) * 5, 4: (0.9,) * 5}, None, "")
    advice = find(give_advice(make_profile(sweeps=(sweep,))), "2 threads")
    assert advice.saves_s == pytest.approx(0.3)
    assert advice.changes == ("training.threads=2",)


def test_threads_are_advised_where_cores_are_idle() -> None:
    advice = find(give_advice(make_profile(machine={"cores": 2})), "2 threads")
    assert advice.saves_s == pytest.approx(0.45)  # half of forward and backward
    assert all("threads" not in title for title in list_titles(make_profile()))


def test_a_second_hardware_thread_of_a_core_is_no_idle_core() -> None:
    machine = {"cores": 2, "physical_cores": 1}
    assert all("threads" not in title for title in list_titles(make_profile(machine=machine)))
    advice = find(give_advice(make_profile(machine={"cores": 8, "physical_cores": 4})), "4 threads")
    assert advice.reason.startswith("1 of 4 cores compute; with 4 threads that would save")


def test_waiting_for_input_is_told() -> None:
    profile = make_profile(training=make_cycle(input=0.1, forward=0.2))
    assert find(give_advice(profile), "input").saves_s == pytest.approx(0.1)
    profile = make_profile(training=make_cycle(input=0.02, forward=0.28))
    assert all("input" not in title for title in list_titles(profile))


def test_validating_and_saving_too_often_is_told() -> None:
    training = SETTINGS.training.model_copy(update={"eval_every": 10, "checkpoint_every": 5})
    settings = SETTINGS.model_copy(update={"training": training})
    history = [
        {"step": 10.0, "wall_s": 50.0, "validation_s": 10.0, "checkpoint_s": 1.0},
        {"step": 20.0, "wall_s": 100.0, "validation_s": 14.0, "checkpoint_s": 1.0},
    ]
    advice = find(give_advice(make_profile(settings, history=history)), "Validate less often")
    assert advice.saves_s == pytest.approx(24 / 20 / 2)
    assert advice.changes == ("training.eval_every=20",)
    assert "24.0 % of the run" in advice.reason
    assert all("Save less" not in t for t in list_titles(make_profile(settings, history=history)))
    assert all("Validate" not in t for t in list_titles(make_profile(history=history)))


def test_texts_side_by_side_are_advised_from_their_rates() -> None:
    inference = InferenceCycle(
        "numpy", 1, 5, *[same(1.0)] * 9, tokens_per_s={1: 100.0, 8: 400.0, 32: 500.0}
    )
    advice = find(give_advice(make_profile(inference=inference)), "32 texts")
    assert advice.saves_s == pytest.approx(0.01 - 0.002)
    slow = replace(inference, tokens_per_s={1: 100.0, 8: 150.0})
    assert all("texts" not in title for title in list_titles(make_profile(inference=slow)))


def test_the_largest_saving_comes_first() -> None:
    savings = [advice.saves_s for advice in give_advice(make_profile(machine={"cores": 2}))]
    assert len(savings) >= 3
    assert savings == sorted(savings, reverse=True)


def test_without_a_measured_step_there_is_nothing_to_say_of_it() -> None:
    assert give_advice(make_profile(training=None)) == []
    assert give_advice(make_profile(limits={})) == []
