"""The small endpoints: models, tokens, health, the run's own settings."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from llm_timecycle import __version__
from llm_timecycle.errors import DataError
from llm_timecycle.generation.sample import encode_prompt
from llm_timecycle.serving.chat.templates import ChatTemplate
from llm_timecycle.serving.completions.fields import read_flag, read_ids, read_text
from llm_timecycle.serving.completions.sampling import describe_defaults, list_not_served
from llm_timecycle.serving.errors import RETRY_AFTER_S, ApiError, refuse_field
from llm_timecycle.serving.http import answer_json, read_body
from llm_timecycle.serving.models import ENGINE, ServedModel, find_model
from llm_timecycle.serving.service import Service


class Endpoints:
    """Everything but completions.

    Args:
        service: the models.
        template: how dialogues are written; None if there is no chat.
    """

    def __init__(self, service: Service, template: ChatTemplate | None = None) -> None:
        self._service, self._template = service, template

    async def health(self, request: Request) -> Response:
        """GET /health: 200 once the models are loaded, 503 with a word before and at the end."""
        service = self._service
        status = {"status": service.status, "running": service.running, "waiting": service.waiting}
        if service.status == "ok":
            return answer_json(status)
        return answer_json(status, 503, {"Retry-After": str(RETRY_AFTER_S[503])})

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        data = [model.describe() for model in self._service.models.values()]
        return answer_json({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        """GET /v1/models/NAME."""
        model = find_model(self._service.models, request.path_params["name"])
        return answer_json(model.describe())

    async def props(self, request: Request) -> Response:
        """GET /props: what the server allows, and each run's own settings of generation."""
        limits = self._service.limits
        return answer_json(
            {
                "version": __version__,
                "engine": ENGINE,
                "limits": {
                    "max_tokens": limits.request.max_tokens,
                    "max_prompt_tokens": limits.request.max_prompt_tokens,
                    "max_batch": limits.max_batch,
                    "max_queue": limits.max_queue,
                    "max_body_bytes": limits.max_body_bytes,
                    "timeout_s": limits.timeout_s,
                },
                "chat_template": None if self._template is None else self._template.name,
                "models": [
                    _describe_props(model, limits.request.max_tokens)
                    for model in self._service.models.values()
                ],
            }
        )

    async def tokenize(self, request: Request) -> Response:
        """POST /tokenize: the ids of a text."""
        body, model = await self._read(request)
        return answer_json(await asyncio.to_thread(_tokenize, body, model))

    async def detokenize(self, request: Request) -> Response:
        """POST /detokenize: the text of ids."""
        body, model = await self._read(request)
        ids = read_ids(body.get("tokens"), "tokens", model.tokenizer.vocab_size)
        text = await asyncio.to_thread(model.tokenizer.decode, ids)
        return answer_json({"prompt": text, "content": text})

    async def tokenizer_info(self, request: Request) -> Response:
        """GET /tokenizer_info: what evaluation programs ask before they score."""
        model = find_model(self._service.models, request.query_params.get("model"))
        tokenizer = model.tokenizer
        begins_documents = tokenizer.documents != "file"
        end = tokenizer.token(tokenizer.eos_id)
        return answer_json(
            {
                "tokenizer_class": "llm-timecycle",
                "level": tokenizer.settings.level,
                "vocab_size": tokenizer.vocab_size,
                "eos_token": end,
                "eos_token_id": tokenizer.eos_id,
                "bos_token": end if begins_documents else None,
                "bos_token_id": tokenizer.eos_id if begins_documents else None,
                "unk_token": tokenizer.token(tokenizer.unk_id),
                "unk_token_id": tokenizer.unk_id,
                "pad_token": None,
                "chat_template": None,
                "lowercase": tokenizer.settings.lowercase,
                "normalize": tokenizer.normalize,
                "does_eos_end_documents": tokenizer.does_eos_end_documents,
            }
        )

    async def refuse_chat(self, request: Request) -> Response:
        """/v1/chat/completions without a template: not what a model of plain text does."""
        names = ", ".join(self._service.models)
        raise ApiError(
            404,
            f"the models here ({names}) are base models: they continue a text, and have not "
            f"learned to answer messages. Send a prompt to POST /v1/completions. If one was "
            f"trained on dialogues, whoever runs the server can choose a chat template",
            code="not_a_chat_model",
        )

    async def _read(self, request: Request) -> tuple[dict[str, Any], ServedModel]:
        limits = self._service.limits
        body = await read_body(request, limits.max_body_bytes, limits.timeout_s)
        return body, find_model(self._service.models, body.get("model"))


def _describe_props(model: ServedModel, most_tokens: int) -> dict[str, Any]:
    tokenizer, settings = model.tokenizer, model.run.settings
    seed = model.generation.seed
    return {
        "id": model.name,
        "system_fingerprint": model.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "level": tokenizer.settings.level,
        "word_split": tokenizer.settings.word_split,
        "documents": tokenizer.documents,
        "does_eos_end_documents": tokenizer.does_eos_end_documents,
        "embedding_dim": settings.model.embedding_dim,
        "num_layers": settings.model.num_layers,
        "hidden_units": settings.model.hidden_units,
        "generation": describe_defaults(model.generation, tokenizer, most_tokens),
        "seed_digits": None if seed is None else str(seed),
        "not_served": list_not_served(model.generation, most_tokens),
    }


def _tokenize(body: dict[str, Any], model: ServedModel) -> dict[str, Any]:
    """`prompt` (or `content`) as ids; with `add_special_tokens`, as a completion reads it.

    A text that is `<eos>` and nothing else is that token, as evaluation programs expect it.
    """
    texts = {name: read_text(body[name], name) for name in ("content", "prompt") if name in body}
    if not texts:
        raise refuse_field("prompt", None, "a text")
    name, text = texts.popitem()
    tokenizer = model.tokenizer
    adds_special = body.get("add_special_tokens") is None or read_flag(body, "add_special_tokens")
    try:
        if text == tokenizer.token(tokenizer.eos_id):
            ids = np.array([tokenizer.eos_id])
        elif adds_special and text:
            ids = encode_prompt(tokenizer, text)
        else:
            ids = tokenizer.encode(text)
    except DataError as error:
        raise ApiError(400, f"{name}: {error}", param=name) from error
    listed = ids.tolist()
    answer: dict[str, Any] = {"count": len(listed), "max_model_len": None, "tokens": listed}
    if body.get("return_token_strs") is not None and read_flag(body, "return_token_strs"):
        answer["token_strs"] = [model.show_token(id) for id in listed]
    return answer
