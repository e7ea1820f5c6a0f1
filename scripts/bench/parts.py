"""Why training is faster than with stock Keras, in milliseconds a shard.

    .venv/bin/python scripts/bench/parts.py [--steps N] [--precision float32|mixed_bfloat16]

The reference model (V 10000, E 256, two layers of H 512, B 64, T 50) trains in two processes in
turn, once with our layers and step and once with Keras' LSTM, Dense, loss and optimizer. The same
markers inside the compiled step (`profiling.measure.stages`) give the forward pass, the backward
pass and the update of both; the medians over the steps of three rounds are printed with their
difference.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

B, T, V, E, H, L = 64, 50, 10000, 256, 512, 2
PARTS = ("forward", "backward", "update")
WARM_UP_STEPS = 3
ROUNDS = 3


def build_step(ours: bool, precision: str, marks: Any) -> Any:
    """A function that does one step, ours or stock Keras'."""
    import keras
    import tensorflow as tf

    random = np.random.default_rng(0)
    tokens, targets = (tf.constant(random.integers(0, V, (B, T)), tf.int32) for _ in range(2))
    if ours:
        from llm_timecycle.config.settings import ModelSettings, TrainingSettings
        from llm_timecycle.model.network import build_network, make_zero_states
        from llm_timecycle.system import count_cores
        from llm_timecycle.training.devices import configure_tensorflow, make_plan
        from llm_timecycle.training.optimizers import make_optimizer
        from llm_timecycle.training.step import make_train_step

        plan = make_plan(count_cores(), B, "float32")
        configure_tensorflow(plan)
        settings = ModelSettings(embedding_dim=E, hidden_units=H, num_layers=L)
        network = build_network(settings, V, seed=1, precision=precision)
        optimizer = make_optimizer(TrainingSettings(learning_rate=1e-3))
        optimizer.build(network.trainable_variables)
        strategy = tf.distribute.get_strategy()
        step = make_train_step(network, optimizer, strategy, None, plan.shards, marks)
        states = make_zero_states(settings, B)
        return lambda: float(step(tokens, targets, states)[0])

    keras.mixed_precision.set_global_policy(precision)
    model = keras.Sequential(
        [
            keras.layers.Embedding(V, E),
            *(keras.layers.LSTM(H, return_sequences=True) for _ in range(L)),
            keras.layers.Dense(V),
        ]
    )
    model.build((B, T))
    loss_of_tokens = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    keras_optimizer = keras.optimizers.Adam(1e-3)
    keras_optimizer.build(model.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def stock_step() -> Any:
        with tf.GradientTape() as tape:
            losses = marks.end_forward(loss_of_tokens(targets, model(tokens, training=True)))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        keras_optimizer.apply(marks.end_backward(gradients), model.trainable_variables)
        return loss

    return lambda: float(stock_step())


def run_worker(ours: bool, precision: str, steps: int) -> None:
    """Time one program's passes and print them."""
    from llm_timecycle.profiling.measure.stages import StepMarkers

    marks = StepMarkers()
    step = build_step(ours, precision, marks)
    times: dict[str, list[float]] = {shard: [] for shard in PARTS}
    for number in range(WARM_UP_STEPS + steps):
        began = time.perf_counter()
        step()
        ended = time.perf_counter()
        forward, backward = marks.read()
        if number >= WARM_UP_STEPS:
            spans = (forward - began, backward - forward, ended - backward)
            for shard, seconds in zip(PARTS, spans, strict=True):
                times[shard].append(seconds)
    print(json.dumps(times))


def main() -> None:
    """Run both in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--precision", default="mixed_bfloat16", choices=("float32", "mixed_bfloat16")
    )
    parser.add_argument("--worker", choices=("ours", "keras"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(options.worker == "ours", options.precision, options.steps)
        return
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for worker in ("keras", "ours"):
            command = [sys.executable, __file__, "--worker", worker]
            command += ["--steps", str(options.steps), "--precision", options.precision]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            times = json.loads(done.stdout.splitlines()[-1])
            for shard in PARTS:
                found.setdefault(worker, {}).setdefault(shard, []).extend(times[shard])
    print("| shard | stock Keras, ms | ours, ms | saved, ms |\n| --- | --- | --- | --- |")
    rows = {p: [1e3 * median(found[worker][p]) for worker in ("keras", "ours")] for p in PARTS}
    rows["step"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    for shard, (theirs, mine) in rows.items():
        print(f"| {shard} | {theirs:.0f} | {mine:.0f} | {theirs - mine:.0f} |")


if __name__ == "__main__":
    main()
