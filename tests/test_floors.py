"""The house: imports point down only, and each room holds only what belongs there."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "llm_timecycle"
ROOT = Path(__file__).parents[1] / PACKAGE

# A file may import from its own room, and from rooms on lower floors.
FLOORS = {
    "__main__": 11,
    "cli": 10,
    "serving": 9,
    "comparing": 9,
    "profiling": 8,
    "training": 7,
    "exporting": 7,
    "evaluation": 6,
    "generation": 5,
    "runs": 4,
    "distributed": 4,
    "text": 3,
    "model": 3,
    "config": 2,
    "reference": 2,
    "sealed_json": 2,
    "staging": 2,
    "arguments": 1,
    "system": 1,
    "clock": 1,
    "errors": 0,
    "files": 1,
    "parsing": 1,
    "path_names": 1,
    "progress_bars": 1,
}
"""The floors of docs/architecture.md."""
ROOT_NAMES = {"__version__"}  # what a file may take from the package itself

# What the rooms inside `profiling` may import of each other; `api`, `against` and `source` stand on
# top. `render` may use nothing else but values, or it would begin to compute.
PROFILING_ROOMS: dict[str, set[str]] = {
    "worker_results": set(),
    "results": {"worker_results"},
    "format": set(),
    "analysis": {"results", "worker_results", "format"},
    "measure": {"results", "worker_results", "format", "analysis"},
    "render": {"results", "worker_results", "format"},
}
RENDER_IMPORTS = {"profiling", "config", "system", "files", "errors"}

# Where TensorFlow may be imported; `cli` may reach these rooms, but only from inside a function.
TENSORFLOW_ROOMS = (
    *("model", "text/batches", "training", "generation", "evaluation"),
    *("profiling/api", "profiling/measure", "exporting/keras"),
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


@cache
def read_imports(root: Path) -> Mapping[str, tuple[str, ...]]:
    """What every file but the package's own door imports; each is parsed once for all tests."""
    return {name: tuple(list_imports(tree)) for name, tree in list_modules(root)}


def list_rooms_imported(imports: Iterable[str]) -> Iterator[str]:
    """The rooms of this package that a file with these imports has something from."""
    for name in imports:
        first, *rest = name.split(".")
        if first == "":
            yield f"(relative import {name})"
        elif first == PACKAGE and (not rest or rest[0] not in ROOT_NAMES):
            yield rest[0] if rest else "(the package itself)"


def find_upward_imports(root: Path) -> list[str]:
    """Every import that does not point down, as `file -> room`."""
    found = []
    for name, imports in read_imports(root).items():
        room = name.split("/")[0]
        for target in list_rooms_imported(imports):
            is_down = target in FLOORS and FLOORS[target] < FLOORS.get(room, -1)
            if target != room and not is_down:
                found.append(f"{name} -> {target}")
    return found


def find_misplaced_tensorflow(root: Path) -> list[str]:
    """Every file that imports TensorFlow or Keras and does not live where it may."""
    return [
        name
        for name, imports in read_imports(root).items()
        if any(imported.split(".")[0] in TENSORFLOW for imported in imports)
        and not any(name == room or name.startswith(f"{room}/") for room in TENSORFLOW_ROOMS)
    ]


def find_sideways_imports(root: Path) -> list[str]:
    """Every import between the rooms inside `profiling` that `PROFILING_ROOMS` does not allow."""
    found = []
    for name, imports in read_imports(root).items():
        parts = name.split("/")
        if parts[0] != "profiling" or parts[1] not in PROFILING_ROOMS:
            continue
        room = parts[1]
        for imported in imports:
            package, *rest = imported.split(".")
            if package != PACKAGE or rest[0] != "profiling":
                continue
            if rest[1] != room and rest[1] not in PROFILING_ROOMS[room]:
                found.append(f"{name} -> {rest[1]}")
    return found


def list_imports_of(root: Path, room: str) -> set[str]:
    """The first name of everything that the files of a room import, as `file -> name`."""
    return {
        f"{name} -> {imported.split('.')[0]}"
        for name, imports in read_imports(root).items()
        if name.startswith(f"{room}/")
        for imported in imports
    }


def list_crowded_rooms(root: Path) -> list[str]:
    """The rooms with more than `LARGEST_ROOM` files."""
    rooms = {file.parent for file in root.rglob("*.py")}
    return [
        room.relative_to(root).as_posix()
        for room in sorted(rooms)
        if len(list(room.glob("*.py"))) > LARGEST_ROOM
    ]


def test_every_file_has_a_floor():
    rooms = {name.split("/")[0] for name in read_imports(ROOT)}
    assert rooms <= FLOORS.keys()
    assert len(rooms) > 8


def test_imports_point_down():
    assert find_upward_imports(ROOT) == []


def test_tensorflow_stays_in_its_rooms():
    assert find_misplaced_tensorflow(ROOT) == []


def test_the_rooms_of_profiling_import_downward() -> None:
    assert find_sideways_imports(ROOT) == []


def test_analysis_knows_neither_tensorflow_nor_a_clock() -> None:
    imported = list_imports_of(ROOT, "profiling/analysis")
    assert imported
    assert [each for each in imported if each.split(" -> ")[1] in TENSORFLOW | CLOCKS] == []


def test_render_stands_on_values_alone() -> None:
    rooms = {
        room
        for name, imports in read_imports(ROOT).items()
        if name.startswith("profiling/render/")
        for room in list_rooms_imported(imports)
    }
    assert rooms <= RENDER_IMPORTS


def test_no_room_is_crowded() -> None:
    assert list_crowded_rooms(ROOT) == []


def test_reference_stands_on_numpy_alone():
    outside = {
        imported.split(".")[0]
        for name, imports in read_imports(ROOT).items()
        if name.startswith("reference/")
        for imported in imports
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


@pytest.mark.parametrize(
    ("file", "code", "finding"),
    [
        ("analysis/a.py", "from llm_timecycle.profiling.render.b import x", "analysis/a -> render"),
        ("render/a.py", "import llm_timecycle.profiling.analysis.b", "render/a -> analysis"),
        ("results.py", "from llm_timecycle.profiling.format import x", "results -> format"),
    ],
)
def test_a_sideways_import_is_found(tmp_path, file, code, finding):
    path = tmp_path / "profiling" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    assert find_sideways_imports(tmp_path) == [f"profiling/{finding}"]


def test_a_clock_in_analysis_and_a_crowded_room_are_found(tmp_path):
    room = tmp_path / "profiling" / "analysis"
    room.mkdir(parents=True)
    for number in range(LARGEST_ROOM + 1):
        (room / f"file_{number}.py").write_text("import time\n" if number == 0 else "")
    assert list_imports_of(tmp_path, "profiling/analysis") == {"profiling/analysis/file_0 -> time"}
    assert list_crowded_rooms(tmp_path) == ["profiling/analysis"]
