"""The tokenizer: text to ids and back, at the level that the settings choose.

`pipelines` defines the tokens of each level, `vocabulary` learns them from text, `encode` and
`decode` convert, `load` reads a saved tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from llm_timecycle.config.text_settings import (
    Documents,
    Normalization,
    TokenizerSettings,
    does_eos_end_documents,
)
from llm_timecycle.files import write_durably
from llm_timecycle.text.tokenizer.characters import check_characters
from llm_timecycle.text.tokenizer.decode import Decoder, TextStream
from llm_timecycle.text.tokenizer.encode import Lookup, choose_dtype, make_lookup
from llm_timecycle.text.tokenizer.load import parse_vocabulary
from llm_timecycle.text.tokenizer.normalization import unify_text
from llm_timecycle.text.tokenizer.pipelines import END_ID, UNKNOWN_ID, Vocabulary, build_pipeline
from llm_timecycle.text.tokenizer.spelling import SpellingModel
from llm_timecycle.text.tokenizer.vocabulary import CountGroups, learn_vocabulary


class Tokenizer:
    """A vocabulary, and the settings that define how text is split into its tokens.

    Made by `Tokenizer.train` or `Tokenizer.parse`.

    Attributes:
        settings: the level and its options.
        documents: what a document is, `data.documents`.
        normalize: the Unicode normalization form that every text is brought into first.
        vocab_size: tokens in the vocabulary (V), special tokens included; at most
            `settings.vocab_size`.
        unk_id: the id of `<unk>`, which stands for anything outside the vocabulary: 0.
        eos_id: the id of `<eos>`, the end of a document or also of a line (see
            `does_eos_end_documents`): 1.
        dtype: the type of ids, the narrowest unsigned one that holds V - 1.
        spelling: what unknown words cost; None where it is not known, or where none can occur.
    """

    unk_id = UNKNOWN_ID
    eos_id = END_ID

    def __init__(
        self,
        settings: TokenizerSettings,
        vocabulary: Vocabulary,
        *,
        documents: Documents = "file",
        normalize: Normalization = "none",
    ) -> None:
        self.settings = settings
        self.documents = documents
        self.normalize: Normalization = normalize
        self.vocab_size = len(vocabulary.tokens)
        self.dtype = choose_dtype(self.vocab_size)
        self.spelling = vocabulary.spelling
        self._vocabulary = vocabulary

    @classmethod
    def train(
        cls,
        settings: TokenizerSettings,
        chunks: Iterable[str],
        *,
        documents: Documents = "file",
        normalize: Normalization = "none",
        count_groups: CountGroups | None = None,
    ) -> Tokenizer:
        """Learn a vocabulary from training text.

        Args:
            chunks: the text, cut where words end (as `Document.chunks` does); read once.
            documents: what a document is, `data.documents`.
            normalize: the Unicode normalization form to bring every text into first.
            count_groups: counts the words of groups of chunks; None counts them here.

        Raises ConfigError if `vocab_size` is too small for the level.
        """
        vocabulary = learn_vocabulary(settings, chunks, normalize, count_groups)
        return cls(settings, vocabulary, documents=documents, normalize=normalize)

    @classmethod
    def parse(
        cls,
        content: bytes,
        name: str,
        settings: TokenizerSettings,
        *,
        documents: Documents = "file",
        normalize: Normalization = "none",
        spelling: SpellingModel | None = None,
    ) -> Tokenizer:
        """The tokenizer in a `tokenizer.json` that this program saved under the same settings.

        Args:
            content: the file.
            name: what it is called.
            settings: those it was trained with.
            spelling: the model that was learned with it.

        Raises RunError if it is too large, damaged, or does not fit the settings.
        """
        vocabulary = parse_vocabulary(
            content, name, settings, documents=documents, normalize=normalize
        )
        vocabulary = replace(vocabulary, spelling=spelling)
        return cls(settings, vocabulary, documents=documents, normalize=normalize)

    def extend(self, other: Tokenizer, most: int | None) -> Tokenizer:
        """This tokenizer with the tokens of `other` that it lacks, which get the last ids.

        Args:
            other: one of the same level and options, char or word.
            most: at most how many tokens to add, the most frequent ones; None adds all.
        """
        known = set(self._vocabulary.tokens)
        new = [token for token in other._vocabulary.tokens if token not in known][:most]
        tokens = (*self._vocabulary.tokens, *new)
        size = max(self.settings.vocab_size, len(tokens))
        return Tokenizer(
            self.settings.model_copy(update={"vocab_size": size}),
            replace(self._vocabulary, tokens=tokens),
            documents=self.documents,
            normalize=self.normalize,
        )

    def with_spelling(self, spelling: SpellingModel | None) -> Tokenizer:
        """This tokenizer, and what unknown words cost."""
        vocabulary = replace(self._vocabulary, spelling=spelling)
        return Tokenizer(
            self.settings, vocabulary, documents=self.documents, normalize=self.normalize
        )

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, which `tokenizers.Tokenizer.from_file` reads."""
        write_durably(path, self.to_json().encode())

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        return self._json

    def encode(self, text: str) -> np.ndarray:
        """The ids (N,) of a text, in the narrowest unsigned type; no `<eos>` is added at its end.

        Raises DataError if the text contains half of a surrogate pair.
        """
        check_characters(text)
        return self._lookup.encode(self.unify(text))

    def encode_each(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of several texts, one after another, and how many each has: (N,) and (D,), int64.

        The same as `encode` of each of them, much faster where they are many and short.

        Raises DataError if a text contains half of a surrogate pair.
        """
        check_characters("".join(texts))
        return self._lookup.encode_each([*map(self.unify, texts)])

    @property
    def does_eos_end_documents(self) -> bool:
        """Whether `<eos>` is the end of a document and nothing else, so that a text ends there."""
        return does_eos_end_documents(self.settings, self.documents)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids.

        It is the text that was encoded (normalized, in lower case, if the settings say so) for byte
        and subword, and where no token is unknown, for char and for words of the unicode split.
        """
        stream = self.stream()
        return "".join([*(stream.push(int(id)) for id in ids), stream.finish()])

    def stream(self) -> TextStream:
        """A decoder that takes one id at a time; joined, its texts equal `decode` of all ids."""
        return self._decoder.stream()

    def token(self, id: int) -> str:
        """A token as shown to people, for example `the`, ` th`, `\\n`, `\\xe4`, `<eos>`."""
        return self._decoder.show(id)

    def unknown_tokens(self, text: str) -> list[str]:
        """The distinct pieces of `text` that are encoded as `<unk>`, in order."""
        return list(dict.fromkeys(self.list_unknown(text)))

    def list_unknown(self, text: str) -> list[str]:
        """Every piece of `text` that is encoded as `<unk>`, in order, in lower case if that is set.

        With the whitespace split, `<unk>` in the text itself is one of them.
        """
        check_characters(text)
        return self._lookup.list_unknown(self.unify(text))

    def unify(self, text: str) -> str:
        """The text as the model reads and writes it: normalized, in lower case, if that is set."""
        return unify_text(text, self.normalize, self.settings.lowercase)

    @cached_property
    def _json(self) -> str:
        pipeline = build_pipeline(
            self.settings, self._vocabulary, documents=self.documents, normalize=self.normalize
        )
        return str(pipeline.to_str(pretty=True))

    @cached_property
    def _lookup(self) -> Lookup:
        return make_lookup(self.settings, self._vocabulary, documents=self.documents)

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self.settings, self._vocabulary)
