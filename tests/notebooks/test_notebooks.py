"""The notebooks run, say the same in both languages, and state no figure that no cell asserts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("cycle.md", "cycle.zh.md")
SHORT = """
MINUTES = None
SETTINGS = {
    "tokenizer.level": "char",
    "model.embedding_dim": 8,
    "model.hidden_units": 16,
    "model.num_layers": 1,
    "training.batch_size": 8,
    "training.sequence_length": 16,
    "training.precision": "float32",
    "training.threads": 1,
    "training.max_steps": 20,
    "training.log_every": 5,
    "generation.length": 20,
}
STEPS = 5
GROW = []

from llm_timecycle.profiling.measure import machine_limits
from llm_timecycle.training import devices

devices.RATE_SHAPE = (64, 32, 128)
machine_limits.choose_array_bytes = lambda *_: 2**20
"""
"""In place of the parameters, so that a notebook takes seconds; the machine is hardly measured."""
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
FEWEST_DIGITS = 3
"""Numbers of fewer digits, such as those of sections, are counted on fingers."""


def read(name: str) -> NotebookNode:
    return jupytext.read(FOLDER / name)


def list_sources(name: str, kind: str) -> list[str]:
    return [cell.source for cell in read(name).cells if cell.cell_type == kind]


def is_parameters(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", ())


def list_numbers(text: str) -> set[str]:
    """The numbers of a text with three digits or more, without commas and zeros at the end.

    >>> sorted(list_numbers("0.8808 of 10,000 in 2 steps, 23.5 times (1997)"))
    ['0.8808', '10000', '1997', '23.5']
    """
    found = {number.rstrip(",").replace(",", "") for number in NUMBER.findall(text)}
    longer = {number for number in found if len(number.replace(".", "")) >= FEWEST_DIGITS}
    return {number.rstrip("0") if "." in number else number for number in longer}


def list_asserted(code: str) -> set[str]:
    """The numbers in the assert statements of code, as they are written there."""
    asserts = [
        ast.get_source_segment(code, node) or ""
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Assert)
    ]
    return list_numbers(" ".join(asserts).replace("_", ""))


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The English one; what the Chinese one runs is the same code, see below."""
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):  # nothing in the user's home
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    (work := tmp_path / "work").mkdir()
    notebook = read(NAMES[0])
    (place,) = [place for place, cell in enumerate(notebook.cells) if is_parameters(cell)]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(SHORT))
    client = nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": work}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    kinds = [kind for output in outputs for kind in output.get("data", ())]
    assert kinds.count("image/png") >= 5  # activations, curve, stages, layers, roofline
    assert kinds.count("text/html") == 3  # training, score, profile
    assert list(work.iterdir()) == []  # it leaves nothing behind


def test_both_have_the_same_code() -> None:
    english, chinese = (
        [ast.dump(ast.parse(cell.source)) for cell in read(name).cells if is_code(cell)]
        for name in NAMES
    )
    assert english == chinese
    assert list_parameters(NAMES[0]) == list_parameters(NAMES[1])


def list_parameters(name: str) -> dict[str, type]:
    """The parameters of a notebook and their types, as its cell makes them."""
    (cell,) = (cell for cell in read(name).cells if is_parameters(cell))
    made: dict[str, object] = {}
    exec(cell.source, made)
    return {key: type(value) for key, value in made.items() if key != "__builtins__"}


def is_code(cell: NotebookNode) -> bool:
    """Whether a cell has code that is the same in both languages."""
    return cell.cell_type == "code" and not is_parameters(cell)


def test_both_state_the_same_figures() -> None:
    english, chinese = (list_numbers(" ".join(list_sources(name, "markdown"))) for name in NAMES)
    assert english == chinese


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_asserted(name: str) -> None:
    asserted = list_asserted("\n".join(list_sources(name, "code")))
    lines = "\n".join(list_sources(name, "markdown")).splitlines()
    stated = list_numbers("\n".join(line for line in lines if not line.startswith("|")))
    assert stated - asserted == set()
    assert len(stated) > 50


@pytest.mark.parametrize("name", NAMES)
def test_measured_figures_stand_in_their_source(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| (.+) \| \[.+\]\((\S+)\) \|$", text, re.MULTILINE)
    assert len(rows) == 8
    for measured, link in rows:
        source = (FOLDER / link.partition("#")[0]).read_text(encoding="utf-8")
        assert list_numbers(measured) <= list_numbers(source), measured
