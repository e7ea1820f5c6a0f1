"""The programs that `training.py` compares, each run by name in a process of its own.

    training_programs.py NAME B T V E H L STEPS

Every program trains the same network, Embedding -> L x LSTM -> Dense over V, with Adam on random
tokens, as its users would write it well; and prints one JSON object: the seconds of every step, the
moment its first step was done, its peak memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

LEARNING_RATE = 1e-3
WARM_UP_STEPS = 4


@dataclass(frozen=True)
class Sizes:
    """The network and the batch."""

    B: int = 64
    T: int = 50
    V: int = 10000
    E: int = 256
    H: int = 512
    L: int = 2

    def count_flops_per_token(self) -> int:
        """Additions and multiplications of the matrix products, forward and backward."""
        widths = [self.E] + [self.H] * (self.L - 1)
        products = sum((width + self.H) * 4 * self.H for width in widths) + self.H * self.V
        return 3 * 2 * products


@dataclass
class Timing:
    """What a program reports."""

    seconds: list[float]
    first_step_at: float  # time.time() when the first step was done


def time_steps(step: Callable[[], Any], steps: int) -> Timing:
    """Run a step again and again; `step` must return when its work is done."""
    step()
    first_step_at = time.time()
    for _ in range(WARM_UP_STEPS):
        step()
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return Timing(seconds, first_step_at)


def draw_batch(sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and targets (B, T)."""
    random = np.random.default_rng(0)
    tokens, targets = random.integers(0, sizes.V, (2, sizes.B, sizes.T))
    return tokens.astype(np.int32), targets.astype(np.int32)


def run_keras(sizes: Sizes, steps: int, *, textbook: bool, policy: str) -> Timing:
    """Keras and `fit`: one-hot targets and a softmax layer, or integer targets and logits."""
    import keras
    import tensorflow as tf

    keras.mixed_precision.set_global_policy(policy)
    model = keras.Sequential(
        [
            keras.Input((sizes.T,), dtype="int32"),
            keras.layers.Embedding(sizes.V, sizes.E),
            *(keras.layers.LSTM(sizes.H, return_sequences=True) for _ in range(sizes.L)),
            keras.layers.TimeDistributed(
                keras.layers.Dense(sizes.V, activation="softmax", dtype="float32")
            )
            if textbook
            else keras.layers.Dense(sizes.V),
        ]
    )
    loss: Any = "categorical_crossentropy"
    if not textbook:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss)
    tokens, targets = draw_batch(sizes)
    if textbook:
        targets = keras.utils.to_categorical(targets, sizes.V)
    data = tf.data.Dataset.from_tensors((tokens, targets)).repeat().prefetch(1)
    moments: list[float] = []
    firsts: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            moments.append(time.perf_counter())
            firsts.append(time.time())

    model.fit(
        data, steps_per_epoch=1 + WARM_UP_STEPS + steps, epochs=1, verbose=0, callbacks=[Clock()]
    )
    return Timing(np.diff(moments)[WARM_UP_STEPS:].tolist(), firsts[0])


def run_torch(sizes: Sizes, steps: int, *, bfloat16: bool, compiled: bool) -> Timing:
    """PyTorch: `nn.LSTM`, the state carried, the loss of output layer and all compiled or not.

    On a GPU its float32 products round their factors to 10 bits, as TensorFlow's do.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(sizes.V, sizes.E)
            self.lstm = torch.nn.LSTM(sizes.E, sizes.H, sizes.L, batch_first=True)
            self.output = torch.nn.Linear(sizes.H, sizes.V)

    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    tokens, targets = (
        torch.from_numpy(array.astype(np.int64)).to(device) for array in draw_batch(sizes)
    )
    state: Any = None

    def compute_loss(hidden: torch.Tensor) -> torch.Tensor:
        logits = model.output(hidden)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    compute: Any = torch.compile(compute_loss) if compiled else compute_loss

    def step() -> None:
        nonlocal state
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            hidden, state = model.lstm(model.embedding(tokens), state)
            loss = compute(hidden)
        state = tuple(shard.detach() for shard in state)
        loss.backward()
        optimizer.step()
        loss.item()

    return time_steps(step, steps)


def run_ours(sizes: Sizes, steps: int, *, precision: str) -> Timing:
    """Our training step on the machine's own settings, without the loop around it."""
    import tensorflow as tf

    from llm_timecycle.config.settings import ModelSettings, TrainingSettings
    from llm_timecycle.model.network import build_network, make_zero_states
    from llm_timecycle.system import count_cores
    from llm_timecycle.training.devices import configure_tensorflow, make_plan
    from llm_timecycle.training.optimizers import make_optimizer
    from llm_timecycle.training.step import make_train_step

    plan = make_plan(count_cores(), sizes.B, "float32")
    configure_tensorflow(plan)
    settings = ModelSettings(embedding_dim=sizes.E, hidden_units=sizes.H, num_layers=sizes.L)
    network = build_network(settings, sizes.V, seed=1, precision=precision)
    optimizer = make_optimizer(TrainingSettings(learning_rate=LEARNING_RATE))
    optimizer.build(network.trainable_variables)
    strategy = tf.distribute.get_strategy()
    train_step = make_train_step(network, optimizer, strategy, None, plan.shards)
    tokens, targets = draw_batch(sizes)
    states = make_zero_states(settings, sizes.B)

    def step() -> None:
        nonlocal states
        loss, norm, states = train_step(tokens, targets, states)
        float(loss), float(norm)

    return time_steps(step, steps)


