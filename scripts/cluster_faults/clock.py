"""The clock of a process, moved while it runs, by a library that is loaded before all others."""

from __future__ import annotations

import shutil
import subprocess
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


class MovableClock:
    """A clock for programs that are started with `environment`.

    Args:
        place: a directory for the library, and for the file with the seconds to add.
    """

    def __init__(self, place: Path) -> None:
        self._library, self._offset = place / "clock.so", place / "offset"

    def make(self) -> bool:
        """Compile it; whether there is a compiler."""
        self.move(0)
        compiler = shutil.which("cc")
        if compiler is None:
            return False
        source = self._library.with_suffix(".c")
        source.write_text(SOURCE)
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        subprocess.run([*command, "-ldl"], check=True)
        return True

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to follow it."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self._offset)}

    def move(self, seconds: int) -> None:
        """Let it be so far from the machine's."""
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
