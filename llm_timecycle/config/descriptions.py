"""The docstrings under the fields of the settings tree, read from its source when asked for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from llm_timecycle.config import settings as tree


@cache
def read_descriptions() -> dict[str, dict[str, str]]:
    """By the name of each section's class, the one-line description of each of its fields.

    >>> read_descriptions()["Settings"]["model"]
    'The network.'
    """
    module = ast.parse(inspect.getsource(tree))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_list_described_fields(node)) for node in classes}


def _list_described_fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(node.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            yield field.target.id, " ".join(str(text.value.value).split())
