"""What a text is like, as far as the choice of settings depends on it: size, script, words, lines.

A large text is sampled at several places, so that time and memory are bounded.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from llm_timecycle.errors import DataError
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.shards.sampling import draw_sample, read_parts

SAMPLE_CHARACTERS = 8_000_000
SAMPLE_PLACES = 16
COMPRESSED_CHARACTERS = 1_000_000
COMMON_FROM = 3
"""Occurrences from which a character or a word can be learned."""
SCRIPTS = {
    "LATIN": "Latin",
    "CJK": "CJK",
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
    "HANGUL": "Hangul",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "THAI": "Thai",
    "LAO": "Lao",
    "KHMER": "Khmer",
    "MYANMAR": "Burmese",
}
"""First word of a letter's Unicode name to the name of its script."""
UNSPACED_SCRIPTS = {"Thai", "Lao", "Khmer", "Burmese"}
"""Scripts without spaces between words, in which a character is only part of a word."""


@dataclass(frozen=True)
class TextFacts:
    """Facts about a text. What differs is counted in the sample, all else in the whole text."""

    name: str
    """The name of the corpus, for messages."""
    characters: int
    bytes: int
    """In UTF-8; estimated from the sample where the text is sampled."""
    distinct_characters: int
    common_characters: int
    """Different characters that occur `COMMON_FROM` times or more."""
    rare_fraction: float
    """The share of the text in characters that occur less often than that."""
    script: str
    """The script of two thirds of the letters or more, such as Latin or CJK (kana included); else
    "mixed"."""
    words: int
    """Separated by white space; estimated where the text is sampled."""
    distinct_words: int
    common_words: int
    """Different words that occur `COMMON_FROM` times or more."""
    lines: int
    """Lines with text on them; estimated where the text is sampled."""
    compressed_fraction: float
    """Size after zlib over size before: about 0.4 for prose, far lower for repetitions."""
    sampled_fraction: float
    """The share of the text that was looked at."""
    documents: int = 1
    """Documents; estimated where the text is sampled."""


def survey_text(corpus: Corpus) -> TextFacts:
    """Look at a text; of one longer than `SAMPLE_CHARACTERS`, at `SAMPLE_PLACES` pieces.

    Raises:
        DataError: a file is damaged, or the text is only white space.
    """
    total = corpus.count_characters()
    letters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    lines = size = documents = 0
    packed = _Compressibility()
    for chunk in _read_sample(corpus, total):
        piece = chunk.text
        documents += len(chunk.ends)
        letters.update(piece)
        for text in chunk.split():  # documents of lines have no line break between them
            words.update(text.split())
            lines += sum(1 for line in text.split("\n") if line.strip())
        content = piece.encode()
        size += len(content)
        packed.add(piece)
    if not words:
        raise DataError(f"{corpus.name} holds nothing but white space; expected text")
    looked_at = letters.total()
    scale = total / looked_at
    common = [count for count in letters.values() if count >= COMMON_FROM]
    return TextFacts(
        name=corpus.name,
        characters=total,
        bytes=round(size * scale),
        distinct_characters=len(letters),
        common_characters=len(common),
        rare_fraction=1 - sum(common) / looked_at,
        script=find_script(letters),
        words=round(words.total() * scale),
        distinct_words=len(words),
        common_words=sum(count >= COMMON_FROM for count in words.values()),
        lines=round(lines * scale),
        compressed_fraction=packed.fraction,
        sampled_fraction=looked_at / total,
        documents=max(1, round(documents * scale)),
    )


def _read_sample(corpus: Corpus, total: int) -> Iterator[Chunk]:
    """The text in pieces, or evenly spaced pieces of a text that is too long."""
    if total <= SAMPLE_CHARACTERS:
        yield from corpus.chunks()
    else:
        sample = draw_sample(corpus, SAMPLE_CHARACTERS, SAMPLE_PLACES)
        yield from (chunk for _, chunk in read_parts(sample.texts))


class _Compressibility:
    """How much zlib shortens the first characters of a text."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj()
        self._left = COMPRESSED_CHARACTERS
        self._before = self._after = 0

    def add(self, piece: str) -> None:
        """Take the next piece."""
        content = piece[: self._left].encode()
        self._left -= len(piece[: self._left])
        self._before += len(content)
        self._after += len(self._packer.compress(content))

    @property
    def fraction(self) -> float:
        """Bytes after over bytes before."""
        return (self._after + len(self._packer.flush())) / max(self._before, 1)


def find_script(letters: Counter[str]) -> str:
    """The script that two thirds of the letters belong to, "mixed" or "no letters"."""
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        if letter.isalpha():
            first = unicodedata.name(letter, "?").split()[0]
            scripts[SCRIPTS.get(first, first.title())] += count
    if not scripts:
        return "no letters"
    script, count = scripts.most_common(1)[0]
    return script if count * 3 >= 2 * scripts.total() else "mixed"
