"""The keys of the settings, and the type of each value."""

from typing import Annotated, Literal

import pytest

from llm_timecycle.config.sections import find_value_type, list_section_keys, write_annotation


def test_sections_and_keys_are_in_order():
    keys = list_section_keys()
    assert list(keys) == ["data", "tokenizer", "model", "training", "generation"]
    assert keys["tokenizer"] == ("level", "vocab_size", "lowercase", "word_split")


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [
        ("training", "epochs", int),
        ("training", "max_steps", int),
        ("model", "input_dropout", float),
        ("model", "tie_embeddings", bool),
        ("tokenizer", "level", str),
        ("generation", "stop", list),
        ("generation", "bias", dict),
    ],
)
def test_value_types(section, key, kind):
    assert find_value_type(section, key) is kind


@pytest.mark.parametrize(
    ("annotation", "source"),
    [
        (int, "int"),
        (Annotated[float, "positive"] | None, "float | None"),
        (dict[Annotated[str, "not empty"], float], "dict[str, float]"),
        (Literal["a", "b"], "Literal['a', 'b']"),
    ],
)
def test_annotations_as_source(annotation, source):
    assert write_annotation(annotation) == source
