"""A directory as it is now, and as a power cut would leave it.

A state is the content of a directory: of each file its bytes, of each directory None, by relative
path. `Disk` follows the operations and knows what was flushed: the content of a file by an fsync
of the file, its name by an fsync of the directory. Nothing else survives for sure.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from boundaries.operations import Operation

State = Mapping[str, bytes | None]


def read_state(place: Path) -> State:
    """The content of a directory."""
    found = sorted(place.rglob("*"))
    return {str(p.relative_to(place)): None if p.is_dir() else p.read_bytes() for p in found}


def write_state(state: State, place: Path) -> None:
    """Make a directory with that content, in place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name, content in sorted(state.items()):
        if content is None:
            (place / name).mkdir()
        else:
            (place / name).write_bytes(content)


def hash_state(state: State) -> str:
    """A short name for a state, the same for equal ones."""
    digest = hashlib.sha256()
    for name, content in sorted(state.items()):
        kind = "directory" if content is None else hashlib.sha256(content).hexdigest()
        digest.update(f"{name}\0{kind}\n".encode())
    return digest.hexdigest()[:16]


@dataclass(eq=False)
class Node:
    """A file or a directory: what a power cut leaves of it, and what is newer."""

    is_directory: bool
    content: bytes = b""
    """Of a file, as flushed."""
    is_dirty: bool = False
    """Whether a file was written to since."""
    names: dict[str, Node] = field(default_factory=dict)
    """Of a directory, now."""
    flushed: dict[str, Node] = field(default_factory=dict)
    """Of a directory, as flushed."""


Change = tuple[tuple[Node, str, Node | None], ...]
"""What one operation did to directories: in which, which name, and what has it now."""


class Disk:
    """What is flushed of a directory, whose content is flushed at first.

    Args:
        place: the directory.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._root = _read_node(place)
        self._pending: list[Change] = []
        self._reported: list[Change] = []
        self.broken_rules: list[str] = []
        """Operations that were done before what they need was flushed."""

    def note(self, operation: Operation) -> None:
        """Follow an operation that has been done."""
        kind, path = operation.kind, operation.path
        parent, name = self._find_parent(path)
        if kind == "create":
            self._change((parent, name, Node(is_directory=False)))
        elif kind == "mkdir":
            self._change((parent, name, Node(is_directory=True)))
        elif kind in ("write", "truncate"):
            parent.names[name].is_dirty = True
        elif kind in ("unlink", "rmdir"):
            self._change((parent, name, None))
        elif kind == "rename":
            self._check_rename(operation)
            target, new_name = self._find_parent(operation.target)
            self._change((parent, name, None), (target, new_name, parent.names[name]))
        elif kind == "fsync":
            self._flush(self._find(path), path)
        elif kind == "link":
            raise NotImplementedError(f"links: {operation}")

    def list_cuts(self) -> Iterator[State]:
        """What a power cut may leave: no change of a name since its flush, each alone, or all.

        What was written to files since their flush is lost in all of them.
        """
        yield dict(_list_content(self._root, (), []))
        for change in self._pending:
            yield dict(_list_content(self._root, (), [change]))
        yield dict(_list_content(self._root, (), self._pending))

    def list_unflushed(self) -> list[str]:
        """The paths that a power cut at this moment takes, or takes back to what they were."""
        now = read_state(self._place)
        cuts = list(self.list_cuts())
        return [
            path for path, content in now.items() if any(c.get(path, 0) != content for c in cuts)
        ]

    def _change(self, *changes: tuple[Node, str, Node | None]) -> None:
        for directory, name, node in changes:
            directory.names.pop(name, None)
            if node is not None:
                directory.names[name] = node
        self._pending.append(changes)

    def _flush(self, node: Node, path: str) -> None:
        if not node.is_directory:
            node.content, node.is_dirty = (self._place / path).read_bytes(), False
            return
        node.flushed = dict(node.names)
        left = (tuple(each for each in change if each[0] is not node) for change in self._pending)
        self._pending = [change for change in left if change]

    def _check_rename(self, operation: Operation) -> None:
        """Note a visible name that is given to what is not flushed, or before the last one was."""
        if _is_hidden(operation.target):
            return
        for path, node in _walk(self._find(operation.path), operation.path):
            if node.is_dirty or node.flushed != node.names:
                self.broken_rules.append(f"{operation}: {path} is not flushed")
        for change in self._pending:
            name = change[-1][1]
            if len(change) == 2 and not _is_hidden(name) and change not in self._reported:
                self._reported.append(change)
                self.broken_rules.append(f"{operation}: the directory of {name} is not flushed")

    def _find(self, path: str) -> Node:
        node = self._root
        for part in PurePath(path).parts:
            node = node.names[part]
        return node

    def _find_parent(self, path: str) -> tuple[Node, str]:
        return self._find(str(PurePath(path).parent)), PurePath(path).name


def _is_hidden(path: str) -> bool:
    return PurePath(path).name.startswith(".")


def _read_node(path: Path) -> Node:
    if not path.is_dir():
        return Node(is_directory=False, content=path.read_bytes())
    names = {each.name: _read_node(each) for each in path.iterdir()}
    return Node(is_directory=True, names=names, flushed=dict(names))


def _walk(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.names.items():
        yield from _walk(child, f"{path}/{name}")


def _list_content(
    directory: Node, parts: tuple[str, ...], changes: Sequence[Change]
) -> Iterator[tuple[str, bytes | None]]:
    """What is flushed of a directory and what is in it, and those changes of names."""
    names = dict(directory.flushed)
    for change in changes:
        for changed, name, node in change:
            if changed is directory:
                names.pop(name, None)
                if node is not None:
                    names[name] = node
    for name, node in names.items():
        path = (*parts, name)
        yield "/".join(path), None if node.is_directory else node.content
        if node.is_directory:
            yield from _list_content(node, path, changes)
