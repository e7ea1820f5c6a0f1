"""Patterns of the `tokenizers` library, which are Oniguruma's, for JavaScript.

JavaScript's `v` flag knows nested classes and their intersections as well, but writes some of it
differently. The properties of characters are those of the browser's version of Unicode.
"""

from __future__ import annotations

import re

_ESCAPED = "(){}/|$.*+?!#%,:;<=>@`~"
"""What a class of JavaScript takes with a backslash only, or, doubled, as an operator."""
_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_SCRIPTS = ("Hebrew", "Hiragana", "Katakana")


def translate_pattern(pattern: str) -> str:
    r"""A pattern for `new RegExp(..., "v")`.

    >>> translate_pattern(r"[\p{L}a.&&[^b]]+(?= )\z")
    '[[\\p{L}a\\.]&&[[^b]]]+(?= )$'
    >>> translate_pattern(r"\p{Hebrew}")
    '\\p{Script=Hebrew}'
    """
    written, position = [], 0
    while position < len(pattern):
        if pattern[position] == "[":
            translated, position = _translate_class(pattern, position + 1)
            written.append(translated)
        elif pattern[position] == "\\":
            translated, position = _translate_escape(pattern, position)
            written.append(translated)
        else:
            written.append(pattern[position])
            position += 1
    return "".join(written)


def _translate_class(pattern: str, position: int) -> tuple[str, int]:
    """The class that begins behind its bracket, and where it ends."""
    is_negated = pattern[position] == "^"
    position += is_negated
    operands: list[list[str]] = [[]]
    while pattern[position] != "]":
        if pattern.startswith("&&", position):
            operands.append([])
            position += 2
        elif pattern[position] == "[":
            inner, position = _translate_class(pattern, position + 1)
            operands[-1].append(inner)
        elif pattern[position] == "\\":
            escape, position = _translate_escape(pattern, position)
            operands[-1].append(escape)
        else:
            character = pattern[position]
            operands[-1].append(f"\\{character}" if character in _ESCAPED else character)
            position += 1
    unions = ["".join(operand) for operand in operands]
    content = unions[0] if len(unions) == 1 else "&&".join(f"[{union}]" for union in unions)
    return f"[{'^' if is_negated else ''}{content}]", position + 1


def _translate_escape(pattern: str, position: int) -> tuple[str, int]:
    """The escape at a position, and where it ends."""
    if found := _PROPERTY.match(pattern, position):
        name = found[1]
        return f"\\p{{{'Script=' * (name in _SCRIPTS)}{name}}}", found.end()
    escape = pattern[position : position + 2]
    return ("$" if escape == r"\z" else escape), position + 2
