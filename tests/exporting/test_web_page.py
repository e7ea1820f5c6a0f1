"""The page as a person opens it: writing, stopping, going back; looks; the network, forbidden."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_timecycle.exporting.web.page import write_page
from llm_timecycle.runs.directory import open_run
from tests.browser import check_looks, list_violations, open_page
from tests.exporting.web_pages import (
    continue_text,
    make_run,
    open_file,
    open_run_page,
    press,
    read_status,
    read_text,
    set_value,
    wait_until_idle,
    write_directly,
)

ATTACK = '<img src="x" onerror="document.title=1"><script>document.title=1</script>'


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.html"
    write_page(open_run(Path("demo")), path)
    return path


@pytest.fixture
def page(shared_page: Any, demo: Path) -> Iterator[Any]:
    """The page of the shipped model."""
    with open_file(shared_page, demo) as opened:
        yield opened


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a model with random weights, which loads in a moment."""
    run = make_run(tmp_path_factory.mktemp("small") / "small", "char")
    path = run.path.with_suffix(".html")
    write_page(run, path)
    return path


@pytest.fixture
def small_page(shared_page: Any, small: Path) -> Iterator[Any]:
    with open_file(shared_page, small) as opened:
        yield opened


def test_it_writes_tells_its_size_and_its_speed(page: Any) -> None:
    set_value(page, length=30, seed=7)
    added = continue_text(page, "Once upon a time")
    assert len(added) == 30
    assert page.locator(".written").inner_text() == added
    assert read_status(page) == "Stopped at the length limit."
    assert re.fullmatch(
        r"30 tokens · \d+ tokens/s", page.locator("[data-part=tokens]").inner_text()
    )
    assert page.locator("[data-part=summary]").inner_text() == "941,882 weights · 2.6 MB"
    rows = page.locator("#time dt").all_inner_texts()
    assert rows[:5] == ["Prompt", "Writing", "First token", "Each token", "Speed"]
    assert page.locator("#time [data-part=answer] dd").all_inner_texts()[-1] == "7"


def test_a_second_continuation_is_as_if_there_had_been_one(small_page: Any) -> None:
    """The numbers of the seed go on, and what the model has read is not read again."""
    page = small_page
    set_value(page, length=10, seed=7)
    halves = continue_text(page, "Once upon a time") + continue_text(page)
    page.reload()
    wait_until_idle(page)
    set_value(page, length=20, seed=7)
    assert continue_text(page, "Once upon a time") == halves


def test_a_text_may_grow_by_hand_and_is_read_as_it_is(small_page: Any) -> None:
    page = small_page
    set_value(page, length=10, temperature=0)
    first = continue_text(page, "Once upon a time")
    whole = "Once upon a time" + first + " and the ferryman"
    added = continue_text(page, whole)
    page.reload()
    wait_until_idle(page)
    set_value(page, length=10, temperature=0)
    assert continue_text(page, whole) == added


def test_retry_and_undo(small_page: Any) -> None:
    page = small_page
    set_value(page, length=40, seed=7)
    first = continue_text(page, "Once")
    press(page, "retry")
    wait_until_idle(page)
    second = read_text(page).removeprefix("Once")
    assert second != first
    press(page, "undo")
    assert read_text(page) == "Once"
    assert page.locator("[data-action=undo]").is_disabled()
    assert page.locator(".written").count() == 0
    set_value(page, seed=8)
    assert continue_text(page) == second


