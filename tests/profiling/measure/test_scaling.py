"""Growth: which sizes are timed, how, what they count, and what is refused before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TrainingSettings,
)
from llm_timecycle.errors import UsageError
from llm_timecycle.profiling.analysis.flops import (
    add_costs,
    count_token_operations,
)
from llm_timecycle.profiling.measure import scaling as growing
from llm_timecycle.profiling.measure.scaling import (
    check_memory,
    choose_sizes,
    count_operations,
    estimate_growth_bytes,
    measure_growth,
)
from llm_timecycle.profiling.results import GROWTH_AXES
from llm_timecycle.training.budget.memory import estimate_step_bytes, estimate_weight_bytes
from tests.profiling.profiles import count_step

SECTION5 = Settings(training=TrainingSettings(threads=2, precision="float32"))
TINY = Settings.model_construct(
    model=ModelSettings(embedding_dim=4, hidden_units=8, num_layers=1),
    training=TrainingSettings(
        batch_size=8, sequence_length=16, precision="float32", threads=1, learning_rate=1e-3
    ),
    generation=GenerationSettings(length=10),
)
V = 30


@pytest.mark.parametrize(
    ("axis", "sizes"),
    [
        ("T", (3, 6, 12, 25, 50)),  # 50 / 16 and up by 2 each
        ("B", (8, 16, 32, 64, 128)),  # two parts of four lanes at least, and twice 64
        ("E", (16, 32, 64, 128, 256)),
        ("H", (32, 64, 128, 256, 512)),
        ("L", (1, 2, 3, 4, 5)),  # there is no fewer than 1
        ("V", (625, 1250, 2500, 5000, 10000)),
        ("length", (25, 50, 100, 200, 400)),  # 50 both ways
    ],
)
def test_sizes_are_a_geometric_range_around_the_configured_one(
    axis: str, sizes: tuple[int, ...]
) -> None:
    assert choose_sizes(SECTION5, 10_000, axis) == sizes


@given(axis=st.sampled_from(GROWTH_AXES), size=st.integers(1, 3_000))
@hypothesis_settings(max_examples=50)
def test_sizes_are_five_different_ones_whatever_is_configured(axis: str, size: int) -> None:
    settings = Settings.model_construct(
        model=ModelSettings(embedding_dim=size, hidden_units=size, num_layers=min(size, 64)),
        training=TrainingSettings(
            batch_size=size, sequence_length=size, threads=2, precision="float32"
        ),
        generation=GenerationSettings(length=size),
    )
    sizes = choose_sizes(settings, max(size, 3), axis)
    assert len(set(sizes)) == 5
    assert sorted(sizes) == list(sizes)
    assert sizes[-1] >= 2 * sizes[0]


@pytest.mark.parametrize(
    ("length", "smallest", "largest"),
    [(250, 125, 2000), (251, 125, 2000), (2000, 125, 2000), (1_000_000, 125, 2000)],
)
def test_texts_are_bounded_however_long_those_of_the_run_are(
    length: int, smallest: int, largest: int
) -> None:
    settings = SECTION5.model_copy(update={"generation": GenerationSettings(length=length)})
    sizes = choose_sizes(settings, 10_000, "length")
    assert (sizes[0], sizes[-1]) == (smallest, largest)


def test_where_the_texts_of_the_run_are_longer_than_those_timed_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growing, "LONGEST_TEXT", 32)
    settings = TINY.model_copy(update={"generation": GenerationSettings(length=33)})
    growth = measure_growth(settings, V, "length", budget_s=0.0)
    assert growth.explanation.endswith("; texts of more than 32 tokens are not timed")


def test_operations_are_those_of_the_settings_with_the_size_put_in() -> None:
    costs = count_step(ModelSettings(hidden_units=64), 10_000, batch_size=64, sequence_length=50)
    assert count_operations(SECTION5, 10_000, "H", 64) == add_costs(costs).operations
    costs = count_step(ModelSettings(), 500, batch_size=64, sequence_length=50)
    assert count_operations(SECTION5, 10_000, "V", 500) == add_costs(costs).operations
    token = count_token_operations(ModelSettings(), 10_000)
    assert count_operations(SECTION5, 10_000, "length", 30) == 30 * token


@pytest.mark.parametrize("axis", ["T", "V", "length"])  # one for each way of making the runs
def test_an_axis_is_measured(axis: str) -> None:
    growth = measure_growth(TINY, V, axis, budget_s=0.0)
    assert growth.axis == axis
    assert tuple(growth.samples_s) == tuple(map(float, choose_sizes(TINY, V, axis)))
    assert all(len(taken) >= 5 for taken in growth.samples_s.values())
    assert growth.predicted_exponent == pytest.approx(1.0, abs=0.01)
    assert f"{axis} = " in growth.explanation or "exponent" in growth.explanation


def test_what_does_not_fit_is_refused_and_what_would_is_said() -> None:
    needed = estimate_step_bytes(SECTION5, 10_000)
    check_memory(SECTION5, 10_000, int(needed / 0.8) + 1, "T")
    with pytest.raises(UsageError, match=r"3, 6, 12, 25, 50 take about .*sequence_length=25 would"):
        check_memory(SECTION5, 10_000, int(0.95 * needed), "T")
    with pytest.raises(UsageError, match="a smaller model would"):
        check_memory(SECTION5, 10_000, 1_000, "T")
    check_memory(SECTION5, 10_000, None, "T")  # nobody knows


def test_sizes_with_weights_of_their_own_take_the_memory_of_all_weights() -> None:
    needed = estimate_growth_bytes(SECTION5, 10_000, "V")
    smaller = [estimate_weight_bytes(SECTION5, n) for n in (625, 1250, 2500, 5000)]
    assert needed == estimate_step_bytes(SECTION5, 10_000) + sum(smaller)
