"""The fields that say how tokens are drawn, and the settings of a run as such fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_timecycle.config.json_schema import describe_allowed, list_key_schemas
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.options import override_settings
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.generation.sampling.token_ids import add_up, find_tokens
from llm_timecycle.serving.completions.fields import (
    Body,
    read_flag,
    read_number,
    read_text,
)
from llm_timecycle.serving.errors import ApiError, refuse_field, show
from llm_timecycle.serving.models import ServedModel
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TEXTS_AT_MOST = 1024  # in one list
CHARACTERS_AT_MOST = 1000  # in one text of it
BIAS_AT_MOST = 1e6  # a run has at most 1,000 for one text, and several can mean one token

SAMPLING_FIELDS = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_sequence_breakers"),
    *("no_repeat_ngram", "xtc_probability", "xtc_threshold"),
)
"""Settings of `generation` that a request may set, under the same names."""
NOT_SERVED = ("beams", "cache")
"""Settings of `generation` that decide the text and that a request cannot set."""
PROTOCOL = GenerationSettings(temperature=1.0)
"""What a request that sets nothing gets: the protocol's defaults."""


class Drawing:
    """How the tokens of a request are drawn.

    Args:
        body: the request.
        model: what it asks.

    Raises ApiError, which names the field.
    """

    def __init__(self, body: Body, model: ServedModel) -> None:
        tokenizer = model.tokenizer
        self._model = model
        self._settings_json = _read_settings(body).model_dump_json()
        self._bias = _read_bias(body, tokenizer)
        self._banned = _read_ban(body, tokenizer)
        self._end_ids = [tokenizer.eos_id] if tokenizer.does_eos_end_documents else []
        if read_flag(body, "ignore_eos"):
            self._banned += self._end_ids
        self._check_some_are_left("ban", self._banned)

    def make_plan(self) -> SamplingPlan:
        """The plan of a text that may end."""
        return self._make_plan(self._banned)

    def make_early_plan(self, stop_ids: frozenset[int]) -> SamplingPlan:
        """The plan of a text that may not end yet."""
        banned = [*self._banned, *self._end_ids, *sorted(stop_ids)]
        self._check_some_are_left("stop_token_ids", banned)
        return self._make_plan(banned)

    def _make_plan(self, banned: Sequence[int]) -> SamplingPlan:
        return self._model.make_plan(
            self._settings_json, tuple(dict.fromkeys(banned)), tuple(sorted(self._bias.items()))
        )

    def _check_some_are_left(self, name: str, banned: Sequence[int]) -> None:
        V = self._model.tokenizer.vocab_size
        if len(set(banned)) >= V:
            raise ApiError(
                400, f"{name}: all {V:,} tokens are excluded; leave at least one", param=name
            )


def describe_defaults(
    settings: GenerationSettings, tokenizer: Tokenizer, most_tokens: int
) -> Mapping[str, Any]:
    """Settings of a run under the names that a request gives them.

    A request with these fields is drawn as `generate` draws, and has `most_tokens` at most.
    """
    ids = find_tokens(tokenizer, "bias", list(settings.bias))
    added = zip(ids, settings.bias.values(), strict=True)
    return {
        **settings.model_dump(include=set(SAMPLING_FIELDS)),
        "logit_bias": {str(id): amount for id, amount in add_up(added).items()},
        "ban": settings.ban,
        "allow_unknown": settings.allow_unknown,
        "max_tokens": min(settings.length, most_tokens),
        "stop": settings.stop,
        "seed": settings.seed,
    }


def list_not_served(settings: GenerationSettings, most_tokens: int) -> dict[str, Any]:
    """The settings of a run that `generate` follows and a server does not, with their values.

    A `length` above `most_tokens` is one of them.
    """
    neutral = GenerationSettings()
    values = {name: getattr(settings, name) for name in NOT_SERVED}
    changed = {name: value for name, value in values.items() if value != getattr(neutral, name)}
    return changed | ({"length": settings.length} if settings.length > most_tokens else {})


def _read_settings(body: Body) -> GenerationSettings:
    """The protocol's defaults with the fields of the body."""
    given: dict[str, Any] = {
        name: body[name] for name in SAMPLING_FIELDS if body.get(name) is not None
    }
    if given.get("top_k") in (0, -1) and not isinstance(given["top_k"], bool):
        del given["top_k"]  # both mean no limit
    for name, value in given.items():
        if isinstance(value, dict):  # it would be repeated in full
            raise refuse_field(name, value, describe_allowed(list_key_schemas("generation")[name]))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            read_number(value, name)
        if isinstance(value, list):
            _read_texts(value, name)
    try:
        return override_settings(PROTOCOL, given, write_value=show, allows_idle=True)
    except UsageError as error:
        message = str(error)
        raise ApiError(400, message, param=message.partition(":")[0]) from error


def _read_bias(body: Body, tokenizer: Tokenizer) -> dict[int, float]:
    """What is added to the logits of single tokens; a key of digits is an id, else a token.

    Keys that mean one token add up, as in a run's `bias`.
    """
    name, V = "logit_bias", tokenizer.vocab_size
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse_field(name, value, 'an object, such as {"42": -100}')
    if len(value) > TEXTS_AT_MOST:
        raise refuse_field(name, f"{len(value)} tokens", f"at most {TEXTS_AT_MOST}")
    added: list[tuple[int, float]] = []
    texts: dict[str, float] = {}
    for key, number in value.items():
        amount = read_number(number, name)
        if abs(amount) > BIAS_AT_MOST:
            most = f"{BIAS_AT_MOST:.0f}"
            raise refuse_field(name, number, f"numbers from -{most} to {most}")
        if not (key.isascii() and key.isdigit()):
            texts[key] = amount
        elif len(key) > 9 or int(key) >= V:
            raise refuse_field(name, key, f"token ids from 0 to {V - 1}")
        else:
            added.append((int(key), amount))
    ids = _find_tokens(tokenizer, name, list(texts))
    return add_up([*added, *zip(ids, texts.values(), strict=True)])


def _read_ban(body: Body, tokenizer: Tokenizer) -> list[int]:
    """The tokens that are never drawn: those of `ban`, and `<unk>` unless it is allowed."""
    name = "ban"
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise refuse_field(name, value, 'a list of tokens, such as ["the"]')
    unknown = [] if read_flag(body, "allow_unknown") else [tokenizer.unk_id]
    return unknown + _find_tokens(tokenizer, name, value or [])


def _read_texts(value: Sequence[object], name: str) -> list[str]:
    if len(value) > TEXTS_AT_MOST:
        raise refuse_field(name, f"{len(value)} texts", f"at most {TEXTS_AT_MOST}")
    texts = [read_text(text, name) for text in value]
    for text in texts:
        if len(text) > CHARACTERS_AT_MOST:
            raise refuse_field(name, text, f"texts of at most {CHARACTERS_AT_MOST} characters")
    return texts


def _find_tokens(tokenizer: Tokenizer, name: str, texts: Sequence[object]) -> list[int]:
    try:
        return find_tokens(tokenizer, name, _read_texts(texts, name))
    except UsageError as error:
        raise ApiError(400, str(error), param=name) from error
