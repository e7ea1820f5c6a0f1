"""Contradictions: settings that are each allowed but cannot work together.

`Settings` calls `validate_settings` whenever it is made, so that a file, an override and
`Settings(...)` in Python are checked alike.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from llm_timecycle.config.settings import GenerationSettings, Settings

BYTE_VOCABULARY = 258  # 256 bytes, <unk> and <eos>
SHORTEST_VARIED = 10
"""The smallest mean of random window lengths; see `text.batches.draw_widths`."""
ENCODINGS = (
    *("utf-8", "utf-16", "gb18030", "gbk", "big5", "shift_jis", "cp932", "euc-jp", "euc-kr"),
    *("cp949", "windows-1252", "latin-1", "iso-8859-2", "windows-1250", "windows-1251", "koi8-r"),
)
"""Encodings that a message names; every one that Python knows is allowed."""
NO_TEXT_ENCODINGS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}
"""What Python counts among its encodings of text: names of hosts, and its literals."""
DECAYING_OPTIMIZERS = ("adamw", "nadam")
"""Those that `training.weight_decay` works with."""
CONTRADICTION = "contradiction"
"""The type of a contradiction among the errors of a pydantic ValidationError."""

BEAM_SEARCH_KEYS = {
    *(
        "length",
        "cache",
        "cache_theta",
        "no_repeat_ngram",
        "bias",
        "ban",
        "allow_unknown",
        "beams",
        "length_penalty",
    ),
    "stop",
}
"""The settings of `generation` that a beam search uses; all others decide how tokens are drawn."""
ALLOWED_BESIDE_BEAMS = {
    *("temperature", "seed"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_sequence_breakers"),
}
"""Settings that a beam search does not use, but that files have, as shipped or as suggested."""


class Contradiction(NamedTuple):
    """Dotted paths of the settings involved, the one to blame first, and what to do."""

    paths: tuple[str, ...]
    explanation: str


def validate_settings(data: Any, make: Callable[[Any], Settings]) -> Settings:
    """The settings made from `data`.

    Args:
        data: sections by name, each a mapping or already a section.
        make: pydantic's own validation.

    Raises:
        ValidationError: every wrong value, and every contradiction among the right ones.
    """
    try:
        settings = make(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        right = _leave_out(data, [detail["loc"] for detail in wrong])
        try:
            settings = make(right)
        except ValidationError:  # not even sections
            raise error from None
        errors = [
            InitErrorDetails(
                type=detail["type"],
                loc=detail["loc"],
                input=detail["input"],
                ctx=detail.get("ctx", {}),
            )
            for detail in wrong
        ]
    else:
        wrong, errors = [], []
    wrong_paths = {".".join(map(str, detail["loc"][:2])) for detail in wrong}
    for found in find_contradictions(settings):
        if wrong_paths.isdisjoint(found.paths):
            errors.append(_describe(found, settings))
    if errors:
        raise ValidationError.from_exception_data("Settings", errors)
    return settings


def _leave_out(data: Any, locations: list[tuple[int | str, ...]]) -> Any:
    """The sections without the values at `locations`."""
    if not isinstance(data, Mapping):
        return data
    kept = dict(data)
    for section, *keys in locations:
        values = kept.get(section)
        if keys and isinstance(values, Mapping):
            kept[section] = {key: value for key, value in values.items() if key != keys[0]}
        else:
            kept.pop(section, None)
    return kept


def _describe(found: Contradiction, settings: BaseModel) -> InitErrorDetails:
    section, key = found.paths[0].split(".")
    context = {"explanation": found.explanation, "paths": found.paths}
    return InitErrorDetails(
        type=PydanticCustomError(CONTRADICTION, "{explanation}", context),
        loc=(section, key),
        input=getattr(getattr(settings, section), key),
    )


def find_contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Every group of settings that cannot work together, or of which one would do nothing."""
    yield from _check_reading(settings)
    yield from _check_vocabulary(settings)
    yield from _check_held_out_texts(settings)
    yield from _check_length(settings)
    yield from _check_optimizer(settings)
    yield from _check_penalties(settings)
    yield from _check_residual(settings)
    yield from _check_beam_search(settings)


def _check_reading(settings: Settings) -> Iterator[Contradiction]:
    data = settings.data
    if data.encoding != "auto" and not _is_text_encoding(data.encoding):
        yield Contradiction(
            ("data.encoding",),
            f"received {data.encoding}; expected an encoding of text that Python knows, such as "
            f"{', '.join(ENCODINGS)}; or auto",
        )
    if data.field is not None and data.documents != "record":
        yield Contradiction(
            ("data.field", "data.documents"),
            f"received {data.field}, but documents: {data.documents} has no fields; set documents: "
            f"record, or leave field out",
        )


def _is_text_encoding(name: str) -> bool:
    try:
        if codecs.lookup(name).name in NO_TEXT_ENCODINGS:
            return False
        bytes(4).decode(name)
    except UnicodeDecodeError:
        return True
    except (LookupError, ValueError):
        return False
    return True


