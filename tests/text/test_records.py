"""Rows of CSV and TSV, objects of JSONL: their texts, and every broken record by its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.errors import DataError
from llm_timecycle.text import text_file
from llm_timecycle.text.files import records, split_file
from llm_timecycle.text.files.split_file import SplitFile
from llm_timecycle.text.text_file import TextFile


def open_records(
    directory: Path, content: str, name: str = "a.csv", field: str | None = None
) -> SplitFile:
    path = directory / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return SplitFile(TextFile(path), "record", field)


def read(file: SplitFile, start: int = 0, stop: int | None = None) -> list[str]:
    """The documents."""
    found = []
    for text, ends in file.chunks(start, stop):
        found += [text[a:b] for a, b in zip((0, *ends), ends, strict=False)]
    return found


def refuse(directory: Path, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_records(directory, *arguments).measure()
    return str(caught.value)


@pytest.mark.parametrize("block_bytes", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", "id,text\r\n1,one\r\n2,two\r\n", ["one", "two"]),
        (
            "a.csv",
            'text,id\n"He said ""no"", twice",1\n"two\nlines",2\n',
            ['He said "no", twice', "two\nlines"],
        ),
        ("a.csv.gz", 'text\n"two\r\n\r\nlines"\n', ["two\n\nlines"]),
        ("a.csv", 'id;text\n1;"a, b; c"\n', ["a, b; c"]),  # as Excel writes it in Europe
        ("a.csv", "\ufeffheadline\nRain\n\n  \nSun\n", ["Rain", "Sun"]),
        ("a.csv", "id, text \n1,one\n2,\n3,three\n", ["one", "three"]),  # an empty one is dropped
        ("a.tsv", 'id\ttext\n1\ta, b\n2\t"c\td"\n', ["a, b", "c\td"]),
        ("a.jsonl", '{"text": "one"}\n\n{"id": 1, "text": "two"}', ["one", "two"]),
        ("a.jsonl", r'{"text": "a\nb \"c\" \u949f \ud83d\udd70 \\n"}', ['a\nb "c" 钟 🕰 \\n']),
        ("A.JSONL.gz", r'{"text": "a\r\nb\rc\ufeff"}', ["a\nb\nc"]),  # by the rules for files
        ("a.jsonl", '{"text": null}\n{"text": ""}\n{"text": "one"}\n', ["one"]),
    ],
)
def test_records_worked_by_hand(tmp_path, monkeypatch, name, content, texts, block_bytes):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", block_bytes)
    file = open_records(tmp_path, content, name)
    assert read(file) == texts
    assert file.measure().documents == len(texts)


@pytest.mark.parametrize(
    ("name", "content", "field", "texts"),
    [
        ("a.csv", "a,b,text\n1,2,3\n", "b", ["2"]),
        ("a.csv", "a,b\n1,2\n", "a", ["1"]),
        ("a.jsonl", '{"a": "x", "text": "y"}', "a", ["x"]),
        ("a.jsonl", '{"id": 1, "body": "y"}', None, ["y"]),  # the only one that is text
    ],
)
def test_the_field_is_the_one_that_is_named_or_the_only_one(tmp_path, name, content, field, texts):
    assert read(open_records(tmp_path, content, name, field)) == texts


@pytest.mark.parametrize(
    ("name", "content", "field", "message"),
    [
        (
            "a.csv",
            "id,body,title\n",
            None,
            "has several columns: set data.field to one of id, body, title",
        ),
        ("a.csv", "id,body\n", "text", "has no column text: set data.field to one of id, body"),
        (
            "a.jsonl",
            '{"id": 1, "body": "x"}',
            "text",
            "has no key text: set data.field to one of id, body",
        ),
        (
            "a.jsonl",
            '{"a": "x", "b": "y"}',
            None,
            "has several keys: set data.field to one of a, b",
        ),
        ("a.jsonl", '{"a": 1}', None, "has no key with text"),
        ("a.jsonl", "\n\n", None, "has no records"),
        ("a.csv", "\n\n", None, "has no column with text"),
        (
            "a.csv",
            "id,text\n1,one\n2,a, b\n",
            None,
            "line 3: this row has 3 columns, and the header has 2",
        ),
        ("a.csv", 'text,id\n"a\nb",1\n"c"\n', None, "line 4: this row has 1 columns"),
        (
            "a.csv",
            'text\none\n"two\nthree\n',
            None,
            "line 3: the record that begins here is broken",
        ),
        ("a.csv", 'text\n"a "quote" b"\n', None, "line 2: the record that begins here is broken"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', None, "line 2: not JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', None, "line 2: a list; expected one object a line"),
        (
            "a.jsonl",
            '{"text": "a"}\n\n{"txt": "b"}\n',
            None,
            "line 3: this object has no key text; it has txt",
        ),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": 5}\n',
            None,
            "line 2: text is a number; expected a string",
        ),
        ("a.jsonl", '{"text": "a"}\n{"text": ["b"]}\n', None, "text is a list; expected a string"),
        ("a.jsonl", '{"text": "a"}\n{"text": true}\n', None, "text is true or false"),
        ("a.jsonl", r'{"text": "\ud83d"}', None, r"line 1: the text has half a character (\ud83d)"),
        ("a.jsonl", r'{"text": "a\u0000"}', None, "line 1: the text has a NUL character"),
        ("a.jsonl", "[" * 100_000, None, "line 1: not JSON"),
        (
            "a.txt",
            "one\n",
            None,
            "has no records by its name: expected a file that ends in .csv, .tsv",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, name, content, field, message):
    assert message in refuse(tmp_path, content, name, field)


def test_a_quote_that_is_never_closed_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORD_CHARACTERS_AT_MOST", 200_000)
    before = csv.field_size_limit(131_072)
    try:
        message = refuse(tmp_path, 'text\none\n"two\n' + "three\n" * 100_000)
    finally:
        csv.field_size_limit(before)
    assert "line 3: the record that begins here is broken (longer than 200,000" in message


def test_a_line_that_is_no_record_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORD_CHARACTERS_AT_MOST", 1000)
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 500)
    message = refuse(tmp_path, '{"text": "a"}\n{"text": "' + "b" * 5000 + '"}\n', "a.jsonl")
    assert "line 2: longer than 1,000 characters; expected one record" in message


def test_a_row_of_many_lines_is_not_read_to_its_end(tmp_path, monkeypatch):
    """No quote stays open for long, and no field is long."""
    monkeypatch.setattr(records, "RECORD_CHARACTERS_AT_MOST", 1000)
    message = refuse(tmp_path, 'text\none\n"two\n' + '","three\n' * 5000)
    assert "line 3: the record that begins here is broken (longer than 1,000 characters)" in message


def test_empty_records_are_not_gathered():
    texts = ("" if n % 2 else " " for n in range(300_000))
    tracemalloc.start()
    try:
        chunks = [*split_file._gather((text, n) for n, text in enumerate(texts))]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert chunks == []
    assert peak_bytes < 500_000


TEXTS = st.lists(st.text('ab ,;"\n\t钟\\', max_size=12), min_size=1, max_size=12)


@given(texts=TEXTS, block_bytes=st.integers(1, 30), kind=st.sampled_from(["csv", "tsv", "jsonl"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_and_any_part_of_it(tmp_path, texts, block_bytes, kind):
    if kind == "jsonl":
        content = "".join(json.dumps({"n": n, "text": text}) + "\n" for n, text in enumerate(texts))
    else:
        buffer = io.StringIO()
        rows = csv.writer(buffer, "excel" if kind == "csv" else "excel-tab")
        rows.writerows([("n", "text"), *enumerate(texts)])
        content = buffer.getvalue()
    kept = [text for text in texts if text.strip()]
    joined = "".join(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_BYTES", block_bytes)
        patch.setattr(split_file, "LONG_CHARACTERS", 10)
        file = open_records(tmp_path, content, f"a.{kind}")
        assert read(file) == kept
        middle = len(joined) // 2
        halves = [*file.chunks(0, middle), *file.chunks(middle)]
    assert "".join(chunk.text for chunk in halves) == joined
    assert sum(len(chunk.ends) for chunk in halves) == len(kept)


def test_the_hash_follows_the_field(tmp_path):
    content = '{"a": "x", "b": "y"}\n'
    hashes = {
        open_records(tmp_path, content, "a.jsonl", field).measure().sha256 for field in ("a", "b")
    }
    assert len(hashes) == 2
    assert re.fullmatch("[0-9a-f]{64}", hashes.pop())
