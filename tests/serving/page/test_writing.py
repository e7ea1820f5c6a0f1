"""Writing with a real model in a browser: what it adds, where, and how one goes back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.page.person import (
    choose_settings,
    list_sent,
    place_cursor,
    press,
    press_tab,
    read_status,
    read_text,
    reload,
    type_text,
    wait_until_done,
    write_start,
    write_without_end,
)
from tests.serving.servers import RunningServer

SEED, LENGTH = 7, 12


def write(server: RunningServer, prompt: str | None, seed: int = SEED, **changed: Any) -> str:
    """What the server writes when it is asked directly, with the run's own settings."""
    model = changed.get("model", "demo")
    models = server.client.get("/props").json()["models"]
    (settings,) = [each["generation"] for each in models if each["id"] == model]
    asked = {**settings, "max_tokens": LENGTH, "model": model, "seed": seed, **changed}
    return server.write(**asked, prompt=prompt)


@pytest.fixture
def page(page: Any) -> Any:
    """The page, with a seed and short continuations."""
    choose_settings(page, Seed=SEED, Length=LENGTH)
    return page


def test_tab_goes_on_from_the_end(page: Any, server: RunningServer) -> None:
    write_start(page)
    expected = "One morning" + write(server, "One morning")
    assert read_text(page) == expected
    assert read_status(page) == "Stopped at the length limit."
    times = page.locator("#cycle dd:visible").all_inner_texts()
    assert [time.split()[-1] for time in times] == ["ms"] * 5 + ["tokens/s"] + ["ms"] * 3
    page.keyboard.type("!")
    assert read_text(page) == expected + "!"


def test_the_button_goes_on_from_the_cursor_in_the_middle(page: Any, server: RunningServer) -> None:
    type_text(page, "One morning. The end.")
    place_cursor(page, len("One morning"))
    press(page, "Continue")
    assert read_text(page) == "One morning" + write(server, "One morning") + ". The end."


def test_a_word_behind_the_cursor_stays_a_word(page: Any, server: RunningServer) -> None:
    written = write(server, "One morning ")
    assert written[-1].isalpha()
    type_text(page, "One morning The end.")
    place_cursor(page, len("One morning "))
    page.keyboard.press("Control+Enter")
    wait_until_done(page)
    assert read_text(page) == f"One morning {written} The end."
    page.keyboard.type(",")
    assert read_text(page) == f"One morning {written}, The end."
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert read_text(page) == "One morning The end."


def test_what_goes_on_inside_a_word_is_not_set_off(page: Any, server: RunningServer) -> None:
    type_text(page, "One morning")
    place_cursor(page, len("One mor"))
    press_tab(page)
    assert read_text(page) == "One mor" + write(server, "One mor") + "ning"


def test_an_empty_sheet_begins_a_document(page: Any, server: RunningServer) -> None:
    write_start(page, "")
    assert read_text(page) == write(server, None)


def test_a_model_of_lines_reads_the_line_of_the_cursor(page: Any, server: RunningServer) -> None:
    """It has read every line by itself, and knows no line break."""
    type_text(page, "A cat.\nOne morning")
    press_tab(page)
    written = write(server, "One morning")
    assert read_text(page) == "A cat.\nOne morning" + written
    page.keyboard.press("Enter")
    press_tab(page)
    assert read_text(page) == "A cat.\nOne morning" + written + "\n" + write(server, None)


def test_escape_stops_and_the_server_stops_too(page: Any, server: RunningServer) -> None:
    write_without_end(page)
    page.keyboard.press("Escape")
    wait_until_done(page)
    text = read_text(page)
    assert read_status(page) == "Stopped."
    for _ in range(1000):
        if server.client.get("/health").json()["running"] == 0:
            break
    else:
        raise AssertionError("the server goes on")
    assert read_text(page) == text
    assert len(text.split()) < 4096


def test_undo_and_redo_know_typing_and_continuations(page: Any, server: RunningServer) -> None:
    write_start(page)
    written = "One morning" + write(server, "One morning")
    page.keyboard.type(" yes")
    for expected in (written, "One morning", ""):
        page.keyboard.press("Control+z")
        assert read_text(page) == expected
    for expected in ("One morning", written, written + " yes"):
        page.get_by_role("button", name="Redo").click()
        assert read_text(page) == expected
    page.locator("textarea").focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    assert read_text(page) == written + " yes"


