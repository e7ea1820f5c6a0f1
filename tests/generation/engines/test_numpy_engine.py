"""The NumPy engine against its twin in `reference`, and the laws of a state that is carried."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from llm_timecycle.config.settings import GenerationSettings, ModelSettings, TokenizerSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines import blocked_matmul, prompt_windows
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.engines.numpy_layer import NumpyLayer
from llm_timecycle.generation.engines.thread_pool import ThreadPool
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.reference.network import forward, make_zero_states
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


def draw_weights(
    settings: ModelSettings, V: int, seed: int, dtype: type = np.float64
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = compute_parameter_shapes(settings, V)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


NORMALIZED_AND_ADDED = {"layer_norm": True, "residual": True}

NETWORKS = st.builds(
    ModelSettings,
    embedding_dim=st.integers(1, 8),
    hidden_units=st.integers(1, 8),
    num_layers=st.integers(1, 3),
    tie_embeddings=st.booleans(),
    layer_norm=st.booleans(),
    residual=st.booleans(),
)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-4)])
@given(
    network=NETWORKS,
    sizes=st.tuples(st.integers(2, 30), st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_logits_are_those_of_the_reference(
    network: ModelSettings, sizes: tuple[int, int, int], seed: int, dtype: type, tolerance: float
) -> None:
    V, B, T = sizes
    if dtype is np.float32:  # a norm of numbers that are nearly equal magnifies their rounding
        network = network.model_copy(update={"layer_norm": False})
    weights = draw_weights(network, V, seed, dtype)
    ids = np.random.default_rng(seed).integers(0, V, (B, T + 3))
    exact = {name: weight.astype(np.float64) for name, weight in weights.items()}
    states = make_zero_states(exact, B)
    expected, _, _ = forward(exact, ids, states, residual=network.residual)
    engine = NumpyEngine(weights, network)
    logits = [engine.prefill(ids[:, :T]), *(engine.step(ids[:, T + n]) for n in range(3))]
    assert all(found.dtype == dtype for found in logits)
    np.testing.assert_allclose(np.stack(logits, axis=1), expected[:, T - 1 :], tolerance, tolerance)


def test_tied_with_e_equal_to_h_needs_no_projection() -> None:
    settings = ModelSettings(embedding_dim=3, hidden_units=3, num_layers=1, tie_embeddings=True)
    weights = draw_weights(settings, 7, seed=1)
    assert "projection.kernel" not in weights
    expected, _, _ = forward(weights, np.array([[6, 2]]), make_zero_states(weights, 1))
    logits = NumpyEngine(weights, settings).prefill(np.array([[6, 2]]))
    np.testing.assert_allclose(logits, expected[:, -1], 1e-12)


@pytest.fixture
def engine() -> NumpyEngine:
    settings = ModelSettings(embedding_dim=4, hidden_units=5, num_layers=2)
    return NumpyEngine(draw_weights(settings, 9, seed=2), settings)


def test_a_prompt_longer_than_a_window_is_the_same_as_token_by_token(
    engine: NumpyEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_windows, "LONGEST_WINDOW", 3)
    ids = np.array([[1, 8, 0, 3, 3, 7, 2]])
    in_windows = engine.prefill(ids)
    engine.reset()
    for token in ids[0]:
        one_by_one = engine.step(np.array([token]))
    np.testing.assert_allclose(in_windows, one_by_one, 1e-12)


def test_reset_forgets(engine: NumpyEngine) -> None:
    first = engine.prefill(np.array([[4, 5]]))
    assert not np.array_equal(engine.prefill(np.array([[4, 5]])), first)
    engine.reset()
    assert np.array_equal(engine.prefill(np.array([[4, 5]])), first)


def test_rows_are_selected_and_repeated(engine: NumpyEngine) -> None:
    engine.prefill(np.array([[1, 2], [3, 4], [5, 6]]))
    engine.select_rows([2, 0, 2])
    logits = engine.step(np.array([7, 7, 7]))
    engine.reset()
    engine.prefill(np.array([[1, 2], [5, 6]]))
    alone = engine.step(np.array([7, 7]))
    np.testing.assert_allclose(logits, alone[[1, 0, 1]], 1e-12)


@pytest.fixture(params=["in blocks", "plain"])
def is_exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether rows are promised to the last bit: where products are direct, or to rounding."""
    if request.param == "plain":
        monkeypatch.setattr(blocked_matmul, "_has_direct_products", lambda: False)
    elif not blocked_matmul._has_direct_products():
        pytest.skip("this machine has no direct products")
    return request.param == "in blocks"


def assert_same(found: np.ndarray, expected: np.ndarray, is_exact: bool) -> None:
    if is_exact:
        assert np.array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def make_calm_engine(settings: ModelSettings, V: int) -> NumpyEngine:
    """Weights so small that rounding does not grow, of sizes that libraries take fast ways for."""
    weights = draw_weights(settings, V, seed=3, dtype=np.float32)
    return NumpyEngine({name: 0.1 * weight for name, weight in weights.items()}, settings)


