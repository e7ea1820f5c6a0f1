"""Bytes and values, changed at random. All take the generator that they draw from."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any

ODD_TEXTS = (
    *("", " ", "\0", "\n", "\r", "\t", "\\", '"', "'", "%s", "%n", "{}", "{0}", "$HOME", "`id`"),
    *("..", ".", "/", "~", "~root", "*", "**", "[", "]", "?", "-", "--help", "-0", "nul", "CON"),
    *("\ufeff", "\u200b", "\u202e", "\u2028", "\u0085", "\ud800", "\udfff", "\uffff", "\U0010ffff"),
    *("é", "e\u0301", "ß", "İ", "ﬁ", "中文", "😀", "👩‍👩‍👧", "ก็", "नि", "ـ", "：", "“x”", "１２"),
    *("<unk>", "<eos>", "<script>", "true", "null", "NaN", "Infinity", "0x10", "1e999", "1_000"),
    *("a" * 300, "é" * 100, "a/" * 200, "x\ny" * 50, "\u0301" * 200),
)
ODD_NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 255, 256, 257, 65_535, 65_536, 65_537, 2**31 - 1, 2**31, -(2**31) - 1),
    *(2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 10**30, 10**100),
    *(0.0, -0.0, 0.5, 1.0, 1.5, -0.5, 0.1, 1e-9, 1e-45, 5e-324, 1e30, 1.7e308, -1e308, 1e16 + 2),
    *(math.nan, math.inf, -math.inf),
)
ODD_VALUES = (*ODD_NUMBERS, *ODD_TEXTS[:30], None, True, False, [], {}, [[]], [None], {"": None})


def draw_text(draw: Random, longest: int = 60) -> str:
    """Text of characters of all kinds, some of them odd."""
    alphabets = (
        "abc \n",
        "The quick, brown fox. ",
        "0123456789.,-+eE",
        "äéñçß€½ ",
        "中文字符，。 ",
        "\u0301\u200d\ufe0f😀👩",
        "".join(map(chr, range(32))),
    )
    pieces = []
    for _ in range(draw.randint(0, 4)):
        if draw.random() < 0.3:
            pieces.append(draw.choice(ODD_TEXTS))
        else:
            size = draw.randint(0, longest)
            pieces.append("".join(draw.choices(draw.choice(alphabets), k=size)))
    if draw.random() < 0.1:
        pieces.append("".join(chr(draw.randrange(0x110000)) for _ in range(draw.randint(1, 8))))
    return "".join(pieces)


def mutate_bytes(draw: Random, content: bytes, other: bytes = b"") -> tuple[bytes, str]:
    """Other bytes, and what was done to them.

    Args:
        other: bytes to take some from.
    """
    size = len(content)
    at = draw.randint(0, max(size - 1, 0))
    to = min(size, at + draw.choice([1, 2, 4, 8, 64, 1000, size]))
    some = draw.randbytes(draw.choice([1, 2, 3, 8, 100, 5000]))

    def flip_bit() -> bytes:
        flipped = bytearray(content or b"\0")
        flipped[at] ^= 1 << draw.randrange(8)
        return bytes(flipped)

    def set_number() -> bytes:
        width = draw.choice(["<B", "<H", "<I", "<Q", ">I", ">Q"])
        most = 2 ** (8 * struct.calcsize(width)) - 1
        number = struct.pack(width, draw.choice([0, 1, most, most // 2, draw.randint(0, most)]))
        return content[:at] + number + content[at + len(number) :]

    def splice() -> bytes:
        source = other or content
        begin = draw.randint(0, max(len(source) - 1, 0))
        return content[:at] + source[begin : begin + draw.choice([1, 16, 500])] + content[to:]

    changes: dict[str, Callable[[], bytes]] = {
        "a bit flipped": flip_bit,
        "a number set": set_number,
        "cut off": lambda: content[:at],
        "begun later": lambda: content[at:],
        "emptied": lambda: b"",
        "some bytes inserted": lambda: content[:at] + some + content[at:],
        "some bytes at its end": lambda: content + some,
        "zeros at its end": lambda: content + bytes(draw.choice([1, 8, 4096, 100_000])),
        "bytes left out": lambda: content[:at] + content[to:],
        "bytes zeroed": lambda: content[:at] + bytes(to - at) + content[to:],
        "bytes written twice": lambda: content[:to] + content[at:],
        "bytes of another": splice,
        "other bytes": lambda: draw.randbytes(size),
        "written twice": lambda: content + content,
    }
    weights = [10, 5, 3, 1, 1, 2, 2, 1, 2, 1, 1, 3, 1, 1]
    (name,) = draw.choices([*changes], weights)
    return changes[name](), f"{name} (byte {at:,} of {size:,})"


def mutate_json(draw: Random, value: Any) -> tuple[Any, str]:
    """Another value like one from JSON, and what was done to it; `value` is not changed."""
    copy = json.loads(json.dumps(value))
    places = [*_list_places(copy)]
    if not places:
        return draw.choice(ODD_VALUES), "replaced by another value"
    parent, key, path = draw.choice(places)
    found = parent[key]
    choices = ["odd value", "left out", "wrapped", "value of another place"]
    if isinstance(found, (int, float)):
        choices += ["another number"] * 4
    if isinstance(found, str):
        choices += ["another text"] * 4
    if isinstance(parent, dict):
        choices += ["renamed", "one more"]
    change = draw.choice(choices)
    if change == "odd value":
        parent[key] = draw.choice(ODD_VALUES)
    elif change == "left out":
        del parent[key]
    elif change == "wrapped":
        parent[key] = draw.choice([[found], {"": found}, {str(key): found}, [found, found]])
    elif change == "value of another place":
        other, its_key, _ = draw.choice(places)
        parent[key] = json.loads(json.dumps(other[its_key]))
    elif change == "another number":
        parent[key] = _change_number(draw, found)
    elif change == "another text":
        parent[key] = change_text(draw, found)
    else:
        name = draw.choice([*ODD_TEXTS[:40], f"{key}2"])
        parent[name] = found
        if change == "renamed" and name != key:
            del parent[key]
    return copy, f"{path}: {change}"


def _change_number(draw: Random, number: int | float) -> Any:
    ways = [number + 1, number - 1, -number, number * 2, number / 3, bool(number), str(number)]
    ways += [draw.choice(ODD_NUMBERS), int(draw.random() * 10 ** draw.randint(0, 20))]
    if math.isfinite(number):
        ways += [float(number), int(number)]
    return draw.choice(ways)


def change_text(draw: Random, text: str) -> str:
    """A text with a small change."""
    at = draw.randint(0, len(text))
    return draw.choice(
        [
            text[:at] + draw.choice(ODD_TEXTS) + text[at:],
            text[:at] + text[at + 1 :],
            text[:at] + chr(draw.randrange(0x2100)) + text[at + 1 :],
            text.upper(),
            text + text,
            text * draw.choice([1, 10, 1000]),
            draw.choice(ODD_TEXTS),
            draw_text(draw),
        ]
    )


def write_json(draw: Random, value: Any) -> tuple[bytes, str]:
    """A value as JSON, now and then as few would write it."""
    way = draw.choices(
        ("plain", "not ASCII", "marked", "nested", "twice", "digits", "garbage", "utf-16"),
        (60, 10, 1, 2, 2, 1, 1, 1),
    )[0]
    text = json.dumps(value, indent=draw.choice([None, 2]))
    if way == "not ASCII":
        text = json.dumps(value, ensure_ascii=False)
    elif way == "marked":
        text = f"\ufeff{text}"
    elif way == "nested":
        depth = draw.choice([100, 2000, 100_000])
        opening, closing = draw.choice([("[", "]"), ('{"a":', "}")])
        text = text.replace("{", f'{{"x": {opening * depth}1{closing * depth}, ', 1)
    elif way == "twice":
        text = text.replace("{", text[:-1].rstrip() + ", ", 1) if text.startswith("{") else text
    elif way == "digits":
        text = text.replace(": 1", f": 1{'0' * draw.choice([400, 5000])}", 1)
    elif way == "garbage":
        text += draw.choice(["\n{}", ",", "\0", "//", "]"])
    content = text.encode("utf-16" if way == "utf-16" else "utf-8", "surrogatepass")
    return content, way


def _list_places(value: Any, path: str = "") -> Any:
    """Every place inside a value: what it is in, its key there, and its path."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, each in items:
        where = f"{path}.{str(key)[:30]}"
        yield value, key, where
        yield from _list_places(each, where)
