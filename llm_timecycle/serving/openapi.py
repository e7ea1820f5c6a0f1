"""GET /openapi.json: the description of the server, which is its reference documentation."""

from __future__ import annotations

from typing import Any

from llm_timecycle import __version__
from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.serving.completions.request import (
    DEFAULT_MAX_TOKENS,
    LOGPROBS_AT_MOST,
    SAMPLING_FIELDS,
    SEED_AT_MOST,
    TEXTS_AT_MOST,
    UNSUPPORTED,
)
from llm_timecycle.serving.service import Service

Schema = dict[str, Any]
PROTOCOL_DEFAULTS = {"temperature": 1.0}


def describe_api(service: Service, *, has_metrics: bool) -> Schema:
    """The OpenAPI 3.1 document for what this server answers."""
    paths = {
        "/v1/completions": {
            "post": _describe_post(
                "Continue prompts, and score them.",
                _describe_completion_request(service),
                {"$ref": "#/components/schemas/Completion"},
                streams=True,
            )
        },
        "/v1/models": {"get": _describe_get("The models that are served.")},
        "/health": {
            "get": _describe_get("200 once the models are loaded, 503 while they are not.", 503)
        },
        "/props": {"get": _describe_get("Limits, and each run's own generation settings.")},
        "/openapi.json": {"get": _describe_get("This document.")},
    }
    for prefix in ("", "/v1"):
        paths[f"{prefix}/tokenize"] = {
            "post": _describe_post("The ids of a text.", _describe_tokenize(), {"type": "object"})
        }
        paths[f"{prefix}/detokenize"] = {
            "post": _describe_post("The text of ids.", _describe_detokenize(), {"type": "object"})
        }
        paths[f"{prefix}/tokenizer_info"] = {
            "get": _describe_get("Special tokens and the size of the vocabulary.", 404)
        }
    if has_metrics:
        paths["/metrics"] = {"get": _describe_get("Prometheus metrics.", media="text/plain")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llm-timecycle",
            "version": __version__,
            "description": "Completions of LSTM language models, with the log-probabilities of "
            "prompt and text. Fields that are not listed are ignored.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Completion": _COMPLETION}},
    }


def _describe_get(summary: str, *statuses: int, media: str = "application/json") -> Schema:
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {media: {"schema": schema}}},
            **{str(status): _describe_error("See the message.") for status in statuses},
        },
    }


def _describe_post(
    summary: str, request: Schema, answer: Schema, *, streams: bool = False
) -> Schema:
    content: Schema = {"application/json": {"schema": answer}}
    errors = {
        "400": "A field is wrong; `param` names it.",
        "401": "The API key is missing or wrong.",
        "404": "The model is not served.",
        "413": "The body is too large.",
    }
    if streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
        errors |= {
            "429": "Too many requests are waiting; see Retry-After.",
            "503": "The model is loading, or the server is shutting down; see Retry-After.",
            "504": "The request took too long.",
        }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request}},
        },
        "responses": {
            "200": {"description": "OK", "content": content},
            **{status: _describe_error(text) for status, text in errors.items()},
        },
    }


