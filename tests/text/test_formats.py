"""Files that are not text: each is named by its content, with what to do."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from llm_timecycle.cli.prompting.prompts import read_prompt
from llm_timecycle.errors import DataError
from llm_timecycle.text.text_file import TextFile


def pack(**files: str) -> bytes:
    """A ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "advice"),
    [
        (b"%PDF-1.7\n", "a PDF file", "pdftotext -enc UTF-8 "),
        (b"{\\rtf1\\ansi The river", "an RTF file", "save it as plain text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "old Office document", "plain text"),
        (pack(word__document="x"), "a Word document", "save it as plain text"),
        (pack(mimetype="application/epub+zip"), "an EPUB book", "pandoc --to plain "),
        (pack(mimetype="application/vnd.oasis.opendocument.text"), "an OpenDocument file", "plain"),
        (pack(xl__workbook="x"), "an Excel workbook", "CSV"),
        (pack(novel="x"), "a ZIP archive", "unzip "),
        (gzip.compress(b"river", mtime=0), "compressed with gzip", "name ends in .gz"),
        (zstd.compress(b"river"), "compressed with Zstandard", "name ends in .zst"),
        (b"BZh91AY", "compressed with bzip2", "bunzip2 --keep "),
        (b"\xfd7zXZ\x00", "compressed with xz", "xz --decompress"),
        (b"<!DOCTYPE html>\n<html>", "an HTML page", "pandoc --to plain "),
        (b"\xef\xbb\xbf \n<HTML lang='en'>", "an HTML page", "pandoc"),
        (b"<?xml version='1.0'?>\n<!-- a page --><html>", "an HTML page", "pandoc"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image", "Name a text"),
        (b"PAR1", "a Parquet file", "CSV or JSONL"),
    ],
)
@pytest.mark.parametrize("name", ["my novel.txt", "my novel.txt.gz"])
def test_a_format_is_named_whatever_the_file_is_called(tmp_path, content, what, advice, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError) as caught:
        TextFile(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is ")
    assert f"{what}, not plain text" in message or f"{what} (such as .doc), not" in message
    assert advice in message


@pytest.mark.parametrize(
    "text", ["PDF is a format", "<p>One <html> tag</p>", "PK, he said", "{\\r}", "<htmlish>"]
)
def test_text_that_only_talks_of_a_format_is_text(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert "".join(TextFile(path).read()) == text


def test_a_prompt_may_be_the_start_of_a_page(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("<html><body>")
    assert read_prompt(str(path)) == "<html><body>"


def test_a_zst_file_is_read_and_sought_as_its_content(tmp_path):
    text = "".join(f"line {number}\n" for number in range(300_000))
    path = tmp_path / "a.txt.ZST"
    path.write_bytes(zstd.compress(text.encode()))
    file = TextFile(path)
    assert "".join(file.read()) == text
    assert "".join(file.read(2_500_000, 2_500_100)) == text[2_500_000:2_500_100]


def test_a_zst_file_with_a_larger_window_is_refused_with_the_command_that_makes_it_smaller(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a river.txt.zst"
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    path.write_bytes(compressor.compress(b"the river") + compressor.flush())
    with pytest.raises(DataError) as caught:
        TextFile(path)
    message, copy = str(caught.value), tmp_path / "a river.128mb.txt.zst"
    assert message.startswith(f"{path} is compressed with a window of more than 128 MB (zstd --lo")
    command = f"zstd -dc --long=31 '{path}' | zstd -o '{copy}'"
    assert message.endswith(f": {command}")
    if shutil.which("zstd") is not None:
        subprocess.run(command, shell=True, check=True, capture_output=True)
        assert "".join(TextFile(copy).read()) == "the river"


@pytest.mark.parametrize("damage", ["cut", "checksum", "text"])
def test_a_damaged_zst_file_is_refused(tmp_path: Path, damage: str) -> None:
    options = {zstd.CompressionParameter.checksum_flag: 1}
    content = zstd.compress(b"the river " * 1000, options=options)
    path = tmp_path / "a.zst"
    path.write_bytes(
        {"cut": content[:-8], "checksum": content[:-1] + b"?", "text": b"plain text"}[damage]
    )
    with pytest.raises(DataError, match=r"a\.zst is damaged, or is not a Zstandard file as its"):
        TextFile(path).measure()
