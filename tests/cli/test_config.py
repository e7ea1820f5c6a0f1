"""The `config` command: what it prints where, and how it ends."""

import json
from pathlib import Path
from urllib.request import url2pathname

import pytest
from click.testing import CliRunner, Result

from llm_timecycle.cli.config import command
from llm_timecycle.cli.main import main
from llm_timecycle.config.json_schema import settings_schema
from llm_timecycle.config.load import read_settings
from llm_timecycle.errors import ConfigError, UsageError


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_new_writes_a_file_to_start_from(capsys):
    command.main(["new"], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "llm-timecycle train my.yaml" in printed.err
    assert read_settings("my.yaml").settings == read_settings("small").settings


def test_new_file_names_a_schema_that_is_there():
    run("new", "novel.yaml")
    first = Path("novel.yaml").read_text(encoding="utf-8").splitlines()[0]
    path = Path(url2pathname(first.removeprefix("# yaml-language-server: $schema=file://")))
    assert json.loads(path.read_text(encoding="utf-8"))["$id"] == "urn:llm-timecycle:settings"


def test_new_refuses_to_overwrite():
    Path("my.yaml").write_text("mine")
    result = run("new")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("my.yaml exists already. Choose another name, or")
    assert Path("my.yaml").read_text() == "mine"


def test_new_replaces_with_force():
    Path("my.yaml").write_text("mine")
    assert run("new", "--force").exit_code == 0
    assert read_settings("my.yaml").name == "my"


def test_new_does_not_write_over_a_directory():
    Path("texts").mkdir()
    result = run("new", "--force", "texts")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("texts is a directory; expected a file name")


def test_new_where_nothing_can_be_written():
    result = run("new", "gone/my.yaml")
    assert isinstance(result.exception, ConfigError)
    assert "no directory gone" in str(result.exception)


def test_check_says_what_the_settings_come_to():
    # 10,000 x 256 + (256 + 512 + 1) x 2,048 + (512 + 512 + 1) x 2,048 + (512 + 1) x 10,000
    Path("my.yaml").write_text(
        "data: {train: [python-docs, sample-chinese]}\ntraining: {max_steps: 1000}"
    )
    result = run("check", "my.yaml")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "OK: my.yaml",
        "  text       python-docs, sample-chinese",
        "  tokenizer  word level, vocabulary of at most 10,000",
        "  model      2 x LSTM(512) on Embedding(256), at most 11,364,112 parameters",
        "  training   10 epochs, at most 1,000 steps, 3,200 tokens per step (64 x 50), adam at "
        "0.00586",
    ]


def test_check_shows_a_budget_in_place_of_epochs():
    Path("my.yaml").write_text("training: {minutes: 2.5}")
    assert "\n  training   2.5 minutes, 3,200 tokens per step" in run("check", "my.yaml").stdout


def test_check_names_every_problem():
    Path("my.yaml").write_text("training:\n  epochs: 0\n  epoch: 1\n")
    result = run("check", "my.yaml")
    assert isinstance(result.exception, ConfigError)
    assert "my.yaml:2: training.epochs" in str(result.exception)
    assert "my.yaml:3: training.epoch" in str(result.exception)
    assert result.stdout == ""


def test_wrong_settings_end_with_exit_code_3(monkeypatch, capsys):
    Path("my.yaml").write_text("training:\n  epochs: 0\n")
    monkeypatch.setattr("sys.argv", ["llm-timecycle", "config", "check", "my.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 3
    assert printed.out == ""
    assert printed.err == (
        "Error: 1 problem in the settings of my.yaml\n"
        "  my.yaml:2: training.epochs: received 0; expected a whole number from 1 to 1000000000\n"
    )


def test_show_prints_every_key_as_resolved():
    result = run("show", "small", "--set", "training.epochs=7", "--set", "generation.top_k=5")
    assert result.exit_code == 0
    Path("shown.yaml").write_text(result.stdout, encoding="utf-8")
    shown = read_settings("shown.yaml").settings
    assert shown == read_settings("small", ["training.epochs=7", "generation.top_k=5"]).settings
    assert (shown.training.epochs, shown.generation.top_k) == (7, 5)


def test_schema_prints_the_schema():
    assert json.loads(run("schema").stdout) == settings_schema()


def test_check_names_every_missing_text(capsys, monkeypatch):
    Path("here.txt").write_text("some text")
    Path("own.yaml").write_text("data: {train: [here.txt, gone.txt], valid: no/v.txt}")
    monkeypatch.setattr("sys.argv", ["llm-timecycle", "config", "check", "own.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    assert (caught.value.code, printed.out) == (4, "")
    first, *lines = printed.err.splitlines()
    assert first == "Error: the settings in own.yaml are right, but not their texts:"
    assert [line.split(": ")[0] for line in lines] == ["  data.train", "  data.valid"]
    assert "gone.txt" in lines[0]
    assert "there is no directory" in lines[1]


def test_check_of_settings_whose_texts_are_there_is_fine():
    Path("here.txt").write_text("some text")
    Path("own.yaml").write_text("data: {train: here.txt, valid: sample-english}")
    assert run("check", "own.yaml").output.startswith("OK: own.yaml")
