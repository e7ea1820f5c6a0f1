"""Counting words, several times faster than by splitting the text."""

from __future__ import annotations

SPLIT_BELOW = 1000
"""Characters below which splitting is faster."""

_WIDE_SPACES = "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_WIDE_SPACES += "\u2028\u2029\u202f\u205f\u3000"
_MARKS = bytes(0x20 if byte < 0x80 and chr(byte).isspace() else 0x78 for byte in range(0x100))


def count_words(text: str, content: bytes) -> int:
    """`len(text.split())`: the words of a text, separated by white space.

    In a text that is mostly ASCII each byte becomes a space or an x, and a word begins wherever an
    x follows a space. Other scripts have few words to split, or many bytes.

    Args:
        text: the text.
        content: its UTF-8 form.

    >>> count_words("two words", b"two words")
    2
    """
    is_mostly_ascii = len(content) * 10 < len(text) * 13
    if len(text) < SPLIT_BELOW or not is_mostly_ascii or any(c in text for c in _WIDE_SPACES):
        return len(text.split())
    marks = content.translate(_MARKS)
    return marks.count(b" x") + marks.startswith(b"x")