@pytest.mark.parametrize("rows", [2, 5, 9])
@pytest.mark.parametrize("options", [{}, NORMALIZED_AND_ADDED])
def test_a_row_is_the_same_alone_and_with_others(
    rows: int, options: dict[str, bool], is_exact: bool
) -> None:
    settings = ModelSettings(embedding_dim=64, hidden_units=128, num_layers=2, **options)
    engine = make_calm_engine(settings, 3000)
    ids = np.random.default_rng(3).integers(0, 3000, (rows, 4))
    together = [engine.step(column) for column in ids.T]
    for row in range(rows):
        engine.reset()
        alone = [engine.step(column[[row]]) for column in ids.T]
        assert_same(np.concatenate(alone), np.stack(together)[:, row], is_exact)


def test_a_text_is_the_same_alone_and_with_others(is_exact: bool) -> None:
    """Rounding differs where a row is computed with others; what is drawn does not."""
    tokenizer = Tokenizer.train(
        TokenizerSettings(level="word", vocab_size=3000), [" ".join(f"w{n}" for n in range(2998))]
    )
    engine = make_calm_engine(ModelSettings(embedding_dim=64, hidden_units=128), 3000)
    settings = GenerationSettings(length=50, temperature=1.0, seed=1)
    generator = TextGenerator(engine, tokenizer, settings)
    together = generator.generate("w1 w2", samples=20)
    assert len({text.ids for text in together}) == 20
    for number in range(20):
        decoder = generator.begin("w1 w2", first_sample=number)
        for _ in decoder.advance():
            pass
        assert tuple(decoder.samples[0].ids) == together[number].ids


@pytest.mark.parametrize("rows", [1, 2, 6])
@pytest.mark.parametrize("options", [{}, NORMALIZED_AND_ADDED])
def test_a_prompt_gives_the_same_however_it_is_cut(
    rows: int, options: dict[str, bool], is_exact: bool
) -> None:
    settings = ModelSettings(embedding_dim=64, hidden_units=128, num_layers=3, **options)
    engine = make_calm_engine(settings, 300)
    T = 2 * prompt_windows.LONGEST_WINDOW + 3
    ids = np.random.default_rng(4).integers(0, 300, (rows, T))
    whole = engine.prefill(ids)
    engine.reset()
    engine.prefill(ids[:, :5])
    cut = engine.prefill(ids[:, 5:])
    engine.reset()
    for column in ids.T:
        one_by_one = engine.step(column)
    assert_same(cut, whole, is_exact)
    assert_same(one_by_one, whole, is_exact)


@pytest.mark.parametrize("is_tied", [False, True])
def test_reading_gives_the_logits_after_every_token(is_tied: bool, is_exact: bool) -> None:
    settings = ModelSettings(
        embedding_dim=64,
        hidden_units=128,
        num_layers=2,
        tie_embeddings=is_tied,
        layer_norm=is_tied,
        residual=is_tied,
    )
    engine = make_calm_engine(settings, 300)
    ids = np.random.default_rng(5).integers(0, 300, (3, 20))
    one_by_one = np.stack([engine.step(column) for column in ids.T], axis=1)
    engine.reset()
    engine.prefill(ids[:, :2])
    assert_same(engine.read(ids[:, 2:]), one_by_one[:, 2:], is_exact)
    assert_same(engine.step(ids[:, 0]), step_after(settings, ids), is_exact)


def step_after(settings: ModelSettings, ids: np.ndarray) -> np.ndarray:
    """The logits after ids (B, T), and the first of them once more."""
    engine = make_calm_engine(settings, 300)
    engine.prefill(ids)
    return engine.step(ids[:, 0])


