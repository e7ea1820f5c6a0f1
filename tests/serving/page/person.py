"""What a person does on the page, and what there is to see."""

from __future__ import annotations

from typing import Any

CURSOR = """position => {
  const field = document.querySelector("textarea");
  field.focus();
  field.setSelectionRange(position, position);
}"""
NEXT_PICTURE = "() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))"
"""The page hears of the cursor in a task after the one that moves it."""


def read_text(page: Any) -> str:
    return page.locator("textarea").input_value()


def read_status(page: Any) -> str:
    return page.locator("#status").inner_text()


def read_choices(page: Any) -> list[str]:
    page.evaluate(NEXT_PICTURE)
    return page.locator("#choices .word").all_inner_texts()


def read_chosen(page: Any) -> str:
    page.evaluate(NEXT_PICTURE)
    return page.locator("#choices [aria-current] .word").inner_text()


def list_sent(page: Any) -> list[Any]:
    """The bodies of the completions that the page asked for."""
    asked = [each for each in page.seen_requests if each.url.endswith("/completions")]
    return [each.post_data_json for each in asked]


def wait_for_text(page: Any, text: str) -> None:
    page.wait_for_function("text => document.querySelector('textarea').value === text", arg=text)


def wait_until_done(page: Any) -> None:
    """Until nothing is being written and the page has said how it went."""
    page.wait_for_function(
        """() => !document.querySelector("[data-action=continue]").hidden
        && !/^$|Writing|正在写/.test(document.querySelector("#status").textContent)"""
    )


def place_cursor(page: Any, position: int) -> None:
    page.evaluate(CURSOR, position)
    page.evaluate(NEXT_PICTURE)


def type_text(page: Any, text: str) -> None:
    page.locator("textarea").focus()
    page.keyboard.type(text)


def press_tab(page: Any) -> None:
    page.keyboard.press("Tab")
    wait_until_done(page)


def press(page: Any, name: str) -> None:
    """Press a button by its name, and wait until the model has written."""
    page.get_by_role("button", name=name).click()
    wait_until_done(page)


def write_start(page: Any, text: str = "One morning") -> None:
    """Type a beginning and let the model go on."""
    type_text(page, text)
    press_tab(page)


def choose_settings(page: Any, **values: object) -> None:
    """Move sliders by their labels, such as `Length`."""
    for label, value in values.items():
        page.get_by_label(label).fill(str(value))


def write_without_end(page: Any) -> None:
    """Let the model with random weights write the longest text, and see the first words."""
    page.get_by_role("combobox").select_option("unicode")
    page.evaluate("document.querySelector('[name=max_tokens]').max = 4096")
    choose_settings(page, Length=4096)
    start = read_text(page)
    page.locator("textarea").focus()
    page.keyboard.press("Tab")
    page.wait_for_function(
        "start => document.querySelector('textarea').value.length > start + 20", arg=len(start)
    )


def reload(page: Any) -> list[str]:
    """Reload the page; the questions that it asked first, all of them answered with yes."""
    asked: list[str] = []

    def accept(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", accept)
    page.reload()
    page.wait_for_selector("#setting-temperature")
    page.remove_listener("dialog", accept)
    return asked
