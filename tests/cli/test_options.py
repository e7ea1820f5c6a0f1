"""The options of `generate` are made from the settings of generation."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from llm_timecycle.cli.options import generation_settings
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError


@click.command()
@generation_settings
@click.pass_context
def command(context: click.Context, **options: Any) -> None:
    """Keep the parsed options."""
    context.obj.update(options)


def parse(*arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    result = CliRunner().invoke(command, arguments, obj=parsed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return parsed


def test_every_setting_has_an_option_with_its_help() -> None:
    assert [option.name for option in command.params] == list(GenerationSettings.model_fields)
    for option in command.params:
        assert isinstance(option, click.Option)
        assert option.opts == [f"--{str(option.name).replace('_', '-')}"]
        help_text = GenerationSettings.model_fields[str(option.name)].description
        assert str(option.help).removesuffix(" Repeatable.") == help_text
        assert option.multiple == str(option.help).endswith("Repeatable.")


def test_what_is_not_given_is_none_or_empty() -> None:
    assert set(parse().values()) == {None, ()}


def test_values_are_of_the_settings_types() -> None:
    given = parse("--top-k", "5", "--temperature", "1", "--stop", "a", "--stop", "b", "--seed", "3")
    assert (given["top_k"], given["temperature"], given["seed"]) == (5, 1.0, 3)
    assert given["stop"] == ("a", "b")
    assert parse("--allow-unknown")["allow_unknown"] is True
    assert parse("--bias", "a=b=1", "--bias", "c=-2")["bias"] == {"a=b": 1.0, "c": -2.0}


def test_two_numbers_for_one_token_are_refused() -> None:
    with pytest.raises(UsageError, match="--bias: received two values for 'a', 1 and 2"):
        parse("--bias", "a=1", "--bias", "a=2")