def test_the_library_has_its_threads_back_after_a_long_prompt(is_exact: bool) -> None:
    engine = make_calm_engine(ModelSettings(embedding_dim=8, hidden_units=8), 20)
    before = [library["num_threads"] for library in threadpool_info()]
    engine.prefill(np.zeros((1, 3 * prompt_windows.LONGEST_WINDOW), np.int64))
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_a_new_text_does_not_meet_what_ctrl_c_left_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lower layer reads in another thread while the upper one, here, is interrupted."""
    settings = ModelSettings(embedding_dim=8, hidden_units=16)
    engine = make_calm_engine(settings, 20)
    expected = make_calm_engine(settings, 20).prefill(np.array([[1, 2, 3]]))
    engine._pool = ThreadPool(2)
    read_window, calls = NumpyLayer.read_window, itertools.count()

    def read(layer: NumpyLayer, x: np.ndarray, *kinds: Any) -> np.ndarray:
        if layer is engine._layers[1]:
            raise KeyboardInterrupt
        if next(calls) == 1:
            time.sleep(0.05)
        return read_window(layer, x, *kinds)

    with monkeypatch.context() as patch:
        patch.setattr(NumpyLayer, "read_window", read)
        with pytest.raises(KeyboardInterrupt):
            engine.prefill(np.zeros((1, 3 * prompt_windows.LONGEST_WINDOW), np.int64))
        engine.reset()
    engine.prefill(np.array([[1, 2]]))
    time.sleep(0.1)  # in which the other thread would continue its window
    np.testing.assert_allclose(engine.step(np.array([3])), expected, 1e-4, 1e-6)


def test_returned_logits_do_not_change_later(engine: NumpyEngine) -> None:
    first = engine.step(np.array([1]))
    kept = first.copy()
    engine.step(np.array([2]))
    assert np.array_equal(first, kept)


def test_weights_that_cannot_be_written_to_are_enough() -> None:
    settings = ModelSettings(embedding_dim=4, hidden_units=5, num_layers=1)
    weights = draw_weights(settings, 70, seed=2, dtype=np.float32)
    expected = NumpyEngine(weights, settings).prefill(np.array([[1, 2]]))
    for weight in weights.values():
        weight.flags.writeable = False
    engine = NumpyEngine(weights, settings)
    assert np.array_equal(engine.prefill(np.array([[1, 2]])), expected)
    engine.step(np.array([3]))


def test_the_number_of_rows_cannot_change_on_the_way(engine: NumpyEngine) -> None:
    engine.step(np.array([1, 2]))
    with pytest.raises(UsageError, match=r"expected ids for 2 rows, received 3; call reset\(\)"):
        engine.step(np.array([1, 2, 3]))


def test_a_prompt_holds_a_token(engine: NumpyEngine) -> None:
    with pytest.raises(UsageError, match="expected a prompt of at least one token"):
        engine.prefill(np.zeros((1, 0), np.int64))


def test_texts_of_different_lengths_are_each_the_same_alone(is_exact: bool) -> None:
    settings = ModelSettings(embedding_dim=64, hidden_units=128, num_layers=2)
    engine = make_calm_engine(settings, 300)
    rng = np.random.default_rng(6)
    texts = [rng.integers(0, 300, length) for length in (3, 70, 3, 1)]
    together, next_ids = engine.prefill_each(texts), rng.integers(0, 300, 4)
    after = engine.step(next_ids)
    for row, text in enumerate(texts):
        engine.reset()
        assert_same(engine.prefill(text[np.newaxis])[0], together[row], is_exact)
        assert_same(engine.step(next_ids[[row]])[0], after[row], is_exact)


@pytest.mark.parametrize("options", [{}, NORMALIZED_AND_ADDED])
def test_rows_read_on_by_different_lengths(options: dict[str, bool], is_exact: bool) -> None:
    """As where prompts that came at different times are read together."""
    settings = ModelSettings(embedding_dim=64, hidden_units=128, num_layers=2, **options)
    engine = make_calm_engine(settings, 300)
    rng = np.random.default_rng(7)
    texts = [rng.integers(0, 300, length) for length in (90, 75, 33, 33, 9, 2)]
    cuts = [40, 70, 30, 2, 8, 1]  # where each is cut
    begun = sorted(range(6), key=lambda row: -cuts[row])
    engine.extend([texts[row][: cuts[row]] for row in begun])
    rest = sorted(range(6), key=lambda row: cuts[row] - len(texts[row]))
    engine.select_rows([begun.index(row) for row in rest])
    engine.extend([texts[row][cuts[row] :] for row in rest])
    together = engine.compute_logits()
    next_ids = rng.integers(0, 300, 6)
    after = engine.step(next_ids)
    for place, row in enumerate(rest):
        engine.reset()
        assert_same(engine.prefill(texts[row][np.newaxis])[0], together[place], is_exact)
        assert_same(engine.step(next_ids[[place]])[0], after[place], is_exact)


def test_rows_that_read_on_come_longest_first(engine: NumpyEngine) -> None:
    with pytest.raises(UsageError, match="expected the longest text first"):
        engine.extend([np.array([1]), np.array([1, 2])])


@pytest.mark.parametrize("name", ["output.kernel", "lstm_1.kernel", "lstm_1.recurrent_kernel"])
def test_weights_that_overflow_give_no_warning(name: str) -> None:
    """Warnings are errors in these tests; logits that are not finite are refused by name later."""
    model = ModelSettings(embedding_dim=8, hidden_units=8, num_layers=1)
    weights = draw_weights(model, 11, seed=1, dtype=np.float32)
    weights[name] = np.full_like(weights[name], 3e38)
    engine = NumpyEngine(weights, model)
    logits = [engine.prefill(np.array([[3, 1, 4, 1, 5]])), engine.step(np.array([2]))]
    assert np.shape(logits) == (2, 1, 11)
