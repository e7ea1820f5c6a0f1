"""What the system saw of a program, as `strace` records it: `operations` is held against it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from os.path import normpath, relpath
from pathlib import Path

from boundaries.operations import OPENS_DIRECTORY
from boundaries.strikes import mask

OF_DESCRIPTORS = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "fallocate"), "write"),
    **dict.fromkeys(("sendfile", "copy_file_range"), "write"),
    **dict.fromkeys(("fsync", "fdatasync"), "fsync"),
    **{"ftruncate": "truncate", "fchmod": "mode"},
}
OF_PATHS = {
    **dict.fromkeys(("open", "openat", "creat"), "open"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), "link"),
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("chmod", "fchmodat"), "mode"),
    **dict.fromkeys(("utime", "utimes", "utimensat"), "times"),
    **{"unlink": "unlink", "unlinkat": "unlink", "rmdir": "rmdir", "truncate": "truncate"},
}
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*?)(?:\)\s+= .*)?$")
_WORD = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>|"([^"]*)"')


def trace(command: Sequence[str], log: Path) -> None:
    """Run a command under strace, which writes to `log`; CalledProcessError where it fails."""
    calls = ",".join(f"?{call}" for call in (*OF_DESCRIPTORS, *OF_PATHS))
    options = ["-f", "--seccomp-bpf", "-y", "-s", "0", "-o", str(log), "-e", f"trace={calls}"]
    subprocess.run(["strace", *options, *command], check=True)


def list_calls(lines: Iterable[str], place: Path) -> Iterator[str]:
    """The operations below `place` in a record of strace; relative paths are from there."""
    for line in lines:
        if (match := _CALL.match(line)) is None:
            continue
        call, arguments = match.groups()
        if call in OF_DESCRIPTORS:
            kind, found = OF_DESCRIPTORS[call], _WORD.search(arguments)
            paths = [found[1]] if found and found[1] else []
        else:
            kind, paths = OF_PATHS.get(call, ""), list(_list_paths(arguments, place))
        if not kind or not any(f"{path}/".startswith(f"{place}/") for path in paths):
            continue
        if kind == "open" and not re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", arguments):
            continue
        kind = "rmdir" if "AT_REMOVEDIR" in arguments else kind
        yield mask(" ".join([kind, *(relpath(path, place) for path in paths)]))


def list_seen(operations: Iterable[str]) -> Iterator[str]:
    """What `operations.watch` saw, without what strace does not tell apart."""
    for operation in operations:
        if not operation.startswith(OPENS_DIRECTORY):
            yield re.sub("^create ", "open ", operation)


def _list_paths(arguments: str, place: Path) -> Iterator[str]:
    directory = str(place)
    for word in _WORD.finditer(arguments):
        if word[2] is None:
            directory = word[1]
        else:
            yield normpath(Path(directory, word[2]))
            directory = str(place)
