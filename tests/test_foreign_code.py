"""What no file that a user was handed can make the program do: laws over its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.config.load import PATH_KEYS
from llm_timecycle.config.sections import list_section_keys
from tests.test_floors import list_imports, list_modules

ROOT = Path(__file__).parents[1] / "llm_timecycle"

MAKES_CODE = {
    *("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code", "imp"),
    *("eval", "exec", "compile", "__import__", ".import_module", ".load_model"),
    *("np.load", "numpy.load", "torch.load", "yaml.load", ".YAML"),
    "tf.saved_model.load",
}
"""What makes code of bytes or names, imported or called; a dot stands for whatever it is of."""
MAY_MAKE_CODE = {
    "arguments": {"eval"},  # the annotations of this program's own functions
    "cli/main": {".import_module"},  # the command, one of `COMMANDS`
    "exporting/formats": {".import_module"},  # one of `FORMATS`
    "exporting/keras/saved_model": {"tf.saved_model.load"},  # what it has just written
    "model/deferred_import": {".import_module"},  # one of the libraries that it names
    "text/parallel/messages": {"marshal"},  # between this process and its workers, no code in it
    "text/parallel/worker": {".import_module"},  # one of `TASKS`
    "config/yaml_nodes": {".YAML"},  # its parser alone, which builds nothing
}
STARTS_PROGRAMS = {
    *("os.system", "os.popen", "os.startfile", "os.execv", "os.execvp", "os.spawnv", "os.fork"),
    *("pty.spawn", "subprocess.getoutput", "multiprocessing", "webbrowser"),
}
CONNECTS = {
    *("socket", "ssl", "http.client", "http.server", "urllib.request", "ftplib", "smtplib"),
    *("xmlrpc", "socketserver", "requests", "httpx", "httpx2", "aiohttp", "websockets"),
    "huggingface_hub",
    *(".get_file", ".open_connection", ".create_connection", ".urlopen"),
}
WRITES = {
    *(".write_text", ".write_bytes", ".write_durably", ".mkdir", ".makedirs", ".unlink", ".rmdir"),
    *(".rename", ".touch", ".symlink_to", ".chmod", ".rmtree", ".open_for_appending", ".remove"),
    *(".mkdtemp", ".NamedTemporaryFile", ".TemporaryDirectory", ".save_weights", ".lock"),
}


def list_names(tree: ast.AST) -> Iterator[str]:
    """What a file imports and calls: `a.b.c`, each of its beginnings, and its last word as `.c`."""
    called = (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    for name in (*list_imports(tree), *called):
        parts = name.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        yield f".{parts[-1]}"


@cache
def read_names() -> Mapping[str, frozenset[str]]:
    """What every file imports and calls; each is parsed once for all tests."""
    return {name: frozenset(list_names(tree)) for name, tree in list_modules(ROOT)}


def test_no_file_becomes_code() -> None:
    found = {name: names & MAKES_CODE for name, names in read_names().items()}
    assert {name: names for name, names in found.items() if names} == MAY_MAKE_CODE


def test_the_program_connects_to_nothing() -> None:
    """A server listens, workers meet, an export goes to the Hub if it is told to: that is all."""
    found = {name: names & CONNECTS for name, names in read_names().items()}
    assert {name: names for name, names in found.items() if names} == {
        "serving/server": {"socket"},
        "distributed/addresses": {"socket"},
        "distributed/reception": {"socket"},
        "distributed/hello": {"socket", ".create_connection"},
        "exporting/huggingface/push": {"huggingface_hub"},
    }
    assert ".connect(" not in (ROOT / "serving/server.py").read_text(encoding="utf-8")


def test_it_starts_only_itself_without_a_shell() -> None:
    """And the child looks for no module in the current directory."""
    starting = {}
    for name, names in read_names().items():
        assert not names & STARTS_PROGRAMS, name
        text = (ROOT / f"{name}.py").read_text(encoding="utf-8")
        assert "shell=" not in text
        if calls := text.count("subprocess.run(") + text.count("subprocess.Popen("):
            starting[name] = calls
        assert text.count("[sys.executable") == text.count('[sys.executable, "-P", '), name
    assert starting == {
        "text/parallel/pool": 1,
        "profiling/measure/subprocesses": 1,
        "distributed/worker_process": 1,  # what `cli/launch.py` gives it, itself
    }


@pytest.mark.parametrize("room", ["serving", "config"])
def test_a_server_and_settings_write_no_file(room: str) -> None:
    found = {name: names & WRITES for name, names in read_names().items() if name.startswith(room)}
    assert found
    assert {name: names for name, names in found.items() if names} == {}


def test_settings_name_nothing_but_texts_to_read_and_words() -> None:
    """No setting says where something is written, or what is run."""

    def is_free(schema: object) -> bool:
        if isinstance(schema, dict):
            inner = [value for key, value in schema.items() if key != "description"]
            is_text = schema.get("type") == "string" and not {"enum", "const"} & schema.keys()
            return is_text or any(map(is_free, inner))
        return isinstance(schema, list) and any(map(is_free, schema))

    free = {
        f"{section}.{key}"
        for section in list_section_keys()
        for key, schema in list_key_schemas(section).items()
        if is_free(schema)
    }
    words = {"data.encoding", "data.field"}
    words |= {f"generation.{key}" for key in ("ban", "stop", "dry_sequence_breakers")}
    assert free == {*PATH_KEYS, *words}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import pickle", {"pickle"}),
        ("from numpy import load; import numpy as np; np.load('a')", {"np.load", "numpy.load"}),
        ("keras.models.load_model('a')", {".load_model"}),
        ("import re; re.compile('a')", set()),
        ("exec('a')", {"exec"}),
    ],
)
def test_what_makes_code_is_found(text: str, names: set[str]) -> None:
    assert set(list_names(ast.parse(text))) & MAKES_CODE == names
