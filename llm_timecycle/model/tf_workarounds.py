"""A workaround for a crash of XLA in TensorFlow 2.21 and 2.22."""

from __future__ import annotations

import os

import tensorflow as tf

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
AFFECTED = ("2.21.", "2.22.")  # other versions of TensorFlow abort at an unknown flag


def keep_xla_from_racing() -> None:
    """Stop XLA from handing reductions to YNN, which crashes; call it before XLA compiles.

    Each shard of the lanes calls the same compiled functions from its own thread. Their first
    execution builds YNN's graph of a reduction and, in TensorFlow 2.21, appends the constants to a
    list shared by all threads (`xla::cpu::EmitYnnSubgraph`): half of the runs of a small model
    ended in a segmentation fault. 2.22.0rc0 hands them to YNN in the same way. Flags that the user
    has set in XLA_FLAGS stay.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if tf.__version__.startswith(AFFECTED) and FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=".lstrip()
