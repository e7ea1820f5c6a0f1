"""Output: JSON for other programs, and text that a terminal shows but does not obey."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

_JSON_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""Those that JSON need not escape."""
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON object on stdout, in ASCII unless stdout encodes Unicode."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    written = json.dumps(value, ensure_ascii=not is_unicode, indent=2, allow_nan=False)
    click.echo(written.translate(_JSON_CONTROLS))


def print_text(text: str = "", *, nl: bool = True) -> None:
    """Print on stdout what a model wrote or a file holds; on a terminal, as `escape_controls`."""
    click.echo(escape_controls(text) if sys.stdout.isatty() else text, nl=nl)


def escape_controls(text: str) -> str:
    r"""Text in which every control character but line feeds and tabs is an escape.

    A run or a text that a user was handed could otherwise rename the window, move the cursor over
    what was printed before, or make the terminal type a command.

    >>> print(escape_controls("a\x1b[31mb\x07"))
    a\x1b[31mb\x07
    """
    return text.translate(_CONTROLS)
