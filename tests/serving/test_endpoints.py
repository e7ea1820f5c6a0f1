"""The small endpoints of a real server."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from llm_timecycle.runs.directory import Run
from llm_timecycle.serving.app import Access, make_app
from llm_timecycle.serving.completions.request import Limits
from llm_timecycle.serving.models import open_models
from llm_timecycle.serving.service import Service, ServiceLimits
from tests.serving.servers import RunningServer, wait_until_loaded


def test_models_are_listed_in_order(server: RunningServer) -> None:
    listed = server.client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["char", "word", "byte", "subword"]
    assert server.client.get("/v1/models/word").json() == listed["data"][1]
    assert server.client.get("/v1/models/none").status_code == 404


def test_health_says_what_is_going_on(server: RunningServer) -> None:
    answer = server.client.get("/health")
    assert answer.json() == {"status": "ok", "running": 0, "waiting": 0}


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("level", ["char", "word", "byte", "subword"])
def test_text_to_ids_and_back(
    server: RunningServer, runs: dict[str, Run], prefix: str, level: str
) -> None:
    tokenizer = runs[level].load_tokenizer()
    text = "the cat 中"
    answer = server.post(
        {"model": level, "prompt": text, "return_token_strs": True}, f"{prefix}/tokenize"
    ).json()
    assert answer["tokens"] == tokenizer.encode(text).tolist()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    back = server.post({"model": level, "tokens": answer["tokens"]}, f"{prefix}/detokenize")
    assert back.json()["prompt"] == tokenizer.decode(answer["tokens"])


def test_the_end_of_a_document_is_one_token(server: RunningServer) -> None:
    answer = server.post({"prompt": "<eos>", "add_special_tokens": False}, "/tokenize")
    assert answer.json()["tokens"] == [1]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": 5}, "prompt"),
        ("/tokenize", {"prompt": "a", "add_special_tokens": 1}, "add_special_tokens"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": ["a"]}, "tokens"),
        ("/detokenize", {"tokens": [10**9]}, "tokens"),
    ],
)
def test_wrong_fields_are_named(server: RunningServer, path: str, body: dict, param: str) -> None:
    assert server.refuse(400, body, path=path)["param"] == param


def test_the_tokenizer_describes_itself(server: RunningServer) -> None:
    info = server.client.get("/tokenizer_info").json()
    assert (info["eos_token"], info["eos_token_id"], info["bos_token"]) == ("<eos>", 1, None)
    assert info == server.client.get("/v1/tokenizer_info?model=char").json()
    assert server.client.get("/tokenizer_info?model=none").status_code == 404


def test_props_have_the_settings_of_the_run(server: RunningServer, runs: dict[str, Run]) -> None:
    props = server.client.get("/props").json()
    assert props["limits"]["max_batch"] == 8
    first = props["models"][0]
    assert first["generation"]["temperature"] == runs["char"].settings.generation.temperature
    assert first["generation"]["max_tokens"] == 12
    assert first["system_fingerprint"] == server.complete(prompt="a")["system_fingerprint"]


def ask(runs: dict[str, Run], limits: Limits, path: str, body: object = None) -> dict:
    """What a server of `char` with these limits answers."""
    service = Service(open_models([runs["char"].path]), ServiceLimits(limits))
    with TestClient(make_app(service, Access()), base_url="http://localhost") as client:
        wait_until_loaded(client)
        answer = client.get(path) if body is None else client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(("most", "expected", "cut"), [(11, 11, {"length": 12}), (12, 12, {})])
def test_no_default_is_above_the_limit_of_tokens(
    runs: dict[str, Run], most: int, expected: int, cut: dict[str, int]
) -> None:
    (model,) = ask(runs, Limits(max_tokens=most), "/props")["models"]
    assert (model["generation"]["max_tokens"], model["not_served"]) == (expected, cut)
    answer = ask(runs, Limits(max_tokens=most), "/v1/completions", {"prompt": "a"})
    assert answer["usage"]["completion_tokens"] == expected


def test_metrics_count_tokens(server: RunningServer) -> None:
    def read() -> dict[str, float]:
        lines = server.client.get("/metrics").text.splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    before = read()
    server.complete(prompt="abc", max_tokens=5, n=2)
    after = read()
    gained = {
        name: after[f"llm_timecycle_{name}"] - before.get(f"llm_timecycle_{name}", 0.0)
        for name in (
            "prompt_tokens_total",
            "generation_tokens_total",
            "time_to_first_token_seconds_count",
            "inter_token_latency_seconds_count",
            'request_success_total{finished_reason="length"}',
        )
    }
    assert list(gained.values()) == [3, 10, 1, 8, 2]
