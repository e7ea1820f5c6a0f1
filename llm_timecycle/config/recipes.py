"""Recipes: settings files that carry the result that was measured with them.

A recipe is a comment in the file, itself YAML:

    # recipe:
    #   command: llm-timecycle train small
    #   text: python-docs
    #   machine: two cores of an Intel Xeon with AMX
    #   seed: 1
    #   minutes: 0.8
    #   perplexity: 58.1
    #   bits_per_character: 1.22

`scripts/bench/recipes.py` runs the command again and compares, or writes what it measured.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_timecycle.config.sources import read_settings_text
from llm_timecycle.config.yaml_nodes import parse_yaml, to_python
from llm_timecycle.errors import ConfigError

MARK = "# recipe:"


class Recipe(BaseModel):
    """A measured result, and what it takes to measure it again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    command: str = Field(min_length=1)
    """Trains the model; `--run DIR` is added to it."""
    text: str = Field(min_length=1)
    machine: str = Field(min_length=1)
    seed: int = Field(ge=0)
    minutes: float = Field(gt=0.0)
    """From the start of the command to its end."""
    perplexity: float = Field(ge=1.0)
    """Per token, on the validation text, as `evaluate` reports it."""
    bits_per_character: float = Field(gt=0.0)
    """On the same text, with the spelling of unknown words."""

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity:g}, {self.bits_per_character:g} bits per character, "
            f"after {self.minutes:g} min on {self.machine}"
        )


def read_recipe(path: Path) -> Recipe | None:
    """The recipe in a settings file; None where it has none.

    Raises:
        ConfigError: the file cannot be read, or the comment is not a recipe.
    """
    lines = read_settings_text(path).splitlines()
    if MARK not in lines:
        return None
    start = lines.index(MARK)
    block = [line[2:] for line in lines[start + 1 : _find_end(lines, start)]]
    root = parse_yaml("\n".join(block), str(path))
    try:
        return Recipe.model_validate({} if root is None else to_python(root))
    except ValidationError as error:
        raise ConfigError(f"{path}: the comment under {MARK!r} is not a recipe: {error}") from error


def replace_recipe(text: str, recipe: Recipe) -> str:
    """The text of a settings file with its recipe replaced; one is there already."""
    lines = text.splitlines()
    start = lines.index(MARK)
    block = [f"#   {key}: {value}" for key, value in recipe]
    return "\n".join([*lines[: start + 1], *block, *lines[_find_end(lines, start) :]]) + "\n"


def _find_end(lines: list[str], start: int) -> int:
    """The first line after the recipe that begins at line `start`."""
    end = start + 1
    while end < len(lines) and lines[end].startswith("#   "):
        end += 1
    return end
