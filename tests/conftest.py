"""What all tests share: how TensorFlow is set up, a cache for each session, a quick timing."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.browser import browser as browser
from tests.browser import shared_page as shared_page

settings.register_profile("tests", deadline=None)  # how long an example takes, the machine decides
settings.load_profile("tests")
# Of what is imported and collected nothing is garbage: looking for it takes a fifth of that time.
gc.disable()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Every shape is compiled anew, and small networks gain nothing from code that is optimized: a third
# of the time of the tests that train. The test of the wheel compiles as users do.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
)


def pytest_collection_finish() -> None:
    """Look for garbage again, but never among what is there before the first test."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests' token stores away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_TIMECYCLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _unflushed() -> Iterator[None]:
    """Wait for no disk: a file that is not flushed is lost with the power alone.

    A closed descriptor is refused as ever. Processes that tests start do flush.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def _heard_signals() -> None:
    """Hear the signals that processes in the background ignore, and with them their children."""
    defaults = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    for name, default in defaults.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, default)


@pytest.fixture(scope="session", autouse=True)
def _configured() -> None:
    """Set TensorFlow up as the program does, if it was imported: graphs run as they were traced."""
    if "tensorflow" in sys.modules:
        from llm_timecycle.training.devices import configure_tensorflow, make_plan

        configure_tensorflow(make_plan(threads=2, lanes=4, precision="float32"))


@pytest.fixture
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time the machine, for the settings of a text, with products that take no time."""
    from llm_timecycle.model import precision
    from llm_timecycle.training import devices

    monkeypatch.setattr(precision, "RACE_S", 0.0)
    monkeypatch.setattr(devices, "RATE_SHAPE", (64, 32, 128))
