"""The model card, `README.md`: metadata for the Hub, and what a reader should know of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.huggingface.copies import describe_copies
from llm_timecycle.exporting.huggingface.facts import Metric, TrainingFacts
from llm_timecycle.exporting.huggingface.licenses import check_license
from llm_timecycle.exporting.huggingface.markdown import write_metadata
from llm_timecycle.exporting.huggingface.run_files import is_built_in
from llm_timecycle.exporting.huggingface.samples import Samples
from llm_timecycle.exporting.huggingface.templates import render

if TYPE_CHECKING:
    from llm_timecycle.evaluation.copies.report import SampleReport

TEMPLATE = "README.md.j2"
LIBRARY, PIPELINE = "llm-timecycle", "text-generation"
LEVELS = {"char": "character-level", "word": "word-level", "subword": "subword", "byte": "byte"}
TRAIN, CHECK = "llm-timecycle train config.yaml", "llm-timecycle evaluate . --split valid"
"""What made the figures of the validation text, and what scores it again for who has the text."""
UNTITLED = "LSTM language model"
SPLITS = {"valid": "validation", "test": "test"}

_LANGUAGE = re.compile(r"[a-z]{2,3}|multilingual|code")
_DATASET = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class CardChoices:
    """What only the owner of a model can say of it.

    Raises UsageError where a value is not one that the Hub takes.
    """

    license: str | None = None
    """An identifier of `licenses.LICENSES`; None where none has been chosen."""
    license_name: str | None = None
    license_link: str | None = None
    languages: tuple[str, ...] = ()
    """ISO 639 codes such as "en"; empty lets `languages` say what is certain."""
    datasets: tuple[str, ...] = ()
    """Identifiers of datasets on the Hub that the model was trained on."""
    repository: str | None = None
    """Where the folder will be, USER/NAME; the last part is the title."""

    def __post_init__(self) -> None:
        check_license(self.license, self.license_name, self.license_link)
        for language in self.languages:
            if not _LANGUAGE.fullmatch(language):
                raise UsageError(
                    f"language: received {language!r}; expected a code of ISO 639, such as en or zh"
                )
        for dataset in self.datasets:
            if not _DATASET.fullmatch(dataset):
                raise UsageError(
                    f"dataset: received {dataset!r}; expected the name of a dataset on the Hub, "
                    f"such as roneneldan/TinyStories. Leave it out for any other text"
                )
        if self.repository is not None:
            check_repository(self.repository)


def check_repository(repository: str) -> None:
    """Raise UsageError unless a text has the form USER/NAME."""
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"repository: received {repository!r}; expected USER/NAME, such as ann/my-model"
        )


@dataclass(frozen=True)
class CardFacts:
    """What the card says that nobody needs to be asked."""

    settings: Settings
    """As published: see `run_files.publish_settings`."""
    vocab_size: int
    training: TrainingFacts
    language: str | None
    """Of the training text, where it is certain."""
    samples: Samples | None
    copies: SampleReport | None
    """What the copy meter says, where it was asked."""
    has_spelling: bool
    """Whether the folder has a spelling model."""


def write_card(facts: CardFacts, choices: CardChoices) -> str:
    """The content of `README.md`."""
    body = render(TEMPLATE, _list_values(facts, choices))
    return f"---\n{write_metadata(make_metadata(facts, choices))}\n---\n\n{body}"


def make_metadata(facts: CardFacts, choices: CardChoices) -> dict[str, Any]:
    """The metadata in the order of the Hub's own example; what is not known is left out."""
    languages = choices.languages or ([facts.language] if facts.language else ())
    metrics = facts.training.metrics
    values: dict[str, Any] = {
        "language": list(languages),
        "license": choices.license,
        "license_name": choices.license_name,
        "license_link": choices.license_link,
        "library_name": LIBRARY,
        "pipeline_tag": PIPELINE,
        "tags": ["lstm", "language-model", LEVELS[facts.settings.tokenizer.level]],
        "datasets": list(choices.datasets),
        "metrics": [metric.type for metric in metrics],
        "model-index": [
            {"name": _find_title(choices), "results": [_make_result(facts, choices, metrics)]}
        ]
        if metrics
        else [],
    }
    return {key: value for key, value in values.items() if value}


def _make_result(
    facts: CardFacts, choices: CardChoices, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """The figures of the validation text, with the command that made them and the one to check."""
    commands = {"command": TRAIN, "check": CHECK}
    return {
        "task": {"type": PIPELINE, "name": "Text generation"},
        "dataset": {
            "type": choices.datasets[0] if choices.datasets else "text",
            "name": _describe_held_out(facts),
            "split": SPLITS["valid"],
        },
        "metrics": [
            {
                "type": metric.type,
                "value": float(f"{metric.value:.6g}"),
                "name": metric.name,
                "args": commands,
            }
            for metric in metrics
        ],
    }


def _describe_held_out(facts: CardFacts) -> str:
    data = facts.settings.data
    if data.valid is not None:
        return str(data.valid) if is_built_in(data.valid) else "a separate validation text"
    whole = str(data.train) if is_built_in(data.train) else "the author's text"
    return f"the last {100 * data.valid_fraction:g} % of {whole}"


def _draw_network(facts: CardFacts) -> str:
    """The layers, one a line."""
    model, V = facts.settings.model, f"{facts.vocab_size:,}"
    kinds = [
        *(["layer normalization"] if model.layer_norm else []),
        *(["residual connections"] if model.residual else []),
    ]
    extras = f" with {' and '.join(kinds)}" if kinds else ""
    output = f"Dense({V})"
    if model.tie_embeddings:
        has_projection = model.embedding_dim != model.hidden_units
        first = f"Dense({model.embedding_dim}), " if has_projection else ""
        output = f"{first}the weights of the embedding (tied)"
    return (
        f"Embedding({V}, {model.embedding_dim})\n"
        f"  -> {model.num_layers} x LSTM({model.hidden_units}){extras}\n"
        f"  -> {output}, softmax"
    )


def _find_title(choices: CardChoices) -> str:
    return UNTITLED if choices.repository is None else choices.repository.partition("/")[2]


def _list_values(facts: CardFacts, choices: CardChoices) -> Mapping[str, Any]:
    training, settings = facts.training, facts.settings
    return {
        "title": _find_title(choices),
        "repository": choices.repository,
        "choices": choices,
        "library": LIBRARY,
        "network": _draw_network(facts),
        "state_numbers": f"{settings.model.num_layers} x {2 * settings.model.hidden_units:,}",
        "tokenizer": settings.tokenizer,
        "allow_unknown": settings.generation.allow_unknown,
        "has_spelling": facts.has_spelling,
        "level": LEVELS[settings.tokenizer.level],
        "documents": settings.data.documents,
        "optimizer": settings.training,
        "vocab_size": facts.vocab_size,
        "parameters": count_parameters(settings.model, facts.vocab_size),
        "training": training,
        "corpus": training.corpora.get("train", {}),
        "text": f"`{settings.data.train}`" if is_built_in(settings.data.train) else None,
        "held_out": _describe_held_out(facts),
        "train_command": TRAIN,
        "check_command": CHECK,
        "samples": facts.samples,
        "copies": None if facts.copies is None else describe_copies(facts.copies),
    }
