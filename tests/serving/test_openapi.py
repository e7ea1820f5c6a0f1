"""The description of the server: it has every path, and every answer is as it says.

`scripts/check_openapi.py` does the same at length.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route

from llm_timecycle.serving.app import Access, make_app
from llm_timecycle.serving.chat.templates import TEMPLATES
from llm_timecycle.serving.completions.sampling import SAMPLING_FIELDS
from llm_timecycle.serving.service import Service, ServiceLimits
from llm_timecycle.serving.statistics import Statistics
from tests.serving.servers import RunningServer
from tests.serving.test_bad_requests import WRONG


def list_fields(described: dict, path: str) -> dict:
    body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return body["schema"]["properties"]


def test_every_route_is_described() -> None:
    service = Service({}, ServiceLimits())
    app = make_app(
        service,
        Access(),
        statistics=Statistics(lambda: 0, lambda: 0),
        chat_template=TEMPLATES["names"],
    )
    while not isinstance(app, Starlette):
        app = app._app  # the checks around it
    routes = {
        route.path.replace(":path", "")
        for route in app.routes
        if isinstance(route, Route) and route.path != "/v1/models/"
    }
    from llm_timecycle.serving.openapi.document import describe_api

    assert describe_api(service, has_metrics=True, has_chat=True)["paths"].keys() == routes
    fewer = describe_api(service, has_metrics=False, has_chat=False)["paths"].keys()
    assert routes - fewer == {"/metrics", "/v1/chat/completions"}


def test_every_field_is_described(server: RunningServer) -> None:
    fields = list_fields(server.client.get("/openapi.json").json(), "/v1/completions")
    assert fields.keys() >= {*SAMPLING_FIELDS, *(name for name, _ in WRONG)}
    assert fields["temperature"]["default"] == 1.0
    props = server.client.get("/props").json()["models"][0]["generation"]
    assert fields.keys() >= props.keys()


def test_cases_made_from_the_description(server: RunningServer, tmp_path: Path) -> None:
    arguments = [
        *("run", f"{server.url}/openapi.json", "--phases", "fuzzing", "--max-examples", "6"),
        *("--seed", "1", "--exclude-checks", "positive_data_acceptance", "--no-color"),
        *("--generation-database", "none"),
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # where it leaves its notes
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_stream_has_the_chunks_of_the_description(server: RunningServer) -> None:
    from jsonschema_rs import validator_for

    described = server.client.get("/openapi.json").json()
    chunk = validator_for(
        {"$ref": "#/components/schemas/CompletionChunk", "components": described["components"]}
    )
    body = {"prompt": "ab", "max_tokens": 3, "logprobs": 2, "echo": True, "metrics": True}
    options = {"return_token_ids": True, "stream_options": {"include_usage": True}}
    chunks = server.stream(**body, **options)
    for each in chunks:
        chunk.validate(each)
    assert not chunk.is_valid({**chunks[0], "choices": 1})
    json.dumps(described, allow_nan=False)