def _check_vocabulary(settings: Settings) -> Iterator[Contradiction]:
    tokenizer = settings.tokenizer
    if tokenizer.level in {"byte", "subword"} and tokenizer.vocab_size < BYTE_VOCABULARY:
        yield Contradiction(
            ("tokenizer.vocab_size", "tokenizer.level"),
            f"received {tokenizer.vocab_size}, but level: {tokenizer.level} needs "
            f"{BYTE_VOCABULARY} or more (256 bytes and 2 special tokens)",
        )


def _check_held_out_texts(settings: Settings) -> Iterator[Contradiction]:
    data, training = settings.data, settings.training
    held_out = {
        "data.valid_fraction": data.valid_fraction if data.valid is None else 0.0,
        "data.test_fraction": data.test_fraction if data.test is None else 0.0,
    }
    if sum(held_out.values()) >= 0.9:
        yield Contradiction(
            (*held_out, "data.valid", "data.test"),
            f"valid_fraction ({data.valid_fraction:g}) and test_fraction "
            f"({data.test_fraction:g}) must add up to less than 0.9, or too little text is left to "
            f"train on",
        )
    if data.valid is not None or data.valid_fraction > 0:
        return
    needs_validation = {
        "schedule": training.schedule == "plateau",
        "averaging": training.averaging != "none",
        "patience": training.patience is not None,
        "eval_every": training.eval_every is not None,
    }
    for key, is_set in needs_validation.items():
        if is_set:
            yield Contradiction(
                (f"training.{key}", "data.valid", "data.valid_fraction"),
                f"{getattr(training, key)} needs validation, but there is no validation text: set "
                f"data.valid, or data.valid_fraction above 0",
            )


def _check_length(settings: Settings) -> Iterator[Contradiction]:
    training = settings.training
    if training.minutes is not None and training.max_steps is not None:
        yield Contradiction(
            ("training.minutes", "training.max_steps"),
            f"{training.minutes:g} plans the number of steps, and max_steps: {training.max_steps} "
            f"fixes it; set one of the two to null",
        )
    if training.vary_sequence_length and training.sequence_length < SHORTEST_VARIED:
        yield Contradiction(
            ("training.sequence_length", "training.vary_sequence_length"),
            f"{training.sequence_length} is too short to vary: set sequence_length to "
            f"{SHORTEST_VARIED} or more, or vary_sequence_length to false",
        )
    if training.accumulate > training.batch_size:
        yield Contradiction(
            ("training.accumulate", "training.batch_size"),
            f"{training.accumulate} groups are more than the {training.batch_size} lanes of "
            f"batch_size; set accumulate to {training.batch_size} or less",
        )


def _check_optimizer(settings: Settings) -> Iterator[Contradiction]:
    training = settings.training
    decay, rate = training.weight_decay, training.learning_rate
    if decay != 0 and training.optimizer not in DECAYING_OPTIMIZERS:
        yield Contradiction(
            ("training.weight_decay", "training.optimizer"),
            f"{decay:g} has no effect with optimizer: {training.optimizer}; set "
            f"optimizer to {' or '.join(DECAYING_OPTIMIZERS)}, or weight_decay to 0",
        )
    elif rate is not None and decay * rate >= 1:
        yield Contradiction(
            ("training.weight_decay", "training.learning_rate"),
            f"{decay:g} times learning_rate: {rate:g} is the share of each weight that a step "
            f"takes away, and must be below 1; lower one of the two",
        )


def _check_penalties(settings: Settings) -> Iterator[Contradiction]:
    training = settings.training
    weight = training.temporal_activation_regularization
    if weight != 0 and training.sequence_length == 1:
        yield Contradiction(
            ("training.temporal_activation_regularization", "training.sequence_length"),
            f"{weight:g} has no effect with sequence_length: 1, because a window then has no two "
            f"tokens to compare; set sequence_length to 2 or more, or this to 0",
        )


def _check_residual(settings: Settings) -> Iterator[Contradiction]:
    model = settings.model
    if model.residual and model.num_layers == 1 and model.embedding_dim != model.hidden_units:
        yield Contradiction(
            ("model.residual", "model.num_layers", "model.embedding_dim", "model.hidden_units"),
            f"true has no effect, because the only LSTM layer reads {model.embedding_dim} numbers "
            f"and gives {model.hidden_units}; set embedding_dim to {model.hidden_units}, "
            f"num_layers to 2 or more, or residual to false",
        )


def _check_beam_search(settings: Settings) -> Iterator[Contradiction]:
    generation = settings.generation
    if generation.beams == 1:
        return
    for key in list_sampling_keys(type(generation)):
        value = getattr(generation, key)
        is_set = value != type(generation).model_fields[key].default
        if is_set and key not in ALLOWED_BESIDE_BEAMS:
            yield Contradiction(
                (f"generation.{key}", "generation.beams"),
                f"{_write(value)} has no effect with beams: {generation.beams}, because a beam "
                f"search does not sample; set beams to 1, or leave {key} out",
            )


def _write(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def list_sampling_keys(generation: type[GenerationSettings]) -> list[str]:
    """The settings of `generation` that have no effect on a beam search."""
    return [key for key in generation.model_fields if key not in BEAM_SEARCH_KEYS]
