"""Texts for many prompts: in order, the same however often the program was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
from filelock import FileLock

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import DataError, UsageError
from llm_timecycle.generation import prompt_batches
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.generation.prompt_batches import PromptBatches
from llm_timecycle.generation.prompt_file import read_prompt_file
from llm_timecycle.generation.sample import SampleRequest
from llm_timecycle.sealed_json import read_sealed, write_sealed
from tests.generation.fake_engine import CHARACTERS, FakeEngine, find_soft_logits

PROMPTS = [
    '"a"',
    '{"prompt": "b", "id": 7}',
    '{"prompt": "a", "length": 3}',
    '"a"',
    '{"prompt": "c", "seed": 9}',
]
Write = Callable[..., int]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_batches, "BATCH_PROMPTS", 2)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Generate into out.jsonl; how many texts were there before."""
    (tmp_path / "p.jsonl").write_text("\n".join(PROMPTS))

    def write_texts(
        note_done: Callable[[int], object] = lambda done: None,
        weights: str = "w",
        top_logprobs: int = 0,
        output: str = "out.jsonl",
        **options: Any,
    ) -> int:
        settings = GenerationSettings(**{"length": 6, "temperature": 1.0, "seed": 3} | options)
        prompts = read_prompt_file(tmp_path / "p.jsonl", settings, CHARACTERS)
        batches = PromptBatches(
            FakeEngine(find_soft_logits),
            CHARACTERS,
            prompts,
            settings,
            weights_sha256=weights,
            top_logprobs=top_logprobs,
        )
        return batches.write(tmp_path / output, note_done)

    return write_texts


def read_texts(tmp_path: Path, output: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / output).read_text().splitlines()]


def test_every_prompt_has_its_text_in_order(tmp_path: Path, write: Write) -> None:
    noted: list[int] = []
    assert write(noted.append) == 0
    assert noted == [0, 2, 4, 5]
    texts = read_texts(tmp_path)
    assert [(text.get("id"), text["prompt"]) for text in texts] == [
        (None, "a"), (7, "b"), (None, "a"), (None, "a"), (None, "c"),
    ]  # fmt: skip
    assert list(texts[1]) == [
        *("id", "prompt", "text", "ids", "log_probabilities", "top_log_probabilities"),
        "finish_reason",
    ]
    for number, (text, length, seed) in enumerate(
        zip(texts, (6, 6, 3, 6, 6), (3, 3, 3, 3, 9), strict=True)
    ):
        settings = GenerationSettings(length=length, temperature=1.0, seed=seed)
        generator = TextGenerator(FakeEngine(find_soft_logits), CHARACTERS, settings)
        request = SampleRequest(text["prompt"], 0 if seed == 9 else number)
        assert generator.generate_each([request])[0].text == text["text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("out.jsonl", "out.jsonl.request.json", "p.jsonl"),
    ]


class KilledError(Exception):
    """The program ended here."""


@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("after", [0, 2, 4])
@pytest.mark.parametrize("torn", [b"", b'{"prompt": "a", "te'])
def test_a_killed_program_goes_on_to_the_same_file(
    tmp_path: Path, write: Write, seed: int | None, after: int, torn: bytes
) -> None:
    """Also with a seed that was drawn, and with half a line at the end."""

    def kill(done: int) -> None:
        if done == after:
            raise KilledError

    with pytest.raises(KilledError):
        write(kill, seed=seed)
    with (tmp_path / "out.jsonl").open("ab") as file:
        file.write(torn)
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == after
    assert write(seed=seed) == after
    drawn = json.loads((tmp_path / "out.jsonl.request.json").read_text())["settings"]["seed"]
    write(seed=drawn, output="whole.jsonl")
    assert read_texts(tmp_path) == read_texts(tmp_path, "whole.jsonl")
    assert write(seed=seed) == len(PROMPTS)  # once more, and nothing is left to do
    assert read_texts(tmp_path) == read_texts(tmp_path, "whole.jsonl")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": 0.5}, "temperature was 1.0 and is now 0.5"),
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"weights": "x"}, "the model is another one, or was trained further"),
        ({"top_logprobs": 2}, "top_logprobs was 0 and is now 2"),
        ({"stop": ["a"]}, r'stop was \[\] and is now \["a"\]'),
    ],
)
def test_a_changed_request_is_refused(
    tmp_path: Path, write: Write, changed: dict[str, Any], message: str
) -> None:
    write()
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(UsageError, match=f"out.jsonl was begun with something else: {message}"):
        write(**changed)
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_changed_prompts_are_refused(tmp_path: Path, write: Write) -> None:
    write()
    (tmp_path / "p.jsonl").write_text('"b"\n')
    with pytest.raises(UsageError, match=r"p\.jsonl has changed\. Give the same as then"):
        write()


