"""The programs that `generation.py` compares, each run by name in a process of its own.

    generation_programs.py write PLACE SIZES       a run of ours and the same weights for the others
    generation_programs.py first NAME PLACE SIZES  print the first token as soon as it is there
    generation_programs.py rates NAME PLACE SIZES TOKENS PROMPT   print the speeds, warm, as JSON
    generation_programs.py read PLACE SIZES        print how fast weights can be read, as JSON

SIZES are V,E,H,L. Every program draws with temperature 0.8 and top-k 40 from the same network, as
its users would write it well. Nothing is set about threads: each library decides.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

BATCHES = (1, 8, 32, 128)
TEMPERATURE, TOP_K = 0.8, 40


class Sizes(NamedTuple):
    """The network."""

    V: int = 10000
    E: int = 256
    H: int = 512
    L: int = 2

    def count_weight_bytes(self) -> int:
        """What is read for a token at batch 1: all but the embedding, of which it is one row."""
        widths = [self.E] + [self.H] * (self.L - 1)
        layers = sum((width + self.H + 1) * 4 * self.H for width in widths)
        return 4 * (layers + (self.H + 1) * self.V)


def write(place: Path, sizes: Sizes) -> None:
    """A run of ours with drawn weights at PLACE/run, and the weights for the other programs."""
    import numpy as np

    from llm_timecycle.config.settings import ModelSettings, Settings, TokenizerSettings
    from llm_timecycle.config.weight_shapes import compute_parameter_shapes
    from llm_timecycle.runs.create import create_run
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

    settings = Settings(
        tokenizer=TokenizerSettings(level="word", vocab_size=sizes.V),
        model=ModelSettings(embedding_dim=sizes.E, hidden_units=sizes.H, num_layers=sizes.L),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, [" ".join(f"w{n}" for n in range(sizes.V - 2))])
    assert tokenizer.vocab_size == sizes.V
    run = create_run(place / "run", settings, tokenizer.to_json().encode(), sizes.V, {})
    random = np.random.default_rng(1)
    shapes = compute_parameter_shapes(settings.model, sizes.V)
    weights = {
        name: random.standard_normal(shape, np.float32) * np.float32(0.05)
        for name, shape in shapes.items()
    }
    run.save_weights(weights, {"step": 0})


def write_torch(place: Path, sizes: Sizes) -> None:
    """PLACE/torch.pt: the run's weights by the names of `make_torch_model`."""
    import torch

    weights = read_weights(place)
    state = {"embedding.weight": weights["embedding.embeddings"]}
    for layer in range(sizes.L):  # its gates stand in the same order; it has two biases
        name = f"lstm_{layer + 1}"
        state[f"lstm.weight_ih_l{layer}"] = weights[f"{name}.kernel"].T
        state[f"lstm.weight_hh_l{layer}"] = weights[f"{name}.recurrent_kernel"].T
        state[f"lstm.bias_ih_l{layer}"] = weights[f"{name}.bias"]
        state[f"lstm.bias_hh_l{layer}"] = 0 * weights[f"{name}.bias"]
    state["output.weight"] = weights["output.kernel"].T
    state["output.bias"] = weights["output.bias"]
    tensors = {name: torch.tensor(value).contiguous() for name, value in state.items()}
    torch.save(tensors, place / "torch.pt")


def write_keras(place: Path, sizes: Sizes) -> None:
    """PLACE/model.keras: the run's weights in a model that keeps its state."""
    make_keras_model(place, sizes, 1).save(place / "model.keras")


def read_weights(place: Path) -> dict[str, Any]:
    """The run's weights by name."""
    from llm_timecycle.runs.directory import open_run

    return open_run(place / "run").load_weights()


def make_torch_model(place: Path, sizes: Sizes) -> Any:
    """The network in PyTorch, loaded."""
    import torch
    from torch import nn

    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(sizes.V, sizes.E)
            self.lstm = nn.LSTM(sizes.E, sizes.H, sizes.L, batch_first=True)
            self.output = nn.Linear(sizes.H, sizes.V)

        def forward(self, ids: Any, state: Any = None) -> Any:
            y, state = self.lstm(self.embedding(ids), state)
            return self.output(y[:, -1]), state

    model = LanguageModel().eval()
    model.load_state_dict(torch.load(place / "torch.pt", weights_only=True))
    return model


