"""Every operation that changes files below a directory, seen before it takes effect.

`watch` stands between the program and the functions of `os` and `io` through which Python changes
files. What it sees is what the system sees: `syscalls.py` compares it with the record of `strace`.
Work done outside Python (TensorFlow, `tokenizers`) is not seen.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

OPENS_DIRECTORY = "open directory"
FUNCTIONS = {
    **{"ftruncate": "truncate", "truncate": "truncate", "fsync": "fsync", "fdatasync": "fsync"},
    **{"rename": "rename", "replace": "rename", "unlink": "unlink", "remove": "unlink"},
    **{"mkdir": "mkdir", "rmdir": "rmdir", "link": "link", "symlink": "link"},
    **{"chmod": "mode", "utime": "times"},
}
"""Of `os`, apart from those that open and write: the kind of each one's operation."""
GROWING = ("create", "write", "mkdir", "link")
"""What a full disk refuses."""


@dataclass(frozen=True)
class Operation:
    """One of them; paths are relative to the directory that is watched."""

    kind: str
    """create (open to write a file that is not there yet), open (to write one that is), open
    directory, write, truncate, fsync, rename, unlink, mkdir, rmdir, link, mode or times."""
    path: str
    target: str = ""
    """The new name of what is renamed or linked."""
    content: bytes = b""
    """What is written."""

    def __str__(self) -> str:
        return " ".join(word for word in (self.kind, self.path, self.target) if word)


Perform = Callable[..., Any]
"""Does the operation; a write takes other bytes in place of its own."""
Around = Callable[[Operation, Perform], Any]
"""Called with each operation: performs it and returns what that returns, or raises an OSError."""


@contextmanager
def watch(place: Path, around: Around) -> Iterator[Watch]:
    """Call `around` with every operation in `place`, until the end of the context.

    What the package has imported by name (`from io import FileIO`) is replaced there as well.
    """
    watching = Watch(place, around)
    functions: dict[str, Any] = {name: partial(watching.call, name) for name in FUNCTIONS}
    functions |= {name: getattr(watching, name) for name in ("open", "close", "write")}
    stand_ins = {id(getattr(os, name)): function for name, function in functions.items()}
    stand_ins |= {id(io.open): watching.open_file, id(io.FileIO): watching.raw_file}
    packages = [m for name, m in sys.modules.items() if name.split(".")[0] == "llm_timecycle"]
    with ExitStack() as patches:
        for module in (os, io, builtins, *packages):
            for name, value in list(vars(module).items()):
                if id(value) in stand_ins:
                    patches.enter_context(mock.patch.object(module, name, stand_ins[id(value)]))
        yield watching


class Watch:
    """The functions that stand in for those of `os` and `io`, and the files that are open.

    Args:
        place: the directory, without links in its path.
        around: see `Around`.
    """

    def __init__(self, place: Path, around: Around) -> None:
        self._place, self._around, self._is_around = place, around, False
        self.descriptors: dict[int, tuple[str, int]] = {}
        """What is open below the directory, by descriptor: its path and the flags of `open`."""
        self._real = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}
        self._open_file = io.open
        self.raw_file = type("WatchedFile", (WatchedFile,), {"watching": self})
        """In place of `io.FileIO`."""

    def find(self, path: Any, dir_fd: int | None = None) -> str | None:
        """A path relative to the watched directory; None for one that is not in it."""
        if isinstance(path, int):
            return self.descriptors[path][0] if path in self.descriptors else None
        name = os.fsdecode(path)
        if dir_fd is not None:
            if dir_fd not in self.descriptors:
                return None
            name = str(self._place / self.descriptors[dir_fd][0] / name)
        name = os.path.abspath(name)  # noqa: PTH100  # links stay as they are
        is_inside = name == str(self._place) or name.startswith(f"{self._place}/")
        return os.path.relpath(name, self._place) if is_inside else None

    def see(self, operation: Operation, perform: Perform) -> Any:
        """Hand an operation to `around`, whose own operations are not seen."""
        if self._is_around:
            return perform()
        self._is_around = True
        try:
            return self._around(operation, perform)
        finally:
            self._is_around = False

    def call(self, name: str, path: Any, *arguments: Any, **keywords: Any) -> Any:
        """Call one of `FUNCTIONS`, as an operation if it is one in the directory."""

        def perform() -> Any:
            return self._real[name](path, *arguments, **keywords)

        first = arguments[0] if name == "symlink" else path
        found = self.find(first, keywords.get("dir_fd", keywords.get("src_dir_fd")))
        if found is None:
            return perform()
        target = None
        if name in ("rename", "replace", "link"):
            target = self.find(arguments[0], keywords.get("dst_dir_fd"))
        return self.see(Operation(FUNCTIONS[name], found, target or ""), perform)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """In place of `os.open`; reading a file is no operation."""
        found = self.find(path, dir_fd)
        is_write = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        if found is None or not (is_write or (self._place / found).is_dir()):
            return int(self._real["open"](path, flags, mode, dir_fd=dir_fd))

        def perform() -> int:
            descriptor = int(self._real["open"](path, flags, mode, dir_fd=dir_fd))
            self.descriptors[descriptor] = found, flags
            return descriptor

        kind = self.name_opening(found) if is_write else OPENS_DIRECTORY
        return int(self.see(Operation(kind, found), perform))

    def name_opening(self, found: str) -> str:
        """The kind of the operation that opens a file to write."""
        return "open" if (self._place / found).exists() else "create"

    def open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """In place of `open`; what is opened to write is a `WatchedFile` underneath."""
        found = self.find(file)
        if found is None or not set(mode) & set("wxa+"):
            return self._open_file(
                file, mode, buffering, encoding, errors, newline, closefd, opener
            )
        raw = self.raw_file(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, size)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)

    def write_to(self, descriptor: int, content: Any, perform: Perform) -> Any:
        """A write to an open file, as an operation if it is in the directory."""
        if (found := self.find(descriptor)) is None:
            return perform(content)
        operation = Operation("write", found, content=bytes(content))
        return self.see(operation, lambda other=content: perform(other))

    def close(self, descriptor: int) -> None:
        """In place of `os.close`."""
        self.descriptors.pop(descriptor, None)
        self._real["close"](descriptor)

    def write(self, descriptor: int, content: Any) -> int:
        """In place of `os.write`."""
        return self.write_to(
            descriptor, content, lambda other: self._real["write"](descriptor, other)
        )


class WatchedFile(io.FileIO):
    """An unbuffered file whose writes are operations, if it is in the directory."""

    watching: Watch

    def __init__(
        self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None
    ) -> None:
        self._is_owner = closefd
        found = self.watching.find(file) if set(mode) & set("wxa+") else None
        perform = partial(super().__init__, file, mode, closefd, opener)
        if found is None or isinstance(file, int) or opener is not None:  # `os.open` is called
            perform()
        else:
            self.watching.see(Operation(self.watching.name_opening(found), found), perform)
        if found is not None:
            flags = os.O_APPEND if "a" in mode else 0
            flags |= os.O_RDWR if "+" in mode else os.O_WRONLY
            self.watching.descriptors.setdefault(self.fileno(), (found, flags))

    def write(self, content: Any) -> Any:
        """As `io.FileIO`."""
        return self.watching.write_to(self.fileno(), content, super().write)

    def truncate(self, size: int | None = None) -> int:
        """As `io.FileIO`."""
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length

    def close(self) -> None:
        """As `io.FileIO`."""
        if not self.closed and self._is_owner:
            self.watching.descriptors.pop(self.fileno(), None)
        super().close()
