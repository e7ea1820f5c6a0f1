"""The machine this process runs on: cores, memory, caches, versions, age of the process.

The only file that asks the system for these. What a system does not tell is None. The paths of the
files that Linux tells it in are arguments, so that tests can put others in their place.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_timecycle import __version__

LIBRARIES = ("tensorflow", "keras", "numpy", "tokenizers", "safetensors")
"""The libraries whose versions decide what a run computes, and how fast."""

_PROCESSOR_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_FILES = ("active", "inactive")
_CACHE_SIZES = Path("/sys/devices/system/cpu/cpu0/cache")
_PROCESSORS = Path("/sys/devices/system/cpu")

LONGEST_START_S = 2.0
"""The interpreter and the modules of a command are loaded by then, on a slow machine too."""


def count_hardware_threads(groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS) -> int:
    """Hardware threads that this process may use, within the limit of a container."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        usable = os.cpu_count() or 1
    return min([usable, *_list_cpu_limits(groups, own_groups)])


def count_cores(
    processors: Path = _PROCESSORS, groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS
) -> int:
    """Cores that this process may use; two hardware threads of a core count once.

    They share the units that multiply, so a second one adds nothing to a matrix product.
    """
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:
        return os.cpu_count() or 1
    cores = set()
    for number in usable:
        try:
            siblings = processors / f"cpu{number}/topology/thread_siblings_list"
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(number))
    return min([len(cores), *_list_cpu_limits(groups, own_groups)])


def _list_cpu_limits(groups: Path, own_groups: Path) -> Iterator[int]:
    """The CPUs whose time each control group may use, rounded up, as `docker run --cpus` sets."""
    for group in _list_groups(groups, own_groups):
        try:
            quota_us, period_us = map(int, (group / "cpu.max").read_text().split())
            yield max(-(-quota_us // period_us), 1)
        except (OSError, ValueError, ZeroDivisionError):  # none, which is the word max
            continue


def read_memory_bytes() -> int | None:
    """The memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def read_free_bytes(
    file: Path = _MEMORY_INFO, groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS
) -> int | None:
    """The memory that can be had without swapping, within the limit of a container."""
    found = _read_amount(file, "MemAvailable:")
    if found is None:
        return None
    return min([1024 * found, *_list_left_in_groups(groups, own_groups)])


def _list_left_in_groups(groups: Path, own_groups: Path) -> Iterator[int]:
    """What is left of the memory of each control group that this process is in."""
    for group in _list_groups(groups, own_groups):
        try:
            limit, used = (
                int((group / f"memory.{name}").read_text()) for name in ("max", "current")
            )
        except (OSError, ValueError):  # none, which is the word max
            continue
        # Files that were read are given up when memory is asked for.
        files = sum(_read_amount(group / "memory.stat", f"{name}_file") or 0 for name in _FILES)
        yield max(limit - used + files, 0)


def _list_groups(groups: Path, own_groups: Path) -> Iterator[Path]:
    """The control group (version 2) that this process is in, and those around it."""
    try:
        lines = own_groups.read_text().splitlines()
        path = next(line[3:].lstrip("/") for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    own = groups / path
    yield from (group for group in (own, *own.parents) if group.is_relative_to(groups))


def _read_amount(file: Path, name: str) -> int | None:
    """The number after a name, in a file of lines with one each."""
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
        return next(int(row[1]) for row in rows if row and row[0] == name)
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def read_largest_cache_bytes(directory: Path = _CACHE_SIZES) -> int | None:
    """The size of the processor's largest cache."""
    sizes = []
    for file in directory.glob("index*/size"):
        try:
            text = file.read_text().strip()
            sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]])
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return max(sizes, default=None)


def read_processor(file: Path = _PROCESSOR_INFO) -> str:
    """The processor's name; its architecture where the system does not name it."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), platform.processor() or platform.machine())


def describe_machine(processor_info: Path = _PROCESSOR_INFO) -> dict[str, Any]:
    """Processor, memory in bytes, system; no host name.

    Of what this process may use, `cores` counts hardware threads, `physical_cores` cores.
    """
    return {
        "processor": read_processor(processor_info),
        "cores": count_hardware_threads(),
        "physical_cores": count_cores(),
        "memory_bytes": read_memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def describe_machine_briefly(machine: Mapping[str, Any]) -> str:
    """One line from what `describe_machine` gives.

    >>> describe_machine_briefly({"processor": "A 1", "cores": 2, "memory_bytes": 25_769_803_776})
    'A 1, 2 cores, 24.0 GiB'
    """
    words = [str(machine.get("processor") or "unknown processor")]
    if cores := machine.get("physical_cores") or machine.get("cores"):  # of an older version
        words.append(f"{cores} core{'s' if cores != 1 else ''}")
    if memory := machine.get("memory_bytes"):
        words.append(f"{memory / 2**30:.1f} GiB")
    return ", ".join(words)


def read_versions() -> dict[str, str]:
    """The versions of the program, of Python, and of `LIBRARIES`."""
    from importlib import metadata  # 20 ms that most commands do not need

    own = {"llm_timecycle": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in LIBRARIES}


def measure_start_s() -> float:
    """Seconds that the start of this program has taken, for a command to ask first; 0 if unknown.

    A process keeps its age where it goes on as another program (exec), such as a shell that
    prepared something first. So more than `LONGEST_START_S` is not believed.
    """
    return min(measure_process_age_s() or 0.0, LONGEST_START_S)


def measure_process_age_s() -> float | None:
    """Seconds since this process was started, to a hundredth; None where there is no /proc.

    Nothing inside the process can time the start of the interpreter.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
    except (OSError, AttributeError, IndexError, ValueError):
        return None