def run_torch(model: Any, ids: Any, tokens: int, after_token: Callable[[Any], object]) -> None:
    """Draw tokens (B, 1) after ids (B, T), one after another."""
    import torch

    k = min(TOP_K, model.output.out_features)
    with torch.inference_mode():
        logits, state = model(ids)
        for _ in range(tokens):
            values, places = torch.topk(logits / TEMPERATURE, k)
            drawn = torch.multinomial(torch.softmax(values, -1), 1)
            ids = places.gather(1, drawn)
            after_token(ids)
            logits, state = model(ids, state)


def make_keras_model(place: Path, sizes: Sizes, batch: int) -> Any:
    """The network in Keras, stateful, with the run's weights."""
    import keras

    layers = [keras.layers.Embedding(sizes.V, sizes.E, name="embedding")]
    for layer in range(1, sizes.L + 1):
        is_last = layer == sizes.L
        layers.append(
            keras.layers.LSTM(
                sizes.H, stateful=True, return_sequences=not is_last, name=f"lstm_{layer}"
            )
        )
    layers.append(keras.layers.Dense(sizes.V, name="output"))
    model = keras.Sequential([keras.Input(batch_shape=(batch, 1), dtype="int32"), *layers])
    weights = read_weights(place)
    for layer in model.layers:
        layer.set_weights([weights[f"{layer.name}.{v.name}"] for v in layer.trainable_variables])
    return model


def run_keras(model: Any, ids: Any, tokens: int, after_token: Callable[[Any], object]) -> None:
    """Draw tokens (B, 1) after ids (B, 1), by `predict`, one after another."""
    import numpy as np

    random = np.random.default_rng()
    k = min(TOP_K, model.output_shape[-1])
    logits = model.predict(ids, batch_size=len(ids), verbose=0)
    for _ in range(tokens):
        places = np.argpartition(logits, -k, axis=1)[:, -k:]
        values = np.take_along_axis(logits, places, axis=1) / TEMPERATURE
        weights = np.exp(values - values.max(axis=1, keepdims=True))
        sums = np.cumsum(weights, axis=1)
        drawn = (sums < random.random((len(ids), 1)) * sums[:, -1:]).sum(axis=1, keepdims=True)
        ids = np.take_along_axis(places, drawn, axis=1)
        after_token(ids)
        logits = model.predict(ids, batch_size=len(ids), verbose=0)


def print_first(name: str, place: Path, sizes: Sizes) -> None:
    """The first token after an <eos>, by a program that is not ours."""

    def show(ids: Any) -> None:
        print(int(ids[0, 0]), flush=True)

    if name == "torch":
        import torch

        run_torch(make_torch_model(place, sizes), torch.zeros((1, 1), dtype=torch.int64), 1, show)
    else:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import keras
        import numpy as np

        model = keras.models.load_model(place / "model.keras")
        run_keras(model, np.zeros((1, 1), np.int32), 1, show)


def measure_rates(
    name: str, place: Path, sizes: Sizes, tokens: int, prompt: int
) -> dict[str, float]:
    """Tokens a second by batch, each over about `tokens` tokens, and of a prompt."""
    if name == "torch":
        return measure_torch(place, sizes, tokens, prompt)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if name == "keras":
        return measure_keras(place, sizes, tokens)
    return measure_ours(name.removeprefix("ours "), place, sizes, tokens, prompt)


def time_steps(
    steps: int, batch: int, run: Callable[[int, Callable[[Any], object]], None]
) -> float:
    """Tokens a second between the first token and the last, after a run that warms up."""
    run(3, lambda _: None)
    moments: list[float] = []
    run(steps + 1, lambda _: moments.append(time.perf_counter()))
    return batch * steps / (moments[-1] - moments[0])


