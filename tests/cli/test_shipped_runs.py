"""The runs that come with the program: found by name from anywhere, read like others, kept."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llm_timecycle as lt
from llm_timecycle.config.locate import list_shipped_runs
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.profiling.source import open_source
from llm_timecycle.runs.directory import open_run
from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]
NAMES = ("demo", "demo-zh")
MEGABYTES_AT_MOST = 4


def list_contents() -> dict[Path, bytes]:
    """Every file of the shipped runs."""
    paths = [path for run in list_shipped_runs().values() for path in run.rglob("*")]
    return {path: path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    """Whatever is done with them, the shipped runs stay as they are."""
    before = list_contents()
    yield
    assert list_contents() == before


def test_there_are_two_and_the_help_names_them(call: Call) -> None:
    assert tuple(list_shipped_runs()) == NAMES
    text = " ".join(call("generate", "--help").stdout.split())
    assert "demo (English) or demo-zh (Chinese)" in text


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_says_nothing_of_the_machine_that_trained_it(name: str) -> None:
    run = open_run(Path(name))
    files = {path.name: path.stat().st_size for path in run.path.iterdir()}
    learned = {"tokenizer.json", "spelling.json", "model.safetensors"}
    assert files.keys() == {"config.yaml", "manifest.json", *learned}
    assert sum(files.values()) <= MEGABYTES_AT_MOST * 1e6
    manifest = run.read_manifest()
    assert manifest["files"].keys() == files.keys() - {"manifest.json"}
    assert run.settings.data.train in ("sample-english", "sample-chinese")


@pytest.mark.parametrize(("name", "prompt"), [("demo", "One morning"), ("demo-zh", "有一天")])
def test_it_continues_a_prompt(call: Call, name: str, prompt: str) -> None:
    outcome = call("generate", name, "--prompt", prompt, "--seed", "1")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(prompt)
    assert len(outcome.stdout) > len(prompt) + 5
    assert lt.load(name).generate(prompt, seed=1).text == outcome.stdout[len(prompt) : -1]


@pytest.mark.parametrize("name", NAMES)
def test_its_held_out_text_is_still_there(call: Call, name: str) -> None:
    outcome = call("evaluate", name, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    best = open_run(Path(name)).read_manifest()["best"]
    loss = json.loads(outcome.stdout)["loss_nats_per_token"]
    assert loss == pytest.approx(best["valid_loss_nats"], abs=0.01)


def test_it_can_be_profiled(call: Call) -> None:
    source = open_source("demo")
    assert source.run is not None
    assert source.name == repr(lt.load("demo")).split()[1].rstrip(":") == "demo"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("train", "demo", "--resume"), 5, r"demo comes with the program and stays as it is\. .*"),
        (
            ("train", "demo"),
            3,
            r"demo is a run that comes with the program; .*",
        ),
        (("config", "show", "demo-zh"), 3, r"Its settings are in .*runs/demo-zh/config\.yaml\. .*"),
    ],
)
def test_what_would_change_it_is_refused(
    call: Call, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    outcome = call(*arguments)
    assert outcome.exit_code == exit_code
    name = next(word for word in arguments if word in NAMES)
    assert re.search(f"{message}llm-timecycle train --from {name} TEXT", outcome.stderr)


def test_from_python_too() -> None:
    with pytest.raises(RunError, match="demo comes with the program"):
        lt.train("demo", resume=True)
    with pytest.raises(UsageError, match="pass from_run='demo' and a text"):
        lt.train("demo")
    with (
        pytest.raises(RunError, match="demo comes with the program"),
        open_run(Path("demo")).lock(),
    ):
        pass


def test_a_new_run_begins_with_its_weights(call: Call, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("The cat sat beside the clock, and the clock went on.\n" * 40)
    options = ["--set", "training.max_steps=1", "--set", "training.precision=float32"]
    outcome = call("train", "--from", "demo", "my.txt", *options)
    assert outcome.exit_code == 0, outcome.stderr
    assert "starts with the weights of demo and its vocabulary of" in outcome.stderr
    assert open_run(Path("runs/my")).read_manifest()["origin"]["run"] == "demo"


def test_a_run_of_the_user_comes_first(call: Call, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()  # no run
    assert open_run(Path("demo")).is_shipped
    (tmp_path / "demo").rmdir()
    shutil.copytree(trained / "runs" / "tiny", tmp_path / "demo")
    own = open_run(Path("demo"))
    assert (own.is_shipped, own.name, own.settings.model.hidden_units) == (False, "demo", 8)


def test_a_mistyped_name_is_recognized(call: Call) -> None:
    outcome = call("generate", "dmeo")
    assert outcome.exit_code == 5
    assert "Did you mean demo, which comes with the program?" in outcome.stderr
