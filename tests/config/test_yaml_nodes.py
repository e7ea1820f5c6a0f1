"""YAML 1.2 as a settings file may use it, and how the rest is refused."""

import pytest

from llm_timecycle.config.yaml_nodes import parse_yaml, resolve_scalar, to_python
from llm_timecycle.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        (".5", 0.5),
        ("5.", 5.0),
        ("-12", -12),
        ("010", 10),
        ("0o10", 8),
        ("0xff", 255),
        ("-.inf", float("-inf")),
        ("True", True),
        ("no", "no"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0x", "0x"),
        ("1e", "1e"),
        (".", "."),
        ("３", "３"),
    ],
)
def test_plain_scalars_are_yaml_1_2(written, value):
    found = resolve_scalar(written)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_text():
    root = parse_yaml("""["1", '~', "true", |-\n 2\n]""".replace(", |-\n 2\n", ""), "x")
    assert root is not None
    assert to_python(root) == ["1", "~", "true"]


def test_locations_count_from_one():
    root = parse_yaml("# note\na:\n  b: 1\n", "x.yaml")
    (_, section) = root.pairs[0]
    (key, value) = section.pairs[0]
    assert (str(key.location), key.location.column) == ("x.yaml:3", 3)
    assert (str(value.location), value.location.column) == ("x.yaml:3", 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\nb: 2\n", "x.yaml:2, column 1: a second document begins here"),
        ("a: &one 1\nb: *one\n", r"x.yaml:2, column 4: an alias \(\*one\)"),
        ("a: *.txt\n", r'x.yaml:1, column 4: an alias .* put it in quotes: "\*.txt"'),
        ("a: !!python/object/apply:os.system [ls]", "x.yaml:1, column 4: a tag"),
        ("a: !mine 1", "x.yaml:1, column 4: a tag"),
        ("%YAML 1.1\n---\na: no\n", "a directive"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", "a directive"),
        ("[" * 100_000, "x.yaml:1, column 11: nested too deeply"),
        ("- " * 100_000, "nested too deeply"),
        ("a: 1\n" * 100_000, "x.yaml:5000, column .: more than 10000 values"),
        ("a: 1\nb: x\0y\n", r"x.yaml:2, column 5: the character U\+0000 is not allowed in YAML"),
        ('a: "\\ud800"', r"x.yaml:1, column 4: half a character"),
        ('a: 1\nb: "x\\Uffffffff"', r"x.yaml:2, column 6: the number in .Uffffffff is too large"),
        ('a: "\\U00110000"', r"x.yaml:1, column 5: the number in .U00110000 is too large"),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", "x.yaml:1, column 1: the number in %YAML 1.9"),
    ],
)
def test_what_settings_do_not_need_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "x.yaml")


def test_expanding_aliases_cost_nothing():
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match=r"x\.yaml:2, .*an alias \(\*a0\)"):  # 9^11 if expanded
        parse_yaml("\n".join(["a0: &a0 [lol]", *levels]), "x.yaml")


def test_the_last_character_of_unicode_is_one():
    assert to_python(parse_yaml('"\\U0010ffff"', "x")) == "\U0010ffff"


def test_yaml_1_2_directive_is_welcome():
    assert to_python(parse_yaml("%YAML 1.2\n---\na: 1\n", "x")) == {"a": 1}
