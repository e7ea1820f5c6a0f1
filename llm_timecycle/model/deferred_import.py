"""Put off the import of modules that another package imports and may never use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class DeferredModule(ModuleType):
    """Stands in for a module, which is imported when one of its names is first asked for.

    While `defer_imports` lasts, a name that is asked for is taken for a submodule and deferred too.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by the import system itself
            raise AttributeError(name)
        if isinstance(sys.modules.get(self.__name__.partition(".")[0]), DeferredModule):
            return DeferredModule(f"{self.__name__}.{name}")
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def defer_imports(package: str, *submodules: str) -> Iterator[None]:
    """Importing `package` or one of its `submodules` meanwhile gives a stand-in.

    The stand-in does what the module does. Nothing changes where the package is imported already.
    """
    if package in sys.modules:
        yield
        return
    names = [package, *(f"{package}.{submodule}" for submodule in submodules)]
    sys.modules.update({name: DeferredModule(name) for name in names})
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
