"""What was measured on: the processor, its cores and memory, the system, the versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.run import LIBRARIES

_PROCESSOR_INFO = Path("/proc/cpuinfo")


def describe_machine(processor_info: Path = _PROCESSOR_INFO) -> dict[str, Any]:
    """Processor, threads that this process may use, memory in bytes, system; no name of a host."""
    return {
        "processor": _read_processor(processor_info),
        "cores": _count_usable(),
        "memory_bytes": _read_memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def read_versions() -> dict[str, str]:
    """The versions of the program, of Python, and of the libraries that matter to its speed."""
    own = {"llm_timecycle": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in LIBRARIES}


def describe_machine_briefly(machine: Mapping[str, Any]) -> str:
    """One line.

    >>> describe_machine_briefly({"processor": "A 1", "cores": 2, "memory_bytes": 25_769_803_776})
    'A 1, 2 cores, 24.0 GiB'
    """
    parts = [str(machine.get("processor") or "unknown processor")]
    if cores := machine.get("cores"):
        parts.append(f"{cores} core{'s' if cores != 1 else ''}")
    if memory := machine.get("memory_bytes"):
        parts.append(f"{memory / 2**30:.1f} GiB")
    return ", ".join(parts)


def _read_processor(file: Path) -> str:
    """The processor's name; of a system that does not say, its kind."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), platform.processor() or platform.machine())


def _count_usable() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        return os.cpu_count() or 1


def _read_memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
