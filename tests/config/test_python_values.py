"""Settings given in Python, beside a file and overrides."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.config.load import check_sources
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError


def check(*values: dict[str, object]) -> Settings:
    return check_sources([PythonValues(each, "here") for each in values], "Python")


def test_a_settings_object_comes_out_equal() -> None:
    settings = Settings(
        data={"train": ["/a.txt", "/b/*.txt"]},
        model={"dropout": 0.25, "tie_embeddings": True},
        generation={"bias": {"the": 1.5, "1": -2.0}, "stop": ["\n"], "seed": None},
    )
    sources = [PythonValues.from_settings(settings)]
    assert check_sources(sources, "Python") == settings


def test_later_values_win_and_paths_start_from_the_current_directory(tmp_path: Path) -> None:
    settings = check({"data.train": "a.txt", "training.epochs": 3}, {"training.epochs": 5})
    assert settings.training.epochs == 5
    assert settings.data.train == str(Path.cwd() / "a.txt")
    assert check({"data.train": Path("a.txt")}).data.train == str(Path.cwd() / "a.txt")
    assert check({"data.train": "python-docs"}).data.train == "python-docs"


def test_values_of_other_number_types_and_tuples() -> None:
    settings = check(
        {
            "training.epochs": np.int32(3),
            "training.learning_rate": np.float64(0.5),
            "generation.stop": ("a", "b"),
        }
    )
    assert settings.training.epochs == 3
    assert settings.training.learning_rate == 0.5
    assert settings.generation.stop == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("training.epochs", "3", "here: training.epochs: received '3'; expected"),
        ("training.epochs", True, "training.epochs: received True; expected"),
        (
            "training.epochs",
            {1, 2},
            r"received \{1, 2\}; expected a number, a text, a list or None",
        ),
        ("generation.stop", ["a", b"b"], r"received \['a', b'b'\]; expected a number"),
        ("training.lr", 1.0, r"there is no such setting.*training\.learning_rate"),
        ("epochs", 3, "epochs: there is no such setting; epochs belongs under training"),
        ("generation.bias", {1: 2.0, "1": 3.0}, r"here: generation\.bias\.1: written twice"),
        ("model.dropout", float("nan"), "model.dropout: received nan; expected"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin(name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check({name: value})


def test_a_contradiction_is_found() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size.*258"):
        check({"tokenizer.level": "byte", "tokenizer.vocab_size": 100})


def test_a_contradiction_with_a_value_of_a_wrong_type_is_said_by_the_type() -> None:
    """Pydantic takes a Decimal as a number, so that it also finds that no optimizer uses it."""
    with pytest.raises(ConfigError, match=r"weight_decay: received Decimal\('0\.5'\); expected a"):
        Settings(training={"weight_decay": Decimal("0.5")})
