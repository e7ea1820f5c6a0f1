"""From settings to token streams: open and split the texts, train the tokenizer, encode.

Results are cached: a trained tokenizer under the hash of its training text, its settings and the
library's version; an encoded text under its own hash and the tokenizer's.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import platformdirs
import tokenizers

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.text_settings import DataSettings, TokenizerSettings
from llm_timecycle.errors import RunError
from llm_timecycle.files import explain_os_error
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.cached_files import (
    CachedFile,
    drop_damaged,
    keep_newest,
    read_cached,
    write_cached,
)
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.encoding import encode_documents
from llm_timecycle.text.parallel.pool import WorkerPool, count_workers
from llm_timecycle.text.shards.sampling import SAMPLE_CHARACTERS, Sample, draw_sample
from llm_timecycle.text.shards.store_writer import SHARD_CHARACTERS, build_in_shards, build_store
from llm_timecycle.text.short_text import check_lengths
from llm_timecycle.text.split import split_corpus
from llm_timecycle.text.survey import UNSPACED_SCRIPTS, find_script
from llm_timecycle.text.token_store import (
    FORMAT_VERSION,
    Origin,
    TokenStream,
    open_store,
)
from llm_timecycle.text.tokenizer.encode import SUBWORD_VERSION
from llm_timecycle.text.tokenizer.load import FILE_BYTES_AT_MOST
from llm_timecycle.text.tokenizer.spelling import parse_spelling
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.text.tokenizer.vocabulary import LEARNING_VERSION, make_piece_counter

TOKENIZERS, SPELLING = "tokenizers", "spelling"
"""Directories of the cache."""
STORES_KEPT = 20
TOKENIZERS_KEPT = 20
COMMON_TOKENS = 1000
BPE_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class PreparedText:
    """The tokenizer and the token streams of a training run."""

    tokenizer: Tokenizer
    """Trained on the training text only."""
    train: TokenStream
    """The training text."""
    valid: TokenStream | None
    """The text that selects the best weights, if there is one."""
    test: TokenStream | None
    """The text for the final score, if there is one."""
    corpora: Mapping[str, Corpus]
    """The texts themselves, by "train", "valid" and "test"."""
    sample: Sample | None = None
    """The part of the training text that the vocabulary was learned from, if not from all of it."""


def prepare_text(
    settings: Settings,
    base: Path,
    cache: Path,
    show_progress: bool,
    *,
    tokenizer: Tokenizer | None = None,
    added_tokens: int | None = 0,
    is_trained: bool = False,
) -> PreparedText:
    """Open, split and encode the texts of `settings.data`.

    Args:
        base: the directory that relative paths start from.
        cache: the cache directory.
        show_progress: whether to show progress bars on stderr.
        tokenizer: the one to use; None trains one on the training text.
        added_tokens: at most how many tokens of the training text are added to `tokenizer`, of
            those that one trained on it would have; None sets no limit.
        is_trained: whether a model will be trained on the text, which takes enough for one step.

    Raises DataError if a text is missing or cannot be read, ShortTextError if it is too short,
    RunError if the cache cannot be written.
    """
    parts = _open_parts(settings, base, cache, show_progress)
    sample = None
    if tokenizer is None or added_tokens != 0:
        sample = _draw_sample(settings.tokenizer, parts["train"])
        new = _obtain_tokenizer(settings, sample or parts["train"], cache, show_progress)
        tokenizer = new if tokenizer is None else tokenizer.extend(new, added_tokens)
    streams = {
        part: encode_corpus(tokenizer, corpus, cache, show_progress)
        for part, corpus in parts.items()
    }
    check_lengths(
        settings,
        {part: corpus.name for part, corpus in parts.items()},
        {part: stream.tokens for part, stream in streams.items()},
        is_trained=is_trained,
    )
    return PreparedText(
        tokenizer, streams["train"], streams.get("valid"), streams.get("test"), parts, sample
    )


def find_cache_directory() -> Path:
    """Where extracted corpora, tokenizers and token stores are kept; all can be made again.

    LLM_TIMECYCLE_CACHE names it; otherwise it is the user's cache directory.

    Raises:
        RunError: the user has none.
    """
    if named := os.environ.get("LLM_TIMECYCLE_CACHE"):
        return Path(named)
    try:
        cache = platformdirs.user_cache_path("llm-timecycle", appauthor=False)
    except RuntimeError:
        cache = Path()
    if not cache.is_absolute():  # earlier versions of platformdirs leave the ~ where it is
        raise RunError(
            "there is no home directory to keep a cache in: set the environment variable "
            "LLM_TIMECYCLE_CACHE to a directory"
        )
    return cache


def find_unsuitable_level(tokenizer: Tokenizer) -> str | None:
    """A warning if the words of a vocabulary are not words, as in Thai; None if they are."""
    if tokenizer.settings.level != "word":
        return None
    common = range(min(tokenizer.vocab_size, COMMON_TOKENS))
    script = find_script(Counter("".join(map(tokenizer.token, common))))
    if script not in UNSPACED_SCRIPTS:
        return None
    split = tokenizer.settings.word_split
    found = "a phrase" if split == "whitespace" else "one character with its signs"
    return (
        f"{script} has no spaces between words: with word_split: {split}, a token is {found}, not "
        f"a word. tokenizer.level: subword learns better from such a text, or char if it is short"
    )


def encode_corpus(
    tokenizer: Tokenizer, corpus: Corpus, cache: Path, show_progress: bool
) -> TokenStream:
    """A corpus as a token stream, from its store, which is written first if there is none.

    Args:
        cache: the cache directory.
        show_progress: whether to show progress bars on stderr.

    Raises DataError if the text cannot be read, RunError if the store cannot be written.
    """
    tokenizer_sha256 = hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
    origin = Origin(corpus.sha256(), tokenizer_sha256, tokenizer.vocab_size)
    versions = [FORMAT_VERSION]
    if tokenizer.settings.level == "subword":
        versions.append(SUBWORD_VERSION)
    key = _compute_key(origin.corpus_sha256, origin.tokenizer_sha256, *versions)
    path = cache / "tokens" / key
    if (stream := open_store(path, origin)) is not None:
        return stream
    encode = partial(encode_documents, tokenizer, corpus, show_progress)
    try:
        if corpus.count_characters() > SHARD_CHARACTERS:
            build_in_shards(path, encode, origin, SHARD_CHARACTERS)
        else:
            with closing(encode()) as pieces:
                build_store(path, pieces, origin)
        keep_newest(path.parent, STORES_KEPT)
    except OSError as error:
        raise RunError(_explain_cache(cache, error)) from error
    if (stream := open_store(path, origin)) is None:
        raise RunError(
            f"{path} was deleted or damaged while it was being written; run the command again"
        )
    return stream


def _open_parts(
    settings: Settings, base: Path, cache: Path, show_progress: bool
) -> dict[str, Corpus]:
    """The corpora "train", "valid" and "test", without those that the settings leave out."""
    data = settings.data
    train, valid, test = split_corpus(
        open_corpus(data.train, base, cache, show_progress, data),
        data.valid_fraction if data.valid is None else 0.0,
        data.test_fraction if data.test is None else 0.0,
    )
    if data.valid is not None:
        valid = open_corpus(data.valid, base, cache, show_progress, data)
    if data.test is not None:
        test = open_corpus(data.test, base, cache, show_progress, data)
    parts = {"train": train, "valid": valid, "test": test}
    return {part: corpus for part, corpus in parts.items() if corpus is not None}


def _draw_sample(settings: TokenizerSettings, corpus: Corpus) -> Sample | None:
    """The part of a training text to learn a vocabulary from; None if that is all of it.

    BPE learns from no more of a sample than of a whole text, since its memory grows with it.
    """
    if settings.level == "byte" or corpus.count_characters() <= SAMPLE_CHARACTERS:
        return None
    return draw_sample(corpus, BPE_CHARACTERS if settings.level == "subword" else SAMPLE_CHARACTERS)


def _obtain_tokenizer(
    all_settings: Settings, corpus: Corpus, cache: Path, show_progress: bool
) -> Tokenizer:
    """The tokenizer of a training text or of a sample of it, from the cache or newly trained."""
    settings, data = all_settings.tokenizer, all_settings.data
    key = _compute_key(
        corpus.sha256(),
        settings.model_dump_json(),
        data.documents,
        data.normalize,
        tokenizers.__version__,
        LEARNING_VERSION,
    )
    if (tokenizer := _read_tokenizer(cache, key, all_settings)) is not None:
        return tokenizer
    tokenizer = _train_tokenizer(settings, data, corpus, show_progress)
    contents = {TOKENIZERS: tokenizer.to_json().encode()}
    if tokenizer.spelling is not None:
        contents[SPELLING] = tokenizer.spelling.to_json().encode()
    try:
        for name, content in contents.items():
            write_cached(cache / name, key, ".json", content)
            keep_newest(cache / name, TOKENIZERS_KEPT)
    except OSError as error:
        raise RunError(_explain_cache(cache, error)) from error
    return tokenizer


def _read_tokenizer(cache: Path, key: str, settings: Settings) -> Tokenizer | None:
    """The tokenizer that is cached under a key, with its spelling; None where there is none."""
    has_spelling = settings.tokenizer.level in ("char", "word")
    names = (TOKENIZERS, SPELLING) if has_spelling else (TOKENIZERS,)
    found: dict[str, CachedFile] = {}
    for name in names:
        if (file := read_cached(cache / name, key, ".json", FILE_BYTES_AT_MOST)) is None:
            return None
        found[name] = file
    try:
        return Tokenizer.parse(
            found[TOKENIZERS].content,
            str(found[TOKENIZERS].path),
            settings.tokenizer,
            documents=settings.data.documents,
            normalize=settings.data.normalize,
            spelling=parse_spelling(found[SPELLING].content, str(found[SPELLING].path))
            if has_spelling
            else None,
        )
    except RunError:
        for file in found.values():
            drop_damaged(file.path, "it does not fit the settings")
        return None


def _train_tokenizer(
    settings: TokenizerSettings, data: DataSettings, corpus: Corpus, show_progress: bool
) -> Tokenizer:
    """A new tokenizer; the words of a large text are counted in worker processes."""
    chunks = _read_for_learning(settings, corpus, show_progress)
    train = partial(
        Tokenizer.train, settings, chunks, documents=data.documents, normalize=data.normalize
    )
    workers = count_workers(corpus.count_characters()) if settings.level == "word" else 0
    if workers == 0:
        return train()
    arguments = (settings.model_dump_json(), data.normalize)
    count = make_piece_counter(*arguments)
    with WorkerPool(("count pieces", *arguments), count, workers) as pool:
        return train(count_groups=pool.map)


def _read_for_learning(
    settings: TokenizerSettings, corpus: Corpus, show_progress: bool
) -> Iterator[str]:
    """The text that a tokenizer learns from, in pieces, none of which has two documents' words.

    All of it, except that BPE learns from only every n-th chunk of a text longer than
    `BPE_CHARACTERS`, since its memory grows with the text.
    """
    total = corpus.count_characters()
    step = -(-total // BPE_CHARACTERS) if settings.level == "subword" else 1
    bytes_per_character = corpus.count_bytes() / max(total, 1)
    with tqdm(
        desc=f"learning the {settings.level} vocabulary",
        total=corpus.count_bytes(),
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not show_progress,
    ) as bar:
        for index, chunk in enumerate(corpus.chunks()):
            if index % max(step, 1) == 0:
                yield from [chunk.text] if settings.level == "char" else chunk.split()
            bar.update(len(chunk.text) * bytes_per_character)


def _compute_key(*parts: str | int) -> str:
    """A file name that differs whenever one of the parts does."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _explain_cache(cache: Path, error: OSError) -> str:
    return (
        f"cannot write to the cache directory {cache}: {explain_os_error(error)}; or set the "
        f"environment variable LLM_TIMECYCLE_CACHE to another directory"
    )
