"""The ten likeliest words at a place, and the shading: what the model says of its own text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.serving.page.person import (
    choose_settings,
    list_sent,
    place_cursor,
    press_tab,
    read_choices,
    read_chosen,
    read_text,
    wait_until_done,
    write_start,
)
from tests.serving.servers import RunningServer

MIDDLE = """position => { let node = document.querySelector('.mirror').firstChild.firstChild;
  const range = document.createRange();
  range.setStart(node, position); range.setEnd(node, position + 1);
  const { x, y, width, height } = range.getBoundingClientRect();
  return [x + width / 4, y + height / 2]; }"""
START = "One morning"


@pytest.fixture
def page(page: Any) -> Any:
    """A text of the real model after `One morning`, of which nothing is shaded."""
    choose_settings(page, Seed=7, Length=6)
    write_start(page, START)
    return page


def score(server: RunningServer, text: str, **fields: Any) -> dict[str, Any]:
    """The log-probabilities of a text, letter by letter."""
    asked = {"prompt": text, "echo": True, "max_tokens": 0, "logprobs": 10, **fields}
    (choice,) = server.complete(model="demo", **asked)["choices"]
    return choice["logprobs"]


def show_probability(logprob: float) -> str:
    percent = 100 * math.exp(logprob)
    return f"{percent:.0f}%" if percent >= 10 else f"{percent:.1f}%" if percent >= 0.1 else "< 0.1%"


def test_a_click_shows_the_ten_likeliest_and_one_is_chosen(
    page: Any, server: RunningServer
) -> None:
    text = read_text(page)
    at = len(START) + 2
    page.evaluate("document.activeElement.blur()")
    page.mouse.click(*page.evaluate(MIDDLE, at))
    page.wait_for_selector("#choices:not([data-empty])")
    top = score(server, text)["top_logprobs"][at + 1]  # after the <eos> that begins a line
    likeliest = sorted(top, key=lambda token: -top[token])
    assert [word.replace("␣", " ") for word in read_choices(page)] == likeliest
    assert read_chosen(page).replace("␣", " ") == text[at]
    shares = page.locator("#choices .share").all_inner_texts()
    assert shares == [show_probability(top[token]) for token in likeliest]
    other = next(word for word in likeliest if word.isalpha() and word != text[at])
    page.locator("#choices button", has_text=other).first.click()
    wait_until_done(page)
    assert read_text(page)[: at + 1] == text[:at] + other
    assert list_sent(page)[1]["prompt"] == text[:at] + other
    assert len(read_text(page)) == at + 1 + 6
    page.keyboard.press("Alt+ArrowUp")
    assert read_text(page) == text


def test_choosing_needs_no_mouse(page: Any) -> None:
    text = read_text(page)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    assert read_chosen(page).replace("␣", " ") == text[-2]
    page.keyboard.press("F2")
    page.keyboard.press("ArrowLeft")
    assert read_chosen(page).replace("␣", " ") == text[-3]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.press("F2")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate("document.activeElement.querySelector('.word').textContent")
    page.keyboard.press("Enter")
    wait_until_done(page)
    assert read_text(page).startswith(text[:-3] + chosen.replace("␣", " "))
    assert len(read_text(page)) == len(text) - 3 + 1 + 6


def test_what_a_person_wrote_has_no_choices(page: Any) -> None:
    place_cursor(page, 3)
    assert read_choices(page) == []
    page.keyboard.press("F2")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"


def test_a_letter_that_is_changed_is_the_persons(page: Any) -> None:
    page.get_by_label("Shade surprises").check()
    place_cursor(page, len(START) + 2)
    page.keyboard.press("Delete")
    page.keyboard.type("Z")
    page.keyboard.press("ArrowLeft")
    text = read_text(page)
    assert text[len(START) + 2] == "Z"
    assert page.locator(".shaded").all_inner_texts() == list(text[len(START) :].replace("Z", ""))
    assert read_chosen(page) == text[len(START) + 1]


def test_shading_follows_probability(page: Any, server: RunningServer) -> None:
    assert page.locator(".shaded").count() == 0
    page.get_by_label("Shade surprises").check()
    shades = page.locator(".shaded").evaluate_all(
        "nodes => nodes.map(node => [node.textContent, node.style.getPropertyValue('--surprise')])"
    )
    text = read_text(page)
    assert [letter for letter, _ in shades] == list(text[len(START) :])
    logprobs = score(server, text)["token_logprobs"][len(START) + 1 :]
    expected = [min(1, max(0, (-logprob - 0.1) / 6.9)) for logprob in logprobs]
    assert [float(shade) for _, shade in shades] == pytest.approx(expected, abs=0.002)
    page.get_by_label("Shade surprises").uncheck()
    assert page.locator(".shaded").count() == 0


def test_the_choices_come_into_view(page: Any) -> None:
    page.set_viewport_size({"width": 1200, "height": 500})
    page.locator("#setting-seed").scroll_into_view_if_needed()
    assert page.evaluate("document.querySelector('.side').scrollTop") > 0
    page.locator("textarea").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.querySelector('.side').scrollTop") == 0


def test_a_line_break_can_be_chosen_where_the_model_has_them(
    page: Any, server: RunningServer
) -> None:
    """Where `<eos>` ends a line, and not the text."""
    page.get_by_role("combobox").select_option("whitespace")
    choose_settings(page, Seed=7, Length=3)
    page.locator("textarea").fill("once")
    press_tab(page)
    page.keyboard.press("ArrowLeft")
    assert "↵" in read_choices(page)
    page.locator("#choices button", has_text="↵").click()
    wait_until_done(page)
    assert list_sent(page)[-1]["prompt"].endswith("\n")
    assert read_text(page).startswith(list_sent(page)[-1]["prompt"])
