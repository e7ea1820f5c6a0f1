"""Each encoding is read as it is set, guessed where that is wanted, and named where it is wrong."""

from __future__ import annotations

import codecs
import gzip
import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.text_file import TextFile

CHINESE = "河边的小城有一座钟楼，钟楼很老，比城里最老的人还要老。\n每天清早，一个姑娘爬上钟楼。\n"
TRADITIONAL = "河邊的鐘樓很老，比城裡最老的人還要老。\n每天清早，一個姑娘爬上鐘樓。\n"
JAPANESE = "川のほとりに古い時計台があった。\n毎朝、一人の少女が塔に登り、時計のねじを巻いた。\n"
KOREAN = "강가의 작은 마을에 오래된 시계탑이 있었다.\n매일 아침 한 소녀가 탑에 올라갔다.\n"
RUSSIAN = (
    "В городке у реки стояла старая башня с часами.\nКаждое утро девочка поднималась на неё.\n"
)
FRENCH = (
    "Près de la rivière, une très vieille horloge : « Déjà l’été ! »\nLa fille monta à la tour.\n"
)
GERMAN = "Am Fluß stand ein schöner alter Turm.\nEin Mädchen zog täglich die große Uhr auf.\n"
TEXTS = [
    ("utf-8", CHINESE),
    ("utf-8-sig", CHINESE),
    ("utf-16", CHINESE),
    ("utf-16-le", FRENCH),
    ("utf-16-be", CHINESE),
    ("gb18030", CHINESE),
    ("gbk", CHINESE),
    ("big5", TRADITIONAL),
    ("shift_jis", JAPANESE),
    ("euc-kr", KOREAN),
    ("windows-1252", FRENCH),
    ("latin-1", GERMAN),
    ("koi8-r", RUSSIAN),
]
PROPOSED = {
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "big5": "big5",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "windows-1252": "windows-1252",
    "latin-1": "windows-1252",
    "koi8-r": "koi8-r",
}
"""The encoding that a message proposes: the one of each kind that contains the others."""


def write(directory: Path, content: bytes, name: str = "a.txt") -> Path:
    pack = {".gz": gzip.compress, ".zst": zstd.compress}.get(Path(name).suffix, bytes)
    path = directory / name
    path.write_bytes(pack(content))
    return path


def read(path: Path, encoding: str = "utf-8") -> str:
    return "".join(TextFile(path, encoding).read())


def refuse(path: Path, encoding: str = "utf-8") -> str:
    with pytest.raises(DataError) as caught:
        TextFile(path, encoding).measure()
    return str(caught.value)


@pytest.mark.parametrize("block_bytes", [1, 3, 1 << 20])
@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_a_text_is_read_in_the_encoding_that_is_set(
    tmp_path, monkeypatch, encoding, text, block_bytes
):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", block_bytes)
    path = write(tmp_path, text.replace("\n", "\r\n").encode(encoding))
    assert read(path, encoding) == text
    assert "".join(TextFile(path, encoding).read(7, 40)) == text[7:40]


@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_auto_guesses_and_says_so(tmp_path, caplog, encoding, text):
    caplog.set_level(logging.INFO)
    path = write(tmp_path, text.encode(encoding))
    assert read(path, "auto") == text
    assert re.search(r"a\.txt: read as [a-z0-9-]+$", caplog.text, re.M)


@pytest.mark.parametrize(("encoding", "text"), [t for t in TEXTS if not t[0].startswith("utf-8")])
def test_what_is_not_utf8_is_refused_with_its_encoding_and_how_it_reads(tmp_path, encoding, text):
    message = refuse(write(tmp_path, text.encode(encoding)))
    assert f"set data.encoding to {PROPOSED[encoding]}, or" in message
    shown = re.search("“(.*)”", message)
    assert shown is not None
    assert shown[1] in text.replace("\n", " ")
    assert not shown[1].isascii() or encoding == "utf-16-le"


