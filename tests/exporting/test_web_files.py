"""The page as a file: what is in it, what is not, and what it allows itself. No browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.web import page as page_module
from llm_timecycle.exporting.web.modules import FOLDER, join_modules
from llm_timecycle.exporting.web.page import make_page, open_reader, write, write_page
from llm_timecycle.exporting.web.read_back import read_page
from llm_timecycle.exporting.web.weights import Precision, pack_weights, round_weights
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from tests.exporting.web_pages import change_run, make_run

ENTRIES = {"page": "main.js", "worker": "worker.js"}


class _Elements(HTMLParser):
    """Each element that has text, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.addresses: list[str] = []
        self.policy = ""
        self._name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._name = values.get("id") or tag
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""

    def handle_data(self, data: str) -> None:
        self.texts[self._name] = self.texts.get(self._name, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._name = ""


def parse_page(path: Path) -> _Elements:
    elements = _Elements()
    elements.feed(path.read_text(encoding="utf-8"))
    return elements


def test_the_page_says_how_large_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run", "char")
    sizes = {}
    for precision in ("float32", "float16", "int8"):
        facts = write_page(run, tmp_path / "page.html", precision)
        model = json.loads(parse_page(tmp_path / "page.html").texts["model"])
        sizes[precision] = facts.size_bytes
        assert model["bytes"] == facts.size_bytes == (tmp_path / "page.html").stat().st_size
        assert model["name"] == "my run"
        assert model["parameters"] == facts.parameters
        assert model["precision"] == facts.precision == precision
    weights = sum(weight.size for weight in run.load_weights().values())
    assert facts.parameters == weights
    assert sizes["float32"] - sizes["float16"] == pytest.approx(weights * 2 * 4 / 3, abs=20)
    assert sizes["int8"] < sizes["float16"]


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(tmp_path: Path) -> None:
    write_page(make_run(tmp_path / "run", "char"), tmp_path / "page.html")
    elements = parse_page(tmp_path / "page.html")
    hashes = {
        name: base64.b64encode(hashlib.sha256(elements.texts[name].encode()).digest()).decode()
        for name in ("script", "style")
    }
    assert elements.policy == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; worker-src blob:; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )
    assert elements.addresses == ["data:,"]


