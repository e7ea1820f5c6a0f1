"""What each part that regularizes costs, in milliseconds a training step.

    .venv/bin/python scripts/bench/regularization.py [--steps N] [--part NAME]

A words model (V 10000, E 256, two layers of H 512, B 64, T 35; nadam, clipped) trains with a part
and without it. For each part a new process compiles both steps and runs them in turn, step by step,
so that a slow moment falls on both; a table has the medians and the median of the differences, with
the quartiles of the latter. The last row has what AWD-LSTM combines.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

B, T, V, E, H = 64, 35, 10000, 256, 512
WARM_UP_STEPS = 3
DROPOUT = {"input_dropout": 0.4, "layer_dropout": 0.25, "output_dropout": 0.4}
AWD_LSTM = {**DROPOUT, "variational_dropout": True, "weight_drop": 0.5, "embedding_dropout": 0.1}
PENALTIES = {"activation_regularization": 2.0, "temporal_activation_regularization": 1.0}
PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dropout in three places": (DROPOUT, {}),
    "the same, variational": ({**DROPOUT, "variational_dropout": True}, {}),
    "weight drop": ({"weight_drop": 0.5}, {}),
    "embedding dropout": ({"embedding_dropout": 0.1}, {}),
    "AR": ({}, {"activation_regularization": 2.0}),
    "TAR": ({}, {"temporal_activation_regularization": 1.0}),
    "weight decay": ({}, {"weight_decay": 0.01}),
    "layer norm": ({"layer_norm": True}, {}),
    "residual": ({"residual": True}, {}),
    "tied embeddings, projected": ({"tie_embeddings": True}, {}),
    "as AWD-LSTM": (AWD_LSTM, {**PENALTIES, "weight_decay": 0.01}),
}
"""Settings of `model` and of `training`, by what a row of the table is called."""


def measure(part: str, steps: int, precision: str) -> dict[str, tuple[float, ...]]:
    """Seconds of every step without the part and with it."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
    from llm_timecycle.profiling.measure.interleave import interleave
    from llm_timecycle.profiling.measure.stages import TrialStep
    from llm_timecycle.system import count_cores
    from llm_timecycle.training.devices import configure_tensorflow, make_plan

    plan = make_plan(count_cores(), B, precision)
    configure_tensorflow(plan)
    model, training = PARTS[part]
    runs = {}
    given = {"without": ({}, {}), "with": (model, training)}
    for name, (more_model, more_training) in given.items():
        settings = Settings.model_construct(
            model=ModelSettings(embedding_dim=E, hidden_units=H, **more_model),
            training=TrainingSettings(
                optimizer="nadam", learning_rate=1e-3, precision=precision, **more_training
            ),
        )
        runs[name] = TrialStep(settings, V, plan.shards).prepare(B, T)
    return interleave(runs, steps, warm_up=WARM_UP_STEPS, now=time.perf_counter)


def main() -> None:
    """Measure every part in a process that is not used for another, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--precision", default="mixed_bfloat16", choices=("float32", "mixed_bfloat16")
    )
    parser.add_argument("--part", choices=PARTS, help="measure this part only")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.part, options.steps, options.precision)))
        return
    print("| part | without, ms | with, ms | price, ms (quartiles) |\n| --- | --- | --- | --- |")
    for part in [options.part] if options.part else PARTS:
        command = [sys.executable, __file__, "--worker", "--part", part]
        command += ["--steps", str(options.steps), "--precision", options.precision]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        seconds = json.loads(done.stdout.splitlines()[-1])
        without_ms, with_ms = (1e3 * np.array(seconds[name]) for name in ("without", "with"))
        low, price, high = np.percentile(with_ms - without_ms, [25, 50, 75])
        print(
            f"| {part} | {np.median(without_ms):.0f} | {np.median(with_ms):.0f} "
            f"| {price:+.1f} ({low:+.1f} to {high:+.1f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
