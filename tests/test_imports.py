"""What importing costs: nothing heavy is loaded before it is needed."""

import json
import subprocess
import sys
from functools import cache

import pytest

import llm_timecycle as lt

HEAVY = ("tensorflow", "keras")


@cache
def list_modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    report = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    finished = subprocess.run(
        [sys.executable, "-c", f"try:\n {code}\nfinally:\n {report}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(finished.stderr.splitlines()[-1]))


def call(*arguments: str) -> str:
    """Code that runs the command line with `arguments`."""
    start = "from llm_timecycle.__main__ import main; main()"
    return f"import sys; sys.argv[1:] = {list(arguments)!r}; {start}"


@pytest.mark.parametrize(
    "code",
    [
        "import llm_timecycle",
        call("--help"),
        call("--version"),
        call("config", "--help"),
        call("config", "show", "small"),
        call("generate", "demo", "--length", "1"),
        call("runs", "list", "--shipped"),
        call("runs", "show", "demo"),
        call("runs", "compare", "demo", "demo-zh"),
    ],
)
def test_nothing_heavy_is_loaded(code):
    loaded = list_modules_after(code)
    assert "llm_timecycle" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_reading_settings_needs_no_arrays():
    loaded = list_modules_after("import llm_timecycle.config.load")
    assert "llm_timecycle.config.settings" in loaded
    assert loaded.isdisjoint({*HEAVY, "numpy", "tokenizers", "ruamel.yaml"})


def test_reading_settings_loads_pydantic_and_the_standard_library():
    packages = {
        name.partition(".")[0]
        for name in list_modules_after("import pydantic.main, pydantic.types")
    }
    loaded = {
        name.partition(".")[0] for name in list_modules_after("import llm_timecycle.config.load")
    }
    assert loaded - packages - sys.stdlib_module_names == {"llm_timecycle"}


def test_the_list_of_commands_needs_no_settings():
    assert list_modules_after(call("--help")).isdisjoint({"pydantic", "numpy"})


def test_the_package_itself_loads_nothing():
    loaded = list_modules_after("import llm_timecycle; dir(llm_timecycle)")
    ours = {name for name in loaded if name.startswith("llm_timecycle")}
    assert ours == {"llm_timecycle"}
    assert loaded.isdisjoint({*HEAVY, "numpy", "pydantic", "click", "tokenizers", "safetensors"})


def test_the_public_names():
    classes = ["Comparison", "EvaluationResult", "ExportResult", "GeneratedText", "Model"]
    classes += ["ProfileResult", "Score", "Settings", "TrainingResult"]
    functions = ["compare", "evaluate", "export", "load", "profile", "runs", "suggest", "train"]
    assert lt.__all__ == [*classes, "__version__", *functions]
    assert dir(lt) == lt.__all__
    for name in classes + functions:
        documented = getattr(lt, name)
        assert documented.__name__.rpartition(".")[2] == name  # `lt.runs` is also a room
        assert callable(documented)
        assert documented.__doc__
    with pytest.raises(AttributeError, match="module 'llm_timecycle' has no attribute 'lode'"):
        lt.lode  # noqa: B018


def test_the_function_runs_is_there_before_and_after_its_room_is_imported() -> None:
    asked = "print(type(lt.runs).__name__, lt.runs.__call__.__name__)"
    first = f"import llm_timecycle as lt; {asked}; import llm_timecycle.runs.directory; {asked}"
    loaded = list_modules_after(first)
    assert "llm_timecycle.comparing.listing" not in loaded
    room = "import llm_timecycle.runs.directory as room; import llm_timecycle as lt"
    rows = "rows = lt.runs('data/runs'); assert rows[0]['path'] == 'data/runs/demo'; room.Run"
    assert "llm_timecycle.comparing.listing" in list_modules_after(f"{room}; {rows}")


def test_the_python_interface_needs_no_tensorflow():
    names = "lt.load, lt.Model, lt.Score, lt.train, lt.TrainingResult, lt.evaluate, lt.Settings"
    printed = "print(lt.TrainingResult('my', lt.Settings(), 1, 1, 1.0, 0.5, 1))"
    loaded = list_modules_after(f"import llm_timecycle as lt; {names}; {printed}")
    assert loaded >= {"llm_timecycle.generation.api", "llm_timecycle.training.api"}
    assert loaded.isdisjoint({*HEAVY, "tqdm", "click", "ruamel.yaml"})


def test_a_command_that_generates_loads_only_what_generates():
    loaded = list_modules_after(call("generate", "--help"))
    assert "llm_timecycle.generation.generator" in loaded
    assert loaded.isdisjoint({*HEAVY, "tqdm", "ruamel.yaml", "readline", "platformdirs"})
    assert "llm_timecycle.cli.prompting.interactive" not in loaded


def test_tensorflow_is_imported_without_the_charts_of_keras():
    loaded = list_modules_after(
        "from llm_timecycle.model.tf_import import import_tensorflow; import_tensorflow()"
    )
    assert loaded >= set(HEAVY)
    assert not [name for name in loaded if name.startswith("matplotlib")]
