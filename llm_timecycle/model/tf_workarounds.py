"""The one setting of XLA that the compiled pieces of a training step need."""

from __future__ import annotations

import os

import tensorflow as tf

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
AFFECTED = "2.21."  # versions of TensorFlow; others do not know the flag, and would end the process


def keep_xla_from_racing() -> None:
    """Keep XLA from handing reductions to YNN, where two threads may crash; before it compiles.

    Each part of the lanes calls the same compiled functions from a thread of its own. Their first
    execution builds YNN's graph of a reduction and, in TensorFlow 2.21, appends the constants to a
    list that all threads share (`xla::cpu::EmitYnnSubgraph`): half of the runs of a small model
    ended in a segmentation fault. What the user has set in XLA_FLAGS stays.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if tf.__version__.startswith(AFFECTED) and FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=".lstrip()
