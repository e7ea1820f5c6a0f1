"""The wheel stands alone: built, unpacked away from the checkout, it trains a shipped file."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def build(kind: str, place: Path) -> None:
    """Build a `wheel` or an `sdist` as pip would, which the check of a release leaves to pip."""
    code = f"import sys; from hatchling.build import build_{kind}; build_{kind}(sys.argv[1])"
    command = [sys.executable, "-c", code, str(place)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build("wheel", place)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def test_it_holds_what_the_program_needs_and_nothing_of_the_tests(unpacked: Path) -> None:
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    shipped = {f"llm_timecycle/configs/{path.name}" for path in (ROOT / "configs").iterdir()}
    texts = {"llm_timecycle/data/english.txt", "llm_timecycle/data/chinese.txt"}
    runs = {
        f"llm_timecycle/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "data/runs").glob("*/*")
    }
    assert len(runs) == 10
    report = {f"llm_timecycle/profiling/render/{n}" for n in ("report.html.j2", "report.css")}
    folder = ROOT / "llm_timecycle/serving/page"
    page = {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    examples = (ROOT / "llm_timecycle/exporting/examples").iterdir()
    page |= {path.relative_to(ROOT).as_posix() for path in examples}
    assert f"{folder.relative_to(ROOT).as_posix()}/index.html" in page
    web = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "llm_timecycle/exporting/web").glob("*/*")
        if path.suffix in (".js", ".css", ".j2")
    }
    assert len(web) > 10
    assert names >= {*shipped, *texts, *runs, *report, *page, *web, "llm_timecycle/py.typed"}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"llm_timecycle"}


def test_it_trains_the_reference_model_away_from_the_checkout(
    unpacked: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "XLA_FLAGS": ""}
    code = (
        "import llm_timecycle; print(llm_timecycle.__file__, flush=True)\n"
        "from llm_timecycle.cli.main import main; main()"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "train", "section5"),
            *("--set", "training.max_steps=1", "--set", "training.batch_size=4"),
            *("--set", "training.sequence_length=4", "--set", "data.valid_fraction=0"),
        ],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(unpacked))
    assert (tmp_path / "runs/section5/model.safetensors").stat().st_size > 4 * 11_364_112


@pytest.mark.parametrize(("name", "prompt"), [("demo", "One morning"), ("demo-zh", "有一天")])
def test_its_first_word_needs_no_training(
    unpacked: Path, tmp_path: Path, name: str, prompt: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        [sys.executable, "-m", "llm_timecycle", "generate", name, "--prompt", prompt],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert finished.stdout.startswith(prompt)
    assert len(finished.stdout) > len(prompt) + 5
    assert list(tmp_path.iterdir()) == []


def test_the_source_distribution_holds_the_texts_and_the_runs(tmp_path: Path) -> None:
    build("sdist", tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    data = [*(ROOT / "data").glob("*.txt"), *(ROOT / "data/runs").glob("*/*")]
    assert len(data) == 12
    assert inside >= {path.relative_to(ROOT).as_posix() for path in data}
