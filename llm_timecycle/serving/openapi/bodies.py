"""What requests may hold: the fields with their ranges, defaults and meanings."""

from __future__ import annotations

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.serving.chat.request import DEFAULT_MAX_TOKENS as CHAT_MAX_TOKENS
from llm_timecycle.serving.chat.request import UNSUPPORTED as UNSUPPORTED_IN_CHAT
from llm_timecycle.serving.chat.templates import ROLES
from llm_timecycle.serving.completions.request import (
    DEFAULT_MAX_TOKENS,
    LOGPROBS_AT_MOST,
    SEED_AT_MOST,
    SEED_DIGITS,
    TEXTS_AT_MOST,
    UNSUPPORTED,
    Limits,
)
from llm_timecycle.serving.completions.sampling import BIAS_AT_MOST, PROTOCOL, SAMPLING_FIELDS
from llm_timecycle.serving.openapi.schemas import FLAG, IDS, TEXT, TEXTS, Schema, list_of, or_null

_TEXT_OR_TEXTS = [{"type": "string", "minLength": 1}, list_of({"type": "string", "minLength": 1})]


def describe_completion(limits: Limits) -> Schema:
    """The body of POST /v1/completions."""
    properties: Schema = {
        "model": _describe_model(),
        "prompt": {
            "anyOf": [
                *(TEXT, {**TEXTS, "minItems": 1}, {**IDS, "minItems": 1}),
                *({**list_of(IDS), "minItems": 1}, {"type": "null"}),
            ],
            "description": "What is continued: texts or token ids; null begins a document.",
        },
        **_describe_common(limits, DEFAULT_MAX_TOKENS),
        "best_of": _describe_whole(1, TEXTS_AT_MOST, None, "At most n; texts are not ranked."),
        "echo": _describe_flag("Repeat the prompt; with logprobs, score it."),
        "logprobs": _describe_whole(
            0,
            LOGPROBS_AT_MOST,
            None,
            "Log-probabilities of each token and of that many of the likeliest: the model's, "
            "before penalties, bias, temperature and filters.",
        ),
    }
    for name, neutral in UNSUPPORTED.items():
        properties[name] = _describe_unsupported(neutral)
    return {"type": "object", "properties": properties}


def describe_chat(limits: Limits) -> Schema:
    """The body of POST /v1/chat/completions."""
    part = {
        "type": "object",
        "properties": {"type": {"const": "text"}, "text": TEXT},
        "required": ["type", "text"],
    }
    message = {
        "type": "object",
        "properties": {
            "role": {"enum": [*ROLES]},
            "content": {"anyOf": [TEXT, list_of(part)]},
            "name": {**or_null(TEXT), "description": "Who speaks, with the template names."},
        },
        "required": ["role", "content"],
    }
    properties: Schema = {
        "model": _describe_model(),
        "messages": {
            **list_of(message),
            "minItems": 1,
            "description": "The dialogue so far, written as text by the server's chat template.",
        },
        **_describe_common(limits, CHAT_MAX_TOKENS),
        "max_completion_tokens": _describe_whole(
            0, limits.max_tokens, None, "The newer name of max_tokens."
        ),
    }
    for name, neutral in (UNSUPPORTED | UNSUPPORTED_IN_CHAT).items():
        properties[name] = _describe_unsupported(neutral)
    return {"type": "object", "required": ["messages"], "properties": properties}


def describe_tokenize() -> Schema:
    """The body of POST /tokenize."""
    return {
        "type": "object",
        "anyOf": [{"required": ["prompt"]}, {"required": ["content"]}],
        "properties": {
            "model": _describe_model(),
            "prompt": {**TEXT, "description": "The text."},
            "content": {**TEXT, "description": "The text, where there is no prompt."},
            "add_special_tokens": {
                **or_null(FLAG),
                "default": True,
                "description": "Whether a document begins, where a completion would begin one.",
            },
            "return_token_strs": _describe_flag("Also return the text of each token."),
        },
    }


def describe_detokenize() -> Schema:
    """The body of POST /detokenize."""
    properties = {"model": _describe_model(), "tokens": IDS}
    return {"type": "object", "required": ["tokens"], "properties": properties}


def _describe_common(limits: Limits, default_max_tokens: int) -> Schema:
    """What completions and chats have in common."""
    most = limits.max_tokens
    return {
        "n": _describe_whole(1, TEXTS_AT_MOST, 1, "Texts for each prompt."),
        "max_tokens": _describe_whole(
            0,
            most,
            min(default_max_tokens, most),
            "Most tokens of a text; 0 with echo and logprobs scores the prompt only.",
        ),
        "min_tokens": _describe_whole(0, most, 0, "Tokens before which a text does not end."),
        **_describe_sampling(),
        "seed": {
            **_describe_whole(
                -1,
                SEED_AT_MOST,
                -1,
                "The same seed gives the same text, alone and in company; -1 is random. A string "
                "of its digits means the same, for programs that round numbers above 2^53.",
            ),
            "type": ["integer", "string", "null"],
            "pattern": SEED_DIGITS,
        },
        "stop": {
            "anyOf": [*_TEXT_OR_TEXTS, {"type": "null"}],
            "description": "Texts before which a text ends.",
        },
        "stop_token_ids": {**or_null(IDS), "description": "Tokens before which a text ends."},
        "ignore_eos": _describe_flag("Never draw the token that ends a document."),
        "stream": _describe_flag("Send the text as server-sent events as it is written."),
        "stream_options": {
            "type": ["object", "null"],
            "properties": {
                "include_usage": _describe_flag("End with a chunk that has the token counts.")
            },
            "description": "Only with stream.",
        },
        "return_token_ids": _describe_flag("Also return the ids of tokens."),
        "metrics": _describe_flag("Also return the times of the request."),
    }


def _describe_sampling() -> Schema:
    known = list_key_schemas("generation")
    sampling = {name: _describe_setting(known[name], name) for name in SAMPLING_FIELDS}
    sampling["top_k"] = {
        "type": ["integer", "null"],
        "minimum": -1,
        "default": None,
        "description": f"{known['top_k']['description']} 0 and -1 are no limit.",
    }
    return {
        **sampling,
        "logit_bias": {
            "type": ["object", "null"],
            "additionalProperties": {
                "type": "number",
                "minimum": -BIAS_AT_MOST,
                "maximum": BIAS_AT_MOST,
            },
            "description": "Added to the logits of tokens; a key is an id, or the text of a token. "
            "Keys that mean one token add up.",
        },
        "ban": {**or_null(TEXTS), "description": known["ban"]["description"]},
        "allow_unknown": _describe_flag(known["allow_unknown"]["description"]),
    }


def _describe_setting(schema: Schema, name: str) -> Schema:
    bare = {key: value for key, value in schema.items() if key not in ("description", "default")}
    default = getattr(PROTOCOL, name)
    return {
        "anyOf": [bare, {"type": "null"}],
        "default": default,
        "description": schema["description"],
    }


def _describe_model() -> Schema:
    return {**or_null(TEXT), "description": "A name from /v1/models; null is the first."}


def _describe_flag(description: str) -> Schema:
    return {**or_null(FLAG), "default": False, "description": description}


def _describe_whole(least: int, most: int, default: int | None, description: str) -> Schema:
    return {
        "type": ["integer", "null"],
        "minimum": least,
        "maximum": most,
        "default": default,
        "description": description,
    }


def _describe_unsupported(neutral: tuple[object, ...]) -> Schema:
    return {"enum": [*neutral], "description": "Not supported: leave it out."}
