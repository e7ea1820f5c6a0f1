"""Import TensorFlow without its log lines. This module itself imports nothing heavy."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llm_timecycle.errors import UsageError
from llm_timecycle.model.deferred_import import defer_imports

_process: int | None = None
"""The process in which TensorFlow was imported, if it was."""


def import_tensorflow() -> None:
    """Import TensorFlow and let it find its devices, without the lines that it logs meanwhile.

    They come from C++ code, before any setting can reach it, so standard error itself is captured;
    if the import fails, everything captured is written out.

    Raises:
        UsageError: this process was forked from one that uses TensorFlow.
    """
    global _process
    refuse_after_fork()
    _import_without_log()
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


def _import_without_log() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or os.environ.get("LLM_TIMECYCLE_DEBUG") == "1":
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with _keep_interrupts(), _import_quickly(), tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


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