def test_retry_keeps_the_text_after_it_and_every_version(page: Any, server: RunningServer) -> None:
    write_start(page)
    page.keyboard.type("! I stayed.")
    first = read_text(page)
    press(page, "Retry")
    second = "One morning" + write(server, "One morning", SEED + 1) + "! I stayed."
    assert read_text(page) == second
    assert page.locator("[data-part=version]").inner_text() == "2/2"
    page.get_by_role("button", name="Previous version").click()
    assert read_text(page) == first
    assert page.locator("[data-part=version]").inner_text() == "1/2"
    page.get_by_role("button", name="Next version").click()
    assert read_text(page) == second
    page.keyboard.press("Control+z")
    assert read_text(page) == first


def test_an_undone_continuation_is_still_among_the_versions(page: Any) -> None:
    write_start(page)
    first = read_text(page)
    page.keyboard.press("Control+z")
    assert read_text(page) == "One morning"
    press_tab(page)
    second = read_text(page)
    assert second != first
    page.keyboard.press("Alt+ArrowUp")
    assert read_text(page) == first
    page.keyboard.press("Alt+ArrowDown")
    assert read_text(page) == second


def test_settings_begin_with_the_runs_and_are_sent(page: Any, server: RunningServer) -> None:
    (given,) = [
        each["generation"]
        for each in server.client.get("/props").json()["models"]
        if each["id"] == "demo"
    ]
    assert page.get_by_label("Temperature").input_value() == str(given["temperature"])
    page.get_by_label("Temperature").fill("0")
    write_start(page)
    assert read_text(page) == "One morning" + write(server, "One morning", temperature=0)
    (sent,) = list_sent(page)
    passed = {name: value for name, value in sent.items() if name in given}
    changed = {"temperature": 0, "max_tokens": LENGTH, "seed": str(SEED)}
    assert passed == {name: value for name, value in given.items() if name != "top_k"} | changed
    page.get_by_role("button", name="The model’s defaults").click()
    assert page.get_by_label("Temperature").input_value() == str(given["temperature"])
    assert page.get_by_label("Seed").input_value() == ""


def test_another_model_writes_and_is_remembered(page: Any, server: RunningServer) -> None:
    page.get_by_role("combobox").select_option("demo-zh")
    choose_settings(page, Seed=SEED, Length=LENGTH)
    write_start(page, "有一天")
    assert read_text(page) == "有一天" + write(server, "有一天", model="demo-zh")
    reload(page)
    assert page.get_by_role("combobox").input_value() == "demo-zh"


def test_settings_that_were_changed_are_remembered_for_their_model(page: Any) -> None:
    page.get_by_label("Temperature").fill("1.25")
    page.get_by_role("combobox").select_option("demo-zh")
    assert page.get_by_label("Temperature").input_value() == "0.6"
    page.get_by_role("combobox").select_option("demo")
    reload(page)
    assert page.get_by_label("Temperature").input_value() == "1.25"
    assert page.get_by_label("Seed").input_value() == str(SEED)
    page.get_by_role("button", name="The model’s defaults").click()
    reload(page)
    assert page.get_by_label("Temperature").input_value() == "0.6"
    assert page.get_by_label("Seed").input_value() == ""


@pytest.mark.parametrize("model", ["unicode", "whitespace"])
def test_words_join_as_the_tokenizer_joins_them(
    page: Any, server: RunningServer, model: str
) -> None:
    page.get_by_role("combobox").select_option(model)
    choose_settings(page, Seed=SEED, Length=4)
    for before, read, has_space in (
        ("once upon", "once upon", False),
        ("once upon ", "once upon", True),
        ("once, ", "once, ", model == "whitespace"),
        ("once\n", "once\n", False),
    ):
        for after in ("", "a cat", ", and"):
            page.locator("textarea").fill(before + after)
            place_cursor(page, len(before))
            press_tab(page)
            written = write(server, read, list_sent(page)[-1]["seed"], model=model, max_tokens=4)
            if has_space:
                written = written.removeprefix(" ")
            is_in_word = after == "a cat" and before == "once upon"
            gap = " " if after == "a cat" and written[-1].isalpha() and not is_in_word else ""
            assert read_text(page) == before + written + gap + after


def test_the_page_counts_as_the_tokenizer_does(page: Any, server: RunningServer) -> None:
    page.locator("textarea").fill("one 😀 two")
    asked = {"prompt": "one 😀 two", "add_special_tokens": False}
    count = server.post(asked, "/tokenize").json()["count"]
    page.wait_for_selector(f"text={count} tokens")
    assert page.get_by_text("9 characters").is_visible()
