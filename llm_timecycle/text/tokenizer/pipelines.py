"""The four levels as pipelines of the `tokenizers` library: what `tokenizer.json` holds.

    char     each character is a token
    byte     each byte of the UTF-8 form is a token
    word     whitespace: words between white space; each line break is <eos>, or a space where
             documents are lines, paragraphs or records, which <eos> ends
             unicode: words, punctuation marks, white space and single Han and Kana characters, as
             `words` says
    subword  byte-level BPE (Sennrich et al. 2016; Radford et al. 2019)

`<unk>` is 0 and `<eos>` is 1 everywhere. They are ordinary entries of the vocabulary and not
"added tokens", which the library would look for inside the user's text: at char, byte and subword
level, and at word level with the unicode split, a text that spells `<eos>` is encoded as its
characters. With the whitespace split, the words `<unk>` and `<eos>` are the special tokens, as in
the Penn Treebank and WikiText.

In the vocabulary each byte is written as a printable character, as in GPT-2: as itself if it is
printable, else as the character 256 + n for the n-th byte that is not.

Before BPE, text is split so that merges stay inside a word: a word of up to 24 letters with the
space before it, up to three digits, up to 24 punctuation marks, or a run of white space. Line
breaks and Han characters are always separate. Runs of Han characters have no spaces, so nearly
every run is different, and counting them would take unbounded memory; separately, a common
character becomes one token and a rare one up to three bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from llm_timecycle.config.text_settings import (
    Documents,
    Normalization,
    TokenizerSettings,
    does_eos_end_documents,
)
from llm_timecycle.text.tokenizer.characters import BLANK, HAN, WHITE_SPACE
from llm_timecycle.text.tokenizer.words import SPACE_AFTER_WORD, TOKEN

UNKNOWN, END = "<unk>", "<eos>"
UNKNOWN_ID, END_ID = 0, 1
SPECIAL_TOKENS = (UNKNOWN, END)

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_CHARACTERS = "".join(
    chr(byte) if byte in _PRINTABLE else chr(256 + _OTHERS.index(byte)) for byte in range(256)
)
"""The character that stands for each byte, in the order of the bytes."""

_LETTER = rf"[\p{{L}}\p{{M}}&&[^{HAN}]]"
_SUBWORD_PIECE = (
    rf"\n|[{HAN}]"
    rf"|['’](?:[sdmt]|ll|ve|re)(?!{_LETTER})"
    rf"| ?{_LETTER}{{1,24}}"
    rf"| ?\p{{N}}{{1,3}}"
    rf"| ?[^{WHITE_SPACE}\p{{L}}\p{{M}}\p{{N}}]{{1,24}}"
    rf"|[{BLANK}]{{1,24}}(?![^{WHITE_SPACE}])|[{BLANK}]{{1,24}}"
)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens by id, spelled as in `tokenizer.json`, and for BPE the merges by rank."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()

    def number_tokens(self) -> dict[str, int]:
        """The id of each token."""
        return {token: id for id, token in enumerate(self.tokens)}


def build_pipeline(
    settings: TokenizerSettings,
    vocabulary: Vocabulary,
    *,
    documents: Documents = "file",
    normalize: Normalization = "none",
) -> Tokenizer:
    """The library's tokenizer for these settings, this vocabulary, and two settings of the data.

    Args:
        documents: what a document is, `data.documents`.
        normalize: the Unicode normalization form that a text is brought into first.
    """
    if settings.level == "subword" or settings.level == "byte":
        model: Any = models.BPE(vocabulary.number_tokens(), list(vocabulary.merges))
    else:
        model = models.WordLevel(vocabulary.number_tokens(), unk_token=UNKNOWN)
    pipeline = Tokenizer(model)
    if steps := _list_normalizers(settings, documents, normalize):
        pipeline.normalizer = normalizers.Sequence(steps)
    pipeline.pre_tokenizer = _build_pre_tokenizer(settings)
    if settings.level == "char":
        pipeline.decoder = decoders.Fuse()
    elif settings.level != "word":
        pipeline.decoder = decoders.ByteLevel()
    return pipeline


def _list_normalizers(
    settings: TokenizerSettings, documents: Documents, normalize: Normalization
) -> list[Any]:
    """`unify_text` in the library's terms; and the line breaks that are <eos>."""
    forms: dict[str, list[Any]] = {
        "none": [],
        "NFC": [normalizers.NFC()],
        "NFKC": [normalizers.NFKC()],
    }
    steps: list[Any] = [*forms[normalize]]
    if settings.lowercase:
        steps += [normalizers.Lowercase(), *forms[normalize]]
    if not does_eos_end_documents(settings, documents):
        steps.append(normalizers.Replace("\n", f" {END} "))
    return steps


def _build_pre_tokenizer(settings: TokenizerSettings) -> Any:
    into_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if settings.level == "char":
        return pre_tokenizers.Split("", "isolated")
    if settings.level == "byte":
        return into_bytes
    if settings.level == "subword":
        divide = pre_tokenizers.Split(Regex(_SUBWORD_PIECE), "isolated")
        return pre_tokenizers.Sequence([divide, into_bytes])
    if settings.word_split == "whitespace":
        return pre_tokenizers.Split(Regex(f"[{WHITE_SPACE}]+"), "removed")
    divide = pre_tokenizers.Split(Regex(TOKEN), "removed", invert=True)
    return pre_tokenizers.Sequence(
        [divide, pre_tokenizers.Split(Regex(SPACE_AFTER_WORD), "removed")]
    )
