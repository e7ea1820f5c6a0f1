"""The files of the page: read once, served with a strict policy, and nothing beside them."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from llm_timecycle.serving.app import Access, make_app
from llm_timecycle.serving.service import Service, ServiceLimits


def make_client(page: Path | None, **access: object) -> TestClient:
    app = make_app(Service({}, ServiceLimits()), Access(**access), page=page)
    return TestClient(app, base_url="http://localhost")


def write_page(root: Path) -> Path:
    page = root / "page"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<p>中</p>", encoding="utf-8")
    (page / "parts/write.js").write_text("export {};")
    (page / "look.css").write_text("p {}")
    (page / ".hidden").write_text("no")
    (root / "outside.txt").write_text("no")
    return page


def test_every_file_has_its_type_and_the_policy(tmp_path: Path) -> None:
    client = make_client(write_page(tmp_path), api_key="secret")
    types = {"/": "text/html", "/parts/write.js": "text/javascript", "/look.css": "text/css"}
    for path, kind in types.items():
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-cache"
    assert client.get("/").text == "<p>中</p>"


def test_nothing_else_is_served(tmp_path: Path) -> None:
    client = make_client(write_page(tmp_path))
    for path in ("/.hidden", "/outside.txt", "/../outside.txt", "/parts"):
        assert client.get(path).status_code == 404


def test_the_page_can_be_turned_off(tmp_path: Path) -> None:
    assert make_client(None).get("/").status_code == 404
