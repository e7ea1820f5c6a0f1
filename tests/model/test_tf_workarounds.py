"""XLA's flags: ours beside the user's, and what comes of it in compiled code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from llm_timecycle.model.tf_workarounds import AFFECTED, FLAG, keep_xla_from_racing

COMPILED = """
import os
from llm_timecycle.model.tf_import import import_tensorflow
import_tensorflow()  # sooner than the import alone: without matplotlib, nor looking for garbage
import tensorflow as tf

@tf.function(jit_compile=True)
def add_up(x):
    return tf.reduce_sum(tf.exp(x - tf.reduce_max(x, axis=1, keepdims=True)), axis=1)

def show():
    compiled = add_up.experimental_get_compiler_ir(tf.ones((64, 654)))(stage="optimized_hlo")
    print("ynn" in compiled, flush=True)

if os.fork() == 0:  # XLA reads its flags once in a process
    show()
    os._exit(0)
assert os.wait()[1] == 0
from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.model.network import build_network
build_network(ModelSettings(embedding_dim=2, hidden_units=2, num_layers=1), 5, seed=1)
show()
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
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_no_reduction_is_handed_to_ynn_once_a_network_is_built() -> None:
    """Before that it is, so this can fail."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False"]
