"""A workaround for a crash of XLA in TensorFlow 2.21."""

from __future__ import annotations

import os

import tensorflow as tf

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
AFFECTED = "2.21."  # TensorFlow versions; others do not know the flag, and would abort


def keep_xla_from_racing() -> None:
    """Stop XLA from handing reductions to YNN, which crashes; call it before XLA compiles.

    Each shard of the lanes calls the same compiled functions from its own thread. Their first
    execution builds YNN's graph of a reduction and, in TensorFlow 2.21, appends the constants to a
    list shared by all threads (`xla::cpu::EmitYnnSubgraph`): half of the runs of a small model
    ended in a segmentation fault. Flags that the user has set in XLA_FLAGS stay.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if tf.__version__.startswith(AFFECTED) and FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=".lstrip()
