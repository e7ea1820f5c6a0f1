"""The house: imports point down only, and each room holds only what belongs there."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "llm_timecycle"
ROOT = Path(__file__).parents[1] / PACKAGE

# A file may import from its own room, and from rooms on lower floors.
FLOORS = {
    "__main__": 9,
    "cli": 8,
    "profiling": 7,
    "training": 6,
    "generation": 5,
    "evaluation": 5,
    "runs": 4,
    "text": 3,
    "model": 3,
    "config": 2,
    "reference": 2,
    "system": 1,
    "clock": 1,
    "errors": 1,
    "files": 1,
}
"""DESIGN's floors. `files` may use `errors`-level words only; see SAME_FLOOR."""
ROOT_NAMES = {"__version__"}  # what a file may take from the package itself

# The rooms inside `profiling`, by what they may import of each other.
PROFILING_ROOMS = {
    "results": set(),
    "analysis": {"results"},
    "measure": {"results", "analysis"},
    "render": {"results"},
}

# Where TensorFlow may be imported; `cli` may reach these rooms, but only from inside a function.
TENSORFLOW_ROOMS = (
    *("model", "text/batches", "training", "generation", "evaluation"),
    *("profiling/api", "profiling/measure"),
)
TENSORFLOW = {"tensorflow", "keras"}
CLOCKS = {"time", "datetime", "timeit"}
LARGEST_ROOM = 16


def list_modules(root: Path) -> Iterator[tuple[str, ast.Module]]:
    """Path without suffix, and syntax tree, of every file but the package's own door."""
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root).with_suffix("").as_posix()
        if name != "__init__":
            yield name, ast.parse(file.read_text(encoding="utf-8"))


def list_imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a file imports, anywhere in it; a relative one begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def list_rooms_imported(tree: ast.AST) -> Iterator[str]:
    """The rooms of this package that a file imports from."""
    for name in list_imports(tree):
        first, *rest = name.split(".")
        if first == "":
            yield f"(relative import {name})"
        elif first == PACKAGE and (not rest or rest[0] not in ROOT_NAMES):
            yield rest[0] if rest else "(the package itself)"


def find_upward_imports(root: Path) -> list[str]:
    """Every import that does not point down, as `file -> room`."""
    found = []
    for name, tree in list_modules(root):
        room = name.split("/")[0]
        for target in list_rooms_imported(tree):
            is_down = target in FLOORS and FLOORS[target] < FLOORS.get(room, -1)
            if target != room and not is_down:
                found.append(f"{name} -> {target}")
    return found


def find_misplaced_tensorflow(root: Path) -> list[str]:
    """Every file that imports TensorFlow or Keras and does not live where it may."""
    return [
        name
        for name, tree in list_modules(root)
        if any(imported.split(".")[0] in TENSORFLOW for imported in list_imports(tree))
        and not any(name == room or name.startswith(f"{room}/") for room in TENSORFLOW_ROOMS)
    ]


def test_every_file_has_a_floor():
    rooms = {name.split("/")[0] for name, _ in list_modules(ROOT)}
    assert rooms <= FLOORS.keys()
    assert len(rooms) > 8


def test_imports_point_down():
    assert find_upward_imports(ROOT) == []


def test_tensorflow_stays_in_its_rooms():
    assert find_misplaced_tensorflow(ROOT) == []


def test_reference_stands_on_numpy_alone():
    outside = {
        imported.split(".")[0]
        for name, tree in list_modules(ROOT)
        if name.startswith("reference/")
        for imported in list_imports(tree)
    } - set(sys.stdlib_module_names)
    assert outside <= {"numpy", PACKAGE}


@pytest.mark.parametrize(
    ("file", "code", "finding"),
    [
        ("config/a.py", "from llm_timecycle.text.batches import x", "config/a -> text"),
        ("text/a.py", "import llm_timecycle.model.lstm", "text/a -> model"),
        (
            "runs/directory.py",
            "def f():\n    from llm_timecycle import training",
            "runs/directory -> training",
        ),
        ("model/a.py", "from llm_timecycle import load", "model/a -> load"),
        ("model/a.py", "import llm_timecycle", "model/a -> (the package itself)"),
        ("model/a.py", "from . import b", "model/a -> (relative import ..b)"),
        ("attic/a.py", "from llm_timecycle.errors import x", "attic/a -> errors"),
    ],
)
def test_an_upward_import_is_found(tmp_path, file, code, finding):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    assert find_upward_imports(tmp_path) == [finding]


def test_a_downward_import_is_let_pass(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a.py").write_text(
        "import numpy\nfrom llm_timecycle import __version__\n"
        "from llm_timecycle.errors import x\nfrom llm_timecycle.model.b import y\n"
    )
    assert find_upward_imports(tmp_path) == []


def test_misplaced_tensorflow_is_found(tmp_path):
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli/a.py").write_text("def f():\n    import keras.layers\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/a.py").write_text("from tensorflow import io\n")
    assert find_misplaced_tensorflow(tmp_path) == ["cli/a", "runs/a"]
