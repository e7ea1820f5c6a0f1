"""What beginners mistype, said in plain words with line and column."""

import pytest

from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.spelling import SYNONYMS, find_misspelling


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n\tepochs: 3\n", "my.yaml:2, column 1: a tab; YAML wants spaces"),
        ("training:\n  epochs:\t3\n", "my.yaml:2, column 10: a tab; YAML wants spaces"),
        (
            "training:\n  epochs:3\n",
            '(line 2, column 9: a space is missing after "epochs:"; write "epochs: ...")',
        ),
        (
            "training:\n  epochs:3\n  batch_size: 4\n",
            'my.yaml:2, column 9: a space is missing after "epochs:"',
        ),
        (
            "training:\n  epochs：3\n",
            '(line 2, column 9: "：" is a full-width character; YAML wants ": ")',
        ),
        (
            "training：\n  epochs: 3\n",
            'my.yaml:1, column 9: "：" is a full-width character; YAML wants ": "',
        ),
        (
            "tokenizer:\n  level: “char”\n",
            '(line 2, column 10: "“" is a curly quote; YAML wants ")',
        ),
        (
            "training:\n  epochs: ３\n",
            '(line 2, column 11: "３" is a full-width character; YAML wants "3")',
        ),
        (
            "training:\n\u3000epochs: 3\n",
            '(line 2, column 1: "\u3000" is a full-width space; YAML wants a plain space)',
        ),
        ("training:\n  epochs\n  seed: 3\n", 'my.yaml:2, column 8: the ":" is missing after "ep'),
        ("training:\n  seed: 3\n epochs: 3\n", "my.yaml:3, column 2: the indentation does"),
        ("training:\n  seed: 3\n   epochs: 3\n", 'my.yaml:3, column 10: a "key: value" is not'),
        ('data:\n  train: "a.txt\n', "my.yaml:2, column 10: the quote that opens here is never"),
        ("data:\n  train: [a, b\n", "my.yaml:2, column 10: the bracket that opens here is not cl"),
        ("data:\n  train: [a, b\ntraining: {}\n", "my.yaml:2, column 10: the bracket that opens"),
        ("data:\n  train: @home\n", "my.yaml:2, column 10: a value cannot begin with @; if it is "),
        ("data:\n  train: @a # mine\n", 'with @; if it is text, put it in quotes: "@a"'),
        ("data:\n  train: [a, @b, c]\n", 'with @; if it is text, put it in quotes: "@b"'),
        (f"data:\n  train: '{'@' * 999}\n".replace("'", ""), "if it is text, put it in quotes"),
        ("data:\n  train: 100%: yes\n", 'my.yaml:2, column 14: a "key: value" is not allowed here'),
        ("data:\n  train: * a\n", "my.yaml:2, column 10: a value cannot begin with *; if it is t"),
        ("data: {}\nhello\n", "my.yaml:3, column 1: the line above has no"),
    ],
)
def test_mistyped_yaml(refuse, text, message):
    assert message in refuse(text)


def test_looks_alone_are_no_fault(read):
    stop = read("generation:\n  stop: ['“完”：']  # 停止\n").settings.generation.stop
    assert stop == ["“完”："]


def test_comments_are_not_searched():
    assert find_misspelling(["# 训练：三遍", "epochs: 3  # 三遍：够了"], 1) is None


def test_synonyms_lead_to_settings_that_exist():
    sections = list_section_keys()
    for target in SYNONYMS.values():
        section, key = target.split(".")
        assert key in sections[section]
    names = {key for keys in sections.values() for key in keys}
    assert names.isdisjoint(SYNONYMS)
