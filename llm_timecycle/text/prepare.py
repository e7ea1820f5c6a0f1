"""From settings to streams of ids: texts opened and split, tokenizer trained, text encoded.

What was done before is found in the cache: a trained tokenizer by the hash of its training text,
its settings and the version of the library; an encoded text by its own hash and the tokenizer's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tqdm import tqdm

from llm_timecycle.config.settings import Settings, TokenizerSettings
from llm_timecycle.errors import DataError, RunError
from llm_timecycle.files import explain_os_error
from llm_timecycle.text.corpus import Corpus, open_corpus, split_corpus
from llm_timecycle.text.token_store import TokenStream, build_store, keep_newest, open_store
from llm_timecycle.text.token_store_write import encode_documents
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.text.tokenizer.vocabulary import LEARNING_VERSION

STORES_KEPT = 20
TOKENIZERS_KEPT = 20
TOKENS_AT_LEAST = 2
BPE_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class PreparedText:
    """What training needs of its text."""

    tokenizer: Tokenizer
    """Trained on the training text only."""
    train: TokenStream
    """The text to learn from."""
    valid: TokenStream | None
    """The text to choose the best weights by, if there is one."""
    test: TokenStream | None
    """The text for the final figure, if there is one."""


def prepare_text(
    settings: Settings,
    base: Path,
    cache: Path,
    show_progress: bool,
    *,
    tokenizer: Tokenizer | None = None,
) -> PreparedText:
    """Open, split and encode the texts of `settings.data`.

    Args:
        base: the directory that relative paths begin at.
        cache: the directory of everything that can be made again.
        show_progress: whether to draw progress bars on stderr.
        tokenizer: the one to use; None trains one on the training text.

    Raises DataError where a text is missing, cannot be read, or has fewer than two tokens (one to
    predict, and one to predict it from); RunError where the cache cannot be written.
    """
    parts = _open_parts(settings, base, cache, show_progress)
    if tokenizer is None:
        tokenizer = _obtain_tokenizer(settings.tokenizer, parts["train"], cache, show_progress)
    streams = {}
    for part, corpus in parts.items():
        streams[part] = encode_corpus(tokenizer, corpus, cache, show_progress)
        if streams[part].tokens < TOKENS_AT_LEAST:
            raise DataError(_explain_short(part, corpus, streams[part].tokens))
    return PreparedText(tokenizer, streams["train"], streams.get("valid"), streams.get("test"))


def encode_corpus(
    tokenizer: Tokenizer, corpus: Corpus, cache: Path, show_progress: bool
) -> TokenStream:
    """A corpus as a stream of ids, from its store; the store is made where there is none.

    Args:
        cache: the directory of everything that can be made again.
        show_progress: whether to draw progress bars on stderr.

    Raises DataError where the text cannot be read, RunError where the store cannot be written.
    """
    corpus.measure(show_progress)
    facts = {
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256(),
        "tokenizer_sha256": hashlib.sha256(tokenizer.to_json().encode()).hexdigest(),
    }
    key = _compute_key(facts["corpus_sha256"], facts["tokenizer_sha256"])
    path = cache / "tokens" / key
    if (stream := open_store(path)) is not None:
        return stream
    try:
        pieces = encode_documents(tokenizer, corpus, show_progress)
        build_store(path, pieces, tokenizer.dtype, facts)
        keep_newest(path.parent, STORES_KEPT)
    except OSError as error:
        raise RunError(_explain_cache(cache, error)) from error
    stream = open_store(path)
    if stream is None:
        raise RunError(f"{path} was deleted while it was being written: begin again")
    return stream


def _open_parts(
    settings: Settings, base: Path, cache: Path, show_progress: bool
) -> dict[str, Corpus]:
    """The corpora "train", "valid" and "test", those that there are."""
    data = settings.data
    train, valid, test = split_corpus(
        open_corpus(data.train, base, cache, show_progress),
        data.valid_fraction if data.valid is None else 0.0,
        data.test_fraction if data.test is None else 0.0,
        show_progress,
    )
    if data.valid is not None:
        valid = open_corpus(data.valid, base, cache, show_progress)
    if data.test is not None:
        test = open_corpus(data.test, base, cache, show_progress)
    parts = {"train": train, "valid": valid, "test": test}
    return {part: corpus for part, corpus in parts.items() if corpus is not None}


def _obtain_tokenizer(
    settings: TokenizerSettings, corpus: Corpus, cache: Path, show_progress: bool
) -> Tokenizer:
    """The tokenizer of a training text, from the cache or trained now."""
    key = _compute_key(
        corpus.sha256(), settings.model_dump_json(), tokenizers.__version__, LEARNING_VERSION
    )
    path = cache / "tokenizers" / f"{key}.json"
    try:
        tokenizer = Tokenizer.load(path, settings)
        path.touch()
        return tokenizer
    except (RunError, OSError):  # not there, or damaged, or deleted just now
        pass
    tokenizer = Tokenizer.train(settings, _read_for_learning(settings, corpus, show_progress))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(path)
        keep_newest(path.parent, TOKENIZERS_KEPT)
    except OSError as error:
        raise RunError(_explain_cache(cache, error)) from error
    return tokenizer


def _read_for_learning(
    settings: TokenizerSettings, corpus: Corpus, show_progress: bool
) -> Iterator[str]:
    """The chunks of a text that its tokenizer learns from.

    All of them; but of a text of more than `BPE_CHARACTERS`, BPE learns from every n-th chunk
    only, since its memory grows with the text.
    """
    total = corpus.count_characters()
    step = -(-total // BPE_CHARACTERS) if settings.level == "subword" else 1
    chunks = (chunk for document in corpus.documents() for chunk in document.chunks())
    with tqdm(
        desc=f"learning the {settings.level} vocabulary",
        total=total,
        unit="char",
        unit_scale=True,
        leave=False,
        disable=not show_progress,
    ) as bar:
        for index, chunk in enumerate(chunks):
            if index % max(step, 1) == 0:
                yield chunk
            bar.update(len(chunk))


def _compute_key(*parts: str | int) -> str:
    """A file name that differs whenever one of the parts does."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _explain_short(part: str, corpus: Corpus, tokens: int) -> str:
    advice = "Give a longer text"
    if part != "train":
        advice += f" in data.{part}, or do without one: data.{part}_fraction=0"
    return f"{corpus.name} is too short: it has {tokens} tokens, and 2 are needed. {advice}"


def _explain_cache(cache: Path, error: OSError) -> str:
    return (
        f"cannot keep encoded text in {cache}: {explain_os_error(error)}; or name another "
        f"directory in the environment variable LLM_TIMECYCLE_CACHE"
    )