def test_an_ended_paragraph_is_followed_by_the_next(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char", documents="line", generation={"length": 1000})
    weights = run.load_weights()
    is_end = np.arange(run.vocab_size) == run.load_tokenizer().eos_id
    weights["output.bias"] = np.where(is_end, 2.0, weights["output.bias"]).astype(np.float32)
    run.save_weights(weights, {"step": 0})
    with open_run_page(shared_page, run) as page:
        set_value(page, seed=1)
        assert len(continue_text(page, "Once upon a time")) < 1000
        assert read_status(page) == (
            "The model ended the paragraph here. Continue begins the next one."
        )
        assert continue_text(page).startswith("\n")


def test_stop_ends_the_text_soon(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char", generation={"length": 1_000_000})
    with open_run_page(shared_page, run) as page:
        page.locator("textarea").fill("Once")
        page.keyboard.press("Control+Enter")
        page.locator(".written").wait_for()
        assert page.locator("textarea").evaluate("field => field.readOnly")
        page.keyboard.press("Escape")
        wait_until_idle(page)
        assert read_status(page) == "Stopped."
        assert len(read_text(page)) < 1_000_000


def test_half_a_character_waits_for_the_rest(shared_page: Any, tmp_path: Path) -> None:
    """The text of a byte model in two parts is the text of both; nothing half is ever shown."""
    run = make_run(tmp_path / "run", "byte", generation={"ban": ["\\r"], "seed": 3, "length": 60})
    expected = write_directly(run, "猫").text
    with open_run_page(shared_page, run) as page:
        page.locator("textarea").fill("猫")
        for part in (7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 44):
            set_value(page, length=part)
            continue_text(page)
        assert read_text(page) == "猫" + expected


def test_a_model_of_words_puts_no_second_space(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "word", generation={"temperature": 0.0, "length": 5})
    with open_run_page(shared_page, run) as page:
        text = continue_text(page, "Once upon")
        assert text.startswith(" ")
        assert continue_text(page, "Once upon ") == text[1:]


def test_unknown_tokens_wrong_seeds_and_half_characters_are_told(
    shared_page: Any, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", "char", generation={"length": 3})
    with open_run_page(shared_page, run) as page:
        continue_text(page, "Qn€")
        assert read_status(page).endswith("Tokens of your text that the model does not know: 2.")
        set_value(page, seed="12x")
        press(page, "continue")
        assert read_status(page).startswith("Seed: expected a whole number")
        assert page.locator("#status").get_attribute("data-trouble") is not None
        set_value(page, seed="")
        page.evaluate(
            "document.querySelector('textarea').value = 'a' + String.fromCharCode(0xd800)"
        )
        press(page, "continue")
        assert read_status(page).startswith("The text contains half of a character")


def test_damaged_weights_are_told(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char")
    weights = run.load_weights()
    weights["output.bias"] = np.full_like(weights["output.bias"], np.nan)
    run.save_weights(weights, {"step": 0})
    with open_run_page(shared_page, run) as page:
        page.locator("textarea").fill("Once")
        press(page, "continue")
        wait_until_idle(page)
        assert read_status(page).startswith("The model computed values that are not numbers")


def test_a_browser_that_cannot_run_it_says_so(browser: Any, demo: Path) -> None:
    with open_page(browser) as page:
        page.add_init_script("window.Worker = function () { throw Error('no threads'); }")
        page.goto(demo.as_uri())
        assert read_status(page) == (
            "This browser cannot run the model. Use a version of 2024 or later. (no threads)"
        )
        assert page.locator("[data-action=continue]").is_disabled()


def test_nothing_that_is_typed_or_written_becomes_html(shared_page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a<img src=x onerror=1>", "word", f"{ATTACK} {ATTACK}\n" * 3)
    with open_run_page(shared_page, run) as page:
        elements = page.evaluate("document.querySelectorAll('*').length")
        set_value(page, length=20)
        assert "onerror=" in continue_text(page, ATTACK)
        for language in ("zh", "en"):
            page.locator("[name=language]").select_option(language)
        assert page.locator("img").count() == 0
        assert page.title() == f"Write with {run.path.name}"
        added = page.evaluate("document.querySelectorAll('*').length") - elements
        assert added < 60  # the mark of the text and the rows of the times


def read_all(listener: socket.socket) -> bytes:
    """What was sent: a browser may knock before it asks its policy about a frame or a form."""
    received = b""
    while True:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(0.5)
                received += connection.recv(1000)
        except TimeoutError:
            return received


def test_the_network_is_forbidden_to_the_page_and_its_thread(browser: Any, demo: Path) -> None:
    tries = """async (address) => {
      const refused = [];
      await fetch(address).catch(() => refused.push("fetch"));
      await import(address).catch(() => refused.push("import"));
      await new Promise((done) => {
        const image = new Image();
        image.onload = done;
        image.onerror = () => done(refused.push("image"));
        image.src = address;
      });
      try { new EventSource(address).onerror = () => {}; } catch { }
      try { new WebSocket(address.replace("http", "ws")).onerror = () => {}; } catch { }
      navigator.sendBeacon(address, "text");
      const frame = document.createElement("iframe");
      frame.src = address;
      document.body.append(frame);
      const form = document.createElement("form");
      Object.assign(form, { action: address, method: "post" });
      document.body.append(form);
      form.submit();
      await new Promise((done) => setTimeout(done, 300));
      return refused;
    }"""
    with socket.create_server(("127.0.0.1", 0)) as listener, open_page(browser) as page:
        listener.settimeout(0.5)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        page.goto(demo.as_uri())
        wait_until_idle(page)
        assert page.evaluate(tries, address) == ["fetch", "import", "image"]
        (thread,) = page.workers
        inside = "address => fetch(address).then(() => 'sent', () => 'refused')"
        assert thread.evaluate(inside, address) == "refused"
        assert read_all(listener) == b""


def test_axe_finds_nothing_and_nothing_is_too_wide(page: Any) -> None:
    """A text with no trouble above it is looked at in Chinese."""
    check_looks(page)
    set_value(page, length=30)
    continue_text(page, "Once upon a time there was a very long word: " + "o" * 90)
    set_value(page, seed="x")
    press(page, "continue")
    check_looks(page)


def test_the_colours_can_be_chosen(page: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for theme in ("system", "light", "dark"):
            page.locator("[name=theme]").select_option(theme)
            seen[scheme, theme] = page.evaluate(ground)
            assert list_violations(page) == []
    light, dark = seen["light", "system"], seen["dark", "system"]
    assert light != dark
    assert seen["dark", "light"] == seen["light", "light"] == light
    assert seen["light", "dark"] == seen["dark", "dark"] == dark


def test_it_speaks_chinese(browser: Any, demo: Path) -> None:
    with open_page(browser, locale="zh-CN") as page:
        page.goto(demo.as_uri())
        wait_until_idle(page)
        set_value(page, length=5)
        continue_text(page, "Once")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        assert read_status(page).startswith("已写满设定的长度。")
        said = page.locator("header, .dock, .side").all_inner_texts()
        left = re.findall("[A-Za-z]{4,}", " ".join(said))
        names = {"demo", "English", "Ctrl", "Enter", "LSTM", "float"}
        names |= {"multiplier", "allowed", "length"}  # of settings
        assert set(left) <= names
        check_looks(page)
        page.locator("[name=language]").select_option("en")
        assert page.evaluate("document.documentElement.lang") == "en"
        assert read_status(page) == "Stopped at the length limit."


def test_every_control_is_reached_by_keyboard(small_page: Any) -> None:
    page = small_page
    continue_text(page, "Once")
    wanted = page.locator("button:enabled:visible, select, input, textarea").evaluate_all(
        "nodes => nodes.map(({ name, dataset }) => name || dataset.action || dataset.part)"
    )
    page.locator("textarea").focus()
    reached = []
    for _ in wanted:
        name = "(({ name, dataset }) => name || dataset.action || dataset.part)"
        reached.append(page.evaluate(f"{name}(document.activeElement)"))
        page.keyboard.press("Tab")
    assert len(wanted) >= 11
    assert set(reached) >= set(wanted) - {"theme", "language"}  # they come before the text


def test_the_copy_behind_the_text_has_its_lines(small_page: Any) -> None:
    page = small_page
    page.locator("textarea").fill("Some words, a longword" + "o" * 90 + "\n\n字 end " * 9 + "\n")
    for width in (390, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        heights = page.evaluate(
            """() => { const field = document.querySelector('textarea');
            return [field.scrollHeight, field.clientHeight,
                    document.querySelector('.mirror').clientHeight]; }"""
        )
        assert len(set(heights)) == 1


def test_the_end_of_a_long_text_stays_in_view(small_page: Any) -> None:
    page = small_page
    set_value(page, length=60)
    page.locator("textarea").fill("A line.\n" * 60)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    continue_text(page)
    end, dock = page.evaluate(
        """() => [document.querySelector('.mirror').lastChild.getBoundingClientRect().bottom,
        document.querySelector('.dock').getBoundingClientRect().top]"""
    )
    assert 0 < end <= dock
