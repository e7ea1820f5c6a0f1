"""Names that no file can have, or that cannot be reached, found before a call that raises."""

from __future__ import annotations

import errno
import os
from pathlib import Path

SHOWN_CHARACTERS = 80
_ROOM = "x" * 128
"""As long as the names of files in a directory, or of those beside a file."""


def find_name_problem(name: str | os.PathLike[str]) -> str | None:
    """Why a path cannot be used, for a message; None if it can, whether something is there or not.

    >>> find_name_problem("runs/my") is None
    True
    """
    return explain_impossible_name(name) or _explain_locked(os.fspath(name))


def explain_impossible_name(name: str | os.PathLike[str]) -> str | None:
    """Why a path cannot be that of a file on this system, for a message; None if it can.

    It must be UTF-8, because it is written into settings, manifests and reports.

    >>> print(explain_impossible_name("a\\0b"))
    a\\x00b cannot be the name of a file: it contains the character U+0000
    """
    text = os.fspath(name)
    if text == "":
        return "the name of a file is empty; expected a path"
    problem = "it contains the character U+0000" if "\0" in text else _ask_system(text)
    return problem and f"{show_name(text)} cannot be the name of a file: {problem}"


def _ask_system(text: str) -> str | None:
    try:
        text.encode()
        Path(text, _ROOM).lstat()
    except UnicodeEncodeError:
        return "it is not UTF-8. Rename it"
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "it is longer than this system allows"
    return None


def _explain_locked(text: str) -> str | None:
    """Which directory, of those that a path leads through, may not be searched."""
    path = Path(text)
    for directory in (*reversed(path.parents), path):
        try:
            (directory / _ROOM).lstat()
        except PermissionError:
            return (
                f"{show_name(text)} cannot be reached: there is no permission to search the "
                f"directory {show_name(str(directory))}. Allow it, or choose another path"
            )
        except OSError:
            continue
    return None


def show_name(text: str) -> str:
    r"""A name on one line: a long one by both its ends, what cannot be printed as an escape.

    >>> print(show_name("a\nb"))
    a\nb
    """
    shown = text
    if len(text) > SHOWN_CHARACTERS:
        half = (SHOWN_CHARACTERS - len("...")) // 2
        shown = f"{text[:half]}...{text[-half:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
