"""The tree of settings: five sections, every key with its default, its range and one line of help.

The docstring under a field is its help text: it feeds the JSON Schema, the options of `generate`,
and the comments of `config new`. `config.descriptions` reads it when it is asked for: pydantic
would read it at every import. Settings are frozen; `config.load` makes them from YAML.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Path = Annotated[str, Field(min_length=1)]
Paths = Path | Annotated[list[Path], Field(min_length=1)]
TokenText = Annotated[str, Field(min_length=1)]
AddedLogit = Annotated[float, Field(ge=-1_000.0, le=1_000.0)]
Penalty = Annotated[float, Field(ge=-100.0, le=100.0)]

BUILT_IN_CORPORA = ("python-docs", "sample-english", "sample-chinese")


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
    )


class DataSettings(_Section):
    """Which texts to learn from, and which to keep for checking."""

    train: Paths = "python-docs"
    """The text to learn from: a file (.txt or .gz), a directory, a glob, a list of these, or the
    name of a built-in corpus (python-docs, sample-english, sample-chinese)."""

    valid: Paths | None = None
    """The text that decides which weights are best; left out, it is cut from the end of train."""

    test: Paths | None = None
    """The text for the final figure; left out, it is cut from the end of train."""

    valid_fraction: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05
    """The share of train that is kept for validation when no valid text is given."""

    test_fraction: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05
    """The share of train that is kept for testing when no test text is given."""


class TokenizerSettings(_Section):
    """How text becomes numbers."""

    level: Literal["char", "word", "subword", "byte"] = "word"
    """What one token is: a character, a word, a piece of a word (byte-level BPE), or a byte."""

    vocab_size: Annotated[int, Field(ge=3, le=1_000_000)] = 10_000
    """At most this many kinds of tokens, special tokens included."""

    lowercase: bool = False
    """Whether text is put in lower case first (a smaller vocabulary, but capitals are lost)."""

    word_split: Literal["whitespace", "unicode"] = "whitespace"
    """At word level, where words end: at white space only (the Penn Treebank convention), or at
    punctuation and between Han characters too."""


class ModelSettings(_Section):
    """The network: Embedding, num_layers x LSTM, TimeDistributed(Dense)."""

    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Numbers that stand for one token (E)."""

    num_layers: Annotated[int, Field(ge=1, le=64)] = 2
    """LSTM layers, one above the other (L)."""

    hidden_units: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Units of each LSTM layer (H)."""

    dropout: Dropout = 0.0
    """The share of values that training drops, at every place where no rate of its own is set."""

    input_dropout: Dropout | None = None
    """Dropout between the embedding and the first LSTM layer; left out, it is `dropout`."""

    layer_dropout: Dropout | None = None
    """Dropout between one LSTM layer and the next; left out, it is `dropout`."""

    output_dropout: Dropout | None = None
    """Dropout between the last LSTM layer and the output layer; left out, it is `dropout`."""

    variational_dropout: bool = False
    """Whether a dropped value stays dropped for all steps of a window (Gal and Ghahramani 2016)."""

    weight_drop: Dropout = 0.0
    """The share of recurrent weights that training drops, a new draw each step (AWD-LSTM)."""

    tie_embeddings: bool = False
    """Whether the output layer uses the embedding's weights (Press and Wolf 2017): fewer weights;
    a projection from H to E is added where they differ."""


class TrainingSettings(_Section):
    """How the weights are learned."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Times that the whole training text is read."""

    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many steps, whatever `epochs` says."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Places in the text that are read side by side (B)."""

    sequence_length: Annotated[int, Field(ge=1, le=65_536)] = 50
    """Tokens that each place moves on by in a step, and how far back gradients reach (T)."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """The rule that turns gradients into new weights."""

    learning_rate: Annotated[float, Field(gt=0.0, le=1_000.0)] = 1e-3
    """The size of a step; 1e-3 suits adam and adamw, sgd wants about 1."""

    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    """How the rate changes: not at all, down a half cosine to zero at the end, or multiplied by
    `plateau_factor` whenever validation stops getting better."""

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the rate rises from zero to `learning_rate`."""

    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """With `schedule: plateau`, what the rate is multiplied by."""

    plateau_patience: Annotated[int, Field(ge=0)] = 0
    """With `schedule: plateau`, validations without a new best that are put up with first."""

    gradient_clip_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    """Gradients with a larger global norm are scaled down to it; null leaves them alone."""

    weight_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """With `optimizer: adamw`, how far the weight matrices are pulled to zero (times the rate)."""

    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    """The numbers of the matrix products; auto takes what this machine runs faster."""

    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads to compute with; null takes one for each core."""

    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations without a new best; null never stops early."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """The start of every random draw: the same seed gives the same weights."""

    eval_every: Annotated[int, Field(ge=1)] | None = None
    """Validate every so many steps, beside the end of each epoch."""

    checkpoint_every: Annotated[int, Field(ge=1)] | None = None
    """Write a checkpoint every so many steps, beside the end of each epoch."""

    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """The newest checkpoints that are kept."""

    log_every: Annotated[int, Field(ge=1)] = 50
    """Steps between two rows of metrics.csv."""


class GenerationSettings(_Section):
    """How text is drawn from the model; each has an option of `generate` too."""

    length: Annotated[int, Field(ge=1)] = 50
    """Tokens to generate at most."""

    temperature: Annotated[float, Field(ge=0.0, le=100.0)] = 0.8
    """Below 1 plays safe, above 1 takes risks, 0 always takes the likeliest token."""

    top_k: Annotated[int, Field(ge=1)] | None = None
    """Draw from the k likeliest tokens only."""

    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the smallest set of tokens that together reach this probability."""

    min_p: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Leave out tokens less likely than this share of the likeliest one's probability."""

    typical_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw from the tokens whose surprise is nearest to what is expected, the fewest that together
    reach this probability."""

    repetition_penalty: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0
    """Above 1 makes tokens that have already appeared less likely, those of the prompt too."""

    presence_penalty: Penalty = 0.0
    """Taken off the logit of every token that has already appeared, in the prompt too."""

    frequency_penalty: Penalty = 0.0
    """Taken off the logit of a token once for each time it has appeared, in the prompt too."""

    bias: dict[TokenText, AddedLogit] = {}
    """Added to the logits of these tokens: above 0 makes a token likelier, below 0 less likely."""

    ban: list[TokenText] = []
    """Tokens that are never produced."""

    allow_unknown: bool = False
    """Whether <unk>, the token for all that is not in the vocabulary, may be produced."""

    beams: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Above 1, search for the likeliest text and keep so many at every step, in place of drawing;
    temperature and seed are then not used."""

    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 0.6
    """With beams, how far a long text is forgiven that it is less likely than a short one; 0 not at
    all."""

    stop: list[Annotated[str, Field(min_length=1)]] = []
    """Texts at which generation ends; they are not printed."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """The same seed gives the same text; null draws a new one each time."""


class Settings(_Section):
    """Everything that decides what a run does."""

    data: DataSettings = DataSettings()
    """Which texts to learn from, and which to keep for checking."""

    tokenizer: TokenizerSettings = TokenizerSettings()
    """How text becomes numbers."""

    model: ModelSettings = ModelSettings()
    """The network."""

    training: TrainingSettings = TrainingSettings()
    """How the weights are learned."""

    generation: GenerationSettings = GenerationSettings()
    """How text is drawn from the model."""
