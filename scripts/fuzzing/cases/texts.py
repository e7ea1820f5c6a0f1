"""Texts of any bytes: encodings, compressed files, records, and what is no file at all."""

from __future__ import annotations

import codecs
import gzip
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import ODD_TEXTS, ODD_VALUES, draw_text, mutate_bytes
from fuzzing.places import replace_path
from fuzzing.small_runs import CHINESE, ENGLISH, TOKENIZERS

from llm_timecycle.config.settings import DataSettings, Settings
from llm_timecycle.text.prepare import PreparedText, prepare_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODINGS = (
    *("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    *("gb18030", "gbk", "big5", "shift_jis", "cp932", "euc-jp", "euc-kr", "iso2022_jp", "hz"),
    *("latin-1", "windows-1252", "koi8-r", "cp1251", "cp437", "mac-roman", "utf-7", "ascii"),
    *(
        "auto",
        "auto",
        "auto",
        "utf-8",
        "utf-8",
        "utf-8",
        "utf-8",
        "utf-8",
        "rot13",
        "base64",
        "punycode",
        "idna",
        "undefined",
        "mbcs",
    ),
    *("unicode_escape", "raw_unicode_escape", "none", "\0", "utf-8 ", "UTF8", "x" * 300),
)
NAMES = (
    *("t.txt", "t.txt", "t.txt", "t", "t.md", "t.csv", "t.tsv", "t.jsonl", "t.html", "t.pdf"),
    *(
        "t.txt.gz",
        "t.gz",
        "t.zst",
        "t.jsonl.gz",
        "t.CSV",
        "t.txt.GZ",
        "t.docx",
        "[t].txt",
        "a*.txt",
    ),
    *("Ünïcode 文.txt", "-t.txt", "t\n.txt", " .txt", ".txt", "%s.txt", "x" * 200 + ".txt"),
)
HEADS = (
    *(b"%PDF-1.7\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"<!DOCTYPE html><html>"),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xff\xfe\0\0",
        b"\0" * 20,
        b"\x89PNG\r\n",
        b"{\\rtf1",
    ),
    *(b"SQLite format 3\0", b"\x7fELF", b"BZh9", b"\xfd7zXZ\0", b"II*\0", b"\xd0\xcf\x11\xe0"),
)


def prepare(world: Path) -> MakeAttempt:
    """Nothing is needed."""
    return make


def make(draw: Random, place: Path) -> Attempt:
    """One or a few texts, and settings to read them with."""
    encoding = draw.choice(ENCODINGS)
    names = draw.sample(sorted(set(NAMES)), draw.choice([1, 1, 1, 2, 4]))
    if draw.random() < 0.4:
        names[0] = "t.txt"
    texts = place / "texts"
    texts.mkdir()
    done = []
    for name in dict.fromkeys(names):
        content, what = _draw_content(draw, name, encoding)
        (texts / name).write_bytes(content)
        done.append(f"{name!r}: {what}")
        if draw.random() < 0.05:
            done.append(replace_path(draw, texts / name, texts))
    spec = draw.choice([f"texts/{names[0]}"] * 6 + ["texts", "texts/*", "texts/**/*.txt"])
    if draw.random() < 0.05:
        spec = draw.choice([*ODD_TEXTS, "/dev/zero", "/proc/self/mem", "/", "/proc", "~", "nul\0"])
    documents = draw.choice(["file", "file", "file", "line", "paragraph", "record"])
    is_odd = draw.random() < 0.05
    data = {
        "train": draw.choice([spec] * 5 + [[spec, f"texts/{names[-1]}"]]),
        "encoding": encoding,
        "documents": documents,
        "field": draw.choice([None, None, "text", "body"]) if documents == "record" else None,
        "normalize": draw.choice(["none", "none", "NFC", "NFKC"]),
        "valid_fraction": draw.choice([0.0, 0.05, 0.5]),
        "test_fraction": draw.choice([0.0, 0.0, 0.1]),
    }
    if is_odd:
        data[draw.choice([*data])] = draw.choice(ODD_VALUES)
    tokenizer = draw.choice([*TOKENIZERS.values()])
    tokenizer = tokenizer.model_copy(update={"lowercase": draw.random() < 0.2})

    def call() -> tuple[PreparedText, DataSettings]:
        settings = Settings(data=data, tokenizer=tokenizer)
        return prepare_text(settings, place, place / "cache", show_progress=False), settings.data

    what = f"{'; '.join(done)}; {data!r}; {tokenizer.level}"[:2000]
    return Attempt(what, call, check, kept=("texts",))


def _draw_content(draw: Random, name: str, encoding: str) -> tuple[bytes, str]:
    """The bytes of a text, and what they are."""
    (text,) = draw.choices([*TEXTS], [1.0 if name in LARGE else 6.0 for name in TEXTS])
    written = TEXTS[text](draw)
    if encoding in ("auto", "idna", "punycode"):  # the last two take time in the square of the text
        encoding = "utf-8"
    try:
        content = written.encode(encoding, "replace")
    except Exception:  # noqa: BLE001  codecs raise all there is
        content = written.encode("utf-8", "replace")
    done = [text]
    if draw.random() < 0.3:
        content, change = mutate_bytes(draw, content)
        done.append(change)
    if draw.random() < 0.1:
        content = draw.choice(HEADS) + content
        done.append("another head")
    ending = name.rsplit(".", 1)[-1].lower()
    if ending in ("gz", "zst") and draw.random() < 0.9:
        content = _compress(content, ending)
        if draw.random() < 0.3:
            content, change = mutate_bytes(draw, content)
            done.append(f"compressed: {change}")
    return content, ", ".join(done)


def _compress(content: bytes, ending: str) -> bytes:
    return gzip.compress(content, 1, mtime=0) if ending == "gz" else zstd.compress(content)


def _write_rows(draw: Random) -> str:
    delimiter = draw.choice([",", ";", "\t", "|"])
    names = draw.choice([["text"], ["id", "text"], ["text", "text"], ["a", "body"], [""]])
    rows = [names]
    for number in range(draw.randint(0, 40)):
        cells = [draw.choice([str(number), draw_text(draw), "a plain cell"]) for _ in names]
        rows.append(cells if draw.random() < 0.98 else cells[1:])

    def quote(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if draw.random() < 0.7 else cell

    return "\n".join(delimiter.join(map(quote, row)) for row in rows)


def _write_objects(draw: Random) -> str:
    lines = []
    for number in range(draw.randint(0, 40)):
        text = draw_text(draw).replace("\\", "").replace('"', "'").replace("\n", "\\n")
        lines.append(f'{{"id": {number}, "{draw.choice(["text", "text", "body"])}": "{text}"}}')
    if draw.random() < 0.2:
        lines.append(draw.choice(["[" * 100_000, "{}", "null", '{"text": 3}', "9" * 5000, "NaN"]))
    return "\n".join(lines)


TEXTS: dict[str, Callable[[Random], str]] = {
    "English": lambda draw: ENGLISH[: draw.choice([0, 1, 50, 3000])],
    "Chinese": lambda draw: CHINESE[: draw.choice([1, 30, 600])],
    "odd": lambda draw: draw_text(draw, 300) * draw.choice([1, 30]),
    "one long line": lambda draw: draw.choice(["a", "中", "\u0301", " ", "a\u0301"]) * 300_000,
    "line breaks": lambda draw: draw.choice(["\r", "\n", "\r\n", "\n\n", "\u2028", "\x0b"]) * 9000,
    "one long word in it": lambda draw: ENGLISH[:500] + "x" * 70_000 + ENGLISH[:500],
    "all of Unicode": lambda draw: "".join(
        map(chr, range(draw.choice([1, 0x20, 0xE000, 0x10000]), 0x10000 + draw.choice([1, 4000])))
    ).translate(dict.fromkeys(range(0xD800, 0xE000))),
    "rows": _write_rows,
    "objects": _write_objects,
    "quotes": lambda draw: '"' * draw.randint(1, 3000) + ",",
    "a bomb": lambda draw: "\n" * draw.choice([1000, 3_000_000]),
}


LARGE = ("one long line", "all of Unicode", "a bomb")


def check(found: tuple[PreparedText, DataSettings]) -> None:
    """Files that are whole documents are read character by character as Python decodes them."""
    text, data = found
    for corpus in text.corpora.values():
        read = "".join(c.text for document in corpus.documents() for c in document.chunks())
        if len(read) != corpus.count_characters():
            raise Wrong(f"{len(read):,} characters are read, {corpus.count_characters():,} counted")
    fractions = data.valid_fraction + data.test_fraction
    if data.documents == "file" and fractions == 0 and isinstance(data.train, str):
        (document, *more) = text.corpora["train"].documents()
        path = Path(document.name)
        if not more and path.suffix.lower() not in (".gz", ".zst") and data.encoding != "auto":
            read = "".join(chunk.text for chunk in document.chunks())
            if read != _decode(path.read_bytes(), data.encoding):
                raise Wrong("what is read is not what Python decodes")


def _decode(content: bytes, encoding: str) -> str:
    """The text as documented: strict, without marks, line feeds for line breaks."""
    if encoding in ("utf-16", "utf-32"):
        marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
        if not content.startswith(marks):
            guessed = content.decode(f"{encoding}-le", "replace")
            order = "le" if re.search("[ \n。，]", guessed) else "be"
            encoding = f"{encoding}-{order}"
    text = content.decode(encoding).replace("\ufeff", "")
    return text.replace("\r\n", "\n").replace("\r", "\n")
