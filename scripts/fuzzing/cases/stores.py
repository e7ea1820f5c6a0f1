"""The cache: token stores, tokenizers and spelling models, changed between two uses.

Whatever happens to the cache, the text must come out of it as it was, or be encoded again.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzzing.cases.tensors import mutate_tensors
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import mutate_bytes, mutate_json, write_json
from fuzzing.places import replace_path
from fuzzing.sealing import describe, read_object, write_sealed
from fuzzing.small_runs import CHINESE, ENGLISH, make_settings

from llm_timecycle.config.settings import Settings
from llm_timecycle.text.prepare import PreparedText, prepare_text

HASH_IN_NAME = re.compile(r"-[0-9a-f]{32}(?=\.)")


def prepare(world: Path) -> MakeAttempt:
    """Two texts of several kinds, encoded, each with its cache."""
    bases = []
    for level, documents in (("char", "file"), ("word", "line"), ("subword", "line")):
        for number, text in enumerate((ENGLISH, ENGLISH.replace("fox", "cat") + CHINESE)):
            home = world / f"{level}-{number}"
            home.mkdir()
            (home / "text.txt").write_text(text, encoding="utf-8")
            settings = make_settings(Path("text.txt"), level, documents)
            prepared = prepare_text(settings, home, home / "cache", show_progress=False)
            bases.append((home, settings, _read(prepared)))

    def make(draw: Random, place: Path) -> Attempt:
        home, settings, expected = draw.choice(bases)
        other = draw.choice(bases)[0]
        shutil.copytree(home, place / "home")
        shutil.copytree(other, place / "other")
        cache = place / "home" / "cache"
        done = []
        is_sealed = False
        for _ in range(draw.choice([1, 1, 2, 3])):
            what, sealed = _change(draw, cache, place / "other" / "cache")
            is_sealed |= sealed
            done.append(what)

        def call() -> list[PreparedText]:
            return [prepare_text(settings, place / "home", cache, False) for _ in range(2)]

        return Attempt(
            f"{home.name}: {'; '.join(done)}",
            call,
            lambda found: _check(found, expected, settings, is_sealed),
            kept=("home/text.txt",),
        )

    return make


def _change(draw: Random, cache: Path, other: Path) -> tuple[str, bool]:
    """Change something in a cache; what was done, and whether hashes were made to fit."""
    paths = sorted(path for path in cache.rglob("*") if cache in path.parents)
    if not paths:
        return "nothing is left", False
    files = [path for path in paths if describe(path) is not None]
    path = draw.choice(files if files and draw.random() < 0.8 else paths)
    name = path.relative_to(cache)
    theirs = sorted(each for each in other.rglob("*") if each.suffix == path.suffix) or [other]
    if describe(path) is None or draw.random() < 0.2:
        return f"{name}: {replace_path(draw, path, draw.choice(theirs))}", False
    content = path.read_bytes()
    if path.suffix == ".json" and (values := read_object(path)) and draw.random() < 0.7:
        changed, what = mutate_json(draw, values)
        written, _ = write_json(draw, changed)
        path.write_bytes(written)
    elif path.suffix == ".safetensors" and draw.random() < 0.6:
        try:
            written, what = mutate_tensors(draw, content)
        except ValueError:  # it was changed before
            written, what = mutate_bytes(draw, content)
        path.write_bytes(written)
    else:
        source = draw.choice(theirs)
        theirs_content = source.read_bytes() if describe(source) is not None else b""
        written, what = mutate_bytes(draw, content, theirs_content)
        path.write_bytes(written)
    is_sealed = draw.random() < 0.5
    if is_sealed:
        _seal(path)
    return f"{name}: {what}{', its hash fits' * is_sealed}", is_sealed


def _seal(path: Path) -> None:
    """Make the hashes fit that cover a file: in its manifest, or in its name."""
    entry = describe(path)
    if entry is None:
        return
    if HASH_IN_NAME.search(path.name):
        path.rename(path.with_name(HASH_IN_NAME.sub(f"-{entry['sha256'][:32]}", path.name)))
        return
    manifest_path = path.with_name("manifest.json")
    manifest = read_object(manifest_path)
    if manifest is not None:
        key = f"{path.stem}_sha256"
        if key in manifest:
            manifest[key] = entry["sha256"]
        write_sealed(manifest_path, manifest)


def _read(prepared: PreparedText) -> dict[str, Any]:
    """All that is known of a text once it is prepared."""
    found: dict[str, Any] = {"tokenizer": prepared.tokenizer.to_json()}
    if prepared.tokenizer.spelling is not None:
        found["spelling"] = prepared.tokenizer.spelling.to_json()
    for name in ("train", "valid", "test"):
        stream = getattr(prepared, name)
        values = {field: getattr(stream, field) for field in ("tokens", "words", "bytes")}
        values["ids"] = np.asarray(stream.ids).tolist()
        values["starts"] = np.asarray(stream.document_starts).tolist()
        values["shingles"] = stream.shingles.to_bytes()
        found[name] = values | {"sha256": stream.corpus_sha256}
    return found


def _check(
    found: list[PreparedText], expected: dict[str, Any], settings: Settings, is_sealed: bool
) -> None:
    """As it was; where hashes were made to fit, at least numbers that can be used."""
    for prepared in found:
        if not is_sealed:
            now = _read(prepared)
            if different := [name for name in expected if now[name] != expected[name]]:
                raise Wrong(f"changed in the cache and accepted: {', '.join(different)}")
            continue
        for stream in (prepared.train, prepared.valid, prepared.test):
            assert stream is not None
            ids, starts = np.asarray(stream.ids), np.asarray(stream.document_starts)
            if len(ids) != stream.tokens or ids.max() >= prepared.tokenizer.vocab_size:
                raise Wrong("an id is not in the vocabulary, or the counts are wrong")
            if len(starts) and (starts.min() < 0 or starts.max() > len(ids)):
                raise Wrong("a document begins outside of the text")
            if len(starts) > 1 and np.any(np.diff(starts) <= 0):
                raise Wrong("documents do not follow one another")
