"""Why the bytes of a file are not text in an encoding, in words, and what to do about it."""

from __future__ import annotations

import codecs
import shlex
from dataclasses import dataclass
from pathlib import Path

from llm_timecycle.text.files.compression import WINDOW_TOO_LARGE, find_compression
from llm_timecycle.text.files.encodings import guess_encoding, guess_wide

EXCERPT_CHARACTERS = 60
SAMPLE_BYTES = 1 << 20
NO_NULS = r"tr -d '\000'"
DAMAGED_AT_MOST = 0.2
"""Invalid places for each character beyond ASCII that is sound, up to which UTF-8 is damaged UTF-8
and not another encoding."""


@dataclass(frozen=True)
class Place:
    """Where reading a file stopped.

    Attributes:
        path: the file.
        encoding: the codec that it was read with.
        before: the text right before, for what it tells about the encoding; may be empty.
        data: the bytes at hand: from some character on to beyond the wrong byte.
        start: which of them is wrong.
        offset: the place of the first of them in the content of the file, in bytes.
    """

    path: Path
    encoding: str
    before: str
    data: bytes
    start: int
    offset: int


def explain_damage(path: Path, error: Exception) -> str:
    """The message for a compressed file that cannot be read."""
    if WINDOW_TOO_LARGE in str(error):
        source, content = shlex.quote(str(path)), path.with_suffix("")
        copy = shlex.quote(str(content.with_suffix(f".128mb{content.suffix}{path.suffix}")))
        return (
            f"{path} is compressed with a window of more than 128 MB (zstd --long). Compress it "
            f"again, and read the copy: zstd -dc --long=31 {source} | zstd -o {copy}"
        )
    return (
        f"{path} is damaged, or is not a {find_compression(path)} file as its name says: {error}. "
        f"Download or compress it again"
    )


def explain_invalid(place: Place, is_end: bool) -> str:
    """The message for bytes that are not valid.

    Args:
        place: where.
        is_end: whether the file ends within a character.
    """
    if is_end and (place.encoding != "utf-8" or not place.before.isascii()):
        return _explain_cut(place)
    name, byte = place.encoding.upper(), place.data[place.start]
    message = (
        f"{place.path} is not {name} text: the byte at offset {place.offset + place.start} "
        f"(0x{byte:02x}) is invalid"
    )
    if place.encoding == "utf-8" and (wrong := _count_damage(place)):
        places = "one place" if wrong == 1 else f"{wrong} places"
        return (
            f"{message}. The text around it is UTF-8, so the file is damaged, in {places} near "
            f"there. Get it again, or leave out what is invalid: "
            f"{_write_iconv(place, 'UTF-8', '-c ')}"
        )
    sample = place.data[:SAMPLE_BYTES]
    if place.before.isascii():
        sample = place.before[-1000:].encode() + sample
    guess = guess_encoding(sample)
    if guess is None or codecs.lookup(guess).name == place.encoding:
        return (
            f"{message}. Set data.encoding to its encoding, or convert it: "
            f"{_write_iconv(place, 'GB18030')} (with its encoding in place of GB18030)"
        )
    return f"{message}. {_propose(place, guess, sample)}"


def find_nul(data: bytes, encoding: str) -> int:
    """Where the first NUL character is in bytes that begin with a whole character; -1: nowhere."""
    nul = bytes(_find_unit(encoding))
    start = data.find(nul)
    while start % len(nul) and start >= 0:  # the halves of two others
        start = data.find(nul, start + 1)
    return start


def explain_nul(place: Place) -> str:
    """The message for a NUL character, at the start of `place.data`."""
    message = f"{place.path} has a NUL character at offset {place.offset + place.start}"
    if _find_unit(place.encoding) > 1:
        return (
            f"{message}: it is damaged. If the rest is text, copy it as UTF-8 without the NULs: "
            f"{_write_command(place, _name_iconv(place.encoding), NO_NULS)}"
        )
    if guess := guess_wide(place.data[: 1 << 15]):
        message = f"{place.path} is UTF-16 or UTF-32 text without a byte order mark"
        return f"{message}. {_propose(place, guess, place.data)}"
    return (
        f"{message}: it is not a text, or it is damaged. If the rest is text, leave the NULs out: "
        f"{_write_command(place, NO_NULS)}"
    )


def _find_unit(encoding: str) -> int:
    """The bytes that the shortest character takes."""
    return {"utf-16": 2, "utf-32": 4}.get(encoding[:6], 1)


def explain_order(path: Path, encoding: str) -> str:
    """The message for UTF-16 (or UTF-32) whose byte order cannot be told."""
    return (
        f"{path} has no {encoding.upper()} byte order mark, and its byte order cannot be told. "
        f"Set data.encoding to {encoding}-le or {encoding}-be, or to another encoding"
    )


def find_excerpt(sample: bytes, encoding: str) -> str:
    """The first characters beyond ASCII as they would read, with some before them."""
    text = sample.decode(encoding, "replace").replace("\ufeff", "")
    first = next((n for n, character in enumerate(text) if not character.isascii()), 0)
    start = max(text.rfind("\n", 0, first) + 1, first - EXCERPT_CHARACTERS // 2)
    return " ".join(text[start : start + EXCERPT_CHARACTERS].split())


def _propose(place: Place, guess: str, sample: bytes) -> str:
    """What to do about a text in another encoding."""
    name = "utf-16" if place.offset == 0 and _has_utf16_mark(place.data) else guess
    return (
        f"It looks like {name}, and would then read “{find_excerpt(sample, guess)}”. If that is "
        f"right, set data.encoding to {name}, or convert it: "
        f"{_write_iconv(place, name)}"
    )


def _has_utf16_mark(data: bytes) -> bool:
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _explain_cut(place: Place) -> str:
    command = _write_command(place, f"head -c {place.offset + place.start}")
    return (
        f"{place.path} ends within a character: it was cut off at its end, as an incomplete "
        f"download is. Get the whole file, or leave out the incomplete character: {command}"
    )


def _count_damage(place: Place) -> int:
    """How many places are invalid in what is UTF-8 otherwise; 0 if it is not UTF-8."""
    text = place.data[:SAMPLE_BYTES].decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    sound = sum(not c.isascii() for c in place.before[-10_000:] + text[:100_000]) - wrong
    return wrong if 0 < wrong <= DAMAGED_AT_MOST * sound else 0


def _write_iconv(place: Place, encoding: str, options: str = "") -> str:
    """The command that makes a copy of the file in UTF-8."""
    return _write_command(place, _name_iconv(encoding, options))


def _name_iconv(encoding: str, options: str = "") -> str:
    name = encoding.upper().replace("UTF-16-", "UTF-16").replace("UTF-32-", "UTF-32")
    return f"iconv {options}-f {name} -t UTF-8"


def _write_command(place: Place, first: str, *others: str) -> str:
    """The command that makes a changed copy of the file by programs that read and write streams."""
    source = shlex.quote(str(place.path))
    compression = find_compression(place.path)
    path = place.path.with_suffix("") if compression else place.path
    copy = shlex.quote(str(path.with_suffix(f".utf-8{path.suffix or '.txt'}")))
    if compression is None:
        steps = (f"{first} < {source}", *others)
    else:
        steps = (f"{'gzip' if compression == 'gzip' else 'zstd'} -cd {source}", first, *others)
    return f"{' | '.join(steps)} > {copy}"
