"""The settings of the text: where it is and how it is read, and how it becomes tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Path = Annotated[str, Field(min_length=1)]
Paths = Path | Annotated[list[Path], Field(min_length=1)]
HeldOut = Annotated[float, Field(ge=0.0, le=0.5)]

Documents = Literal["file", "line", "paragraph", "record"]

BUILT_IN_CORPORA = ("python-docs", "sample-english", "sample-chinese")


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class DataSettings(Section):
    """The training text, and the held-out texts for validation and testing."""

    train: Paths = Field(
        default="python-docs",
        description="Training text: a file (.txt or .gz), a directory, a glob, a list of these, or "
        "the name of a built-in corpus (python-docs, sample-english, sample-chinese).",
    )
    valid: Paths | None = Field(
        default=None,
        description="Validation text, which decides which weights are kept; null holds out the end "
        "of train.",
    )
    test: Paths | None = Field(
        default=None, description="Test text, for the final score; null holds out the end of train."
    )
    valid_fraction: HeldOut = Field(
        default=0.05, description="Fraction of train held out for validation if valid is not set."
    )
    test_fraction: HeldOut = Field(
        default=0.05, description="Fraction of train held out for testing if test is not set."
    )
    encoding: Path = Field(
        default="utf-8",
        description="Encoding of the texts: a name such as utf-16, gb18030, big5, shift_jis, "
        "euc-kr, windows-1252 or koi8-r; or auto, which guesses it for each file and says so.",
    )
    documents: Documents = Field(
        default="file",
        description="What a document is, which begins with a fresh LSTM state and ends with <eos>: "
        "a file, a line, a paragraph (blank lines between), or a record (a row of CSV or TSV, an "
        "object of JSONL).",
    )
    field: Path | None = Field(
        default=None,
        description="With documents: record, the column of CSV or the key of JSONL that holds the "
        "text; null takes the only one, or one named text.",
    )
    normalize: Literal["none", "NFC", "NFKC"] = Field(
        default="none",
        description="Unicode normalization of texts and prompts, so that characters that look the "
        "same are the same.",
    )


class TokenizerSettings(Section):
    """How text is split into tokens."""

    level: Literal["char", "word", "subword", "byte"] = Field(
        default="word",
        description="Unit of one token: a character, a word, a subword (byte-level BPE) or a byte.",
    )
    vocab_size: int = Field(
        default=10_000,
        ge=3,
        le=1_000_000,
        description="Maximum vocabulary size, special tokens included (V).",
    )
    lowercase: bool = Field(
        default=False,
        description="Convert text to lower case first: the vocabulary shrinks, but capitals are "
        "lost.",
    )
    word_split: Literal["whitespace", "unicode"] = Field(
        default="whitespace",
        description="With level: word, where words end: at whitespace only (the Penn Treebank "
        "convention), or also at punctuation and between Chinese characters.",
    )


def does_eos_end_documents(tokenizer: TokenizerSettings, documents: Documents) -> bool:
    """Whether `<eos>` is the end of a document and nothing else, so that a text ends there.

    At word level with the whitespace split, `<eos>` is also every line break of a file, as in the
    Penn Treebank and WikiText; of other documents, line breaks are spaces.

    Args:
        documents: `data.documents`.
    """
    is_split_at_whitespace = tokenizer.level == "word" and tokenizer.word_split == "whitespace"
    return not is_split_at_whitespace or documents != "file"
