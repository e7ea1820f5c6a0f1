"""POST /v1/completions of a real server: every part of the contract."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

import llm_timecycle as lt
from llm_timecycle.runs.directory import Run
from tests.serving.servers import RunningServer


def test_the_same_seed_gives_the_text_of_generate(
    server: RunningServer, runs: dict[str, Run]
) -> None:
    for level in ("char", "word"):
        model = lt.load(runs[level].path)
        expected = model.generate("a", samples=2, length=20, temperature=0.7, top_k=5, seed=4)
        answer = server.complete(
            model=level, prompt="a", n=2, max_tokens=20, temperature=0.7, top_k=5, seed=4
        )
        assert [choice["text"] for choice in answer["choices"]] == [str(text) for text in expected]


def test_an_answer_has_the_fields_of_the_protocol(server: RunningServer) -> None:
    answer = server.complete(prompt="abc", seed=1)
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["model"] == "char"
    assert answer["system_fingerprint"].startswith("fp_")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 16, "total_tokens": 19}
    (choice,) = answer["choices"]
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert len(choice["text"]) == 16


@pytest.mark.parametrize("seed", [None, -1])
def test_without_a_seed_each_text_is_another(server: RunningServer, seed: int | None) -> None:
    texts = {server.write(prompt="a", max_tokens=40, seed=seed) for _ in range(3)}
    assert len(texts) == 3


def test_company_does_not_change_a_text(server: RunningServer) -> None:
    def write(seed: int) -> str:
        return server.write(prompt="abc", max_tokens=60, seed=seed)

    alone = [write(seed) for seed in range(24)]
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(write, range(24))) == alone


def test_prompts_may_be_texts_ids_or_null(server: RunningServer, runs: dict[str, Run]) -> None:
    tokenizer = runs["char"].load_tokenizer()
    ids = tokenizer.encode("abc").tolist()
    by_text = server.write(prompt="abc", seed=1)
    assert server.write(prompt=ids, seed=1) == by_text
    several = server.complete(prompt=[ids, ids[:1]], seed=1)
    texts = server.complete(prompt=["abc", "a"], seed=1)
    assert [c["text"] for c in several["choices"]] == [c["text"] for c in texts["choices"]]
    assert texts["choices"][0]["text"] == by_text
    begun = server.write(prompt=None, seed=1)
    assert begun == server.write(prompt="", seed=1) == server.write(seed=1)
    assert begun == server.write(prompt=[tokenizer.eos_id], seed=1)


def test_the_index_counts_prompts_then_texts(server: RunningServer) -> None:
    body = {"prompt": ["a", "ab"], "n": 3, "max_tokens": 5, "seed": 2, "echo": True}
    choices = server.complete(**body)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3, 4, 5]
    assert [choice["text"][:-5] for choice in choices] == ["a"] * 3 + ["ab"] * 3
    streamed = [""] * 6
    for chunk in server.stream(**body):
        for choice in chunk["choices"]:
            streamed[choice["index"]] += choice["text"]
    assert streamed == [choice["text"] for choice in choices]


def test_a_stream_ends_as_the_protocol_says(server: RunningServer) -> None:
    body = {"prompt": "a", "max_tokens": 6, "seed": 1}
    chunks = server.stream(**body)
    assert len({chunk["id"] for chunk in chunks}) == 1
    *reasons, last = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert set(reasons) <= {None}
    assert last == "length"
    assert all("usage" not in chunk for chunk in chunks)
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert text == server.write(**body)
    *_, last = server.stream(**body, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}


def test_a_stream_is_not_buffered(server: RunningServer) -> None:
    answer = server.post({"prompt": "a", "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("level", ["char", "word", "byte", "subword"])
@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_log_probabilities_in_a_stream_are_those_of_the_whole(
    server: RunningServer, level: str, tokens: int
) -> None:
    body = {
        **{"model": level, "prompt": "the cat 中", "max_tokens": tokens, "seed": 1},
        **{"echo": True, "logprobs": 2, "n": 2},
    }
    for choice in server.complete(**body)["choices"]:
        whole = choice["logprobs"]
        parts = [
            part["logprobs"]
            for chunk in server.stream(**body)
            for part in chunk["choices"]
            if part["index"] == choice["index"] and part["logprobs"] is not None
        ]
        assert all(len(part["tokens"]) == 1 for part in parts)
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            assert [part[name][0] for part in parts] == whole[name]
        assert whole["token_logprobs"][0] is None
        assert whole["top_logprobs"][0] is None
        assert whole["text_offset"][0] == 0
        for token, logprob, top in zip(
            whole["tokens"][1:], whole["token_logprobs"][1:], whole["top_logprobs"][1:], strict=True
        ):
            assert top[token] == logprob
            assert len(top) in (2, 3)
            assert max(top.values()) >= logprob


def test_offsets_point_into_the_text(server: RunningServer) -> None:
    choice = server.complete(prompt="abc", max_tokens=9, seed=1, echo=True, logprobs=0)["choices"][
        0
    ]
    logprobs = choice["logprobs"]
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert choice["text"][offset : offset + len(token)] in (token, "\ufffd")


def test_log_probabilities_add_up(server: RunningServer, runs: dict[str, Run]) -> None:
    V = runs["char"].vocab_size
    (choice,) = server.complete(prompt="a", max_tokens=3, logprobs=V)["choices"]
    for top in choice["logprobs"]["top_logprobs"]:
        assert len(top) == V
        assert math.fsum(map(math.exp, top.values())) == pytest.approx(1.0)
        assert list(top.values()) == sorted(top.values(), reverse=True)


def test_ids_come_back_where_they_are_wanted(server: RunningServer, runs: dict[str, Run]) -> None:
    body = {"prompt": "ab", "max_tokens": 4, "seed": 1, "return_token_ids": True}
    (choice,) = server.complete(**body)["choices"]
    tokenizer = runs["char"].load_tokenizer()
    assert choice["prompt_token_ids"] == tokenizer.encode("ab").tolist()
    assert tokenizer.decode(choice["token_ids"]) == choice["text"]
    chunks = [chunk["choices"][0] for chunk in server.stream(**body)]
    assert chunks[0]["prompt_token_ids"] == choice["prompt_token_ids"]
    assert [id for chunk in chunks for id in chunk["token_ids"]] == choice["token_ids"]


def test_bias_takes_ids_and_tokens(server: RunningServer, runs: dict[str, Run]) -> None:
    (id,) = runs["char"].load_tokenizer().encode("d").tolist()
    for key in (str(id), "d"):
        text = server.write(prompt="a", max_tokens=5, logit_bias={key: 100})
        assert text == "ddddd"


def test_a_stop_text_ends_the_text_before_it(server: RunningServer) -> None:
    body = {"prompt": "a", "max_tokens": 100, "seed": 3}
    whole = server.write(**body)
    stop = whole[20:22]
    for given in (stop, [stop, "never this"]):
        answer = server.complete(**body, stop=given)["choices"][0]
        assert answer["text"] == whole[: whole.index(stop)]
        assert (answer["finish_reason"], answer["stop_reason"]) == ("stop", stop)
        pieces = [c["choices"][0]["text"] for c in server.stream(**body, stop=given)]
        assert "".join(pieces) == answer["text"]


def test_times_come_where_they_are_wanted(server: RunningServer) -> None:
    body = {"prompt": "a", "max_tokens": 8, "metrics": True}
    whole = server.complete(**body)["metrics"]
    *_, last = server.stream(**body)
    for metrics in (whole, last["metrics"]):
        assert 0 <= metrics["queue_time_ms"] <= metrics["time_to_first_token_ms"]
        assert metrics["mean_itl_ms"] > 0
        assert metrics["tokens_per_second"] > 0
        assert set(metrics["stages_ms"]) == {"step", "sampling", "text"}
    assert "metrics" not in server.complete(prompt="a")


def test_unknown_fields_are_ignored(server: RunningServer) -> None:
    body = {"prompt": "a", "seed": 1}
    extras = {"user": "me", "unheard_of": [1], "suffix": None, "best_of": 1, "logit_bias": None}
    assert server.write(**body, **extras) == server.write(**body)


def test_half_characters_end_alike_with_and_without_a_stream(server: RunningServer) -> None:
    for seed in range(5):
        body = {"model": "byte", "prompt": "a", "max_tokens": 3, "seed": seed}
        whole = server.write(**body)
        chunks = server.stream(**body)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole
