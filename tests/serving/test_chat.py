"""POST /v1/chat/completions with a template: the completion of the dialogue as text."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from llm_timecycle.runs.directory import Run
from llm_timecycle.serving.chat.request import parse_chat
from llm_timecycle.serving.chat.templates import TEMPLATES
from llm_timecycle.serving.completions.request import Limits
from llm_timecycle.serving.models import ServedModel
from tests.cli.random_runs import make_run
from tests.serving.servers import PROGRAM, RunningServer, read_events, start_server

DIALOGUE = "User: Is it so?\nAssistant: It is.\nAda: 7\n"
PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Is it?"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("chat") / "talk", "char", DIALOGUE)


@pytest.fixture(scope="module", params=["names", "lines"])
def chat(run: Run, request: pytest.FixtureRequest) -> Iterator[tuple[str, RunningServer]]:
    with start_server(run.path, "--chat-template", request.param) as running:
        yield request.param, running


def answer(server: RunningServer, **body: object) -> dict:
    found = server.post(body, PATH)
    assert found.status_code == 200, found.text
    return found.json()


def test_an_answer_is_the_completion_of_the_dialogue(chat: tuple[str, RunningServer]) -> None:
    template, server = chat
    prompt, stops = {
        "names": ("User: Is it?\nAssistant:", ["\nUser:", "\nAssistant:"]),
        "lines": ("Is it?\n", ["\n"]),
    }[template]
    for seed in range(8):
        told = answer(server, messages=HELLO, seed=seed, max_tokens=60, n=2)
        written = server.complete(prompt=prompt, stop=stops, seed=seed, max_tokens=60, n=2)
        assert told["object"] == "chat.completion"
        assert told["id"].startswith("chatcmpl-")
        assert told["usage"] == written["usage"]
        for choice, text in zip(told["choices"], written["choices"], strict=True):
            assert choice["message"]["role"] == "assistant"
            assert choice["message"]["content"] == text["text"].lstrip()
            for name in ("index", "finish_reason", "stop_reason"):
                assert choice[name] == text[name]


def test_a_stream_is_the_answer_in_pieces(chat: tuple[str, RunningServer]) -> None:
    import json

    _, server = chat
    body = {"messages": HELLO, "max_tokens": 40, "n": 2}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for seed in range(8):
        whole = answer(server, **body, seed=seed)
        *events, done = read_events(server.post({**body, "seed": seed, **options}, PATH).text)
        assert done == "[DONE]"
        *chunks, last = map(json.loads, events)
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert (last["choices"], last["usage"]) == ([], whole["usage"])
        for choice in whole["choices"]:
            parts = [
                part
                for chunk in chunks
                for part in chunk["choices"]
                if part["index"] == choice["index"]
            ]
            assert parts[0]["delta"]["role"] == "assistant"
            assert sum("role" in part["delta"] for part in parts) == 1
            content = "".join(part["delta"].get("content", "") for part in parts)
            assert content == choice["message"]["content"]
            reasons = [part["finish_reason"] for part in parts]
            assert reasons == [None] * (len(parts) - 1) + [choice["finish_reason"]]


def test_the_official_client_can_chat(chat: tuple[str, RunningServer]) -> None:
    _, server = chat
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "talk", "messages": HELLO, "seed": 1, "max_completion_tokens": 30}
        whole = client.chat.completions.create(**asked)
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**asked, stream=True)
        ]
        assert "".join(pieces) == whole.choices[0].message.content
        assert whole.usage.completion_tokens <= 30
        with pytest.raises(openai.BadRequestError) as wrong:
            client.chat.completions.create(**asked, logprobs=True)
        assert wrong.value.param == "logprobs"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [*HELLO, {"content": "a"}]}, "messages[1].role"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "user", "content": "a", "name": " "}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "a" * 100_001}]}, "messages"),
        ({"messages": HELLO, "tools": [{"type": "function"}]}, "tools"),
        ({"messages": HELLO, "logprobs": True}, "logprobs"),
        ({"messages": HELLO, "stop": ""}, "stop"),
        ({"messages": HELLO, "temperature": -1}, "temperature"),
        ({"messages": HELLO, "max_completion_tokens": 10**9}, "max_tokens"),
        ({"messages": HELLO, "response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_wrong_fields_are_named(chat: tuple[str, RunningServer], body: dict, param: str) -> None:
    error = chat[1].refuse(400, body, path=PATH)
    assert error["param"] == param
    assert error["message"].startswith(param)


def test_parts_that_are_texts_are_joined(chat: tuple[str, RunningServer]) -> None:
    parts = [{"type": "text", "text": "Is "}, {"type": "text", "text": "it?"}]
    body = {"seed": 1, "max_tokens": 20}
    told = answer(chat[1], messages=[{"role": "user", "content": parts}], **body)
    assert told["choices"] == answer(chat[1], messages=HELLO, **body)["choices"]


def test_a_line_is_a_turn(run: Run) -> None:
    with start_server(run.path, "--chat-template", "lines") as server:
        body = {"messages": [{"role": "user", "content": "Is it?\nIt is."}]}
        error = server.refuse(400, body, path=PATH)
        assert error["param"] == "messages[0].content"
        assert server.client.get("/props").json()["chat_template"] == "lines"
        assert server.client.get(PATH).status_code == 405


def test_who_speaks_may_have_another_name(run: Run) -> None:
    model = ServedModel(run, run.load_tokenizer())
    messages = [
        {"role": "system", "content": "It is so."},
        {"role": "user", "content": "Is it?", "name": "Ada"},
    ]
    asked = parse_chat({"messages": messages}, model, Limits(), TEMPLATES["names"])
    (prompt,) = asked.prompts
    assert prompt.text == "It is so.\nAda: Is it?\nAssistant:"
    assert asked.plan.stop == ("\nUser:", "\nAssistant:", "\nAda:")
    assert asked.plan.max_tokens == 256


@pytest.mark.parametrize("level", ["word", "subword", "byte"])
def test_stop_texts_are_in_the_letters_of_the_model(tmp_path: Path, level: str) -> None:
    from llm_timecycle.config.settings import TokenizerSettings
    from llm_timecycle.serving.chat.templates import check_template, read_stops
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

    for lowercase in (False, True):
        settings = TokenizerSettings(level=level, vocab_size=300, lowercase=lowercase)
        tokenizer = Tokenizer.train(settings, [DIALOGUE])
        check_template(TEMPLATES["names"], tokenizer, "talk")
        check_template(TEMPLATES["lines"], tokenizer, "talk")
        names = ("\nUser:", "\nAssistant:")
        expected = tuple(name.lower() for name in names) if lowercase else names
        assert read_stops(tokenizer, names) == expected


@pytest.mark.parametrize(
    ("level", "text", "template", "message"),
    [
        ("char", "no dialogue at all\n", "names", "'U'"),
        ("char", "not a line break", "lines", r"'\n'"),
        ("word", "User : Hello\n", "names", "'User:'"),
    ],
)
def test_a_template_that_does_not_suit_the_run_is_refused(
    tmp_path: Path, level: str, text: str, template: str, message: str
) -> None:
    run = make_run(tmp_path / "other", level, text)
    ended = subprocess.run(
        [*PROGRAM, str(run.path), "--chat-template", template], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert f"the chat template {template} does not suit other" in ended.stderr
    assert message in ended.stderr
