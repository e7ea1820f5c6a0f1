"""A model in other processes: forked from the one that loaded it, or reading a pickle of it."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

BEGINNING = """
import os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import llm_timecycle as lt
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines import numpy_engine, thread_pool

thread_pool.count_hardware_threads = lambda: 2
numpy_engine.SHARED_FROM_BYTES = 0  # every product is shared, and the next one begun ahead
model = lt.load(sys.argv[1], engine=sys.argv[2])

def write(seed):
    return model.generate("Once", length=20, seed=seed).text

def run_forked(task):
    if (child := os.fork()) == 0:
        signal.alarm(120)  # a child that waits for ever is killed
        task()
        print("done", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
NUMPY = """
expected = [write(seed) for seed in range(3)]
stream = model.stream("Once", length=20, seed=0)
begun = next(stream)

def check():
    assert [write(seed) for seed in range(3)] == expected
    assert begun + "".join(stream) == expected[0]

def check_in_a_child_too():
    write(0)
    run_forked(check)
    check()

run_forked(check_in_a_child_too)
check()
with ProcessPoolExecutor(2, get_context("fork"), signal.alarm, (120,)) as pool:
    assert list(pool.map(write, range(3))) == expected
"""
TENSORFLOW = """
stream = model.stream("Once", length=200, seed=0)
begun = next(stream)
numpy_model = lt.load(sys.argv[1], engine="numpy")

def check():
    tasks = [lambda: write(0), lambda: [*stream], lambda: model.keras_model]
    tasks += [lambda: lt.evaluate(sys.argv[1]), lambda: lt.load(sys.argv[1], engine="tensorflow")]
    for task in tasks:
        try:
            task()
        except UsageError as error:
            assert "forked" in str(error) and "spawn" in str(error), error
        else:
            raise AssertionError("it was not refused")
    assert len(numpy_model.generate("Once", length=3).ids) == 3

run_forked(check)
assert len(begun + "".join(stream)) > 150
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with drawn weights, which never ends a text."""
    path = tmp_path_factory.mktemp("processes") / "my"
    settings = Settings(
        tokenizer=TokenizerSettings(level="char"),
        model=ModelSettings(embedding_dim=8, num_layers=2, hidden_units=16),
        generation=GenerationSettings(length=20),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, ["Once upon a time"])
    made = create_run(path, settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {})
    made.save_weights(draw_weights(made.settings.model, tokenizer.vocab_size, 5), {"step": 0})
    return path


def draw_weights(settings: ModelSettings, V: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = compute_parameter_shapes(settings, V).items()
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes}
    weights["output.bias"][Tokenizer.eos_id] = -1000.0
    return weights


@pytest.mark.skipif(sys.platform != "linux", reason="other systems advise against forking")
@pytest.mark.parametrize(
    ("engine", "program", "processes"), [("numpy", NUMPY, 2), ("tensorflow", TENSORFLOW, 1)]
)
def test_a_forked_process_writes_or_refuses_at_once(
    run: Path, engine: str, program: str, processes: int
) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", BEGINNING + program, str(run), engine],
        env={**os.environ, "PYTHONPATH": str(Path(lt.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "done\n" * processes), finished.stderr


@pytest.mark.parametrize(
    "repeat",
    [lambda model: pickle.loads(pickle.dumps(model)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_a_copy_writes_the_same_wherever_it_is_made(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repeat: Callable[[lt.Model], lt.Model],
) -> None:
    config = shutil.copytree(run, tmp_path / "my") / "config.yaml"
    monkeypatch.chdir(tmp_path)
    model = lt.load("my", engine="numpy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    written = config.read_text(encoding="utf-8")
    config.write_text(written.replace("length: 20", "length: 7"), encoding="utf-8")
    assert lt.load(tmp_path / "my").settings.generation.length == 7
    found = repeat(model)
    assert found is not model
    assert found.settings == model.settings
    text = found.generate("Once", seed=1)
    assert len(text.ids) == 20
    assert text == model.generate("Once", seed=1)


def test_a_model_whose_weights_have_changed_is_not_copied(run: Path, tmp_path: Path) -> None:
    path = shutil.copytree(run, tmp_path / "my")
    model = lt.load(path)
    text = model.generate(seed=1)
    pickled, opened = pickle.dumps(model), open_run(path)
    opened.save_weights(draw_weights(opened.settings.model, opened.vocab_size, 6), {"step": 1})
    for repeat in (lambda: pickle.loads(pickled), lambda: copy.deepcopy(model)):
        with pytest.raises(RunError, match=r"weights of .*my have changed .* lt\.load\("):
            repeat()
    assert lt.load(path).generate(seed=1) != text
    stream = model.stream(seed=1)
    next(stream)
    assert model.generate(seed=1) == text  # with an engine that is made now
    shutil.rmtree(path)
    with pytest.raises(RunError, match="there is no run at"):
        pickle.loads(pickled)
