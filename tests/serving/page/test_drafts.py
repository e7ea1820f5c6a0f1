"""What is kept: drafts, files, and the text of a server that dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.serving.page.conftest import visit
from tests.serving.page.person import (
    choose_settings,
    place_cursor,
    press,
    press_tab,
    read_chosen,
    read_status,
    read_text,
    reload,
    type_text,
    wait_for_text,
    wait_until_done,
    write_start,
    write_without_end,
)
from tests.serving.servers import RunningServer, start_server


def test_a_reload_in_the_middle_brings_everything_back(page: Any) -> None:
    choose_settings(page, Seed=7, Length=6)
    write_start(page)
    press(page, "Retry")
    write_without_end(page)
    seen = read_text(page)
    reload(page)
    text = read_text(page)
    assert text.startswith(seen)
    assert read_status(page) == "Your draft is back."
    place_cursor(page, len("One morning") + 3)
    assert read_chosen(page).replace("␣", " ") == text[len("One morning") + 3]
    place_cursor(page, len("One morning") + 2)
    assert page.locator("[data-part=version]").inner_text() == "2/2"


def test_leaving_with_unsaved_text_asks_first(page: Any) -> None:
    type_text(page, "text")
    assert reload(page) == ["beforeunload"]
    page.locator("textarea").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save .txt").click()
    assert Path(waiting.value.path()).read_text(encoding="utf-8") == "text"
    assert waiting.value.suggested_filename == "text.txt"
    assert reload(page) == []
    page.locator("textarea").click()
    assert reload(page) == []
    type_text(page, "!")
    assert reload(page) == ["beforeunload"]


def test_a_file_is_opened_and_a_wrong_one_is_not(page: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_bytes("有一天，\r\n".encode())
    bad.write_bytes("有一天".encode("gbk"))
    type_text(page, "mine")
    page.locator("[name=file]").set_input_files(good)
    wait_for_text(page, "有一天，\n")
    page.locator("[name=file]").set_input_files(bad)
    page.wait_for_selector("text=bad.txt is not UTF-8 text")
    assert read_text(page) == "有一天，\n"
    page.locator("textarea").focus()
    page.keyboard.press("Control+z")
    assert read_text(page) == "mine"


def test_a_draft_that_cannot_be_read_is_left_out(page: Any) -> None:
    page.evaluate("localStorage.setItem('llm-timecycle.draft', '{')")
    with page.expect_event("load"):
        page.evaluate("() => { Storage.prototype.setItem = () => {}; location.reload(); }")
    assert read_text(page) == ""


def test_another_window_with_the_same_draft_is_noticed(page: Any, server: RunningServer) -> None:
    other = page.context.new_page()
    other.goto(server.url)
    other.wait_for_selector("#setting-temperature")
    type_text(other, "elsewhere")
    assert page.wait_for_selector("text=changed in another window").is_visible()
    other.close()


def test_an_idle_window_leaves_what_another_one_wrote(page: Any, server: RunningServer) -> None:
    type_text(page, "here")
    page.wait_for_function("() => (localStorage['llm-timecycle.draft'] ?? '').includes('here')")
    other = page.context.new_page()
    other.goto(server.url)
    other.wait_for_selector("#setting-temperature")
    type_text(other, ", elsewhere")
    page.wait_for_selector("text=changed in another window")
    reload(page)
    assert read_text(page) == "here, elsewhere"
    other.close()


def test_a_window_that_is_only_opened_keeps_nothing(page: Any) -> None:
    page.evaluate("window.dispatchEvent(new Event('pagehide'))")
    assert page.evaluate("localStorage.getItem('llm-timecycle.draft')") is None


def test_a_browser_without_room_says_so(page: Any) -> None:
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException(); }; }")
    type_text(page, "text")
    page.wait_for_selector("text=The browser has no room to keep this draft.")
    assert read_text(page) == "text"


def test_a_server_that_is_killed_and_comes_back(shared_page: Any, runs: Path) -> None:
    """The text stays; the page goes on once there is a server again, here one that wants a key."""
    with start_server(runs / "unicode") as first, visit(shared_page, first.url) as page:
        write_without_end(page)
        first.process.kill()
        wait_until_done(page)
        text = read_text(page)
        assert "connection to the server was lost" in read_status(page)
        press(page, "Retry")
        assert "connection to the server was lost" in read_status(page)
        assert read_text(page) == text
        port = urlsplit(first.url).port
        with start_server(runs / "unicode", "--api-key", "secret", port=port):
            choose_settings(page, Length=5)
            page.locator("textarea").focus()
            press_tab(page)
            assert read_status(page) == "The server asks for an API key."
            for key, answer in (
                ("wrong", "The server does not take this API key."),
                ("secret", ""),
            ):
                page.get_by_label("API key").fill(key)
                page.keyboard.press("Enter")
                page.wait_for_function(
                    "text => document.querySelector('#status').textContent === text", arg=answer
                )
            page.wait_for_selector("[data-part=key]", state="hidden")
            page.locator("textarea").focus()
            press_tab(page)
            assert read_text(page).startswith(text)
            assert page.locator(".active").count() == 1
