"""What stands beside every export: the tokenizer, the settings of generation, an example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llm_timecycle.exporting.source import Source
from llm_timecycle.files import read_regular

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_BYTES_AT_MOST = 1 << 16

_WORD_SPACES = """\
import re  # two words that meet have a space between them, and all else is a token

is_word = re.compile(r"(?![\\u3040-\\u9fff])\\w").match
pieces = [tokenizer.id_to_token(id) for id in ids + written if id != 1]
pairs = zip(["", *pieces], pieces)
print("".join(" " * bool(is_word(a) and is_word(b)) + b for a, b in pairs))"""


def write_companions(source: Source, directory: Path, example: str | None) -> None:
    """Write them; `example` is the file of `examples/` that says how the format is used."""
    (directory / "tokenizer.json").write_bytes(source.tokenizer_json)
    config = json.dumps(describe_generation(source), ensure_ascii=False, indent=2)
    (directory / "generation_config.json").write_text(config + "\n", encoding="utf-8")
    if example is not None:
        (directory / "example.py").write_text(_write_example(source, example), encoding="utf-8")


def describe_generation(source: Source) -> dict[str, Any]:
    """The run's settings of generation, and the tokens with a meaning for whoever generates.

    `bos_token_id` begins a text, `eos_token_id` ends one; null where <eos> is also a line break.
    """
    tokenizer = source.tokenizer
    return {
        **source.settings.generation.model_dump(),
        "vocab_size": source.vocab_size,
        "bos_token_id": tokenizer.eos_id,
        "eos_token_id": tokenizer.eos_id if tokenizer.does_eos_end_documents else None,
        "unk_token_id": tokenizer.unk_id,
    }


def _write_example(source: Source, name: str) -> str:
    packages, imports, load = _read(name).split("\n---\n")
    encoded = "tokenizer.encode(prompt).ids"
    is_file = source.tokenizer.documents == "file"
    fields = {
        "packages": packages,
        "imports": imports,
        "load": load.rstrip(),
        "prompt": "Once upon a time",
        # <eos> begins a text; where it ends documents, a prompt begins one
        "ids": f"{encoded} or [1]" if is_file else f"[1, *{encoded}]",
        "show": _choose_show(source),
    }
    text = _read("example.txt")
    for field, value in fields.items():
        text = text.replace(f"{{{field}}}", value)
    return text


def _read(name: str) -> str:
    return read_regular(EXAMPLES / name, EXAMPLE_BYTES_AT_MOST).decode()


def _choose_show(source: Source) -> str:
    """The lines of the example that print ids as text, as `text.tokenizer.decode` does."""
    settings = source.tokenizer.settings
    if settings.level == "word" and settings.word_split == "unicode":
        return _WORD_SPACES
    if settings.level == "word" and not source.tokenizer.does_eos_end_documents:
        return (
            'lines = tokenizer.decode(ids + written).split("<eos>")  # <eos> is a line break\n'
            'print("\\n".join(line.strip() for line in lines).strip())'
        )
    return "print(tokenizer.decode([id for id in ids + written if id != 1]))"