def test_it_keeps_the_place_of_the_run_and_of_its_text_to_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char")
    write_page(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert str(run.settings.data.train) not in page


def test_hostile_names_and_tokens_stay_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a<b>&amp;'", "word", "</script> <!-- <script> &lt; \" ' x y z\n" * 3)
    write_page(run, tmp_path / "page.html")
    elements = parse_page(tmp_path / "page.html")
    model = json.loads(elements.texts["model"])
    assert model["name"] == run.path.name
    assert {"</script>", "<!--", "<script>", "&lt;"} <= set(model["tokenizer"]["tokens"])
    assert elements.texts["h1"] == run.path.name
    assert "<" not in elements.texts["model"]


def test_it_says_what_is_left_out_and_what_else_is_set(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char", generation={"beams": 3, "cache": 0.2})
    assert write_page(run, tmp_path / "page.html").left_out == ("cache", "beams")
    run = change_run(run, beams=1, cache=0.0, min_p=0.1, top_k=9)
    assert write_page(run, tmp_path / "page.html").left_out == ()
    model = json.loads(parse_page(tmp_path / "page.html").texts["model"])
    assert model["others"] == [["min_p", 0.1]]  # top_k has a control


def test_writing_into_a_folder_names_the_file(tmp_path: Path) -> None:
    class Source:
        run = make_run(tmp_path / "run", "char")
        weights = run.load_weights()
        tokenizer = run.load_tokenizer()

    (tmp_path / "out").mkdir()
    write(Source(), tmp_path / "out", "int8")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]
    with pytest.raises(UsageError, match="precision: received 'float8'; expected float16, int8 or"):
        write(Source(), tmp_path / "out", "float8")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_page_is_read_back(tmp_path: Path, precision: Precision) -> None:
    class Source:
        run = make_run(tmp_path / "run", "char", tie_embeddings=True, layer_norm=True)
        weights = run.load_weights()
        tokenizer = run.load_tokenizer()

    write(Source(), tmp_path, precision)
    rounded = round_weights(Source.weights, precision)
    found = read_page(tmp_path / "index.html")
    assert list(found) == list(Source.weights)
    for name, values in found.items():
        np.testing.assert_array_equal(values, rounded[name])
    read = open_reader(tmp_path, Source())
    engine = NumpyEngine(rounded, Source.run.settings.model)
    for token in (1, 5, 7):
        np.testing.assert_array_equal(read(token), engine.step(np.array([token]))[0])


def test_a_weight_that_float16_cannot_hold_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char")
    weights = run.load_weights()
    weights["lstm_1.bias"] = np.full_like(weights["lstm_1.bias"], -70_000.0)
    run.save_weights(weights, {"step": 0})
    message = "lstm_1.bias has a weight of 70,000, and float16 holds at most 65,504"
    with pytest.raises(UsageError, match=message):
        write_page(run, tmp_path / "page.html")
    with pytest.raises(UsageError, match=message):
        round_weights(weights, "float16")
    write_page(run, tmp_path / "page.html", "int8")


def test_a_model_too_large_for_a_browser_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", "char")
    monkeypatch.setattr(page_module, "LONGEST_TEXT", 1000)
    with pytest.raises(UsageError, match="choose the precision int8, or export another format"):
        write_page(run, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_int8_rows_have_their_scales() -> None:
    """The largest of a row is 127 steps; a row is what gives one number."""
    kernel = np.array([[1.27, 0.0], [-0.02, 254.0]], np.float32)  # columns give the gates
    rounded = round_weights({"lstm_1.kernel": kernel}, "int8")["lstm_1.kernel"]
    np.testing.assert_allclose(rounded, [[1.27, 0.0], [-0.02, 254.0]], rtol=1e-6)
    tensors, packed = pack_weights({"lstm_1.kernel": kernel}, "int8")
    assert tensors == [("lstm_1.kernel", (2, 2))]
    assert np.frombuffer(packed[:8], "<f4").tolist() == pytest.approx([0.01, 2.0])
    assert np.frombuffer(packed[8:], np.int8).tolist() == [127, -2, 0, 127]


@pytest.mark.parametrize("folder", ENTRIES)
def test_the_joined_modules_share_no_names(folder: str) -> None:
    """Each would replace the other; all files of the folder are part of the script."""
    script = join_modules(folder, ENTRIES[folder])
    names = re.findall(r"^(?:async )?(?:class|const|let|function) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names)) > 10
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    assert "</script" not in script
    assert "<!--" not in script
    for path in (FOLDER / folder).glob("*.js"):
        last = path.read_text(encoding="utf-8").rstrip().rsplit("\n", 1)[-1]
        assert last in script


def test_both_languages_say_the_same_things() -> None:
    source = (FOLDER / "page" / "strings.js").read_text(encoding="utf-8")
    english, chinese = re.findall(
        r"^const [A-Z]+ = \{\n(.*?)^\};", source, re.DOTALL | re.MULTILINE
    )
    entry = re.compile(r"^  (\w+): \"(.*)\",$", re.MULTILINE)
    words, characters = dict(entry.findall(english)), dict(entry.findall(chinese))
    assert list(words) == list(characters)
    for key, text in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(
            re.findall(r"\{\w+\}", characters[key])
        )


def test_make_page_leaves_the_run_alone(tmp_path: Path) -> None:
    class Source:
        run = make_run(tmp_path / "run", "subword")
        weights = run.load_weights()
        tokenizer = run.load_tokenizer()

    before = {path: path.read_bytes() for path in Source.run.path.iterdir() if path.is_file()}
    first, _ = make_page(Source(), "float16")
    second, _ = make_page(Source(), "float16")
    assert first == second
    assert before == {p: p.read_bytes() for p in Source.run.path.iterdir() if p.is_file()}
