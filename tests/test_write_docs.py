"""The generated files are up to date, and the script that writes them notices when they are not."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    """What `scripts/write_docs.py` defines."""
    return runpy.run_path(str(ROOT / "scripts/write_docs.py"))


def test_generated_files_are_up_to_date(script):
    stale = script["update"](ROOT, script["PAGES"], is_check=True)
    assert stale == [], "run .venv/bin/python scripts/write_docs.py"


def test_stale_and_missing_files_are_named_and_then_written(script, tmp_path):
    pages = {"docs/stale.md": lambda: "new\n", "docs/missing.md": lambda: "text\n"}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/stale.md").write_text("old\n")
    assert script["update"](tmp_path, pages, is_check=True) == list(pages)
    assert (tmp_path / "docs/stale.md").read_text() == "old\n"
    assert script["update"](tmp_path, pages, is_check=False) == list(pages)
    assert script["update"](tmp_path, pages, is_check=False) == []
    assert (tmp_path / "docs/missing.md").read_text() == "text\n"


def test_every_command_has_its_help_page(script):
    page = script["PAGES"]["docs/cli.md"]()
    for command in ("train", "generate", "config new", "config schema"):
        assert f"## `llm-timecycle {command}`" in page
        assert f"Usage: llm-timecycle {command}" in page


def test_every_setting_has_its_row(script):
    page = script["PAGES"]["docs/settings.md"]()
    assert "| `batch_size` | a whole number from 1 to 65536 | `64` | " in page
    assert "`<unk>`" in page  # bare, it would be HTML
