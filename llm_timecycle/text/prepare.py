"""From settings to streams of ids: corpora opened and split, tokenizer trained, text encoded.

What was done before is found in the cache: a trained tokenizer by the hash of its training text,
its settings and the version of the library, an encoded corpus as `text.store` says.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tqdm import tqdm

from llm_timecycle.config.tree import Settings, TokenizerSettings
from llm_timecycle.errors import DataError, RunError
from llm_timecycle.files import explain_os_error
from llm_timecycle.text.corpus import Corpus, open_corpus, split_corpus
from llm_timecycle.text.learning import BPE_CHARACTERS, LEARNING_VERSION
from llm_timecycle.text.store import TokenStream, delete_oldest, encode_corpus
from llm_timecycle.text.tokenizer import Tokenizer

__all__ = ["PreparedText", "encode_corpus", "prepare_text"]

log = logging.getLogger("llm_timecycle")

TOKENIZERS_KEPT = 20
TOKENS_AT_LEAST = 2


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
        cache: where tokenizers and encoded texts are kept.
        show_progress: whether to draw progress bars on stderr.
        tokenizer: the one to use; None trains one on the training text.

    Raises DataError where a text is missing, cannot be read, or holds fewer than two tokens (a
    prediction needs one to predict and one to predict it from); RunError where the cache cannot
    be written.
    """
    train, valid, test = _open_parts(settings, base, cache, show_progress)
    if tokenizer is None:
        tokenizer = _train_tokenizer(settings.tokenizer, train, cache, show_progress)

    def encode(part: str, corpus: Corpus | None) -> TokenStream | None:
        if corpus is None:
            return None
        stream = encode_corpus(tokenizer, corpus, cache, show_progress)
        if stream.tokens < TOKENS_AT_LEAST:
            raise DataError(_explain_short(part, corpus, stream))
        return stream

    train_stream = encode("train", train)
    assert train_stream is not None
    return PreparedText(tokenizer, train_stream, encode("valid", valid), encode("test", test))