def run_our_command(sizes: Sizes, steps: int) -> Timing:
    """`llm-timecycle train` on a text: input, clipping, logging and all.

    The seconds are those of metrics.csv, a row for every second step, without validation and
    checkpoints; the first step is the whole first row.
    """
    import csv

    words = np.random.default_rng(0).integers(0, sizes.V - 2, sizes.B * (sizes.T * steps + 1))
    with tempfile.TemporaryDirectory() as folder:
        text, held_out = Path(folder, "train.txt"), Path(folder, "valid.txt")
        text.write_text(" ".join(f"w{word}" for word in (*range(sizes.V - 2), *words)))
        held_out.write_text("w1 w2 w3")
        os.environ["LLM_TIMECYCLE_CACHE"] = str(Path(folder, "cache"))
        settings = {
            "data.train": text,
            "data.valid": held_out,
            "tokenizer.level": "word",
            "tokenizer.vocab_size": sizes.V,
            "model.embedding_dim": sizes.E,
            "model.hidden_units": sizes.H,
            "model.num_layers": sizes.L,
            "model.dropout": 0.0,
            "training.batch_size": sizes.B,
            "training.sequence_length": sizes.T,
            "training.max_steps": steps,
            "training.log_every": 2,
            "training.learning_rate": LEARNING_RATE,
        }
        sets = [shard for key, value in settings.items() for shard in ("--set", f"{key}={value}")]
        run = Path(folder, "run")
        command = [sys.executable, "-m", "llm_timecycle", "train", "section5", "--run", str(run)]
        subprocess.run([*command, *sets], check=True, stdout=subprocess.DEVNULL)
        with (run / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["tokens_per_s"]]
    rates = [float(row["tokens_per_s"]) for row in rows[1 + WARM_UP_STEPS // 2 :]]
    first_step_at = time.time()
    return Timing([sizes.B * sizes.T / rate for rate in rates], first_step_at)


def measure_products(sizes: Sizes, steps: int, *, dtype: str) -> Timing:
    """The output layer's product, both cores on it: what the machine can do."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    hidden = tf.ones((sizes.B * sizes.T, sizes.H), dtype)
    kernel = tf.ones((sizes.H, sizes.V), dtype)
    return time_steps(lambda: tf.matmul(hidden, kernel).numpy(), steps)


PROGRAMS: dict[str, Callable[[Sizes, int], Timing]] = {
    "keras textbook": lambda s, n: run_keras(s, n, textbook=True, policy="float32"),
    "keras float32": lambda s, n: run_keras(s, n, textbook=False, policy="float32"),
    "keras bfloat16": lambda s, n: run_keras(s, n, textbook=False, policy="mixed_bfloat16"),
    "torch float32": lambda s, n: run_torch(s, n, bfloat16=False, compiled=False),
    "torch bfloat16": lambda s, n: run_torch(s, n, bfloat16=True, compiled=False),
    "torch bfloat16 compiled": lambda s, n: run_torch(s, n, bfloat16=True, compiled=True),
    "ours float32": lambda s, n: run_ours(s, n, precision="float32"),
    "ours bfloat16": lambda s, n: run_ours(s, n, precision="mixed_bfloat16"),
    "llm-timecycle train": run_our_command,
    "products float32": lambda s, n: measure_products(s, n, dtype="float32"),
    "products bfloat16": lambda s, n: measure_products(s, n, dtype="bfloat16"),
}


def main() -> None:
    """Run one program and print what it measured."""
    name, *numbers, steps = sys.argv[1:]
    timing = PROGRAMS[name](Sizes(*map(int, numbers)), int(steps))
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak_bytes = max(resource.getrusage(who).ru_maxrss for who in whose) * unit
    print(json.dumps({**vars(timing), "peak_bytes": peak_bytes}))


def describe(sizes: Sizes) -> list[str]:
    """The sizes as arguments of this program."""
    return [str(number) for number in astuple(sizes)]


if __name__ == "__main__":
    main()
