"""XLA's flags: ours beside the user's, and what comes of it in compiled code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from llm_timecycle.model.tf_workarounds import AFFECTED, FLAG, keep_xla_from_racing

COMPILED = """
import tensorflow as tf
if {is_built}:
    from llm_timecycle.config.settings import ModelSettings
    from llm_timecycle.model.network import build_network
    build_network(ModelSettings(embedding_dim=2, hidden_units=2), 5, seed=1)

@tf.function(jit_compile=True)
def add_up(x):
    return tf.reduce_sum(tf.exp(x - tf.reduce_max(x, axis=1, keepdims=True)), axis=1)

print("ynn" in add_up.experimental_get_compiler_ir(tf.ones((64, 654)))(stage="optimized_hlo"))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, f"{FLAG}="),
        ("--xla_dump_to=x", f"--xla_dump_to=x {FLAG}="),
        (f"{FLAG}=x", f"{FLAG}=x"),
    ],
)
@pytest.mark.parametrize("is_affected", [False, True])
def test_the_flag_is_added_to_those_of_the_user(
    before: str | None, after: str, is_affected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf, "__version__", f"{AFFECTED[0]}0" if is_affected else "2.20.0")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        monkeypatch.setenv("XLA_FLAGS", before)
    keep_xla_from_racing()
    assert os.environ.get("XLA_FLAGS") == (after if is_affected else before)


@pytest.mark.skipif(not tf.__version__.startswith(AFFECTED), reason="another TensorFlow")
@pytest.mark.parametrize("is_built", [False, True])
def test_no_reduction_is_handed_to_ynn_once_a_network_is_built(is_built: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", COMPILED.format(is_built=is_built)]
    printed = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    assert printed.split()[-1] == (b"False" if is_built else b"True")
