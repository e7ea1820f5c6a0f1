"""The settings of a run through the server: /props has them, and texts are those of generate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.runs.directory import Run
from llm_timecycle.serving.completions.request import Limits, parse_request
from llm_timecycle.serving.completions.sampling import describe_defaults
from llm_timecycle.serving.models import open_models
from tests.cli.random_runs import call, make_run
from tests.serving.servers import RunningServer, start_server

TEXT = "abc defg.\n中文 7 5"
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"temperature": 0.7, "length": 60, "seed": None},
    "tokens": {
        **{"bias": {"7": 3.0, "a": -500.0, "<unk>": 2.0}, "ban": ["b", "\n"]},
        **{"allow_unknown": True, "length": 60, "top_k": 9, "seed": None},
    },
    "filters": {
        **{"top_p": 0.9, "min_p": 0.01, "typical_p": 0.95, "xtc_probability": 0.5},
        **{"xtc_threshold": 0.05, "length": 60, "stop": ["7 "], "seed": 2**53 + 1},
    },
    "repeats": {
        **{"dry_multiplier": 0.8, "dry_base": 2.0, "dry_sequence_breakers": [" "]},
        **{"repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.1},
        **{"no_repeat_ngram": 4, "length": 60},
    },
    "searching": {"beams": 4, "cache": 0.2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("settings")
    return {
        name: make_run(root / name, "char", TEXT, **settings) for name, settings in SETTINGS.items()
    }


@pytest.fixture(scope="module")
def server(runs: dict[str, Run]) -> Iterator[RunningServer]:
    with start_server(*(run.path for run in runs.values())) as running:
        yield running


def read_defaults(server: RunningServer, name: str) -> dict[str, Any]:
    models = server.client.get("/props").json()["models"]
    return next(model for model in models if model["id"] == name)


@pytest.mark.parametrize("name", ["plain", "tokens", "filters", "repeats"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_defaults_of_a_run_give_the_text_of_generate(
    server: RunningServer, runs: dict[str, Run], name: str, seed: int
) -> None:
    props = read_defaults(server, name)
    assert props["not_served"] == {}
    written = server.write(model=name, prompt="abc", **{**props["generation"], "seed": seed})
    arguments = ("--prompt", "abc", "--seed", str(seed), "--no-stream", "--engine", "numpy")
    assert call(runs[name].path, *arguments).stdout == f"abc{written}\n"


def test_tokens_are_named_as_a_request_names_them(
    server: RunningServer, runs: dict[str, Run]
) -> None:
    tokenizer = runs["tokens"].load_tokenizer()
    defaults = read_defaults(server, "tokens")["generation"]
    ids = {str(tokenizer.encode(text)[0]): amount for text, amount in (("7", 3.0), ("a", -500.0))}
    assert defaults["logit_bias"] == {**ids, "0": 2.0}
    assert (defaults["ban"], defaults["allow_unknown"]) == (["b", "\n"], True)
    assert (defaults["max_tokens"], defaults["seed"]) == (60, None)


def test_the_biases_of_texts_that_mean_one_token_add_up(tmp_path: Path) -> None:
    bias = {"\n": 600.0, "a": 2.0, "\\n": 700.0}
    (model,) = open_models([make_run(tmp_path / "tales", "char", TEXT, bias=bias).path]).values()
    line, a = model.tokenizer.encode("\na").tolist()
    defaults = describe_defaults(model.generation, model.tokenizer, most_tokens=100)
    assert defaults["logit_bias"] == {str(line): 1300.0, str(a): 2.0}
    by_id = {str(line): 600.0, f"0{line}": 700.0, "a": 2.0}
    for added in (defaults["logit_bias"], bias, by_id):
        asked = parse_request({"logit_bias": added}, model, Limits())
        assert dict(asked.plan.sampling.bias) == {line: 1300.0, a: 2.0}


@pytest.mark.parametrize("seed", [0, 7, 2**53 + 1, 2**63 - 1])
def test_a_seed_may_be_given_as_digits(server: RunningServer, seed: int) -> None:
    body = {"model": "plain", "prompt": "a", "max_tokens": 40}
    assert server.write(**body, seed=str(seed)) == server.write(**body, seed=seed)


def test_a_large_seed_of_a_run_reaches_programs_that_round_numbers(
    server: RunningServer, runs: dict[str, Run]
) -> None:
    props = read_defaults(server, "filters")
    seed = 2**53 + 1
    assert runs["filters"].settings.generation.seed == seed
    assert (props["generation"]["seed"], props["seed_digits"]) == (seed, str(seed))
    assert read_defaults(server, "plain")["seed_digits"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": {"dragon": 3.0}}, "bias: received 'dragon', which the model does not know"),
        ({"ban": ["a", "dragon"]}, "ban: received 'dragon', which the model does not know"),
        ({"ban": [*sorted(set(TEXT)), "<eos>"]}, "ban: all 16 tokens are banned"),
    ],
)
def test_settings_that_no_request_could_have_are_refused_at_the_start(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    run = make_run(tmp_path / "tales", "char", TEXT, **settings)
    with pytest.raises(UsageError, match=f"the settings of .*tales: {message}"):
        open_models([run.path])


def test_banned_tokens_are_never_drawn(server: RunningServer) -> None:
    body = {"model": "plain", "prompt": "a", "max_tokens": 300, "seed": 1}
    assert "b" in server.write(**body)
    assert "b" not in server.write(**body, ban=["b"])
    assert "\ufffd" not in server.write(**body, logit_bias={"0": 100})
    allowed = server.complete(**body, logit_bias={"0": 100}, allow_unknown=True, logprobs=0)
    assert set(allowed["choices"][0]["logprobs"]["tokens"]) == {"<unk>"}
    every = [chr(code) for code in map(ord, sorted(set(TEXT)))]
    error = server.refuse(400, {**body, "ban": [*every, "<eos>"]})
    assert error["param"] == "ban"


def test_what_the_server_does_not_follow_is_said(
    server: RunningServer, runs: dict[str, Run]
) -> None:
    assert read_defaults(server, "searching")["not_served"] == {"beams": 4, "cache": 0.2}
    with start_server(runs["searching"].path, "--max-tokens", "11") as running:
        _, printed = running.end()
    assert "Warning" in printed
    assert "beams: 4 and cache: 0.2 and length: 12" in printed


def test_settings_without_their_switch_change_nothing(server: RunningServer) -> None:
    body = {"model": "plain", "prompt": "a", "max_tokens": 40, "seed": 1}
    assert server.write(**body, dry_base=3.0, xtc_threshold=0.2) == server.write(**body)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 1),
        ({"ignore_eos": True}, 9),
        ({"min_tokens": 5}, 6),
        ({"min_tokens": 5, "stop": ["nothing like this"]}, 6),
    ],
)
def test_when_a_document_may_end(
    server: RunningServer, runs: dict[str, Run], fields: dict, tokens: int
) -> None:
    V, end = runs["plain"].vocab_size, 1
    bias = {str(id): 1000 if id == end else -1000 for id in range(V)}
    body = {"model": "plain", "prompt": "a", "max_tokens": 9, "seed": 1, **fields}
    answer = server.complete(**body, logit_bias=bias)
    assert answer["usage"]["completion_tokens"] == tokens
    reason = answer["choices"][0]["finish_reason"]
    assert reason == ("length" if tokens == 9 else "stop")


def test_a_stop_token_ends_a_text_before_itself(
    server: RunningServer, runs: dict[str, Run]
) -> None:
    (id,) = runs["plain"].load_tokenizer().encode("c").tolist()
    body = {"model": "plain", "prompt": "a", "max_tokens": 300, "seed": 1}
    whole = server.write(**body)
    (choice,) = server.complete(**body, stop_token_ids=[id])["choices"]
    assert choice["text"] == whole.partition("c")[0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", id)
    late = server.write(**body, stop_token_ids=[id], min_tokens=100)
    assert "c" not in late[:100]
