"""What takes a server that stalls, breaks off or ends a text when it is told to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.page.fake_server import MOST_TOKENS, PROPS, FakeServer
from tests.serving.page.person import (
    list_sent,
    place_cursor,
    press,
    press_tab,
    read_choices,
    read_chosen,
    read_status,
    read_text,
    reload,
    type_text,
    wait_for_text,
    wait_until_done,
    write_start,
)

WRITTEN = " the sea was calm and"
"""What the fake server writes first."""


@pytest.fixture
def page(fake_page: Any) -> Any:
    return fake_page


@pytest.fixture
def held(fake: FakeServer) -> FakeServer:
    fake.hold()
    return fake


def start(page: Any, held: FakeServer, tokens: int) -> None:
    """Type, begin to write, and see the first tokens."""
    type_text(page, "One morning")
    page.keyboard.press("Tab")
    held.release(tokens)
    wait_for_text(page, "One morning" + "".join(" " + w for w in WRITTEN.split()[:tokens]))


def test_the_text_streams_in_token_by_token(page: Any, held: FakeServer) -> None:
    start(page, held, 1)
    assert page.get_by_role("button", name="Stop").is_visible()
    assert read_status(page) == "Writing …"
    held.release(1)
    wait_for_text(page, "One morning the sea")
    page.get_by_role("button", name="Stop").click()
    wait_until_done(page)
    held.release()
    assert read_text(page) == "One morning the sea"
    assert read_status(page) == "Stopped."


def test_times_are_the_pages_while_it_writes_and_then_the_servers(
    page: Any, held: FakeServer
) -> None:
    start(page, held, 3)
    assert read_times(page)[0::2] == ["First token", "Writing", "Speed"]
    held.release()
    wait_until_done(page)
    assert read_times(page) == [
        *("Queue", "2.00 ms", "Prompt", "10.5 ms", "Writing", "12.0 ms"),
        *("First token", "12.5 ms", "Each token", "3.00 ms", "Speed", "333 tokens/s"),
        *("Model", "2.00 ms", "Sampling", "0.75 ms", "Text", "0.25 ms"),
    ]
    widths = page.locator("#cycle [data-part=token] .stages span").evaluate_all(
        "parts => parts.map(part => part.getBoundingClientRect().width)"
    )
    shares = [width / sum(widths) for width in widths]
    assert shares == pytest.approx([2 / 3, 0.25, 1 / 12], rel=0.02)


def read_times(page: Any) -> list[str]:
    texts = page.locator("#cycle dt:visible, #cycle dd:visible").all_inner_texts()
    return [text.strip() for text in texts]


def test_a_stop_before_the_first_token_leaves_no_trace(page: Any, held: FakeServer) -> None:
    type_text(page, "a")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    wait_until_done(page)
    assert read_text(page) == "a"
    page.keyboard.press("Control+z")
    assert read_text(page) == ""


def test_typing_elsewhere_while_the_model_writes(page: Any, held: FakeServer) -> None:
    start(page, held, 1)
    place_cursor(page, 0)
    page.keyboard.type("x")
    held.release()
    wait_until_done(page)
    assert read_text(page) == "xOne morning" + WRITTEN
    assert page.evaluate("document.querySelector('textarea').selectionStart") == 1


def test_undo_while_the_model_writes_stops_it(page: Any, held: FakeServer) -> None:
    start(page, held, 2)
    page.keyboard.press("Control+z")
    wait_until_done(page)
    assert read_text(page) == "One morning"
    page.keyboard.press("Control+y")
    assert read_text(page) == "One morning the sea"


def test_choices_of_a_text_that_is_being_replaced_are_put_away(page: Any, fake: FakeServer) -> None:
    write_start(page)
    assert read_chosen(page) == "and"
    fake.hold()
    page.get_by_role("button", name="Retry").click()
    assert read_choices(page) == []
    fake.release()
    wait_until_done(page)
    assert read_chosen(page) == "old"


def test_enter_tab_and_escape_while_composing_are_for_the_input_method(page: Any) -> None:
    page.locator("textarea").click()
    browser = page.context.new_cdp_session(page)
    browser.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    for key, code in (("Enter", 13), ("Tab", 9), ("Escape", 27), ("z", 90)):
        page.evaluate(
            """([key, keyCode]) => document.querySelector('textarea').dispatchEvent(
            new KeyboardEvent('keydown', {
              key, keyCode, ctrlKey: key === 'z', isComposing: true, bubbles: true }))""",
            [key, code],
        )
    assert read_text(page) == "ni"
    browser.send("Input.insertText", {"text": "你"})
    wait_for_text(page, "你")
    assert list_sent(page) == []
    press_tab(page)
    assert list_sent(page)[0]["prompt"] == "你"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert read_text(page) == ""


def test_a_slow_composition_is_one_step(page: Any) -> None:
    type_text(page, "a")
    browser = page.context.new_cdp_session(page)
    for text in ("n", "ni"):
        end = len(text)
        shown = {"text": text, "selectionStart": end, "selectionEnd": end}
        browser.send("Input.imeSetComposition", shown)
        wait_for_text(page, "a" + text)
        page.evaluate("() => { const ms = performance.now() + 5000; performance.now = () => ms; }")
    browser.send("Input.insertText", {"text": "你"})
    wait_for_text(page, "a你")
    page.keyboard.press("Control+z")
    assert read_text(page) == "a"


def test_tokens_wait_while_composing(page: Any, held: FakeServer) -> None:
    start(page, held, 1)
    place_cursor(page, 0)
    browser = page.context.new_cdp_session(page)
    browser.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    with page.expect_event("requestfinished", lambda r: r.url.endswith("/completions")):
        held.release()
    assert read_text(page) == "niOne morning the"
    browser.send("Input.insertText", {"text": "你"})
    wait_until_done(page)
    assert read_text(page) == "你One morning" + WRITTEN


def test_an_answer_that_breaks_off_keeps_what_came(page: Any, fake: FakeServer) -> None:
    fake.tokens_until_break = 2
    write_start(page)
    assert read_text(page) == "One morning the sea"
    assert "connection to the server was lost" in read_status(page)
    fake.tokens_until_break = None
    press_tab(page)
    assert read_text(page).startswith("One morning the sea sea")


def test_no_length_is_offered_that_the_server_refuses(page: Any) -> None:
    length = page.get_by_label("Length")
    assert (length.get_attribute("max"), length.input_value()) == (str(MOST_TOKENS), "5")
    length.fill(str(MOST_TOKENS))
    assert length.input_value() == str(MOST_TOKENS)


def test_a_large_seed_of_a_run_is_not_rounded(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = 2**53 + 1
    monkeypatch.setitem(PROPS, "seed_digits", str(seed))
    reload(page)
    assert page.get_by_label("Seed").input_value() == str(seed)
    write_start(page)
    press(page, "Retry")
    assert [sent["seed"] for sent in list_sent(page)] == [str(seed), str(seed + 1)]


def test_a_refusal_is_shown_in_the_servers_words(page: Any, fake: FakeServer) -> None:
    fake.error = 429, {"message": "256 requests are waiting; try again later"}
    write_start(page)
    assert read_status(page) == "The server refused: 256 requests are waiting; try again later"
    assert read_text(page) == "One morning"


def test_a_model_that_is_loading_is_waited_for(page: Any, fake: FakeServer) -> None:
    fake.error = 503, {"message": "loading", "code": "loading"}
    type_text(page, "One morning")
    with page.expect_response("**/v1/completions"):
        page.keyboard.press("Tab")
    assert read_status(page) == "Writing …"
    fake.error = None
    wait_until_done(page)
    assert read_text(page) == "One morning" + WRITTEN


def test_the_end_of_the_text_is_told(page: Any, fake: FakeServer) -> None:
    fake.eos_at = 2
    write_start(page)
    assert read_text(page) == "One morning the sea"
    assert read_status(page) == "The model ended the text here."
    fake.eos_at = 0
    press_tab(page)
    assert read_text(page) == "One morning the sea"
    assert "without writing more" in read_status(page)
    page.keyboard.press("Control+z")
    assert read_text(page) == "One morning"


def test_what_the_model_writes_is_never_html(page: Any, fake: FakeServer) -> None:
    fake.words = ["<img", "src=x", "onerror=document.title='x'>", "<b>", "&amp;"]
    page.get_by_label("Shade surprises").check()
    write_start(page)
    text = "One morning <img src=x onerror=document.title='x'> <b> &amp;"
    assert read_text(page) == text
    place_cursor(page, text.index("<b>") + 1)
    assert read_chosen(page) == "<b>"
    assert page.locator("img, main b").count() == 0
    assert page.locator(".mirror").inner_text().strip() == text


def test_a_retry_without_a_server_keeps_the_old_version(page: Any, fake: FakeServer) -> None:
    write_start(page)
    fake.shutdown()
    fake.server_close()
    press(page, "Retry")
    assert read_text(page) == "One morning" + WRITTEN
    assert "connection to the server was lost" in read_status(page)
