"""The OpenAPI document: every path, what it takes and what it answers."""

from __future__ import annotations

from typing import Any

from llm_timecycle import __version__
from llm_timecycle.serving.openapi.answers import ANSWERS, describe_event
from llm_timecycle.serving.openapi.bodies import (
    describe_chat,
    describe_completion,
    describe_detokenize,
    describe_tokenize,
)
from llm_timecycle.serving.openapi.schemas import TEXT, Schema, refer
from llm_timecycle.serving.service import Service

BODY_ERRORS = {
    "400": "The body is no JSON object, or a field is wrong; `param` names it.",
    "404": "The model is not served.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
}
ENGINE_ERRORS = {
    "429": "Too many requests are waiting; see Retry-After.",
    "503": "The model is loading, or the server is shutting down; see Retry-After.",
    "504": "The request took too long.",
}
OTHER_ERRORS = (
    "401 without the API key, 403 for the page of another origin, 421 for an unknown host name."
)


def describe_api(service: Service, *, has_metrics: bool, has_chat: bool) -> Schema:
    """The OpenAPI 3.2 document for what this server answers."""
    limits = service.limits.request
    paths: Schema = {
        "/v1/completions": _post_text(
            "Continue prompts, and score them.", describe_completion(limits), "Completion"
        ),
        "/v1/models": _get("The models that are served.", refer("ModelList")),
        "/v1/models/{name}": _get(
            "One model.",
            refer("Model"),
            errors={"404": "The model is not served."},
            parameters=[{"name": "name", "in": "path", "required": True, "schema": TEXT}],
        ),
        "/health": _get_health(),
        "/props": _get("Limits, and each run's own generation settings.", refer("Props")),
        "/openapi.json": _get("This document.", {"type": "object"}),
    }
    if has_chat:
        paths["/v1/chat/completions"] = _post_text(
            "Answer a dialogue.", describe_chat(limits), "ChatCompletion"
        )
    for prefix in ("", "/v1"):
        paths[f"{prefix}/tokenize"] = _post(
            "The ids of a text.", describe_tokenize(), {"application/json": refer("Tokens")}
        )
        paths[f"{prefix}/detokenize"] = _post(
            "The text of ids.", describe_detokenize(), {"application/json": refer("Text")}
        )
        paths[f"{prefix}/tokenizer_info"] = _get(
            "Special tokens and the size of the vocabulary.",
            refer("Tokenizer"),
            errors={"404": "The model is not served."},
            parameters=[{"name": "model", "in": "query", "schema": TEXT}],
        )
    if has_metrics:
        paths["/metrics"] = _get("Prometheus metrics.", TEXT, media="text/plain")
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "llm-timecycle",
            "version": __version__,
            "description": "Completions of LSTM language models, with the log-probabilities of "
            "prompt and text. Fields that are not listed are ignored.",
        },
        "paths": paths,
        "components": {"schemas": ANSWERS},
    }


def _get(
    summary: str,
    answer: Schema,
    *,
    media: str = "application/json",
    errors: dict[str, str] | None = None,
    parameters: list[Any] | None = None,
) -> Schema:
    operation: Schema = {"summary": summary, "responses": _list_answers({media: answer}, errors)}
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def _get_health() -> Schema:
    described = _get("200 once the models are loaded, 503 while they are not.", refer("Health"))
    answers = described["get"]["responses"]
    answers["503"] = {**answers["200"], "description": "Loading, or stopping; see Retry-After."}
    return described


def _post_text(summary: str, body: Schema, answer: str) -> Schema:
    described = _post(
        summary, body, {"application/json": refer(answer)}, BODY_ERRORS | ENGINE_ERRORS
    )
    events = {"itemSchema": describe_event(refer(f"{answer}Chunk"))}
    described["post"]["responses"]["200"]["content"]["text/event-stream"] = events
    return described


def _post(
    summary: str, body: Schema, media: dict[str, Schema], errors: dict[str, str] = BODY_ERRORS
) -> Schema:
    content = {"application/json": {"schema": body}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _list_answers(media, errors),
        }
    }


def _list_answers(media: dict[str, Schema], errors: dict[str, str] | None) -> Schema:
    content = {kind: {"schema": schema} for kind, schema in media.items()}
    return {
        "200": {"description": "OK", "content": content},
        **{status: _describe_error(text) for status, text in (errors or {}).items()},
        "default": _describe_error(OTHER_ERRORS),
    }


def _describe_error(text: str) -> Schema:
    content = {"application/json": {"schema": refer("Error")}}
    return {"description": text, "content": content}
