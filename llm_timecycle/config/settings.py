"""All settings: five sections, every key with its range, default and help text.

They are written down here and in `text_settings` only. The JSON Schema, the comments of
`config new`, the options of `generate`, the keyword arguments of `Model.generate`, the commands of
`--interactive` and `docs/settings.md` are made from these classes. Settings are frozen and are
checked whenever they are made, from a file or in Python; `config.load` reads them from YAML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from llm_timecycle.arguments import to_plain
from llm_timecycle.config.text_settings import (
    Count,
    CountOrZero,
    DataSettings,
    Section,
    TokenizerSettings,
)
from llm_timecycle.config.text_settings import GenerationSettings as GenerationSettings
from llm_timecycle.config.validation import validate_settings

Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Size = Annotated[int, Field(ge=1, le=65_536)]
MOST_GROUPS = 256
"""Of the lanes of a step that are computed one after the other."""
PenaltyWeight = Annotated[float, Field(ge=0.0, le=1_000.0)]


class ModelSettings(Section):
    """The network: Embedding, num_layers x LSTM, TimeDistributed(Dense)."""

    embedding_dim: Size = Field(default=256, description="Embedding size (E).")
    num_layers: int = Field(
        default=2, ge=1, le=64, description="Number of stacked LSTM layers (L)."
    )
    hidden_units: Size = Field(default=512, description="Units per LSTM layer (H).")
    dropout: Dropout = Field(
        default=0.0, description="Dropout rate, wherever no more specific rate is set."
    )
    input_dropout: Dropout | None = Field(
        default=None,
        description="Dropout between the embedding and the first LSTM layer; null uses dropout.",
    )
    layer_dropout: Dropout | None = Field(
        default=None, description="Dropout between LSTM layers; null uses dropout."
    )
    output_dropout: Dropout | None = Field(
        default=None,
        description="Dropout between the last LSTM layer and the output layer; null uses dropout.",
    )
    embedding_dropout: Dropout = Field(
        default=0.0,
        description="Dropout rate of whole words: the share of the vocabulary whose embeddings are "
        "zero for a training step (Gal and Ghahramani 2016).",
    )
    variational_dropout: bool = Field(
        default=False,
        description="Use one dropout mask for all time steps of a window (Gal and Ghahramani "
        "2016).",
    )
    weight_drop: Dropout = Field(
        default=0.0,
        description="Dropout rate of the recurrent weights, drawn anew at each step (AWD-LSTM).",
    )
    tie_embeddings: bool = Field(
        default=False,
        description="Share the embedding's weights with the output layer (Press and Wolf 2017): "
        "fewer parameters; a projection from H to E is added if the two differ.",
    )
    layer_norm: bool = Field(
        default=False,
        description="Normalize the input of every LSTM layer but the first, and that of the output "
        "layer (Ba, Kiros and Hinton 2016).",
    )
    residual: bool = Field(
        default=False,
        description="Add the input of an LSTM layer to its output, where both have the same width "
        "(He et al. 2016).",
    )


class TrainingSettings(Section):
    """How the model is trained."""

    epochs: Count = Field(
        default=10, description="Passes over the training text; not used if minutes is set."
    )
    max_steps: Count | None = Field(
        default=None, description="Stop after this many steps, even before the last epoch."
    )
    minutes: float | None = Field(
        default=None,
        ge=0.001,
        le=100_000.0,
        description="Time budget, from the start of the program to its end: the number of steps "
        "is planned from the measured speed, and the learning-rate schedule with it; epochs is "
        "then not used. null trains for epochs.",
    )
    batch_size: Size = Field(
        default=64, description="Batch size: text streams (lanes) trained in parallel (B)."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=MOST_GROUPS,
        description="Gradient accumulation: the groups of lanes that a step computes one after the "
        "other before it updates the weights. The training is the same, more slowly, in the memory "
        "of batch_size / accumulate lanes: for a batch that does not fit.",
    )
    sequence_length: Size = Field(
        default=50, description="Tokens per lane and step; gradients flow back this far (T)."
    )
    vary_sequence_length: bool = Field(
        default=False,
        description="Draw the length of each step's windows around sequence_length, and scale the "
        "learning rate with it (AWD-LSTM): gradients are then not cut off at the same tokens in "
        "every epoch.",
    )
    optimizer: Literal["adam", "nadam", "adamw", "sgd"] = Field(
        default="adam",
        description="Optimizer that updates the weights; nadam is adam with Nesterov momentum.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0.0,
        le=1_000.0,
        description="Peak learning rate; null uses 3 / hidden_units, at most 0.016, and 1 for sgd.",
    )
    schedule: Literal["constant", "cosine", "linear", "trapezoidal", "plateau"] = Field(
        default="linear",
        description="Learning-rate schedule: constant; cosine or linear decay to zero; "
        "trapezoidal, which is constant and then decays to zero; or plateau, multiplied by "
        "plateau_factor when validation stops improving.",
    )
    decay_fraction: float = Field(
        default=0.4,
        gt=0.0,
        le=1.0,
        description="With schedule: trapezoidal, the share of the steps over which the rate "
        "decays.",
    )
    warmup_steps: CountOrZero = Field(
        default=50, description="Steps over which the learning rate rises to its full value."
    )
    plateau_factor: float = Field(
        default=0.5,
        gt=0.0,
        lt=1.0,
        description="With schedule: plateau, the factor by which the learning rate drops.",
    )
    plateau_patience: CountOrZero = Field(
        default=0,
        description="With schedule: plateau, validations without improvement before the rate "
        "drops.",
    )
    averaging: Literal["none", "triggered"] = Field(
        default="none",
        description="Weight averaging: triggered begins when validation has stopped improving, and "
        "from then on validates and keeps the mean of the weights since then (NT-ASGD). It suits a "
        "constant rate.",
    )
    averaging_patience: Count = Field(
        default=5,
        description="With averaging: triggered, begin once validation is worse than it was more "
        "than this many validations ago.",
    )
    gradient_clip_norm: float | None = Field(
        default=1.0,
        ge=1e-6,
        le=1e9,
        description="Maximum global norm of the gradients; larger ones are scaled down. null "
        "turns clipping off.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0.0,
        le=50.0,
        description="With optimizer: nadam or adamw, weight decay: times the learning rate, the "
        "share of every matrix that a step takes away (Loshchilov and Hutter 2019).",
    )
    activation_regularization: PenaltyWeight = Field(
        default=0.0,
        description="Activation regularization (AR): weight of a penalty on the mean square of "
        "what goes into the output layer, after dropout (Merity et al. 2017; AWD-LSTM uses 2).",
    )
    temporal_activation_regularization: PenaltyWeight = Field(
        default=0.0,
        description="Temporal activation regularization (TAR): weight of a penalty on the mean "
        "squared change of the last LSTM layer's output from one token to the next (Merity et al. "
        "2017; AWD-LSTM uses 1).",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16"] = Field(
        default="auto",
        description="Number format of matrix products; auto measures which is faster on this "
        "machine.",
    )
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="CPU threads to use; null uses one per core."
    )
    patience: Count | None = Field(
        default=None,
        description="Early stopping: stop after this many validations without improvement; null "
        "never stops early, except with minutes after 10 of them, if the text would be read more "
        "than 40 times.",
    )
    seed: int = Field(
        default=1, ge=0, lt=2**31, description="Random seed: the same seed gives the same weights."
    )
    eval_every: Count | None = Field(
        default=None,
        description="Steps between additional validations; null validates after each epoch only, "
        "or, with minutes, up to 20 times.",
    )
    checkpoint_every: Count | None = Field(
        default=None,
        description="Steps between additional checkpoints; null saves after each epoch (not with "
        "minutes) and every ten minutes only.",
    )
    keep_checkpoints: Count = Field(
        default=2, description="Number of most recent checkpoints to keep."
    )
    log_every: Count = Field(default=50, description="Steps between two rows of metrics.csv.")


class Settings(Section):
    """Everything that decides what a run does.

    >>> Settings(training={"epochs": 3}).training.epochs
    3
    """

    data: DataSettings = Field(
        default=DataSettings(), description="The training text, and the held-out texts."
    )
    tokenizer: TokenizerSettings = Field(
        default=TokenizerSettings(), description="How text is split into tokens."
    )
    model: ModelSettings = Field(
        default=ModelSettings(), description="The LSTM network and its dropout."
    )
    training: TrainingSettings = Field(
        default=TrainingSettings(), description="How the model is trained."
    )
    generation: GenerationSettings = Field(
        default=GenerationSettings(), description="How text is generated."
    )

    def __init__(self, **sections: Any) -> None:
        """Settings made in Python: a mistake is a ConfigError, as it is in a file.

        Raises:
            ConfigError: names every value that is unknown, wrong, or contradicts another.
        """
        try:
            super().__init__(**{name: to_plain(given) for name, given in sections.items()})
        except ValidationError as error:
            from llm_timecycle.config.load import explain_sections

            raise explain_sections(sections, error) from None

    # Reading a file validates without this, so that mistakes are named with their lines.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, data: Any, handler: Callable[[Any], Settings]) -> Settings:
        """Report wrong values and contradictions together; see `config.validation`."""
        return validate_settings(data, handler)
