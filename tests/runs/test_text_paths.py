"""Paths of texts as a run stores them, and how a moved run finds its texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_timecycle.config.load import read_settings
from llm_timecycle.config.settings import DataSettings
from llm_timecycle.errors import DataError
from llm_timecycle.runs.text_paths import find_texts, shorten_path, shorten_paths


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a text and a place for a run."""
    project = tmp_path / "project"
    (project / "texts").mkdir(parents=True)
    (project / "texts" / "a.txt").write_text("a")
    (project / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(project)
    return project


def read_back(run: Path, path: str) -> str:
    """What a path in the run's settings file means."""
    (run / "config.yaml").write_text(f"data: {{train: {path!r}}}")
    train = read_settings(run / "config.yaml").settings.data.train
    assert isinstance(train, str)
    return train


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("texts/a.txt", "../../texts/a.txt"),
        ("texts/*.txt", "../../texts/*.txt"),
        ("runs/mine/own.txt", "own.txt"),
        ("../other/b.txt", "../../../other/b.txt"),
    ],
)
def test_a_path_is_relative_to_the_run_and_means_the_same(
    project: Path, path: str, short: str
) -> None:
    absolute = str((project / path).resolve())
    run = project / "runs" / "mine"
    assert shorten_path(absolute, run) == short
    assert read_back(run, short) == absolute


def test_a_glob_below_a_directory_with_brackets_in_its_name(project: Path) -> None:
    run = project / "a[1]" / "mine"
    run.mkdir(parents=True)
    assert shorten_path(f"{project}/a[[]1]/*.txt", run) == "../*.txt"
    assert read_back(run, "../*.txt") == f"{project}/a[[]1]/*.txt"
    (project / "a[1]" / "b.txt").write_text("b")
    assert shorten_path(f"{project}/a[1]/b.txt", run) == "../b.txt"


def test_what_has_only_the_root_in_common_stays_absolute(project: Path) -> None:
    assert shorten_path("/nowhere/a.txt", project / "runs" / "mine") == "/nowhere/a.txt"


def test_built_in_names_stay_as_they_are(project: Path) -> None:
    data = DataSettings(train=["python-docs", f"{project}/texts/a.txt"], valid="sample-english")
    short = shorten_paths(data, project / "runs" / "mine")
    assert short.train == ["python-docs", "../../texts/a.txt"]
    assert short.valid == "sample-english"


def test_a_run_behind_a_symbolic_link_leads_to_the_same_text(project: Path, tmp_path: Path) -> None:
    """`..` of the linked directory is not the directory of the link."""
    (tmp_path / "disk").mkdir()
    (project / "linked").symlink_to(tmp_path / "disk")
    (project / "linked" / "mine").mkdir()
    text, run = f"{project}/texts/a.txt", project / "linked" / "mine"
    short = shorten_path(text, run)
    assert short == "../../project/texts/a.txt"
    assert Path(read_back(run, short)).samefile(text)


def test_a_home_behind_a_symbolic_link_is_no_reason_for_an_absolute_path(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").symlink_to(project)
    run = tmp_path / "home" / "runs" / "mine"
    assert shorten_path(f"{tmp_path}/home/texts/a.txt", run) == "../../texts/a.txt"


def find(data: DataSettings, run: Path) -> DataSettings:
    return find_texts(data, run, "llm-timecycle evaluate moved")


def test_a_run_moved_alone_finds_its_text_from_inside_the_project(
    project: Path, tmp_path: Path
) -> None:
    run = tmp_path / "elsewhere" / "deep" / "mine"
    run.mkdir(parents=True)
    data = DataSettings(
        train=read_back(run, "../../texts/a.txt"), valid=read_back(run, "../../texts/*.txt")
    )
    found = find(data, run)
    assert found.train == f"{project}/texts/a.txt"
    assert found.valid == f"{project}/texts/*.txt"


def test_a_text_that_is_there_is_taken_before_one_in_the_current_directory(
    project: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("other")
    data = DataSettings(train=f"{tmp_path}/texts/a.txt", valid="python-docs")
    assert find(data, tmp_path / "runs" / "mine") == data


def test_a_text_in_neither_place_is_named_with_both_and_the_remedy(project: Path) -> None:
    run = project / "runs" / "mine"
    data = DataSettings(train=f"{project}/texts/a.txt", test=f"{project}/gone/b.txt")
    with pytest.raises(DataError) as caught:
        find(data, run)
    assert str(caught.value) == (
        f"the text of {run} was not found: looked for {project}/gone/b.txt, as data.test in its "
        f"config.yaml says, and for {project}/gone/b.txt. Say where it is: llm-timecycle evaluate "
        f"moved --set data.test=FILE"
    )
