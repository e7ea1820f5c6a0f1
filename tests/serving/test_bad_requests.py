"""What is refused, each with the field's name and never with a 5xx."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.servers import RunningServer

WRONG = [
    ("prompt", 5),
    ("prompt", []),
    ("prompt", ["a", 1]),
    ("prompt", ["a", [1]]),
    ("prompt", [1, True]),
    ("prompt", [-1]),
    ("prompt", [10**6]),
    ("prompt", {"text": "a"}),
    ("prompt", ["a"] * 129),
    ("prompt", "a" * 100_001),
    ("max_tokens", -1),
    ("max_tokens", "5"),
    ("max_tokens", 10**9),
    ("max_tokens", 1.5),
    ("min_tokens", 17),
    ("n", 0),
    ("n", True),
    ("n", 129),
    ("best_of", 2),
    ("temperature", -0.1),
    ("temperature", "warm"),
    ("temperature", [1]),
    ("top_p", 0),
    ("top_p", 1.5),
    ("top_k", 1.5),
    ("min_p", 2),
    ("typical_p", 0),
    ("presence_penalty", 1e9),
    ("repetition_penalty", 0),
    ("logprobs", -1),
    ("logprobs", True),
    ("logprobs", 101),
    ("logit_bias", [1]),
    ("logit_bias", {"999999": 1}),
    ("logit_bias", {"not a token": 1}),
    ("logit_bias", {"1": 1_000_001}),
    ("logit_bias", {str(id): 0 for id in range(1025)}),
    ("ban", "a"),
    ("ban", [1]),
    ("ban", ["not a token"]),
    ("ban", ["a" * 1001]),
    ("ban", ["a"] * 1025),
    ("allow_unknown", 1),
    ("dry_base", "high"),
    ("dry_base", 0.5),
    ("dry_sequence_breakers", [""]),
    ("dry_sequence_breakers", [1]),
    ("xtc_threshold", 0.9),
    ("no_repeat_ngram", -1),
    ("logit_bias", {"1": "much"}),
    ("seed", -2),
    ("seed", 2**63),
    ("seed", 0.5),
    ("seed", str(2**63)),
    ("seed", "-1"),
    ("seed", "1.0"),
    ("seed", ""),
    ("seed", "٣"),
    ("seed", "3\n"),
    ("stop", 5),
    ("stop", ""),
    ("stop", ["a", ""]),
    ("stop_token_ids", [1.0]),
    ("stop_token_ids", 3),
    ("echo", "yes"),
    ("stream", 1),
    ("ignore_eos", 1),
    ("stream_options", {"include_usage": True}),
    ("return_token_ids", 0),
    ("metrics", "all"),
    ("suffix", "end"),
    ("response_format", {"type": "json_object"}),
    ("grammar", "root ::= a"),
    ("guided_json", {}),
    ("use_beam_search", True),
    ("beams", 4),
    ("cache", 0.2),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_with_its_name(
    server: RunningServer, name: str, value: object
) -> None:
    error = server.refuse(400, {"prompt": "a", name: value})
    assert error["param"] == name
    assert error["message"].startswith(f"{name}: ")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"1", b'"a"', b"null", b"{\xff}", b'{"prompt": NaN}'),
        *(b"[" * 100_000, b'{"max_tokens": ' + b"9" * 5000 + b"}", b'{"prompt": "a",}'),
    ],
)
def test_a_body_that_is_no_object_is_refused(server: RunningServer, body: bytes) -> None:
    assert server.refuse(400, body)["code"] == "invalid_json"


def test_half_a_surrogate_pair_is_refused(server: RunningServer) -> None:
    for name in ("prompt", "stop"):
        body = json.dumps({"prompt": "a", name: chr(0xD800)})
        assert server.refuse(400, body)["param"] == name


def test_a_model_that_is_not_served_is_named(server: RunningServer) -> None:
    error = server.refuse(404, {"model": "gpt-9", "prompt": "a"})
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "char, word" in error["message"]
    assert server.refuse(400, {"model": 5, "prompt": "a"})["param"] == "model"


def test_too_large_a_body_is_refused(server: RunningServer) -> None:
    body = b'{"prompt": "' + b"a" * 4_000_000 + b'"}'
    assert server.refuse(413, body)["code"] == "body_too_large"
    pieces = (b" " * 100_000 for _ in range(50))
    answer = server.client.post("/v1/completions", content=pieces)
    assert answer.status_code == 413


def test_paths_and_methods_that_are_not_there(server: RunningServer) -> None:
    answer = server.client.get("/nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = server.client.get("/v1/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    answer = server.client.get("/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_a_chat_model")


def test_chat_without_a_template_says_what_the_models_are(server: RunningServer) -> None:
    error = server.refuse(404, {"messages": []}, path="/v1/chat/completions")
    for word in ("base models", "char, word, byte, subword", "/v1/completions", "chat template"):
        assert word in error["message"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({name for name, _ in WRONG}))


MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(body=st.dictionaries(NAMES, JSON, max_size=4))
@MANY
def test_no_body_gives_a_server_error(server: RunningServer, body: dict) -> None:
    answer = server.post(json.dumps(body))
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert error["param"] in body
        assert error["message"].startswith(error["param"])


@given(wrong=st.sampled_from(WRONG), others=st.dictionaries(NAMES, st.none(), max_size=4))
@MANY
def test_a_malformed_body_is_refused_for_its_field(
    server: RunningServer, wrong: tuple[str, object], others: dict
) -> None:
    name, value = wrong
    assert server.refuse(400, {"prompt": "a", **others, name: value})["param"] == name


@given(cut=st.integers(0, 60), piece=st.binary(max_size=4), length=st.integers(0, 5))
@MANY
def test_damaged_bytes_are_no_server_error(
    server: RunningServer, cut: int, piece: bytes, length: int
) -> None:
    body = b'{"prompt": ["a", "b"], "max_tokens": 2, "stop": "c", "seed": 1}'
    answer = server.post(body[:cut] + piece + body[cut + length :])
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["code"] == "invalid_json" or answer.json()["error"]["param"]