def count_steps(tokens: int, batch: int) -> int:
    """How many tokens a row, for about `tokens` in all: at least some of them."""
    return max(tokens // batch, min(tokens, 20))


def measure_torch(place: Path, sizes: Sizes, tokens: int, prompt: int) -> dict[str, float]:
    """PyTorch's speeds."""
    import torch

    model = make_torch_model(place, sizes)
    rates = {}
    for batch in BATCHES:
        ids = torch.zeros((batch, 1), dtype=torch.int64)
        rates[str(batch)] = time_steps(
            count_steps(tokens, batch),
            batch,
            lambda steps, after, ids=ids: run_torch(model, ids, steps, after),
        )
    ids = torch.randint(sizes.V, (1, prompt))
    with torch.inference_mode():
        model(ids)
        start_s = time.perf_counter()
        model(ids)
    return {**rates, "prompt": prompt / (time.perf_counter() - start_s)}


def measure_keras(place: Path, sizes: Sizes, tokens: int) -> dict[str, float]:
    """Keras' speeds; a call of `predict` takes so long that a few tokens tell it."""
    import numpy as np

    rates = {}
    for batch in BATCHES:
        model = make_keras_model(place, sizes, batch)
        ids = np.zeros((batch, 1), np.int32)
        rates[str(batch)] = time_steps(
            min(tokens, 10),
            batch,
            lambda steps, after, model=model, ids=ids: run_keras(model, ids, steps, after),
        )
    return rates


def measure_ours(
    engine_name: str, place: Path, sizes: Sizes, tokens: int, prompt: int
) -> dict[str, float]:
    """Our speeds: whole texts, from the end of the prompt to the last token as text."""
    import numpy as np

    from llm_timecycle.config.settings import GenerationSettings
    from llm_timecycle.generation.engines.select import make_engine
    from llm_timecycle.generation.generator import TextGenerator
    from llm_timecycle.runs.directory import open_run

    run = open_run(place / "run")
    tokenizer = run.load_tokenizer()
    engine = make_engine(run, engine_name)
    rates = {}
    for batch in BATCHES:
        for length in (16, count_steps(tokens, batch)):  # the first one warms up
            settings = GenerationSettings(
                length=length, temperature=TEMPERATURE, top_k=TOP_K, seed=1
            )
            generator = TextGenerator(engine, tokenizer, settings)
            generator.generate("", samples=batch)
        assert generator.times is not None
        assert generator.times.tokens == batch * length
        rates[str(batch)] = generator.times.tokens_per_s or 0.0
    ids = np.random.default_rng(1).integers(0, sizes.V, (1, prompt))
    for _ in range(2):
        engine.reset()
        start_s = time.perf_counter()
        engine.prefill(ids)
        prompt_s = time.perf_counter() - start_s
    return {**rates, "prompt": prompt / prompt_s}


def measure_read_rate(weight_bytes: int) -> float:
    """Bytes a second at which numbers as many as the weights are read, by the fastest of two ways.

    One is NumPy's product of a vector and a matrix, shared among the cores as its library does; the
    other one its product of two vectors, each core on its own half.
    """
    import numpy as np

    from llm_timecycle.generation.engines.thread_pool import ThreadPool

    pool = ThreadPool()
    numbers = np.ones(weight_bytes // 4, np.float32)
    rows = max(1, len(numbers) // 10000)
    matrix = numbers[: len(numbers) // rows * rows].reshape(rows, -1)
    vector, out = np.ones(rows, np.float32), np.empty(matrix.shape[1], np.float32)
    parts = np.array_split(numbers, pool.threads)
    tasks = [lambda part=part: np.dot(part, part) for part in parts]  # type: ignore[misc]
    ways: list[Callable[[], object]] = [
        lambda: np.matmul(vector, matrix, out=out),
        lambda: pool.run(tasks),
    ]
    seconds = []
    for way in ways:
        taken = []
        for _ in range(100):
            start_s = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start_s)
        seconds.append(median(taken))
        time.sleep(0.1)  # the library's threads look for work for a while
    return numbers.nbytes / min(seconds)


def main() -> None:
    """Run one of the programs."""
    what, *rest = sys.argv[1:]
    if what != "first" and what != "rates":
        rest.insert(0, "")
    name, place, sizes = rest[0], Path(rest[1]), Sizes(*map(int, rest[2].split(",")))
    if what == "write":
        write(place, sizes)
    elif what == "write-torch":
        write_torch(place, sizes)
    elif what == "write-keras":
        write_keras(place, sizes)
    elif what == "first":
        print_first(name, place, sizes)
    elif what == "rates":
        print(json.dumps(measure_rates(name, place, sizes, *map(int, rest[3:]))))
    else:
        print(json.dumps(measure_read_rate(sizes.count_weight_bytes())))


if __name__ == "__main__":
    main()
