"""The settings files that come with the program."""

import json
from pathlib import Path

import pytest

from llm_timecycle.config.json_schema import settings_schema
from llm_timecycle.config.load import read_settings
from llm_timecycle.config.locate import list_shipped_names
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.yaml_nodes import parse_yaml, to_python

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


def test_names():
    assert list_shipped_names() == ["char", "chinese", "section5", "small"]
    assert [file.stem for file in FILES] == list_shipped_names()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_loads_by_path_and_by_name(file):
    assert read_settings(file).settings == read_settings(file.stem).settings


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_names_the_schema_beside_it(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert (CONFIGS / "schema.json").is_file()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_value_has_a_comment(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if line.startswith("  ")]
    assert len(values) > 10
    assert [line for line in values if " # " not in line] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_keys_of_the_file_are_in_the_schema(file):
    schema = json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8"))
    for section, values in to_python(parse_yaml(file.read_text(encoding="utf-8"), "x")).items():
        name = schema["properties"][section]["$ref"].removeprefix("#/$defs/")
        assert values.keys() <= schema["$defs"][name]["properties"].keys()


def test_schema_file_is_up_to_date():
    # Made by: llm-timecycle config schema > configs/schema.json
    assert json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8")) == settings_schema()


def test_section5_is_the_reference_model():
    settings = read_settings("section5").settings
    assert settings == Settings()
    model, training = settings.model, settings.training
    assert (model.embedding_dim, model.num_layers, model.hidden_units) == (256, 2, 512)
    assert (training.epochs, training.batch_size, training.sequence_length) == (10, 64, 50)
    assert (settings.tokenizer.level, settings.tokenizer.vocab_size) == ("word", 10_000)
    assert (training.optimizer, model.dropout, settings.data.train) == ("adam", 0.0, "python-docs")


def test_chinese_comments_are_in_both_languages():
    text = (CONFIGS / "chinese.yaml").read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if line.startswith("  ")]
    for line in values:
        comment = line.split(" # ")[1]
        assert any("\u4e00" <= character <= "\u9fff" for character in comment)
        assert any("a" <= character <= "z" for character in comment)