def test_a_file_of_others_is_left_alone(tmp_path: Path, write: Write) -> None:
    (tmp_path / "out.jsonl").write_text("mine\n")
    with pytest.raises(UsageError, match=r"out\.jsonl exists, and out\.jsonl\.request\.json"):
        write()
    (tmp_path / "out.jsonl.request.json").write_text("[]")
    with pytest.raises(UsageError, match="does not say how it was made"):
        write()
    assert (tmp_path / "out.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": []},
        {"settings": []},
        {"settings": {"seed": -1}},
        {"settings": {"seed": 10**400}},
        {"settings": {"seed": 3.0}},
        {"top_logprobs": None},
        {"weights_sha256": {}},
    ],
)
def test_a_request_file_that_was_changed_is_refused(
    tmp_path: Path, write: Write, changes: dict[str, Any]
) -> None:
    write()
    file = tmp_path / "out.jsonl.request.json"
    file.write_bytes(write_sealed(read_sealed(file.read_bytes()) | changes))
    with pytest.raises(UsageError, match="does not say how it was made"):
        write()


def test_a_changed_digit_of_a_request_file_is_found(tmp_path: Path, write: Write) -> None:
    """With another seed, the program would go on with other texts."""
    write()
    file = tmp_path / "out.jsonl.request.json"
    file.write_text(file.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(UsageError, match="does not say how it was made"):
        write(seed=4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.request.json", ".out.jsonl.lock"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/full")])
def test_what_is_no_file_is_not_waited_for_or_written_to(
    tmp_path: Path, write: Write, name: str, make: Callable[[Path], object]
) -> None:
    write()
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    if name.endswith("lock"):
        with suppress(DataError):  # a pipe can be locked
            assert write() == 5
    else:
        with pytest.raises((DataError, UsageError)):
            write()
    assert len(read_texts(tmp_path)) == 5 if name != "out.jsonl" else True


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_link_that_leads_to_nothing_is_not_written_through(tmp_path: Path, write: Write) -> None:
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"out\.jsonl: it is a link that leads to nothing\. Delete"):
        write()
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "out.jsonl.request.json").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_link_at_the_name_of_the_lock_is_not_followed(tmp_path: Path, write: Write) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".out.jsonl.lock").symlink_to("mine")
    with pytest.raises(DataError, match="a link is where a file is needed: delete it"):
        write()
    assert (tmp_path / "mine").read_text() == "mine"


def test_half_a_line_without_end_is_refused(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.setattr(prompt_batches, "LINE_BYTES_AT_MOST", 100)
    with pytest.raises(DataError, match="line 1 is not the text of prompt 1"):
        write()


@pytest.mark.parametrize("line", ['{"prompt": "x"}', "x", "[]"])
def test_an_edited_file_is_refused(tmp_path: Path, write: Write, line: str) -> None:
    write()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    (tmp_path / "out.jsonl").write_text("\n".join([lines[0], line, *lines[2:], ""]))
    with pytest.raises(DataError, match="line 2 is not the text of prompt 2: the file was edited"):
        write()


def test_a_deleted_file_starts_over(tmp_path: Path, write: Write) -> None:
    write()
    (tmp_path / "out.jsonl").unlink()
    assert write(temperature=0.5) == 0


def test_an_output_without_texts_starts_over(tmp_path: Path, write: Write) -> None:
    """What stopped the first try may be mended in the settings."""

    def kill(done: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        write(kill)
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert write(temperature=0.5) == 0
    write(temperature=0.5, output="whole.jsonl")
    assert read_texts(tmp_path) == read_texts(tmp_path, "whole.jsonl")


def test_what_one_batch_needs_is_not_kept_for_the_next(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: WeakSet[TextGenerator] = WeakSet()

    def make_generator(*arguments: Any, **options: Any) -> TextGenerator:
        generator = TextGenerator(*arguments, **options)
        kept.add(generator)
        return generator

    monkeypatch.setattr(prompt_batches, "TextGenerator", make_generator)
    lines = [f'{{"prompt": "a", "seed": {n}}}' for n in range(8)]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    numbers: list[int] = []
    write(lambda done: numbers.append(len(kept)))
    assert numbers == [0, 2, 2, 2, 2]


def test_the_output_belongs_to_one_process(tmp_path: Path, write: Write) -> None:
    with (
        FileLock(tmp_path / ".out.jsonl.lock", fallback_to_soft=False),
        pytest.raises(UsageError, match="is being written by another process"),
    ):
        write()


def test_a_directory_that_is_not_there_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"cannot write .*none/out\.jsonl: there is no directory"):
        write(output="none/out.jsonl")


def test_a_beam_search_has_the_best_text_of_each(tmp_path: Path, write: Write) -> None:
    (tmp_path / "p.jsonl").write_text('"a"\n{"prompt": "a", "length": 3}\n"a"\n')
    write(beams=3, temperature=0.8)
    first, second, third = read_texts(tmp_path)
    assert first["text"] == third["text"]
    assert len(second["ids"]) <= 3


def test_a_link_to_an_empty_file_is_written_through(tmp_path: Path, write: Write) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "out.jsonl").symlink_to("elsewhere")
    write()
    assert len(read_texts(tmp_path, "elsewhere")) == len(PROMPTS)
