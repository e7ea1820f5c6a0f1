"""A run's `config.yaml` in the hands of its owner: what may be edited, and what else is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_timecycle.config.settings import DataSettings, Settings
from llm_timecycle.errors import ConfigError, RunError
from llm_timecycle.runs.create import create_run
from llm_timecycle.runs.directory import Run, open_run
from tests.runs.conftest import SETTINGS, change_manifest


def edit(run: Run, before: str, after: str) -> None:
    file = run.path / "config.yaml"
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))


def test_generation_comments_order_and_layout_may_be_edited(run: Run) -> None:
    edit(run, "  length: 50\n", "  length: 7  # short\n")
    edit(run, "  temperature: 0.8\n", "")
    file = run.path / "config.yaml"
    head, _, generation = file.read_text().partition("generation:")
    file.write_text(f"# mine\ngeneration:{generation}\n{head}")
    opened = open_run(run.path)
    assert opened.settings.generation.length == 7
    assert opened.settings.model == SETTINGS.model


def test_the_paths_of_texts_may_be_edited(run: Run, tmp_path: Path) -> None:
    edit(run, "train: python-docs", "train: ../a.txt")
    assert open_run(run.path).settings.data.train == str(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("count", "name", "limit"),
    [(10_500, "/texts/{}.txt", "values"), (6_000, "/" + 190 * "x" + "{}", "is larger than 1 MB")],
)
def test_settings_that_could_not_be_read_again_make_no_run(
    tmp_path: Path, count: int, name: str, limit: str
) -> None:
    data = DataSettings(train=[name.format(number) for number in range(count)])
    settings = SETTINGS.model_copy(update={"data": data})
    with pytest.raises(ConfigError, match=f"read again: .*{limit}.* name their directory, or a g"):
        create_run(tmp_path / "many", settings, b"{}", 5, {})
    assert not list(tmp_path.iterdir())


def test_settings_that_could_not_be_read_again_replace_none(run: Run) -> None:
    generation = SETTINGS.generation.model_copy(update={"ban": [str(n) for n in range(10_500)]})
    before = (run.path / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"read again: .*more than 10000 values; settings are"):
        run.replace_settings(SETTINGS.model_copy(update={"generation": generation}))
    assert (run.path / "config.yaml").read_bytes() == before
    assert open_run(run.path).settings == SETTINGS


def test_other_changes_are_named_by_key_with_both_values_and_the_ways_out(run: Run) -> None:
    edit(run, "hidden_units: 3", "hidden_units: 4")
    edit(run, "epochs: 10", "epochs: 99")
    edit(run, "documents: file", "documents: line")
    with pytest.raises(RunError) as caught:
        open_run(run.path)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"{run.path}/config.yaml was edited. In a run, what is under generat")
    assert lines == [
        "  data.documents: file when the run was trained, line now",
        "  model.hidden_units: 3 when the run was trained, 4 now",
        "  training.epochs: 10 when the run was trained, 99 now",
        "Put the old values back.",
        f"To train longer after that: llm-timecycle train {run.path} --resume --set "
        f"training.epochs=99",
        f"To train a new run with the new values: llm-timecycle train {run.path}/config.yaml "
        f"--run {run.path}-new",
    ]


def test_a_setting_removed_is_a_change_to_its_default(run: Run) -> None:
    edit(run, "  hidden_units: 3\n", "")
    with pytest.raises(RunError, match=r"hidden_units: 3 when the run was trained, 512 now"):
        open_run(run.path)


def test_a_wrong_value_is_named_with_its_line(run: Run) -> None:
    edit(run, "  length: 50", "  length: many")
    with pytest.raises(RunError, match=r"config\.yaml:\d+: generation\.length: received many"):
        open_run(run.path)


def test_replacing_settings_keeps_an_edited_generation(run: Run) -> None:
    edit(run, "  length: 50", "  length: 7")
    opened = open_run(run.path)
    opened.replace_settings(
        opened.settings.model_copy(
            update={"training": opened.settings.training.model_copy(update={"epochs": 99})}
        )
    )
    again = open_run(run.path).settings
    assert (again.generation.length, again.training.epochs) == (7, 99)


def test_a_setting_that_did_not_exist_yet_had_its_default(run: Run) -> None:
    manifest = run.read_manifest()
    del manifest["settings"]["data"]["documents"]
    change_manifest(run, settings=manifest["settings"])
    assert open_run(run.path) == run


def test_a_run_of_an_earlier_version_must_not_be_edited(run: Run) -> None:
    manifest = {**run.read_manifest(), "format_version": 1}
    del manifest["settings"]
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    assert open_run(run.path) == run
    edit(run, "  length: 50", "  length: 7")
    with pytest.raises(RunError, match=r"config\.yaml is not what the manifest says"):
        open_run(run.path)


@pytest.mark.parametrize("settings", [3, {}, {"data": 3}])
def test_settings_in_the_manifest_that_make_no_sense_are_damage(run: Run, settings: object) -> None:
    change_manifest(run, settings=settings)
    with pytest.raises(RunError, match=r"damaged.*its entry .*settings"):
        open_run(run.path)


def test_no_absolute_path_is_stored_where_a_relative_one_serves(tmp_path: Path) -> None:
    home = tmp_path / "home" / "me"
    data = DataSettings(train=[f"{home}/a.txt", f"{home}/b/*.txt"], valid=f"{home}/runs/v.txt")
    run = create_run(home / "runs" / "mine", Settings(data=data), b"{}", 5, {})
    for name in ("config.yaml", "manifest.json"):
        assert str(tmp_path) not in (run.path / name).read_text()
    assert open_run(run.path).settings.data == data
