"""Files that are not text, told by their first bytes: what each is, and what to do with it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from llm_timecycle.errors import DataError

HEAD_BYTES = 4096
"""How many first bytes of a file are enough to tell what it is."""

SAVE_AS_TEXT = "Open it and save it as plain text (UTF-8)"
FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"%PDF-", "a PDF file", "Extract its text: pdftotext -enc UTF-8 {path} {text}"),
    (b"{\\rtf", "an RTF file", SAVE_AS_TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (such as .doc)", SAVE_AS_TEXT),
    (b"\x1f\x8b", "compressed with gzip", "Rename it so that its name ends in .gz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "Rename it so that its name ends in .zst"),
    (b"BZh", "compressed with bzip2", "Decompress it: bunzip2 --keep {path}"),
    (b"\xfd7zXZ\x00", "compressed with xz", "Decompress it: xz --decompress --keep {path}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it, and name the texts in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it, and name the texts in it"),
    (b"\x89PNG\r\n", "a PNG image", "Name a text"),
    (b"\xff\xd8\xff", "a JPEG image", "Name a text"),
    (b"GIF8", "a GIF image", "Name a text"),
    (b"SQLite format 3\x00", "an SQLite database", "Export the column of the text as CSV"),
    (b"PAR1", "a Parquet file", "Export the column of the text as CSV or JSONL"),
)
"""First bytes, what the file is, and the advice."""
ZIPPED: tuple[tuple[bytes, str, str], ...] = (
    (b"application/epub+zip", "an EPUB book", "Convert it: pandoc --to plain {path} -o {text}"),
    (b"word/", "a Word document", SAVE_AS_TEXT),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file", SAVE_AS_TEXT),
    (b"xl/", "an Excel workbook", "Save the sheet as CSV (UTF-8)"),
    (b"ppt/", "a PowerPoint file", SAVE_AS_TEXT),
)
"""Bytes near the start of a ZIP archive that tell what kind it is."""
HTML_PAGE = ("an HTML page", "Convert it: pandoc --to plain {path} -o {text}")
HTML = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype )?html\b")


def refuse_formats(path: Path, head: bytes, may_be_html: bool = False) -> None:
    """Raise DataError if a file is not text but a known format.

    Args:
        path: the file, for the message.
        head: its first `HEAD_BYTES` bytes, decompressed if its name says that it is compressed.
        may_be_html: whether an HTML page is a text: a prompt may be the start of one.
    """
    found = _identify(head)
    if found is None or (may_be_html and found == HTML_PAGE):
        return
    what, advice = found
    filled = advice.format(
        path=shlex.quote(str(path)), text=shlex.quote(str(path.with_suffix(".txt")))
    )
    raise DataError(f"{path} is {what}, not plain text. {filled}")


def _identify(head: bytes) -> tuple[str, str] | None:
    for magic, what, advice in FORMATS:
        if head.startswith(magic):
            return what, advice
    if head.startswith(b"PK\x03\x04"):
        for mark, what, advice in ZIPPED:
            if mark in head:
                return what, advice
        return "a ZIP archive", "Unpack it, and name the texts in it: unzip {path}"
    if HTML.match(head.lower()):
        return HTML_PAGE
    return None
