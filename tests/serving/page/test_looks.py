"""How the page looks and reads: two languages, light and dark, wide and on a phone; by keyboard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import check_looks, open_page
from tests.serving.page.conftest import PROMPT_AT_MOST, visit
from tests.serving.page.person import (
    choose_settings,
    list_sent,
    place_cursor,
    press,
    read_status,
    read_text,
    type_text,
    wait_until_done,
    write_start,
)
from tests.serving.servers import RunningServer


def test_axe_finds_nothing_on_an_empty_sheet(page: Any) -> None:
    check_looks(page)


def test_axe_finds_nothing_when_everything_is_shown(page: Any) -> None:
    choose_settings(page, Length=20, Seed=7)
    page.locator(".keys summary").click()
    page.get_by_label("Shade surprises").check()
    write_start(page)
    press(page, "Retry")
    page.get_by_label("Seed").fill("-5")
    press(page, "Retry")
    assert page.locator("#status").get_attribute("data-trouble") is not None
    place_cursor(page, len(read_text(page)) - 2)
    check_looks(page)


def test_a_phone_has_room_for_the_text(page: Any) -> None:
    """The choices are one row above the buttons; both are at the bottom and leave the rest free."""
    page.set_viewport_size({"width": 390, "height": 844})
    choose_settings(page, Length=5)
    write_start(page)
    choices, dock = (page.locator(each).bounding_box() for each in (".choices", ".dock"))
    assert choices["y"] + choices["height"] == pytest.approx(dock["y"], abs=1)
    assert dock["y"] + dock["height"] == pytest.approx(844, abs=1)
    assert choices["y"] > 844 * 0.7


def test_the_page_speaks_chinese(browser: Any, server: RunningServer) -> None:
    with open_page(browser, locale="zh-CN") as opened, visit(opened, server.url) as page:
        assert page.evaluate("document.documentElement.lang") == "zh"
        left = page.evaluate("document.body.innerText.match(/[A-Za-z]{4,}/g)")
        names = {"demo", "unicode", "whitespace"}
        assert set(left or []) <= {*names, "Typical", "Shift", "Enter"}
        page.get_by_role("combobox").select_option("demo-zh")
        choose_settings(page, 长度=5)
        write_start(page, "有一天")
        assert read_status(page) == "已写满设定的长度。"


def test_a_real_refusal_is_shown(page: Any) -> None:
    page.locator("textarea").fill("x" * (PROMPT_AT_MOST + 1))
    page.locator("textarea").focus()
    page.keyboard.press("Tab")
    wait_until_done(page)
    assert read_status(page) == (
        "The server refused: prompt: received 1,002 tokens; expected at most 1,000"
    )


def test_the_copy_behind_the_text_has_its_lines(page: Any) -> None:
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


def test_the_sheet_can_be_left_with_the_keyboard(page: Any) -> None:
    page.locator("textarea").click()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "continue"
    assert list_sent(page) == []


def test_every_control_is_reached_and_worked_by_keyboard(page: Any) -> None:
    type_text(page, "One morning")
    page.keyboard.press("Escape")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(({ dataset, name, tagName }) => dataset.action ?? dataset.part ?? (name || tagName))"
            "(document.activeElement)"
        )
        if name == "sheet":
            break
        reached.append(name)
    wanted = page.locator("[data-action]:visible, main [name]:visible").evaluate_all(
        "nodes => nodes.map(({ dataset, name }) => dataset.action ?? name)"
    )
    assert set(wanted) - {"sheet"} <= set(reached)
    choose_settings(page, Length=5)
    page.get_by_role("button", name="Continue").focus()
    page.keyboard.press("Space")
    wait_until_done(page)
    page.get_by_label("Shade surprises").focus()
    page.keyboard.press("Space")
    assert page.locator(".shaded").count() == 5


def test_the_end_of_a_long_text_stays_in_view_while_it_grows(page: Any) -> None:
    page.locator("textarea").fill("A line.\n" * 60)
    choose_settings(page, Length=5)
    page.locator("textarea").focus()
    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    wait_until_done(page)
    last_line, dock = page.evaluate(
        """() => { const range = document.createRange();
        range.selectNodeContents(document.querySelector('.mirror > span:last-of-type'));
        const lines = range.getClientRects();
        return [lines[lines.length - 1].bottom,
                document.querySelector('.dock').getBoundingClientRect().top]; }"""
    )
    assert last_line <= dock
