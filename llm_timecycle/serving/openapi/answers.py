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
_FINISH_REASON = {"enum": ["stop", "length", None]}
_STOP_REASON = {"type": ["string", "integer", "null"]}

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


def _describe_choice(told: Schema) -> Schema:
    ids = {"prompt_token_ids": IDS, "token_ids": IDS}
    return make_object(
        {
            "index": COUNT,
            **told,
            "logprobs": or_null(refer("Logprobs")),
            "finish_reason": _FINISH_REASON,
            "stop_reason": _STOP_REASON,
            **ids,
        },
        optional=[*ids],
    )


def _describe_whole(kind: str, told: Schema) -> Schema:
    return make_object(
        {
            "id": TEXT,
            "object": {"const": kind},
            "created": COUNT,
            "model": TEXT,
            "system_fingerprint": TEXT,
            "choices": list_of(_describe_choice(told)),
            "usage": refer("Usage"),
            "metrics": refer("Metrics"),
        },
        optional=["metrics"],
    )


_MESSAGE = make_object(
    {"role": {"const": "assistant"}, "content": TEXT, "refusal": {"type": "null"}}
)
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
    "Completion": _describe_whole("text_completion", {"text": TEXT}),
    "ChatCompletion": _describe_whole("chat.completion", {"message": _MESSAGE}),
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
