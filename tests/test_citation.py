"""CITATION.cff is a valid citation file, and says what the package says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

import llm_timecycle

ROOT = Path(__file__).parent.parent
CITATION = YAML(typ="safe", pure=True).load(ROOT / "CITATION.cff")
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {"type", "abstract", "version", "license", "keywords"}
"""Of version 1.2.0 of the format, those that are used here."""


def test_it_has_the_required_keys_and_no_unknown_ones() -> None:
    assert CITATION.keys() >= REQUIRED
    assert CITATION.keys() <= KNOWN
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert all(author.keys() == {"name"} for author in CITATION["authors"])


def test_it_says_what_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CITATION["version"] == llm_timecycle.__version__
    assert CITATION["license"] == project["license"]
    assert CITATION["authors"] == project["authors"]
    assert CITATION["keywords"] == project["keywords"]
    assert re.match(r"llm_timecycle: ", CITATION["title"])
