"""The settings of texts: where they are, how they become tokens, how new ones are generated.

`settings` has the others, and puts all of them together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Path = Annotated[str, Field(min_length=1)]
Paths = Path | Annotated[list[Path], Field(min_length=1)]
Normalization = Literal["none", "NFC", "NFKC"]
HeldOut = Annotated[float, Field(ge=0.0, le=0.5)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000_000)]
Probability = Annotated[float, Field(gt=0.0, le=1.0)]
TokenText = Annotated[str, Field(min_length=1)]
AddedLogit = Annotated[float, Field(ge=-1_000.0, le=1_000.0)]
Penalty = Annotated[float, Field(ge=-100.0, le=100.0)]

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
        description="Training text: a file (plain, .gz or .zst), a directory, a glob, a list of "
        "these, or the name of a built-in corpus (python-docs, sample-english, sample-chinese).",
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
    normalize: Normalization = Field(
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
        "convention), or by the rules of Unicode (UAX #29): punctuation marks, emoji, white space "
        "and Chinese characters are tokens, and the text comes back exactly.",
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


class GenerationSettings(Section):
    """How text is generated; `generate` has an option for each key."""

    length: Count = Field(default=50, description="Maximum number of tokens to generate.")
    temperature: float = Field(
        default=0.8,
        ge=0.0,
        le=100.0,
        description="Sampling temperature: below 1 is safer, above 1 more surprising; 0 always "
        "takes the most likely token.",
    )
    top_k: Count | None = Field(
        default=None, description="Sample from the k most likely tokens only."
    )
    top_p: Probability = Field(
        default=1.0,
        description="Nucleus sampling: sample from the smallest set of tokens whose probabilities "
        "add up to this value.",
    )
    min_p: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Drop tokens less likely than this fraction of the most likely token's "
        "probability.",
    )
    typical_p: Probability = Field(
        default=1.0,
        description="Locally typical sampling: sample from the tokens whose surprisal is closest "
        "to the expected one, until their probabilities add up to this value.",
    )
    xtc_probability: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="XTC: how often, at random, the most likely tokens are excluded: all but the "
        "least likely of those with a probability of xtc_threshold or more. 0 turns it off.",
    )
    xtc_threshold: float = Field(
        default=0.1,
        gt=0.0,
        le=0.5,
        description="With xtc_probability, the probability from which on a token is excluded.",
    )
    repetition_penalty: float = Field(
        default=1.0,
        ge=0.01,
        le=100.0,
        description="Above 1 makes tokens that have already appeared, in the prompt or the text, "
        "less likely.",
    )
    presence_penalty: Penalty = Field(
        default=0.0,
        description="Subtracted once from the logit of every token that has already appeared, in "
        "the prompt or the text.",
    )
    frequency_penalty: Penalty = Field(
        default=0.0,
        description="Subtracted from a token's logit for each time it has appeared, in the prompt "
        "or the text.",
    )
    dry_multiplier: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="DRY: a token that would continue a passage which is already in the prompt or "
        "the text loses dry_multiplier * dry_base ** (tokens repeated so far - dry_allowed_length) "
        "of its logit. 0.8 is usual; 0 turns it off.",
    )
    dry_base: float = Field(
        default=1.75,
        ge=1.0,
        le=10.0,
        description="With dry_multiplier, the factor by which the penalty grows with each repeated "
        "token.",
    )
    dry_allowed_length: int = Field(
        default=2,
        ge=1,
        le=50,
        description="With dry_multiplier, tokens that may be repeated before the penalty begins: 2 "
        "suits words, 3 subwords, 4 Chinese characters, 8 other characters and bytes.",
    )
    dry_sequence_breakers: list[TokenText] = Field(
        default=["\n", ":", '"', "*"],
        description="With dry_multiplier, texts at which a repeated passage begins anew: no "
        "passage reaches across a token that contains one.",
    )
    cache: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Neural cache: the share of a second distribution, which makes words likelier "
        "that followed moments like the present one in the prompt or the text, such as a name; 0 "
        "turns it off.",
    )
    cache_theta: float | None = Field(
        default=None,
        gt=0.0,
        le=1_000_000.0,
        description="With cache, how sharply likeness is judged; scoring with a cache finds a good "
        "value. null suits it to the model.",
    )
    no_repeat_ngram: int = Field(
        default=0,
        ge=0,
        le=1_000,
        description="Never generate n tokens in a row that are already in the prompt or the text; "
        "0 allows it. 3 to 5 suits words, 12 or more characters.",
    )
    bias: dict[TokenText, AddedLogit] = Field(
        default={},
        description="Added to the logits of these tokens: above 0 makes a token more likely, below "
        "0 less likely.",
    )
    ban: list[TokenText] = Field(default=[], description="Tokens that are never generated.")
    allow_unknown: bool = Field(
        default=False,
        description="Allow <unk>, the token for text outside the vocabulary, to be generated.",
    )
    beams: int = Field(
        default=1,
        ge=1,
        le=1_000,
        description="Beam width: above 1, search for the most likely text instead of sampling; "
        "temperature and seed are then not used.",
    )
    length_penalty: float = Field(
        default=0.6,
        ge=0.0,
        le=10.0,
        description="With beams, how strongly longer texts are favoured; 0 ranks by total "
        "probability alone.",
    )
    stop: list[TokenText] = Field(
        default=[],
        description="Stop sequences: generation ends where one of these texts appears; it is not "
        "printed.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="Random seed: the same seed gives the same text; without a seed, each text is "
        "different.",
    )
