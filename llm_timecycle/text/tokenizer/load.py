"""Parsing `tokenizer.json`, whose content is validated before anything uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import Tokenizer as Pipeline

from llm_timecycle.config.text_settings import Documents, Normalization, TokenizerSettings
from llm_timecycle.errors import RunError
from llm_timecycle.parsing import call_library, is_unicode, parse_json
from llm_timecycle.text.tokenizer.pipelines import (
    BYTE_CHARACTERS,
    SPECIAL_TOKENS,
    Vocabulary,
    build_pipeline,
)

FILE_BYTES_AT_MOST = 256 << 20
_OLD_LINE_BREAK = "< eos >"  # what the earlier unicode split made of <eos> in a text
_FORMS: dict[str, Callable[[str], object]] = {
    "whitespace": re.compile(r"\S+").fullmatch,
    "unicode": re.compile(r"[^\n]+|\n").fullmatch,
}
MODEL_TYPES = {"char": "WordLevel", "word": "WordLevel", "byte": "BPE", "subword": "BPE"}


def parse_vocabulary(
    data: bytes,
    name: str,
    settings: TokenizerSettings,
    *,
    documents: Documents = "file",
    normalize: Normalization = "none",
) -> Vocabulary:
    """The vocabulary of a `tokenizer.json`.

    Args:
        data: the file.
        name: what it is called.

    Raises RunError if it is too large, not JSON, or does not fit the settings: another type of
    model, ids that are not 0 to V - 1, misplaced special tokens, tokens that the level cannot have,
    or text split in another way.
    """
    try:
        content = _parse(data)
        vocabulary = _extract_vocabulary(content, settings)
        expected = build_pipeline(
            settings, Vocabulary(SPECIAL_TOKENS), documents=documents, normalize=normalize
        )
        _check_pipeline(content, expected)
    except _OutdatedError:
        raise RunError(
            f"{name} was made by an earlier version of this program, which divided words "
            f"differently. This version cannot use it, nor the model trained with it; train the "
            f"model again"
        ) from None
    except _UnfitError as error:
        raise RunError(
            f"{name} cannot be used: {error}. It is damaged, or was made by another program or for "
            f"other settings; expected the tokenizer.json that `llm-timecycle train` writes for "
            f"level: {settings.level}. Restore the original, or train again"
        ) from None
    return vocabulary


class _OutdatedError(Exception):
    """The file is of the unicode split of an earlier version."""


class _UnfitError(Exception):
    """Why a file is not a tokenizer that this program wrote for these settings."""


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > FILE_BYTES_AT_MOST:
        raise _UnfitError(f"it has {len(data):,} bytes; the limit is {FILE_BYTES_AT_MOST:,}")
    try:
        content = parse_json(data)
    except ValueError:
        raise _UnfitError("it is not valid JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise _UnfitError("it holds no tokenizer")
    return content


def _extract_vocabulary(content: dict[str, Any], settings: TokenizerSettings) -> Vocabulary:
    model = content["model"]
    if model.get("type") != MODEL_TYPES[settings.level]:
        raise _UnfitError(
            f"expected a model of type {MODEL_TYPES[settings.level]}, found {model.get('type')!r}"
        )
    ids = model.get("vocab")
    if not isinstance(ids, dict) or not all(type(id) is int for id in ids.values()):
        raise _UnfitError("its vocabulary is not a table from token to id")
    if sorted(ids.values()) != list(range(len(ids))):
        raise _UnfitError(f"the ids of its {len(ids):,} tokens are not 0 to {len(ids) - 1:,}")
    if not is_unicode("".join(ids)):
        raise _UnfitError("one of its tokens has half a character (U+D800 to U+DFFF)")
    if len(ids) > settings.vocab_size:
        raise _UnfitError(f"it has {len(ids):,} tokens, and vocab_size is {settings.vocab_size:,}")
    tokens = tuple(sorted(ids, key=ids.__getitem__))
    if tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
        raise _UnfitError("its first tokens are not <unk> and <eos>")
    _check_tokens(tokens[len(SPECIAL_TOKENS) :], settings)
    merges = _extract_merges(model.get("merges"), ids) if settings.level == "subword" else ()
    return Vocabulary(tokens, merges)


def _check_tokens(ordinary: tuple[str, ...], settings: TokenizerSettings) -> None:
    if settings.level == "char" and any(len(token) != 1 for token in ordinary):
        raise _UnfitError("one of its tokens is not a single character")
    if settings.level == "word" and not all(map(_FORMS[settings.word_split], ordinary)):
        raise _UnfitError("one of its tokens is not a single word")
    if settings.level == "byte" and ordinary != tuple(BYTE_CHARACTERS):
        raise _UnfitError("its tokens are not the 256 bytes")
    if settings.level == "subword" and (
        not set(BYTE_CHARACTERS).issubset(ordinary)
        or not set(BYTE_CHARACTERS).issuperset("".join(ordinary))
        or "" in ordinary
    ):
        raise _UnfitError("its tokens are not made of the 256 bytes")


def _extract_merges(merges: Any, ids: dict[str, int]) -> tuple[tuple[str, str], ...]:
    try:
        pairs = tuple((left, right) for left, right in merges)
        if all(left in ids and right in ids and left + right in ids for left, right in pairs):
            if len(set(pairs)) < len(pairs):
                raise _UnfitError("it has a merge twice, and their order counts")
            return pairs
    except (TypeError, ValueError):
        pass
    raise _UnfitError("its merges do not fit its vocabulary")


def _check_pipeline(content: dict[str, Any], expected: Pipeline) -> None:
    """Check that the file splits text as this version of the program does."""
    if _OLD_LINE_BREAK in json.dumps(content.get("normalizer")):
        raise _OutdatedError
    ours = json.loads(expected.to_str())
    written = json.dumps({**content, "model": ours["model"]})
    # Parts of types that we never write are not handed to the library: some would stop it.
    if set(_list_types(content)) <= set(_list_types(ours)):
        try:
            found = call_library(lambda: Pipeline.from_str(written))
        except ValueError as error:
            raise _UnfitError(f"the tokenizers library rejects it ({error})") from None
        # Both as this version of the library writes them, whichever version wrote the file.
        if json.loads(found.to_str()) == ours:
            return
    raise _UnfitError("it splits text differently from the settings")


def _list_types(value: Any) -> Iterator[str]:
    """The types of all parts of a pipeline, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value["type"]
        for key, each in value.items():
            if key != "model":
                yield from _list_types(each)
    elif isinstance(value, list):
        for each in value:
            yield from _list_types(each)
