"""Recipes: results that settings files carry in a comment."""

from pathlib import Path

import pytest

from llm_timecycle.config.locate import find_shipped_directory
from llm_timecycle.config.recipes import read_recipe, replace_recipe
from llm_timecycle.errors import ConfigError

TEXT = """# Settings.
#
# recipe:
#   command: llm-timecycle train my
#   text: novel.txt
#   machine: A 1, 2 cores
#   seed: 3
#   minutes: 1.5
#   perplexity: 12.5
#   bits_per_character: 1.75

data:
  train: novel.txt
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read_from_its_comment(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "my.yaml", TEXT))
    assert recipe is not None
    assert (recipe.command, recipe.seed, recipe.minutes) == ("llm-timecycle train my", 3, 1.5)
    assert str(recipe) == (
        "perplexity 12.5, 1.75 bits per character, after 1.5 min on A 1, 2 cores"
    )


def test_a_file_without_the_comment_has_no_recipe(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path / "my.yaml", "data:\n  train: novel.txt\n")) is None


def test_a_replaced_recipe_is_read_back_and_nothing_else_changes(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "my.yaml", TEXT))
    assert recipe is not None
    assert replace_recipe(TEXT, recipe) == TEXT
    other = recipe.model_copy(update={"perplexity": 9.0})
    changed = replace_recipe(TEXT, other)
    assert read_recipe(write(tmp_path / "my.yaml", changed)) == other
    assert changed.replace("perplexity: 9.0", "perplexity: 12.5") == TEXT


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [("seed: 3", "sead: 3", "sead"), ("12.5", "0.5", "perplexity"), ("1.5", "soon", "minutes")],
)
def test_a_comment_that_is_not_a_recipe_is_an_error(
    tmp_path: Path, before: str, after: str, named: str
) -> None:
    path = write(tmp_path / "my.yaml", TEXT.replace(before, after, 1))
    with pytest.raises(ConfigError, match=rf"my\.yaml: .*not a recipe[\s\S]*{named}"):
        read_recipe(path)


@pytest.mark.parametrize(
    "path", sorted(find_shipped_directory().glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_file_has_a_recipe_that_trains_with_it(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe is not None
    assert recipe.command.startswith(f"llm-timecycle train {path.stem}")
