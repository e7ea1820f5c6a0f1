"""From the messages of a dialogue to the completion that is asked for."""

from __future__ import annotations

from typing import Any

from llm_timecycle.serving.chat.templates import ROLES, ChatTemplate, Message, read_stops
from llm_timecycle.serving.completions.fields import Body, read_text
from llm_timecycle.serving.completions.request import (
    CompletionRequest,
    Limits,
    parse_request,
    read_stop_texts,
    refuse_unsupported,
)
from llm_timecycle.serving.errors import ApiError, refuse_field
from llm_timecycle.serving.models import ServedModel

DEFAULT_MAX_TOKENS = 256
MESSAGES_AT_MOST = 10_000
UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "echo": (None, False),
    "continue_final_message": (None, False),
    "add_generation_prompt": (None, True),
}
"""Fields of the chat protocol that would change the answer, with the values that do not."""
NOT_PASSED_ON = {*UNSUPPORTED, "messages", "max_completion_tokens", "prompt"}


def parse_chat(
    body: Body, model: ServedModel, limits: Limits, template: ChatTemplate
) -> CompletionRequest:
    """Check every field of a body, and ask for the next turn of its dialogue.

    Raises ApiError, which names the field.
    """
    refuse_unsupported(body, UNSUPPORTED)
    messages = _read_messages(body.get("messages"))
    stops = read_stops(model.tokenizer, template.list_stops(messages))
    completion: dict[str, Any] = {
        **{name: value for name, value in body.items() if name not in NOT_PASSED_ON},
        "prompt": template.write_prompt(messages),
        "stop": [*read_stop_texts(body), *stops],
        "max_tokens": _find_length(body, limits),
    }
    try:
        return parse_request(completion, model, limits)
    except ApiError as error:
        if error.param == "prompt":
            error.param, error.message = "messages", f"messages, as a {error.message}"
        raise


def _find_length(body: Body, limits: Limits) -> object:
    """`max_completion_tokens` is the newer name of `max_tokens`."""
    for name in ("max_completion_tokens", "max_tokens"):
        if body.get(name) is not None:
            return body[name]
    return min(DEFAULT_MAX_TOKENS, limits.max_tokens)


def _read_messages(value: object) -> list[Message]:
    if not isinstance(value, list) or not 0 < len(value) <= MESSAGES_AT_MOST:
        expected = 'a list of messages, such as [{"role": "user", "content": "Hello"}]'
        raise refuse_field("messages", value, expected)
    return [_read_message(item, f"messages[{number}]") for number, item in enumerate(value)]


def _read_message(value: object, place: str) -> Message:
    if not isinstance(value, dict):
        raise refuse_field(place, value, "an object with role and content")
    role, name = value.get("role"), value.get("name")
    if not isinstance(role, str) or role not in ROLES:
        raise refuse_field(f"{place}.role", role, f"one of {', '.join(ROLES)}")
    if name is not None:
        name = read_text(name, f"{place}.name").strip()
        if not name or len(name.splitlines()) > 1:
            raise refuse_field(f"{place}.name", name, "a name, on one line")
    return Message(role, _read_content(value.get("content"), f"{place}.content"), name)


def _read_content(value: object, place: str) -> str:
    """A text, or a list of parts that are texts."""
    if not isinstance(value, list):
        return read_text(value, place)
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise refuse_field(place, part, "texts only: these models read nothing else")
    return "".join(read_text(part.get("text"), place) for part in value)
