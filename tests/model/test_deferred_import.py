"""Stand-ins for modules that are imported when they are first used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llm_timecycle.model.deferred_import import defer_imports

PACKAGE = "a_package_to_defer"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / PACKAGE
    directory.mkdir()
    (directory / "__init__.py").touch()
    (directory / "one.py").write_text("name = 'one'")
    (directory / "two.py").write_text("name = 'two'")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in (PACKAGE, f"{PACKAGE}.one", f"{PACKAGE}.two"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_deferred_module_is_imported_when_it_is_used() -> None:
    with defer_imports(PACKAGE, "one"):
        import a_package_to_defer.one as one  # type: ignore[import-not-found]
        from a_package_to_defer import two  # type: ignore[import-not-found]

    assert not [name for name in sys.modules if name.startswith(PACKAGE)]
    assert (one.name, two.name) == ("one", "two")
    assert sys.modules[f"{PACKAGE}.one"].name == "one"
    with pytest.raises(AttributeError, match="three"):
        one.three  # noqa: B018


def test_a_package_that_is_imported_already_is_left_alone() -> None:
    import a_package_to_defer

    with defer_imports(PACKAGE, "one"):
        assert sys.modules[PACKAGE] is a_package_to_defer
    assert sys.modules[PACKAGE] is a_package_to_defer


def test_an_import_that_fails_leaves_no_stand_in() -> None:
    with pytest.raises(ImportError), defer_imports(PACKAGE, "one"):
        raise ImportError
    assert PACKAGE not in sys.modules
