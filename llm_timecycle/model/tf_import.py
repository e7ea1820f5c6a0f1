"""Import TensorFlow and Keras without log lines. This module itself imports nothing heavy."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import IO

from llm_timecycle.errors import UsageError
from llm_timecycle.model.deferred_import import defer_imports

BACKEND = "tensorflow"
"""Of Keras."""
_process: int | None = None
"""The process in which TensorFlow was imported, if it was."""


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, and let TensorFlow find its devices, without their log lines.

    With LLM_TIMECYCLE_DEBUG=1 the lines are shown, and where TF_XLA_FLAGS is set: of a flag that is
    wrong in it, the process ends without giving anything back.

    Raises:
        UsageError: this process was forked from one that uses TensorFlow, or Keras was imported
            before, with another backend or another number format.
    """
    global _process
    refuse_after_fork()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not {"tensorflow", "keras"} <= sys.modules.keys():
        is_shown = os.environ.get("LLM_TIMECYCLE_DEBUG") == "1" or "TF_XLA_FLAGS" in os.environ
        held = nullcontext() if is_shown else _hold_messages()
        with _keep_interrupts(), _import_quickly(), _choose_backend(), held:
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()
    import keras

    _check_defaults(keras.config.backend(), keras.config.floatx())
    _process = os.getpid()


def refuse_after_fork() -> None:
    """Raise UsageError if this process was forked from one that uses TensorFlow.

    TensorFlow's threads are not in it, and whatever is computed would wait for them for ever.
    """
    if _process not in (None, os.getpid()):
        raise UsageError(
            "TensorFlow cannot be used in this process, which was forked from one that uses it. "
            'Start processes with multiprocessing.get_context("spawn"), or use TensorFlow in them '
            "alone. A model from lt.load generates and scores without it, with engine='numpy'"
        )


def _check_defaults(backend: str, number_format: str) -> None:
    """Raise UsageError where Keras would compute with something else than we do."""
    if backend != BACKEND:
        raise UsageError(
            f"Keras was imported with the backend {backend}; expected {BACKEND}: start Python "
            f"again with the environment variable KERAS_BACKEND={BACKEND}"
        )
    if number_format != "float32":
        raise UsageError(
            f"Keras computes in {number_format} unless it is told otherwise; expected float32: "
            f'call keras.config.set_floatx("float32")'
        )


@contextmanager
def _choose_backend() -> Iterator[None]:
    """Let Keras be imported with TensorFlow, whatever the user has set for other programs."""
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = BACKEND
    try:
        yield
    finally:
        del os.environ["KERAS_BACKEND"]
        if before is not None:
            os.environ["KERAS_BACKEND"] = before


@contextmanager
def _hold_messages() -> Iterator[None]:
    """Keep what is written to standard error meanwhile, and write it out where the import fails.

    It comes from C++ code, before any setting can reach it, so the descriptor itself is captured.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # closed: there is nothing to keep it from
        yield
        return
    with _open_temporary_file() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _open_temporary_file() -> IO[bytes]:
    """A file without a name; nowhere, where the system has no room for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no directory for temporary files
        return Path(os.devnull).open("w+b")


@contextmanager
def _import_quickly() -> Iterator[None]:
    """Leave out what makes the import, and the end of the process, slower for nothing.

    Imported modules stay: collecting garbage among them is a fifth of the import, and again as much
    when the process ends. Keras imports matplotlib for a gallery of images, another fifth.
    """
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        with defer_imports("matplotlib", "pyplot"):
            yield
    finally:
        gc.freeze()
        if is_collecting:
            gc.enable()


@contextmanager
def _keep_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if Ctrl-C came meanwhile and an imported module hid it.

    Modules under TensorFlow catch every exception around an optional import, Ctrl-C's too. Only
    Python's own handler is replaced, and only in the main thread, where signals are delivered.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def note_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt
