"""The page in a browser: each thing that a person can do there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.serving.page.fake_server import FakeServer

FIRST = " the sea was calm and"
"""What the fake server writes first, after `One morning`."""
SECOND = " sea was calm and old"


def read_text(page: Any) -> str:
    return page.locator("textarea").input_value()


def wait_for_text(page: Any, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('textarea').value === text", arg=text, timeout=5000
    )


def wait_until_done(page: Any) -> None:
    page.wait_for_selector("[data-action=continue]:visible", timeout=5000)
    page.wait_for_function(
        "() => !/Writing|正在写/.test(document.querySelector('#status').textContent)"
    )


def write_start(page: Any, text: str = "One morning") -> None:
    page.locator("textarea").click()
    page.keyboard.type(text)
    page.keyboard.press("Tab")
    wait_until_done(page)


def place_cursor(page: Any, position: int) -> None:
    page.evaluate(
        "p => { const f = document.querySelector('textarea'); f.focus();"
        " f.setSelectionRange(p, p); }",
        position,
    )
    page.wait_for_timeout(50)


def read_choices(page: Any) -> list[str]:
    return page.locator("#choices .word").all_inner_texts()


def test_tab_goes_on_from_the_end(page: Any, server: FakeServer) -> None:
    write_start(page)
    assert read_text(page) == "One morning" + FIRST
    assert server.requests[0]["prompt"] == "One morning"
    assert page.locator("#status").inner_text() == "Stopped at the length limit."
    page.keyboard.type("!")
    assert read_text(page) == "One morning" + FIRST + "!"


def test_the_button_goes_on_from_the_cursor_in_the_middle(page: Any, server: FakeServer) -> None:
    page.locator("textarea").fill("One morning. The end.")
    place_cursor(page, len("One morning"))
    page.get_by_role("button", name="Continue").click()
    wait_until_done(page)
    assert server.requests[0]["prompt"] == "One morning"
    assert read_text(page) == "One morning" + FIRST + ". The end."


def test_an_empty_sheet_begins_a_document(page: Any, server: FakeServer) -> None:
    write_start(page, "")
    assert server.requests[0]["prompt"] is None
    assert read_text(page) == "the sea was calm and"


def test_the_text_streams_in_and_escape_stops_it(page: Any, server: FakeServer) -> None:
    server.token_delay_s = 0.2
    page.locator("textarea").click()
    page.keyboard.type("One morning")
    page.keyboard.press("Tab")
    wait_for_text(page, "One morning the sea")
    page.keyboard.press("Escape")
    wait_until_done(page)
    text = read_text(page)
    page.wait_for_timeout(500)
    assert read_text(page) == text
    assert len(text) < len("One morning" + FIRST)
    assert page.locator("#status").inner_text() == "Stopped."
    assert server.went_away == 1


def test_a_stop_before_the_first_token_leaves_no_trace(page: Any, server: FakeServer) -> None:
    server.token_delay_s = 0.3
    page.locator("textarea").click()
    page.keyboard.type("a")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    wait_until_done(page)
    assert read_text(page) == "a"
    page.keyboard.press("Control+z")
    assert read_text(page) == ""


def test_typing_elsewhere_while_the_model_writes(page: Any, server: FakeServer) -> None:
    server.token_delay_s = 0.15
    page.locator("textarea").click()
    page.keyboard.type("One morning")
    page.keyboard.press("Tab")
    wait_for_text(page, "One morning the")
    place_cursor(page, 0)
    page.keyboard.type("x")
    wait_until_done(page)
    assert read_text(page) == "xOne morning" + FIRST
    assert page.evaluate("document.querySelector('textarea').selectionStart") == 1


def test_undo_and_redo_know_typing_and_continuations(page: Any) -> None:
    write_start(page)
    page.keyboard.type(" yes")
    for expected in ("One morning" + FIRST, "One morning", ""):
        page.keyboard.press("Control+z")
        assert read_text(page) == expected
    for expected in ("One morning", "One morning" + FIRST, "One morning" + FIRST + " yes"):
        page.get_by_role("button", name="Redo").click()
        assert read_text(page) == expected
    page.locator("textarea").focus()
    page.keyboard.press("Control+Shift+z")
    assert read_text(page) == "One morning" + FIRST + " yes"


def test_retry_keeps_the_text_after_it_and_every_version(page: Any) -> None:
    write_start(page)
    page.keyboard.type("! I stayed.")
    page.get_by_role("button", name="Retry").click()
    wait_until_done(page)
    assert read_text(page) == "One morning" + SECOND + "! I stayed."
    assert page.locator("[data-part=version]").inner_text() == "2/2"
    page.get_by_role("button", name="Previous version").click()
    assert read_text(page) == "One morning" + FIRST + "! I stayed."
    page.locator("textarea").focus()
    page.keyboard.press("Alt+ArrowDown")
    assert read_text(page) == "One morning" + SECOND + "! I stayed."


def test_a_continuation_that_was_undone_can_be_gone_back_to(page: Any) -> None:
    write_start(page)
    page.keyboard.press("Control+z")
    page.keyboard.press("Tab")
    wait_until_done(page)
    assert read_text(page) == "One morning" + SECOND
    page.keyboard.press("Alt+ArrowUp")
    assert read_text(page) == "One morning" + FIRST


def test_a_click_on_a_word_shows_the_ten_likeliest_and_one_is_chosen(
    page: Any, server: FakeServer
) -> None:
    write_start(page)
    page.evaluate("document.querySelector('textarea').blur()")
    span = page.evaluate(
        """() => { const node = document.querySelector('.mirror').firstChild.firstChild;
        const range = document.createRange(); const at = node.textContent.indexOf('was');
        range.setStart(node, at + 1); range.setEnd(node, at + 2);
        const { x, y, width, height } = range.getBoundingClientRect();
        return [x + width / 4, y + height / 2]; }"""
    )
    page.mouse.click(*span)
    page.wait_for_selector("#choices:not([data-empty])")
    assert read_choices(page) == [
        *("the", "sea", "was", "calm", "and", "old", "ships", "slept", "there", "again")
    ]
    assert page.locator("#choices [aria-current] .word").inner_text() == "was"
    assert page.locator("#choices .share").first.inner_text() == "40%"
    page.locator("#choices button", has_text="ships").click()
    wait_until_done(page)
    assert read_text(page) == "One morning the sea ships sea was calm and old"
    assert server.requests[1]["prompt"] == "One morning the sea ships"
    page.keyboard.press("Alt+ArrowUp")
    assert read_text(page) == "One morning" + FIRST


def test_the_choices_come_into_view(page: Any) -> None:
    write_start(page)
    page.set_viewport_size({"width": 1200, "height": 500})
    page.locator("#setting-seed").scroll_into_view_if_needed()
    assert page.evaluate("document.querySelector('.side').scrollTop") > 0
    page.locator("textarea").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.querySelector('.side').scrollTop") == 0


def test_choosing_needs_no_mouse(page: Any) -> None:
    write_start(page)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#choices [aria-current] .word").inner_text() == "and"
    page.keyboard.press("F2")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#choices [aria-current] .word").inner_text() == "calm"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.press("F2")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_until_done(page)
    assert read_text(page) == "One morning the sea was and sea was calm and old"


def test_what_a_person_wrote_has_no_choices(page: Any) -> None:
    write_start(page)
    place_cursor(page, 3)
    assert read_choices(page) == []
    page.keyboard.press("F2")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"


def test_the_end_of_the_text_cannot_be_chosen(page: Any, server: FakeServer) -> None:
    server.eos_at = 0
    write_start(page)
    assert read_text(page) == "One morning"
    assert "without writing more" in page.locator("#status").inner_text()


def test_shading_follows_probability(page: Any) -> None:
    write_start(page)
    assert page.locator(".shaded").count() == 0
    page.get_by_label("Shade unlikely words").check()
    shades = page.locator(".shaded").evaluate_all(
        "nodes => nodes.map(node => [node.textContent, node.style.getPropertyValue('--surprise')])"
    )
    assert [text for text, _ in shades] == [" the", " sea", " was", " calm", " and"]
    assert [float(shade) for _, shade in shades] == sorted(float(shade) for _, shade in shades)
    page.get_by_label("Shade unlikely words").uncheck()
    assert page.locator(".shaded").count() == 0


def test_the_copy_behind_the_text_has_its_lines(page: Any, server: FakeServer) -> None:
    """Otherwise shading would be beside the words."""
    page.locator("textarea").fill(
        "Some words and  spaces, a longword" + "o" * 90 + "\n\n字 end " * 9
    )
    for width in (390, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        heights = page.evaluate(
            """() => { const field = document.querySelector('textarea');
            return [field.scrollHeight, field.clientHeight,
                    document.querySelector('.mirror').clientHeight]; }"""
        )
        assert len(set(heights)) == 1


def test_settings_begin_with_the_runs_and_are_sent(page: Any, server: FakeServer) -> None:
    assert page.get_by_label("Temperature").input_value() == "0.8"
    page.get_by_label("Temperature").fill("1.5")
    page.get_by_label("Length").fill("3")
    page.get_by_label("Seed").fill("4")
    write_start(page)
    sent = server.requests[0]
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (1.5, 3, 4)
    assert (sent["dry_multiplier"], sent["dry_allowed_length"]) == (0.8, 2)
    assert sent["model"] == "tales"
    assert "top_k" not in sent
    page.get_by_role("button", name="Retry").click()
    wait_until_done(page)
    assert server.requests[1]["seed"] == 5
    page.get_by_role("button", name="The model’s defaults").click()
    assert page.get_by_label("Temperature").input_value() == "0.8"
    assert page.get_by_label("Seed").input_value() == ""


def test_another_model_is_asked(page: Any, server: FakeServer) -> None:
    page.get_by_role("combobox").select_option("poems")
    write_start(page)
    assert server.requests[0]["model"] == "poems"


def test_times_come_from_the_answer(page: Any) -> None:
    write_start(page)
    page.wait_for_selector("#cycle .queue")
    figures = page.locator("#cycle dl").all_inner_texts()
    shown = [[line.strip() for line in part.split("\n") if line.strip()] for part in figures]
    assert shown == [
        [
            *("Queue", "2.00 ms", "Prompt", "10.5 ms", "Writing", "12.0 ms"),
            *("First token", "12.5 ms", "Each token", "3.00 ms", "Speed", "333 tokens/s"),
        ],
        ["Model", "2.00 ms", "Sampling", "0.75 ms", "Text", "0.25 ms"],
    ]
    widths = (
        page.locator("#cycle .stages")
        .nth(1)
        .locator("span")
        .evaluate_all("parts => parts.map(part => part.getBoundingClientRect().width)")
    )
    assert [width / sum(widths) for width in widths] == pytest.approx(
        [2 / 3, 0.25, 1 / 12], rel=0.02
    )


def test_characters_and_tokens_are_counted(page: Any) -> None:
    page.locator("textarea").fill("one 😀 two")
    page.wait_for_selector("text=3 tokens")
    assert page.get_by_text("9 characters").is_visible()


def test_a_reload_in_the_middle_brings_everything_back(page: Any, server: FakeServer) -> None:
    write_start(page)
    server.token_delay_s = 0.2
    page.keyboard.press("Tab")
    wait_for_text(page, "One morning" + FIRST + " sea")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.wait_for_selector("#setting-temperature")
    assert read_text(page).startswith("One morning" + FIRST + " sea")
    assert page.locator("#status").inner_text() == "Your draft is back."
    place_cursor(page, len("One morning the s"))
    assert page.locator("#choices [aria-current] .word").inner_text() == "sea"


def test_leaving_with_unsaved_text_asks_first(page: Any) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.locator("textarea").click()
    page.keyboard.type("text")
    page.reload()
    assert asked == ["beforeunload"]
    page.wait_for_selector("#setting-temperature")
    page.locator("textarea").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save .txt").click()
    assert Path(waiting.value.path()).read_text(encoding="utf-8") == "text"
    assert waiting.value.suggested_filename == "text.txt"
    page.reload()
    assert asked == ["beforeunload"]


def test_a_file_is_opened_and_a_wrong_one_is_not(page: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_bytes("有一天，\r\n".encode())
    bad.write_bytes("有一天".encode("gbk"))
    page.locator("[name=file]").set_input_files(good)
    wait_for_text(page, "有一天，\n")
    page.locator("[name=file]").set_input_files(bad)
    page.wait_for_selector("text=bad.txt is not UTF-8 text")
    assert read_text(page) == "有一天，\n"
    page.locator("textarea").focus()
    page.keyboard.press("Control+z")
    assert read_text(page) == ""


def test_enter_and_tab_while_composing_are_for_the_input_method(
    page: Any, server: FakeServer
) -> None:
    page.locator("textarea").click()
    browser = page.context.new_cdp_session(page)
    browser.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    for key, code in (("Enter", 13), ("Tab", 9), ("Escape", 27)):
        page.evaluate(
            """([key, keyCode]) => document.querySelector('textarea').dispatchEvent(
            new KeyboardEvent('keydown', { key, keyCode, isComposing: true, bubbles: true }))""",
            [key, code],
        )
    browser.send("Input.insertText", {"text": "你"})
    page.wait_for_timeout(100)
    assert server.requests == []
    assert read_text(page) == "你"
    page.keyboard.press("Tab")
    wait_until_done(page)
    assert server.requests[0]["prompt"] == "你"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert read_text(page) == ""


def test_tokens_wait_while_composing(page: Any, server: FakeServer) -> None:
    server.token_delay_s = 0.1
    page.locator("textarea").click()
    page.keyboard.type("One morning")
    page.keyboard.press("Tab")
    wait_for_text(page, "One morning the")
    place_cursor(page, 0)
    browser = page.context.new_cdp_session(page)
    browser.send("Input.imeSetComposition", {"text": "ni", "selectionStart": 2, "selectionEnd": 2})
    before = read_text(page)
    page.wait_for_timeout(300)
    assert read_text(page) == before
    browser.send("Input.insertText", {"text": "你"})
    wait_until_done(page)
    assert read_text(page) == "你One morning" + FIRST


def test_a_server_that_dies_in_the_middle_loses_nothing(page: Any, server: FakeServer) -> None:
    server.tokens_until_break = 2
    write_start(page)
    assert read_text(page) == "One morning the sea"
    assert "connection to the server was lost" in page.locator("#status").inner_text()
    server.tokens_until_break = None
    page.keyboard.press("Tab")
    wait_until_done(page)
    assert read_text(page).startswith("One morning the sea sea")


def test_a_retry_without_a_server_keeps_the_old_version(page: Any, server: FakeServer) -> None:
    write_start(page)
    server.shutdown()
    server.server_close()
    page.get_by_role("button", name="Retry").click()
    wait_until_done(page)
    assert read_text(page) == "One morning" + FIRST
    assert "connection to the server was lost" in page.locator("#status").inner_text()


def test_a_refusal_is_shown_in_the_servers_words(page: Any, server: FakeServer) -> None:
    server.refusal = "prompt: received 200,000 tokens; expected at most 100,000"
    write_start(page)
    assert page.locator("#status").inner_text() == "The server refused: " + server.refusal
    assert read_text(page) == "One morning"


def test_a_key_is_asked_for(page: Any, server: FakeServer) -> None:
    server.key = "secret"
    write_start(page)
    page.get_by_label("API key").fill("secret")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-part=key]", state="hidden")
    page.locator("textarea").click()
    page.keyboard.press("Tab")
    wait_until_done(page)
    assert read_text(page) == "One morning" + FIRST


def test_the_sheet_can_be_left_with_the_keyboard(page: Any, server: FakeServer) -> None:
    page.locator("textarea").click()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "continue"
    assert server.requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_axe_finds_nothing(
    browser: Any, server: FakeServer, scheme: Any, width: int, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, locale="en-GB"
    )
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#setting-temperature")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    write_start(page)
    page.get_by_label("Shade unlikely words").check()
    page.locator(".keys summary").click()
    place_cursor(page, len("One morning the s"))
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_the_page_speaks_chinese(browser: Any, server: FakeServer) -> None:
    context = browser.new_context(locale="zh-CN", viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#setting-temperature")
    assert page.evaluate("document.documentElement.lang") == "zh"
    left = page.evaluate("document.body.innerText.match(/[A-Za-z]{4,}/g)")
    assert set(left or []) <= {"tales", "poems", "Typical", "Shift", "Enter"}
    write_start(page)
    assert page.locator("#status").inner_text() == "已写满设定的长度。"
    context.close()


def test_a_draft_from_elsewhere_that_is_broken_is_left_out(page: Any, server: FakeServer) -> None:
    page.evaluate("localStorage.setItem('llm-timecycle.draft', '{')")
    other = page.context.new_page()
    other.goto(server.url)
    other.wait_for_selector("#setting-temperature")
    assert read_text(other) == ""
