"""The clock of a process, moved while it runs, by a library that is loaded before all others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset_s;

__attribute__((constructor)) static void open_offset(void) {
    int file = open(getenv("FAULTS_CLOCK"), O_RDONLY);
    void *mapped = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) offset_s = mapped;
}
int clock_gettime(clockid_t clock, struct timespec *found) {
    int failed = syscall(SYS_clock_gettime, clock, found);
    if (!failed && offset_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        found->tv_sec += *offset_s;
    return failed;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec, found->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


_OFFSET = "FAULTS_CLOCK"


class MovableClock:
    """The clock of this process and all that it forks.

    Args:
        offset: the file with the seconds to add.
    """

    def __init__(self, offset: Path) -> None:
        self._offset = offset

    @classmethod
    def find(cls) -> MovableClock:
        """That of this process, after `follow_clock`."""
        return cls(Path(os.environ[_OFFSET]))

    def move(self, seconds: int) -> None:
        """Let it be so far from the machine's."""
        with self._offset.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))


def follow_clock() -> None:
    """Start this program again with a clock that can be moved; return where that was done."""
    if _OFFSET in os.environ:
        return
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("a C compiler (cc) is needed, to move the clock")
    place = Path(tempfile.mkdtemp())
    library, offset, source = (place / name for name in ("clock.so", "offset", "clock.c"))
    source.write_text(SOURCE)
    offset.write_bytes(bytes(8))
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), _OFFSET: str(offset)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