def test_the_hash_is_that_of_the_text_and_not_of_its_bytes(tmp_path):
    known = TextFile(write(tmp_path, CHINESE.encode(), "8.txt")).measure().sha256
    for encoding in ("gb18030", "utf-16"):
        path = write(tmp_path, CHINESE.encode(encoding), "b.txt")
        assert TextFile(path, encoding).measure().sha256 == known


@given(
    text=st.text(alphabet="ab\r\n 钟鐘é", max_size=40),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "gb18030", "iso2022_jp_2", "utf-7"]),
    block_bytes=st.integers(1, 12),
    cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_in_any_encoding_equals_the_slice(tmp_path, text, encoding, block_bytes, cuts):
    path = write(tmp_path, text.encode(encoding))
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    start, stop = min(cuts), max(cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", block_bytes)
        assert read(path, encoding) == expected
        assert "".join(TextFile(path, encoding).read(start, stop)) == expected[start:stop]


def test_auto_reads_on_to_the_first_byte_that_is_not_ascii(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 1000)
    path = write(tmp_path, b"the river\n" * 1000 + RUSSIAN.encode("koi8-r"))
    assert read(path, "auto").endswith(RUSSIAN)
    assert TextFile(write(tmp_path, b"the river\n" * 1000, "b.txt"), "auto").encoding == "utf-8"


def test_auto_gives_up_where_nothing_fits(tmp_path):
    path = write(tmp_path, bytes(range(128, 256)) * 4)
    assert "encoding cannot be guessed. Set data.encoding to" in refuse(path, "auto")


def test_each_file_is_guessed_by_itself(tmp_path):
    first = write(tmp_path, KOREAN.encode("euc-kr"), "1.txt")
    second = write(tmp_path, KOREAN.encode(), "2.txt")
    assert [read(path, "auto") for path in (first, second)] == [KOREAN, KOREAN]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
@pytest.mark.parametrize("block_bytes", [1, 2, 5])
@pytest.mark.parametrize(
    ("content", "offset", "byte"),
    [
        (b"caf\xe9 au lait", 3, "0xe9"),
        (b"\xef\xbb\xbfab\xff", 5, "0xff"),
        (b"a\r\nb\r\n\x80", 6, "0x80"),
        (b"caf\xe9", 3, "0xe9"),  # not UTF-8 cut short: nothing before it is UTF-8
        (b"abc\xed\xa0\x80", 3, "0xed"),  # half a surrogate pair
    ],
)
def test_the_first_wrong_byte_is_named(
    tmp_path, monkeypatch, name, content, offset, byte, block_bytes
):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", block_bytes)
    message = refuse(write(tmp_path, content, name))
    assert f"is not UTF-8 text: the byte at offset {offset} ({byte}) is invalid" in message


def test_the_offset_counts_the_whole_file(tmp_path):
    message = refuse(write(tmp_path, b"river\n" * 500_000 + RUSSIAN.encode("koi8-r")))
    assert "the byte at offset 3000000 (0xf7)" in message
    assert "“В городке у реки" in message


def test_a_superset_is_proposed_where_the_set_encoding_is_too_small(tmp_path):
    path = write(tmp_path, "① 川のほとりに古い時計台があった。".encode("cp932"))
    message = refuse(path, "shift_jis")
    assert "is not SHIFT_JIS text: the byte at offset 0 (0x87)" in message
    assert "set data.encoding to cp932" in message


@pytest.mark.parametrize(
    ("encoding", "text", "lost"), [("utf-8", CHINESE, 1), ("utf-8", CHINESE, 2), ("gbk", "钟", 1)]
)
def test_a_file_that_ends_within_a_character_was_cut_off(tmp_path, encoding, text, lost):
    content = text.strip().encode(encoding)[:-lost]
    path = write(tmp_path, content)
    message = refuse(path, encoding)
    assert "ends within a character: it was cut off at its end" in message
    subprocess.run(message.rsplit(": ", 1)[1], shell=True, check=True)
    (copy,) = tmp_path.glob("*.utf-8.txt")
    assert read(copy, encoding) == text.strip()[:-1] if text != "钟" else copy.stat().st_size == 0


def test_utf8_with_a_damaged_place_is_not_taken_for_another_encoding(tmp_path):
    content = CHINESE.encode()
    message = refuse(write(tmp_path, content[:30] + b"\xff" + content[30:]))
    assert "offset 30 (0xff)" in message
    assert "the file is damaged, in one place near there" in message
    assert "iconv -c -f UTF-8 -t UTF-8" in message


def test_nuls_are_refused(tmp_path):
    path = write(tmp_path, b"the river\n\0\0\0\0and the sea\n")
    message = refuse(path)
    assert "a.txt has a NUL character at offset 10: it is not a text, or it is damaged" in message
    subprocess.run(message.rsplit(": ", 1)[1], shell=True, check=True)
    assert read(tmp_path / "a.utf-8.txt") == "the river\nand the sea\n"


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("name", ["my text.txt", "my text.txt.gz"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("lines", [1, 9_000])  # before and after what is looked at for a guess
def test_nuls_of_wide_encodings_are_whole_characters(tmp_path, name, encoding, lines):
    before = "the riverĀ\n" * lines  # Ā ends in a byte of zero, or begins with one
    content = f"{before}\0\0and the sea\n".encode(encoding)
    message = refuse(write(tmp_path, content, name), encoding)
    offset = len(before.encode(encoding))
    assert f"has a NUL character at offset {offset}: it is damaged" in message
    subprocess.run(message.rsplit(": ", 1)[1], shell=True, check=True)
    assert read(tmp_path / "my text.utf-8.txt") == f"{before}and the sea\n"


def test_utf16_without_a_mark_is_not_read_as_text_with_nuls(tmp_path):
    message = refuse(write(tmp_path, "the river runs\n".encode("utf-16-le")))
    assert "UTF-16 or UTF-32 text without a byte order mark" in message
    assert "“the river runs”" in message
    assert "set data.encoding to utf-16-le, or" in message


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_the_order_of_bytes_is_found_without_a_mark(tmp_path, order):
    path = write(tmp_path, CHINESE.encode(order))
    assert read(path, order[:6]) == CHINESE
    marked = write(tmp_path, f"\ufeff{CHINESE}".encode(order), "b.txt")
    assert read(marked, order[:6]) == CHINESE


def test_an_order_of_bytes_that_cannot_be_told_is_asked_for(tmp_path):
    message = refuse(write(tmp_path, "钟".encode("utf-16-le")), "utf-16")
    assert "has no UTF-16 byte order mark" in message
    assert "Set data.encoding to utf-16-le or utf-16-be" in message


def test_a_mark_of_another_encoding_is_not_read_as_text(tmp_path):
    message = refuse(write(tmp_path, codecs.BOM_UTF8 + CHINESE.encode()), "gb18030")
    assert "begins with the mark of utf-8, so it is not gb18030" in message


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("name", ["my text.txt", "my text.txt.gz"])
@pytest.mark.parametrize(
    ("encoding", "text"), [("gb18030", "钟"), ("utf-16", "river"), ("utf-16-be", CHINESE)]
)
def test_the_proposed_command_converts_the_file_when_pasted(tmp_path, name, encoding, text):
    message = refuse(write(tmp_path, text.encode(encoding), name))
    command = re.search(r"or convert it: (.*)$", message)
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)
    (copy,) = tmp_path.glob("*.utf-8.txt")
    assert read(copy) == text


def test_a_command_for_an_unknown_encoding_leaves_its_name_open(tmp_path):
    message = refuse(write(tmp_path, bytes(range(128, 256)) * 4))
    assert "Set data.encoding to its encoding, or convert it: iconv -f GB18030" in message
    assert message.endswith("(with its encoding in place of GB18030)")
