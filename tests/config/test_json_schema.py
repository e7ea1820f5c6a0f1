"""The JSON Schema: complete, and in words."""

import pytest

from llm_timecycle.config.json_schema import describe_allowed, settings_schema
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.text_settings import BUILT_IN_CORPORA


def test_schema_names_its_dialect():
    assert settings_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert settings_schema()["$id"] == "urn:llm-timecycle:settings"


def test_every_key_has_a_description_and_a_default():
    whole = settings_schema()
    assert list(whole["properties"]) == ["data", "tokenizer", "model", "training", "generation"]
    assert whole["additionalProperties"] is False
    for section, keys in list_section_keys().items():
        name = whole["properties"][section]["$ref"].removeprefix("#/$defs/")
        definition = whole["$defs"][name]
        assert tuple(definition["properties"]) == keys
        assert definition["additionalProperties"] is False
        for key in definition["properties"].values():
            assert key["description"].endswith((".", ")."))
            assert "\n" not in key["description"]
            assert "default" in key


def test_ranges_are_in_the_schema():
    training = settings_schema()["$defs"]["TrainingSettings"]["properties"]
    number, null = training["learning_rate"]["anyOf"]
    assert number == {"exclusiveMinimum": 0, "maximum": 1000, "type": "number"}
    assert null == {"type": "null"}
    assert training["optimizer"]["enum"] == ["adam", "nadam", "adamw", "sgd"]


def test_help_of_train_names_the_built_in_corpora():
    help_text = settings_schema()["$defs"]["DataSettings"]["properties"]["train"]["description"]
    assert ", ".join(BUILT_IN_CORPORA) in help_text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 8}, "a whole number from 0 to 7"),
        ({"type": "number", "minimum": 0.0, "maximum": 0.5}, "a number from 0 to 0.5"),
        (
            {"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0},
            "a number above 0 and below 1",
        ),
        ({"type": "boolean"}, "true or false"),
        ({"type": "array", "items": {"type": "string"}}, "a list of texts"),
        (
            {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
            "a mapping from text to a number, 0 or more",
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text, or null"),
    ],
)
def test_what_is_allowed_in_words(key, words):
    assert describe_allowed(key) == words
