"""Records: the rows of CSV and TSV files and the objects of JSONL files, one text of each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from llm_timecycle.errors import DataError
from llm_timecycle.parsing import parse_json
from llm_timecycle.text.files.compression import find_kind
from llm_timecycle.text.files.find import RECORD_KINDS
from llm_timecycle.text.text_file import MARK, TextFile, unify_line_breaks

RECORD_CHARACTERS_AT_MOST = 1 << 24
"""A longer record is a quote that is never closed, or no record at all."""
DELIMITERS = ",;\t|"
DEFAULT_FIELD = "text"
NAME_LENGTH = 60
NAMES_AT_MOST = 20


class Layout(NamedTuple):
    """How the rows of a CSV file are laid out.

    Attributes:
        delimiter: what separates columns.
        names: the names of the columns, from the first row.
        column: the place of the one that holds the text.
    """

    delimiter: str
    names: list[str]
    column: int


class _Lines:
    """Lines of a text, each with its line break; counts the characters given out."""

    def __init__(self, name: str, pieces: Iterable[str], position: int) -> None:
        self.name, self.position, self.number = name, position, 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[str]:
        rest = ""
        for piece in self._pieces:
            lines = (rest + piece).split("\n")
            rest = lines.pop()
            for line in lines:
                yield self._count(f"{line}\n")
            if len(rest) > RECORD_CHARACTERS_AT_MOST:
                raise DataError(
                    f"{self.name}, line {self.number + 1}: longer than "
                    f"{RECORD_CHARACTERS_AT_MOST:,} characters; expected one record"
                )
        if rest:
            yield self._count(rest)

    def _count(self, line: str) -> str:
        self.position += len(line)
        self.number += 1
        return line


class RecordReader:
    """Reads one text of each record of a file.

    Args:
        file: a file named `.csv`, `.tsv` or `.jsonl`, plain or compressed.
        field: the column or the key; None takes the only one, or the one named `text`.

    Raises DataError if the file is named otherwise.
    """

    def __init__(self, file: TextFile, field: str | None) -> None:
        self.file = file
        self.kind = find_kind(file.path)
        self._given_field = field
        if self.kind not in RECORD_KINDS:
            raise DataError(
                f"{file.path} has no records by its name: expected a file that ends in "
                f"{', '.join(RECORD_KINDS)}. Set data.documents to file, line or paragraph"
            )

    @cached_property
    def field(self) -> str:
        """The name of the column or the key that is read."""
        if self.kind == ".jsonl":
            return self._find_key()
        return self._layout.names[self._layout.column]

    def read(self, pieces: Iterable[str], position: int) -> Iterator[tuple[str, int]]:
        """The text of each record, and the character of the file after it.

        Args:
            pieces: the text of the file from the start of a record (0: from its first line).
            position: the character at which it starts.

        Raises DataError, with the line, if a record is broken or lacks the field.
        """
        lines = _Lines(str(self.file.path), pieces, position)
        if self.kind == ".jsonl":
            return self._read_objects(lines)
        return self._read_rows(lines, has_header=position == 0)

    def _read_rows(self, lines: _Lines, has_header: bool) -> Iterator[tuple[str, int]]:
        delimiter, names, column = self._layout
        rows = self._parse_rows(lines, delimiter)
        if has_header:
            next(rows)
        for first_line, row in rows:
            if len(row) != len(names):
                raise DataError(
                    f"{lines.name}, line {first_line}: this row has {len(row)} columns, and the "
                    f"header has {len(names)}. Put a text that holds a {_spell(delimiter)} in "
                    f"double quotes"
                )
            yield row[column], lines.position

    def _parse_rows(self, lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank, each with the number of its first line."""
        # The limit is the whole process's; it is only ever raised.
        csv.field_size_limit(max(csv.field_size_limit(), RECORD_CHARACTERS_AT_MOST))
        first_line, start = 1, lines.position

        def read_lines() -> Iterator[str]:
            for line in lines:
                if lines.position - start > RECORD_CHARACTERS_AT_MOST:
                    raise csv.Error(f"longer than {RECORD_CHARACTERS_AT_MOST:,} characters")
                yield line

        rows = csv.reader(read_lines(), delimiter=delimiter, strict=True)
        while True:
            start = lines.position
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise DataError(
                    f"{lines.name}, line {first_line}: the record that begins here is broken "
                    f"({error}). A text with double quotes in it is written in double quotes, "
                    f"each quote inside twice, and its end is a quote"
                ) from error
            if row is None:
                return
            if row:
                yield first_line, row
            first_line = rows.line_num + 1

    @cached_property
    def _layout(self) -> Layout:
        delimiter = "\t" if self.kind == ".tsv" else self._find_delimiter()
        lines = _Lines(str(self.file.path), self.file.read(), 0)
        _, names = next(self._parse_rows(lines, delimiter), (1, []))
        field = self._choose_field([name.strip() for name in names], "column")
        return Layout(delimiter, names, [name.strip() for name in names].index(field))

    def _find_delimiter(self) -> str:
        """What separates the columns of the first row: mostly a comma, sometimes a semicolon."""
        lines = iter(_Lines(str(self.file.path), self.file.read(), 0))
        header = next((line for line in lines if line.strip()), "")
        outside_quotes = "".join(header.split('"')[::2])
        return max(DELIMITERS, key=outside_quotes.count)

    def _read_objects(self, lines: _Lines) -> Iterator[tuple[str, int]]:
        field = self.field
        for line in lines:
            if not line.isspace():
                value = self._parse_object(line, lines.number)
                text = self._get_text(value, field, lines.number)
                yield text, lines.position

    def _parse_object(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = parse_json(line)
        except ValueError as error:
            raise DataError(
                f"{self.file.path}, line {number}: not JSON ({error}); expected one object a line, "
                f'such as {{"text": "..."}}'
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"{self.file.path}, line {number}: {_name_type(value)}; expected one object a "
                f'line, such as {{"text": "..."}}'
            )
        return value

    def _get_text(self, value: dict[str, Any], field: str, number: int) -> str:
        text = value.get(field, ...)
        if isinstance(text, str):
            return _clean(text, f"{self.file.path}, line {number}")
        if text is None:
            return ""
        if text is ...:
            raise DataError(
                f"{self.file.path}, line {number}: this object has no key {field}; it has "
                f"{_list_names(list(value))}"
            )
        raise DataError(
            f"{self.file.path}, line {number}: {field} is {_name_type(text)}; expected a string"
        )

    def _find_key(self) -> str:
        lines = _Lines(str(self.file.path), self.file.read(), 0)
        first = next((line for line in lines if not line.isspace()), None)
        if first is None:
            raise DataError(f"{self.file.path} has no records")
        value = self._parse_object(first, lines.number)
        if self._given_field is not None:
            return self._choose_field(list(value), "key")
        texts = [key for key, text in value.items() if text is None or isinstance(text, str)]
        return self._choose_field(texts, "key")

    def _choose_field(self, names: list[str], kind: str) -> str:
        if not names:
            raise DataError(f"{self.file.path} has no {kind} with text")
        wanted = self._given_field or (names[0] if len(names) == 1 else DEFAULT_FIELD)
        if wanted not in names:
            which = f"no {kind} {wanted}" if self._given_field else f"several {kind}s"
            raise DataError(
                f"{self.file.path} has {which}: set data.field to one of {_list_names(names)}"
            )
        return wanted


def _clean(text: str, place: str) -> str:
    """A string of JSON by the rules for files: line feeds, no marks, no NULs."""
    text = unify_line_breaks(text.replace(MARK, ""))
    if "\0" in text:
        raise DataError(f"{place}: the text has a NUL character; leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: the text has half a character (\\u{ord(text[error.start]):04x}); write the "
            f"whole character"
        ) from None
    return text


def _list_names(names: list[str]) -> str:
    shown = ", ".join(name[:NAME_LENGTH] for name in names[:NAMES_AT_MOST])
    return f"{shown}, ..." if len(names) > NAMES_AT_MOST else shown


def _name_type(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    names = {list: "a list", dict: "an object", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _spell(delimiter: str) -> str:
    return {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}[delimiter]
