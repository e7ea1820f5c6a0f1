"""What the machine is asked, against files that stand in for those of Linux."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_timecycle.system import (
    LONGEST_START_S,
    count_cores,
    count_hardware_threads,
    describe_machine,
    describe_machine_briefly,
    read_free_bytes,
    read_largest_cache_bytes,
    read_versions,
)

MIB = 2**20


def test_the_last_cache_is_the_largest(tmp_path: Path) -> None:
    assert read_largest_cache_bytes(tmp_path) is None
    for number, size in enumerate(("32K", "1024K", "32M", "", "odd")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(size + "\n")
    assert read_largest_cache_bytes(tmp_path) == 32 * MIB


def test_free_memory_is_what_is_available(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    assert read_free_bytes(file) is None
    file.write_text("MemTotal:  2048 kB\nMemFree:  17 kB\nMemAvailable:    1024 kB\n")
    assert read_free_bytes(file, tmp_path, tmp_path / "none") == MIB
    file.write_text("MemTotal:  2048 kB\n")
    assert read_free_bytes(file) is None


def test_a_container_has_what_is_left_of_its_limit(tmp_path: Path) -> None:
    file, own = tmp_path / "meminfo", tmp_path / "cgroup"
    file.write_text("MemAvailable: 1024 kB\n")
    own.write_text("0::/a/b\n")

    def limit(group: str, **values: object) -> None:
        place = tmp_path / "groups" / group
        place.mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            (place / f"memory.{name}").write_text(f"{value}\n")

    def read() -> int | None:
        return read_free_bytes(file, tmp_path / "groups", own)

    limit("a/b", max="max", current=7)
    assert read() == MIB
    limit("a", max=900_000, current=500_000, stat="anon 5\nactive_file 30\ninactive_file 200")
    assert read() == 400_230
    limit("a/b", max=2_000, current=3_000)
    assert read() == 0
    own.write_text("0::/elsewhere\n")
    assert read() == MIB
    limit("", max=70, current=20)
    assert read() == 50


def test_a_container_has_the_cpus_of_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    groups, own = tmp_path / "groups", tmp_path / "cgroup"
    (groups / "a/b").mkdir(parents=True)

    def count() -> tuple[int, int]:
        none = tmp_path / "none"
        return count_cores(none, groups, own), count_hardware_threads(groups, own)

    assert count() == (64, 64)
    own.write_text("0::/a/b\n")
    assert count() == (64, 64)
    for limit, cpus in {"max": 64, "200000": 2, "250000": 3, "50000": 1, "9900000": 64}.items():
        (groups / "a/b/cpu.max").write_text(f"{limit} 100000\n")
        assert count() == (cpus, cpus)
    (groups / "a/cpu.max").write_text("400000 50000\n")
    assert count() == (8, 8)
    (groups / "cpu.max").write_text("odd\n")
    assert count() == (8, 8)


def test_the_machine_is_named_by_its_processor_and_not_by_its_host(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Some CPU\n")
    found = describe_machine(file)
    assert found["processor"] == "Some CPU @ 3 GHz"
    assert found["cores"] >= found["physical_cores"] >= 1
    assert list(found) == ["processor", "cores", "physical_cores", "memory_bytes", "system"]
    assert describe_machine(tmp_path / "none")["processor"]
    assert describe_machine_briefly({}) == "unknown processor"
    assert describe_machine_briefly({"processor": "A", "cores": 4, "physical_cores": 2}) == (
        "A, 2 cores"
    )
    assert {"llm_timecycle", "python", "tensorflow"} <= read_versions().keys()


@pytest.mark.skipif(os.name != "posix", reason="only there can a process go on as another program")
def test_what_a_process_did_before_it_became_this_program_is_not_its_start() -> None:
    code = (
        "from llm_timecycle.system import measure_process_age_s, measure_start_s\n"
        "print(measure_process_age_s(), measure_start_s())"
    )
    command = [
        "sh",
        "-c",
        f'sleep {LONGEST_START_S + 0.2}; exec "$0" -c "$1"',
        sys.executable,
        code,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    age, start_s = done.stdout.split()
    assert float(start_s) == (0.0 if age == "None" else LONGEST_START_S)
    assert age == "None" or float(age) > LONGEST_START_S


def test_a_process_knows_how_long_ago_it_was_started() -> None:
    code = (
        "import time; began = time.perf_counter()\n"
        "from llm_timecycle.system import measure_process_age_s\n"
        "print(time.perf_counter() - began, measure_process_age_s())"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    all_s = time.perf_counter() - began
    imports_s, age = done.stdout.split()
    if age != "None":  # a system without /proc does not say
        # The age is told to a hundredth of a second, and the clock of starts ticks as coarsely.
        assert float(imports_s) - 0.02 <= float(age) <= all_s + 0.02
