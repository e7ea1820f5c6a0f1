"""Settings written as YAML read back as the same settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_timecycle.config.dump import dump_settings, read_comments, render_commented
from llm_timecycle.config.settings import (
    DataSettings,
    GenerationSettings,
    Settings,
    TrainingSettings,
)
from llm_timecycle.config.yaml_nodes import parse_yaml, to_python

UNUSUAL = Settings(
    data=DataSettings(train=["/a b/*.txt", "/文本/#1.txt"], valid="/no", test=None),
    training=TrainingSettings(learning_rate=1e-7, gradient_clip_norm=None, max_steps=10**9),
    generation=GenerationSettings(
        stop=["\n", '"', "a: b", "null", "\u2028\x85\x7f", "😀", "#"],
        bias={"😀": 1.5, "a: b": -2.0, "'s": -3.0, "s": 2.0, "5": 0.25, "\n": 1e-7},
        ban=["true", "{"],
    ),
)


def test_dump_is_plain_yaml():
    assert dump_settings(Settings()).splitlines()[:10] == [
        "data:",
        "  train: python-docs",
        "  valid: null",
        "  test: null",
        "  valid_fraction: 0.05",
        "  test_fraction: 0.05",
        "  encoding: utf-8",
        "  documents: file",
        "  field: null",
        "  normalize: none",
    ]


@pytest.mark.parametrize("settings", [Settings(), UNUSUAL])
@pytest.mark.parametrize("write", [dump_settings, render_commented])
def test_written_settings_read_back_equal(read, settings, write):
    assert read(write(settings)).settings == settings


@given(stop=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_any_text_reads_back_equal(stop):
    text = dump_settings(Settings(generation=GenerationSettings(stop=stop)))
    assert to_python(parse_yaml(text, "x"))["generation"]["stop"] == stop


@given(rate=st.floats(min_value=0, max_value=1000, exclude_min=True))
def test_any_number_reads_back_equal(rate):
    text = dump_settings(Settings(training=TrainingSettings(learning_rate=rate)))
    assert to_python(parse_yaml(text, "x"))["training"]["learning_rate"] == rate


@pytest.mark.parametrize(
    "word", ["true", "Null", "no", "1e-3", "12", "~", "- a", "a #b", "", "a\n"]
)
def test_text_that_looks_like_something_else_is_quoted(read, word):
    text = dump_settings(Settings(data=DataSettings(train=f"/{word}", valid="/v")))
    assert read(text).settings.data.train == f"/{word}"


def test_comments_give_meaning_range_and_default():
    lines = render_commented(Settings(training=TrainingSettings(epochs=3))).splitlines()
    position = lines.index("  epochs: 3")
    assert lines[position - 2 : position] == [
        "  # Passes over the training text; not used if minutes is set.",
        "  # (a whole number from 1 to 1000000000; default 10)",
    ]
    assert max(map(len, lines)) <= 100


def test_commented_form_names_the_schema_first():
    assert render_commented(Settings(), "schema.json").startswith(
        "# yaml-language-server: $schema=schema.json\n"
    )


@given(
    comments=st.dictionaries(
        st.sampled_from(["data.train", "model.dropout", "training.epochs", "generation.seed"]),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip),
    )
)
def test_comments_change_no_setting_and_can_be_read_again(comments):
    comments = {path: " ".join(text.split()) for path, text in comments.items() if text.split()}
    text = dump_settings(UNUSUAL, comments)
    assert Settings.model_validate(to_python(parse_yaml(text, "run"))) == UNUSUAL
    assert read_comments(text) == comments


def test_a_comment_stands_above_its_key():
    lines = dump_settings(Settings(), {"model.hidden_units": "two\nlines"}).splitlines()
    assert lines[lines.index("  # two lines") + 1] == "  hidden_units: 512"
