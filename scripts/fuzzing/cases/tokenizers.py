"""tokenizer.json and spelling.json, changed, and read under their settings or under others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import ODD_TEXTS, draw_text, mutate_bytes, mutate_json, write_json
from fuzzing.small_runs import CHINESE, ENGLISH, TOKENIZERS

from llm_timecycle.config.text_settings import TokenizerSettings
from llm_timecycle.text.tokenizer.spelling import parse_spelling
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

PARTS = (
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Precompiled", "precompiled_charsmap": ""},
    {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
    {"type": "Replace", "pattern": {"String": ""}, "content": "x"},
    {"type": "Replace", "pattern": {"Regex": "(.*)*"}, "content": "x" * 1000},
    {"type": "Sequence", "normalizers": []},
    {"type": "Prepend", "prepend": "x" * 10_000},
    {"type": "BertNormalizer"},
    {"type": "Metaspace", "replacement": "ab", "prepend_scheme": "always"},
    {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
    {"type": "NFC"},
    {"type": "Lowercase"},
    *(None, [], 3, {"type": "Nothing"}, {}),
)
ADDED = (
    {"id": 5, "content": "the", "single_word": False, "lstrip": False, "rstrip": False}
    | {"normalized": False, "special": True},
    {"id": 10**12, "content": ""},
    3,
)


@dataclass(frozen=True)
class _Base:
    """A tokenizer that this program wrote."""

    name: str
    settings: TokenizerSettings
    how: dict[str, Any]
    content: bytes
    spelling: bytes | None


def prepare(world: Path) -> MakeAttempt:
    """A tokenizer for every level, and for some of their options."""
    bases = []
    for name, settings in TOKENIZERS.items():
        for how in ({}, {"documents": "line"}, {"normalize": "NFKC"}):
            lower = settings.model_copy(update={"lowercase": bool(how)})
            text = CHINESE if name == "unicode" and how else ENGLISH
            made = Tokenizer.train(lower, [text], **how)
            spelling = made.spelling.to_json().encode() if made.spelling else None
            bases.append(_Base(name, lower, how, made.to_json().encode(), spelling))

    def make(draw: Random, place: Path) -> Attempt:
        base = draw.choice(bases)
        if base.spelling is not None and draw.random() < 0.2:
            return _make_spelling(draw, base.spelling)
        content, what = _change(draw, base.content)
        settings, how = base.settings, base.how
        if draw.random() < 0.1:
            other = draw.choice(bases)
            settings, how = other.settings, other.how
            what += f"; read as {other.name} {how}"
        text = "The fox, 石 sat." + draw_text(draw).encode("utf-8", "replace").decode()

        def call() -> Tokenizer:
            return Tokenizer.parse(content, "tokenizer.json", settings, **how)

        def check(tokenizer: Tokenizer) -> None:
            _check(tokenizer, content, text, settings, how)

        return Attempt(f"{base.name} {base.how}: {what}", call, check)

    return make


def _change(draw: Random, content: bytes) -> tuple[bytes, str]:
    if draw.random() < 0.15:
        return mutate_bytes(draw, content)
    value = json.loads(content)
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        name = draw.choice([*CHANGES, "json", "json"])
        if name == "json" or not isinstance(value, dict):
            value, name = mutate_json(draw, value)
        else:
            CHANGES[name](draw, value)
        done.append(name)
    written, way = write_json(draw, value)
    return written, f"{', '.join(done)} (JSON {way})"


def _change_part(draw: Random, value: dict[str, Any]) -> None:
    part = draw.choice(["normalizer", "pre_tokenizer", "decoder", "post_processor", "truncation"])
    value[draw.choice([part, part, "padding", "model"])] = draw.choice(PARTS)


def _change_vocabulary(draw: Random, value: dict[str, Any]) -> None:
    model = value.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict) or len(vocabulary) < 3:
        return
    token, other = draw.sample(sorted(vocabulary), 2)
    change = draw.choice(["renamed", "renamed", "swapped", "added", "left out", "moved", "many"])
    if change == "renamed":
        vocabulary[draw.choice([*ODD_TEXTS, token + other])] = vocabulary.pop(token)
    elif change == "swapped":
        vocabulary[token], vocabulary[other] = vocabulary[other], vocabulary[token]
    elif change == "added":
        vocabulary[draw.choice(ODD_TEXTS)] = draw.choice([len(vocabulary), -1, 2**32, 0])
    elif change == "left out":
        del vocabulary[token]
    elif change == "moved":
        vocabulary[token] = draw.choice([len(vocabulary), -1, 2**64, 1.0, True, None, "1"])
    else:
        for number in range(draw.choice([300, 20_000])):
            vocabulary.setdefault(f"x{number}", len(vocabulary))


def _change_merges(draw: Random, value: dict[str, Any]) -> None:
    model = value.get("model")
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(merges, list) or not merges:
        return
    at = draw.randrange(len(merges))
    change = draw.choice(["swapped", "left out", "twice", "odd", "turned"])
    if change == "swapped":
        merges[0], merges[at] = merges[at], merges[0]
    elif change == "left out":
        del merges[at]
    elif change == "twice":
        merges.insert(0, merges[at])
    elif change == "odd":
        merges[at] = draw.choice(["ab", "a b", ["a"], ["a", "b", "c"], [1, 2], ["", ""], {}, None])
    else:
        merges[at] = merges[at][::-1]


def _add_tokens(draw: Random, value: dict[str, Any]) -> None:
    value["added_tokens"] = [draw.choice(ADDED) for _ in range(draw.choice([0, 1, 3]))]


CHANGES: dict[str, Callable[[Random, dict[str, Any]], None]] = {
    "a part": _change_part,
    "vocabulary": _change_vocabulary,
    "vocabulary again": _change_vocabulary,
    "merges": _change_merges,
    "added tokens": _add_tokens,
}


def _check(
    tokenizer: Tokenizer,
    content: bytes,
    text: str,
    settings: TokenizerSettings,
    how: dict[str, Any],
) -> None:
    """An accepted file is used as it says: its tokens, its merges, and nothing added."""
    value = json.loads(content)
    model = value["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    again = json.loads(tokenizer.to_json())
    if again["model"]["vocab"] != model["vocab"]:
        raise Wrong("another vocabulary was read")
    if settings.level == "subword" and list(map(list, model["merges"])) != again["model"]["merges"]:
        raise Wrong("other merges were read")
    ids = tokenizer.encode(text)
    if len(ids) and not 0 <= ids.min() <= ids.max() < len(tokens):
        raise Wrong("an id is not in the vocabulary")
    back = tokenizer.decode(ids.tolist())
    if settings.level == "byte" and back != tokenizer.decode(tokenizer.encode(back).tolist()):
        raise Wrong("the text does not come back")
    for id in (0, 1, len(tokens) - 1):
        tokenizer.token(id)
    if value.get("added_tokens") or value.get("truncation") or value.get("padding"):
        raise Wrong("parts that are not used are accepted")
    same = Tokenizer.parse(tokenizer.to_json().encode(), "again", settings, **how)
    if same.encode(text).tolist() != ids.tolist():
        raise Wrong("what is written of it is another tokenizer")


def _make_spelling(draw: Random, content: bytes) -> Attempt:
    """spelling.json, changed."""
    if draw.random() < 0.4:
        changed, what = mutate_bytes(draw, content)
    else:
        value, what = mutate_json(draw, json.loads(content))
        changed, way = write_json(draw, value)
        what += f" ({way})"

    def check(model: Any) -> None:
        bits = [model.compute_bits(word) for word in ("fox", "", "石头", "\U0010ffff" * 9)]
        if not all(0 < each < 10_000 for each in bits):
            raise Wrong(f"words cost {bits} bits")

    return Attempt(f"spelling: {what}", lambda: parse_spelling(changed, "spelling.json"), check)