def _describe_error(text: str) -> Schema:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _describe_completion_request(service: Service) -> Schema:
    limits = service.limits.request
    known = list_key_schemas("generation")
    sampling = {name: _make_nullable(known[name]) for name in SAMPLING_FIELDS}
    for name, default in PROTOCOL_DEFAULTS.items():
        sampling[name] = {**sampling[name], "default": default}
    sampling["top_k"] = {
        "type": ["integer", "null"],
        "minimum": -1,
        "default": None,
        "description": f"{known['top_k']['description']} 0 and -1 are no limit.",
    }
    ids = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    text_or_texts = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    properties: Schema = {
        "model": _describe(["string", "null"], "A name from /v1/models; null is the first."),
        "prompt": {
            "anyOf": [*text_or_texts, ids, {"type": "array", "items": ids}, {"type": "null"}],
            "description": "What is continued: texts or token ids; null begins a document.",
        },
        "n": _describe_whole(1, TEXTS_AT_MOST, 1, "Texts for each prompt."),
        "best_of": _describe_whole(1, TEXTS_AT_MOST, None, "At most n; texts are not ranked."),
        "max_tokens": _describe_whole(
            0,
            limits.max_tokens,
            DEFAULT_MAX_TOKENS,
            "Most tokens of a text; 0 with echo and logprobs scores the prompt only.",
        ),
        "min_tokens": _describe_whole(
            0, limits.max_tokens, 0, "Tokens before which a text does not end."
        ),
        "echo": _describe_flag("Repeat the prompt; with logprobs, score it."),
        "logprobs": _describe_whole(
            0,
            LOGPROBS_AT_MOST,
            None,
            "Log-probabilities of each token and of that many of the likeliest: the model's, "
            "before penalties, bias, temperature and filters.",
        ),
        **sampling,
        "logit_bias": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
            "description": "Added to the logits of tokens; a key is an id, or the text of a token.",
        },
        "seed": _describe_whole(
            -1,
            SEED_AT_MOST,
            -1,
            "The same seed gives the same text, alone and in company; -1 is random.",
        ),
        "stop": {
            "anyOf": [*text_or_texts, {"type": "null"}],
            "description": "Texts before which a text ends.",
        },
        "stop_token_ids": {
            "anyOf": [ids, {"type": "null"}],
            "description": "Tokens before which a text ends.",
        },
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
        "user": _describe(["string", "null"], "Ignored."),
    }
    for name in UNSUPPORTED:
        properties[name] = {"description": "Not supported: leave it out, or null.", "type": "null"}
    return {"type": "object", "properties": properties}


def _make_nullable(schema: Schema) -> Schema:
    description = {"description": schema["description"], "default": schema["default"]}
    bare = {key: value for key, value in schema.items() if key not in description}
    return {"anyOf": [bare, {"type": "null"}], **description}


def _describe(kind: object, description: str) -> Schema:
    return {"type": kind, "description": description}


def _describe_flag(description: str) -> Schema:
    return {"type": ["boolean", "null"], "default": False, "description": description}


def _describe_whole(least: int, most: int, default: int | None, description: str) -> Schema:
    return {
        "type": ["integer", "null"],
        "minimum": least,
        "maximum": most,
        "default": default,
        "description": description,
    }


def _describe_tokenize() -> Schema:
    return {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "model": {"type": ["string", "null"]},
            "prompt": {"type": "string"},
            "add_special_tokens": {"type": ["boolean", "null"], "default": True},
            "return_token_strs": {"type": ["boolean", "null"], "default": False},
        },
    }


def _describe_detokenize() -> Schema:
    return {
        "type": "object",
        "required": ["tokens"],
        "properties": {
            "model": {"type": ["string", "null"]},
            "tokens": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }


_TEXT_OR_NULL = {"type": ["string", "null"]}
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": _TEXT_OR_NULL,
                "code": _TEXT_OR_NULL,
            },
        }
    },
}
_COMPLETION: Schema = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "text_completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "system_fingerprint": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "text", "logprobs", "finish_reason"],
                "properties": {
                    "index": {"type": "integer"},
                    "text": {"type": "string"},
                    "finish_reason": {"enum": ["stop", "length", None]},
                    "stop_reason": {"type": ["string", "integer", "null"]},
                    "logprobs": {
                        "type": ["object", "null"],
                        "properties": {
                            "tokens": {"type": "array", "items": {"type": "string"}},
                            "token_logprobs": {
                                "type": "array",
                                "items": {"type": ["number", "null"]},
                            },
                            "top_logprobs": {
                                "type": "array",
                                "items": {"type": ["object", "null"]},
                            },
                            "text_offset": {"type": "array", "items": {"type": "integer"}},
                        },
                    },
                },
            },
        },
        "usage": {"type": "object"},
        "metrics": {"type": "object"},
    },
}
