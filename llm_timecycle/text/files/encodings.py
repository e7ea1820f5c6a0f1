"""Encodings: which one a file is read with, and which one its bytes look like.

A guess is a hint. It decides nothing unless `data.encoding` is `auto`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import lru_cache

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks to encodings; UTF-32 comes before UTF-16, whose mark begins like it."""
SAMPLE_BYTES = 32_768
"""How much of a file a guess looks at."""
CHAOS_MARGIN = 0.02
"""Guesses whose share of implausible characters differs by less are equally good."""
CANDIDATES = {
    "cp1252": "windows-1252",
    "gb18030": "gb18030",
    "big5": "big5",
    "cp932": "cp932",
    "cp949": "cp949",
    "euc_jp": "euc-jp",
    "koi8_r": "koi8-r",
    "cp1251": "windows-1251",
    "cp1250": "windows-1250",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "iso8859_2": "iso-8859-2",
    "iso8859_5": "iso-8859-5",
    "mac_roman": "mac-roman",
    "cp866": "cp866",
}
"""What is guessed, best first where the bytes allow several, and the name that a user sees. An
encoding stands for those that it contains: windows-1252 for Latin-1, cp932 for Shift-JIS, cp949
for EUC-KR, gb18030 for GBK."""


def find_mark(head: bytes) -> str | None:
    """The encoding whose byte order mark a file begins with, if any."""
    return next((name for mark, name in MARKS.items() if head.startswith(mark)), None)


def resolve_encoding(name: str, head: bytes) -> str | None:
    """The name of Python's codec for a file; None if its byte order is anybody's guess.

    `utf-16` and `utf-32` leave the byte order to the mark at the start; without a mark, to what
    the first bytes look like.

    Args:
        name: as `data.encoding` has it.
        head: the first bytes of the file.
    """
    codec = codecs.lookup(name).name
    if codec == "utf-8-sig":
        return "utf-8"
    if codec not in ("utf-16", "utf-32"):
        return codec
    found = find_mark(head) or guess_wide(head)
    return found if found is not None and found.startswith(codec) else None


def guess_encoding(sample: bytes) -> str | None:
    """The encoding that a file most probably has, by a name for `data.encoding`; None if unclear.

    Args:
        sample: up to a few megabytes of the file that begin between two characters and contain
            bytes that are not ASCII.
    """
    if found := find_mark(sample) or guess_wide(sample[:SAMPLE_BYTES]):
        return found
    if b"\0" in sample:
        return None
    if is_utf8(sample):
        return "utf-8"
    return _guess_narrow(b"".join(_pick_lines(sample)))


def is_utf8(sample: bytes) -> bool:
    """Whether bytes are UTF-8, except that the last character may be cut off."""
    try:
        codecs.utf_8_decode(sample, "strict", False)
    except UnicodeDecodeError:
        return False
    return True


def guess_wide(sample: bytes) -> str | None:
    """UTF-16 (or UTF-32) without a mark: its byte order, from where spaces and line breaks lie.

    >>> guess_wide("one two".encode("utf-16-be"))
    'utf-16-be'
    """
    best, most = None, 0
    for encoding, width in (("utf-16-le", 2), ("utf-16-be", 2), ("utf-32-le", 4), ("utf-32-be", 4)):
        try:
            text = sample[: len(sample) // width * width].decode(encoding, "strict")
        except UnicodeDecodeError as error:
            if error.start + 4 < len(sample):  # else it is the sample that is cut off
                continue
            text = sample[: error.start].decode(encoding, "strict")
        breaks = sum(map(text.count, " \n\u3000\u3001\u3002\uff0c"))
        if "\0" not in text and breaks * 100 > len(text) and breaks > most:
            best, most = encoding, breaks
    return best


def _pick_lines(sample: bytes) -> Iterator[bytes]:
    """Lines with something else than ASCII, which is all that tells encodings apart."""
    left = SAMPLE_BYTES
    for line in sample.splitlines(keepends=True):
        if left > 0 and not line.isascii():
            yield line[:left]
            left -= len(line)


@lru_cache(maxsize=64)
def _guess_narrow(sample: bytes) -> str | None:
    """The best guess for text without NULs; the last character may be cut off."""
    import charset_normalizer

    best_chaos, best_names = 1.0, set[str]()
    for dropped in range(4 if sample and sample[-1] >= 0x80 else 1):
        matches = charset_normalizer.from_bytes(
            sample[: len(sample) - dropped], cp_isolation=list(CANDIDATES), threshold=0.3
        )
        best = matches.best()
        if best is not None and best.chaos < best_chaos:
            best_chaos = best.chaos
            best_names = {
                name
                for match in matches
                if match.chaos <= best_chaos + CHAOS_MARGIN
                for name in match.could_be_from_charset
            }
    return next((CANDIDATES[name] for name in CANDIDATES if name in best_names), None)
