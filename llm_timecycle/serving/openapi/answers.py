"""What the server answers: a schema by name."""

from __future__ import annotations

from llm_timecycle.serving.openapi.schemas import (
    COUNT,
    FLAG,
    IDS,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    Schema,
    list_of,
    make_object,
    or_null,
    refer,
)

_MILLISECONDS = or_null({"type": "number", "minimum": 0})

_ERROR = make_object(
    {
        "error": make_object(
            {"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": or_null(TEXT)}
        )
    }
)
_LOGPROBS = make_object(
    {
        "tokens": TEXTS,
        "token_logprobs": list_of(or_null(NUMBER)),
        "top_logprobs": list_of(or_null({"type": "object", "additionalProperties": NUMBER})),
        "text_offset": IDS,
        "top_token_ids": list_of({"type": "object", "additionalProperties": COUNT}),
    },
    optional=["top_token_ids"],
)
_USAGE = make_object({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT})
_METRICS = make_object(
    {
        "queue_time_ms": _MILLISECONDS,
        "prompt_time_ms": _MILLISECONDS,
        "time_to_first_token_ms": _MILLISECONDS,
        "mean_itl_ms": _MILLISECONDS,
        "tokens_per_second": or_null(NUMBER),
        "stages_ms": make_object({"step": NUMBER, "sampling": NUMBER, "text": NUMBER}),
    }
)


def _describe_text(kind: str, told: Schema, *, is_chunk: bool = False) -> Schema:
    """A completion or a chat, whole or a chunk of a stream.

    Args:
        kind: the word for it, its `object`.
        told: where a choice has its text.
    """
    ids = {"prompt_token_ids": IDS, "token_ids": IDS}
    choice = make_object(
        {
            "index": COUNT,
            **told,
            "logprobs": or_null(refer("Logprobs")),
            "finish_reason": {"enum": ["stop", "length", None]},
            "stop_reason": {"type": ["string", "integer", "null"]},
            **ids,
        },
        optional=[*ids, *(["stop_reason"] if is_chunk else [])],
    )
    return make_object(
        {
            "id": TEXT,
            "object": {"const": kind},
            "created": COUNT,
            "model": TEXT,
            "system_fingerprint": TEXT,
            "choices": list_of(choice),
            "usage": or_null(refer("Usage")) if is_chunk else refer("Usage"),
            "metrics": refer("Metrics"),
        },
        optional=["metrics", *(["usage"] if is_chunk else [])],
    )


def describe_event(chunk: Schema) -> Schema:
    """An event of a stream: a chunk, an error, or the word at the end."""
    content = {"anyOf": [chunk, refer("Error")]}
    text = {**TEXT, "contentMediaType": "application/json", "contentSchema": content}
    data = {"anyOf": [{"const": "[DONE]"}, text]}
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


_ROLE = {"const": "assistant"}
_MESSAGE = make_object({"role": _ROLE, "content": TEXT, "refusal": {"type": "null"}})
_DELTA = make_object({"role": _ROLE, "content": TEXT}, optional=["role", "content"])
_MODEL = make_object(
    {
        "id": TEXT,
        "object": {"const": "model"},
        "created": COUNT,
        "owned_by": TEXT,
        "root": TEXT,
        "parent": {"type": "null"},
        "max_model_len": {"type": "null"},
    }
)
_HEALTH = make_object(
    {"status": {"enum": ["ok", "loading", "stopping"]}, "running": COUNT, "waiting": COUNT}
)
_LIMITS = make_object(
    {
        "max_tokens": WHOLE,
        "max_prompt_tokens": WHOLE,
        "max_batch": WHOLE,
        "max_queue": WHOLE,
        "max_body_bytes": WHOLE,
        "timeout_s": NUMBER,
    }
)
_MODEL_PROPS = make_object(
    {
        "id": TEXT,
        "system_fingerprint": TEXT,
        "vocab_size": WHOLE,
        "level": TEXT,
        "word_split": TEXT,
        "documents": TEXT,
        "does_eos_end_documents": FLAG,
        "embedding_dim": WHOLE,
        "num_layers": WHOLE,
        "hidden_units": WHOLE,
        "generation": {
            "type": "object",
            "description": "The run's own settings, as fields of a request.",
        },
        "seed_digits": {
            **or_null(TEXT),
            "description": "The run's seed, for programs that round numbers above 2^53.",
        },
        "not_served": {
            "type": "object",
            "description": "Settings of the run that generate follows and this server does not.",
        },
    }
)
_TOKENIZER = make_object(
    {
        "tokenizer_class": TEXT,
        "level": TEXT,
        "vocab_size": WHOLE,
        "eos_token": TEXT,
        "eos_token_id": COUNT,
        "bos_token": or_null(TEXT),
        "bos_token_id": or_null(COUNT),
        "unk_token": TEXT,
        "unk_token_id": COUNT,
        "pad_token": {"type": "null"},
        "chat_template": {"type": "null"},
        "lowercase": FLAG,
        "normalize": TEXT,
        "does_eos_end_documents": FLAG,
    }
)

ANSWERS: dict[str, Schema] = {
    "Error": _ERROR,
    "Completion": _describe_text("text_completion", {"text": TEXT}),
    "CompletionChunk": _describe_text("text_completion", {"text": TEXT}, is_chunk=True),
    "ChatCompletion": _describe_text("chat.completion", {"message": _MESSAGE}),
    "ChatCompletionChunk": _describe_text(
        "chat.completion.chunk", {"delta": _DELTA}, is_chunk=True
    ),
    "Logprobs": _LOGPROBS,
    "Usage": _USAGE,
    "Metrics": _METRICS,
    "Model": _MODEL,
    "ModelList": make_object({"object": {"const": "list"}, "data": list_of(refer("Model"))}),
    "Health": _HEALTH,
    "Props": make_object(
        {
            "version": TEXT,
            "engine": TEXT,
            "limits": _LIMITS,
            "chat_template": or_null(TEXT),
            "models": list_of(_MODEL_PROPS),
        }
    ),
    "Tokens": make_object(
        {"count": COUNT, "max_model_len": {"type": "null"}, "tokens": IDS, "token_strs": TEXTS},
        optional=["token_strs"],
    ),
    "Text": make_object({"prompt": TEXT, "content": TEXT}),
    "Tokenizer": _TOKENIZER,
}
