"""The official client works unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.serving.servers import RunningServer


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["char", "word", "byte", "subword"]
    assert client.models.retrieve("word").id == "word"


def test_a_completion(client: openai.OpenAI, server: RunningServer) -> None:
    answer = client.completions.create(
        model="char", prompt="a", max_tokens=5, seed=1, logprobs=2, echo=True, n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].text == server.write(prompt="a", max_tokens=5, seed=1, echo=True)
    assert answer.choices[0].logprobs.token_logprobs[0] is None
    assert len(answer.choices[0].logprobs.top_logprobs[1]) >= 2
    assert answer.usage.completion_tokens == 10


def test_a_stream(client: openai.OpenAI, server: RunningServer) -> None:
    chunks = list(
        client.completions.create(
            model="char",
            prompt="a",
            max_tokens=5,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"top_k": 3},
        )
    )
    *texts, last = chunks
    text = "".join(chunk.choices[0].text for chunk in texts)
    assert text == server.write(prompt="a", max_tokens=5, seed=1, top_k=3)
    assert texts[-1].choices[0].finish_reason == "length"
    assert last.usage.total_tokens == 6


def test_errors_have_the_classes_of_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="none", prompt="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.completions.create(model="char", prompt="a", temperature=-1)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="char", messages=[{"role": "user", "content": "a"}])
