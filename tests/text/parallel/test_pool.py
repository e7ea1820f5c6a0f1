"""Worker processes: the same results as without them, whatever happens to a worker.

Real processes, on small texts that are taken for large ones.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from llm_timecycle.config.text_settings import DataSettings, TokenizerSettings
from llm_timecycle.errors import DataError
from llm_timecycle.text import prepare, text_file
from llm_timecycle.text.chunks import Chunk
from llm_timecycle.text.corpus import Corpus, open_corpus
from llm_timecycle.text.encoding import encode_chunk, encode_documents, open_encoder
from llm_timecycle.text.parallel import pool, worker
from llm_timecycle.text.parallel.messages import receive, send
from llm_timecycle.text.shingles import SketchBuilder
from llm_timecycle.text.tokenizer import vocabulary
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

WORD = TokenizerSettings(level="word", lowercase=True)
UNICODE = TokenizerSettings(level="word", word_split="unicode", vocab_size=40)
SUBWORD = TokenizerSettings(level="subword", vocab_size=300)
LARGE = pool.CHARACTERS_FOR_WORKERS
TEXT = "".join(f"Line {n}: It's  the {n * n}th, 钟。\n" for n in range(300)) + "x" * 200
LINES = DataSettings(documents="line", normalize="NFC")
DECOMPOSED = "".join(f"cafe\u0301 {n}\ncafé\n\n" for n in range(300))


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The workers that are started: two for every text."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(pool, "CHARACTERS_FOR_WORKERS", 0)
    monkeypatch.setattr(pool, "count_hardware_threads", lambda: 2)
    monkeypatch.setattr(pool.subprocess, "Popen", Recorded)
    return started


def open_text(directory: Path, text: str = TEXT, how: DataSettings | None = None) -> Corpus:
    path = directory / "text.txt"
    path.write_text(text, encoding="utf-8")
    return open_corpus(str(path), directory, directory, how=how or DataSettings())


def gather(tokenizer: Tokenizer, corpus: Corpus) -> tuple[list[int], list[object]]:
    """All ids, and the counts and the ends of documents of each piece."""
    pieces = [*encode_documents(tokenizer, corpus)]
    assert {piece.ids.dtype for piece in pieces} == {tokenizer.dtype}
    facts = [(piece.counts, piece.ends.tolist()) for piece in pieces]
    return np.concatenate([piece.ids for piece in pieces]).tolist(), facts


@pytest.mark.parametrize(
    ("settings", "text", "data"),
    [
        (WORD, TEXT, DataSettings()),
        (UNICODE, DECOMPOSED, LINES),
        (SUBWORD, DECOMPOSED, LINES),
    ],
)
def test_workers_give_the_same_vocabulary_and_ids(
    tmp_path, settings, text, data, monkeypatch, workers
):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 500)
    monkeypatch.setattr(vocabulary, "CHARACTERS_COUNTED_AT_ONCE", 1500)
    corpus = open_text(tmp_path, text, data)
    tokenizer = prepare._train_tokenizer(settings, data, corpus, False)
    encoded = gather(tokenizer, corpus)
    assert len(encoded[1]) > 10
    assert len(workers) == (2 if settings.level == "subword" else 4)
    assert {process.returncode for process in workers} == {-signal.SIGKILL}  # none is left
    monkeypatch.setattr(pool, "CHARACTERS_FOR_WORKERS", LARGE)
    alone = prepare._train_tokenizer(settings, data, corpus, False)
    assert tokenizer.to_json() == alone.to_json()
    assert write_spelling(tokenizer) == write_spelling(alone)
    assert encoded == gather(alone, corpus)
    assert len(workers) <= 4


def write_spelling(tokenizer: Tokenizer) -> str | None:
    return None if tokenizer.spelling is None else tokenizer.spelling.to_json()


def test_workers_know_normalization_and_documents(tmp_path, workers):
    data = DataSettings(documents="paragraph", normalize="NFC")
    corpus = open_text(tmp_path, "cafe\u0301\ncafé\n\ncafé", data)
    tokenizer = prepare._train_tokenizer(WORD, data, corpus, False)
    assert [tokenizer.token(id) for id in range(tokenizer.vocab_size)][2:] == ["café"]
    # A line break inside a paragraph is no <eos>.
    assert gather(tokenizer, corpus)[0] == [2, 2, 1, 2, 1]
    assert len(workers) == 4


def test_no_word_is_counted_across_two_documents(tmp_path, workers):
    data = DataSettings(documents="line")
    corpus = open_text(tmp_path, "one\ntwo\none\n", data)
    tokenizer = prepare._train_tokenizer(UNICODE, data, corpus, False)
    assert [tokenizer.token(id) for id in range(tokenizer.vocab_size)][2:] == ["one", "two"]
    assert len(workers) == 2


def test_the_sketch_is_the_same_with_workers(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 500)
    corpus = open_text(tmp_path)
    tokenizer = Tokenizer.train(WORD, [TEXT])
    sketches = []
    for least in (0, LARGE):
        monkeypatch.setattr(pool, "CHARACTERS_FOR_WORKERS", least)
        sketch = SketchBuilder()
        for piece in encode_documents(tokenizer, corpus):
            sketch.add(piece.shingles)
        sketches.append(sketch.finish().to_bytes())
    assert sketches[0] == sketches[1]
    assert len(SketchBuilder().finish().to_bytes()) < len(sketches[0])
    assert len(workers) == 2


@pytest.mark.parametrize("level", ["char", "byte"])
def test_what_numpy_does_needs_no_workers(tmp_path, level, workers):
    corpus = open_text(tmp_path)
    gather(Tokenizer.train(TokenizerSettings(level=level), [TEXT]), corpus)
    assert workers == []


@pytest.mark.parametrize(
    ("characters", "threads", "is_frozen", "expected"),
    [
        (LARGE, 4, False, 4),
        (LARGE, 100, False, pool.WORKERS_AT_MOST),
        (LARGE - 1, 4, False, 0),
        (LARGE, 1, False, 0),  # a worker would only take the one core from this process
        (LARGE, 4, True, 0),  # `sys.executable` is no Python then
    ],
)
def test_how_many_workers(monkeypatch, characters, threads, is_frozen, expected):
    monkeypatch.setattr(pool, "count_hardware_threads", lambda: threads)
    monkeypatch.setattr(sys, "frozen", is_frozen, raising=False)
    assert pool.count_workers(characters) == expected


def test_a_worker_imports_no_tensorflow():
    code = (
        "import sys; from importlib import import_module; "
        "from llm_timecycle.text.parallel.worker import TASKS; "
        "[import_module(module) for module, _ in TASKS.values()]; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("killed", [1, 2])
def test_the_share_of_a_killed_worker_is_done_again(monkeypatch, workers, caplog, killed):
    tokenizer = Tokenizer.train(WORD, [TEXT])
    items = [(Chunk(f"{TEXT[:50]} {number}\n", (3,)), False) for number in range(40)]
    with open_encoder(tokenizer, LARGE) as encode, caplog.at_level(logging.WARNING):
        results = encode(items)
        first = next(results)
        for process in workers[:killed]:
            process.kill()
        found = [first, *results]
    expected = [encode_chunk(tokenizer, 0, *item) for item in items]
    for name in ("ids", "counts", "ends"):
        pairs = zip(found, expected, strict=True)
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for a, b in pairs)
    assert len(caplog.messages) == killed
    assert "ended early (exit code -9)" in caplog.messages[0]


def test_without_a_python_to_start_all_is_done_here(tmp_path, monkeypatch, workers, caplog):
    tokenizer = Tokenizer.train(WORD, [TEXT])
    corpus = open_text(tmp_path)
    expected = gather(tokenizer, corpus)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert gather(tokenizer, corpus) == expected
    assert "cannot start a process" in caplog.messages[0]


def test_a_worker_that_cannot_import_the_program_is_done_without(tmp_path, monkeypatch, workers):
    tokenizer = Tokenizer.train(WORD, [TEXT])
    monkeypatch.setattr(pool, "_PROGRAM", "import sys; sys.exit(3)")
    assert gather(tokenizer, open_text(tmp_path))[0] == [*tokenizer.encode(TEXT).tolist(), 1]
    assert {process.returncode for process in workers} == {3}


def test_an_error_in_a_worker_is_raised_here(workers):
    tokenizer = Tokenizer.train(WORD, [TEXT])
    with (
        open_encoder(tokenizer, LARGE) as encode,
        pytest.raises(DataError, match=r"U\+D800 at character 2 is half of a character"),
    ):
        list(encode([(Chunk("a b"), False), (Chunk("c \ud800"), False)]))
    assert all(process.returncode is not None for process in workers)


def test_a_worker_goes_on_after_an_error():
    task = ("count pieces", WORD.model_dump_json(), "none")
    encode = worker.make_task(*task)
    assert encode(["a B", "b"]) == ({"a": 1, "b": 2}, {})
    process = subprocess.run(
        [sys.executable, "-c", "from llm_timecycle.text.parallel.worker import main; main()"],
        input=b"".join(map(write, [task, 5, ["a a"]])),
        capture_output=True,
        check=True,
    )
    answers = io.BytesIO(process.stdout)
    assert [receive(answers), receive(answers)] == [(), (({"a": 2}, {}),)]
    assert answers.read() == b""
    assert process.stderr == b""


def write(value: object) -> bytes:
    """A message as bytes."""
    stream = io.BytesIO()
    send(stream, value)
    return stream.getvalue()


PROGRAM = dedent("""
    print("began")
    import os, sys, time
    from pathlib import Path
    from llm_timecycle.config.text_settings import TokenizerSettings
    from llm_timecycle.text.chunks import Chunk
    from llm_timecycle.text.encoding import open_encoder
    from llm_timecycle.text.parallel import pool
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

    def read():
        yield Chunk("a b"), False
        Path("ready").write_text(" ".join(str(each.pid) for each in started))
        while len(sys.argv) > 1:
            time.sleep(0.01)
        yield Chunk("b"), False

    started, popen = [], pool.subprocess.Popen
    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]
    pool.subprocess.Popen = start
    pool.count_hardware_threads = lambda: 2
    tokenizer = Tokenizer.train(TokenizerSettings(), ["a b"])
    with open_encoder(tokenizer, 10**9) as encode:
        print([piece.ids.tolist() for piece in encode(read())], len(started))
""")


@pytest.mark.parametrize("way", ["script", "command", "input"])
def test_the_main_module_is_not_run_again(tmp_path, way):
    # A script without `if __name__ == "__main__"`, `python -c`, and what a notebook is like.
    (tmp_path / "script.py").write_text(PROGRAM)
    (tmp_path / "numpy.py").write_text("raise ImportError('not the real one')")
    arguments = {"script": ["-P", "script.py"], "command": ["-P", "-c", PROGRAM], "input": ["-P"]}
    process = subprocess.run(
        [sys.executable, *arguments[way]],
        input=PROGRAM if way == "input" else "",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert process.stdout.splitlines() == ["began", "[[2, 3], [3]] 2"]
    assert process.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_program(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "wait"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    ready = tmp_path / "ready"
    wait_until(lambda: ready.exists() and len(ready.read_text().split()) == 2)
    os.killpg(process.pid, number)  # as a terminal does at Ctrl-C
    _, messages = process.communicate(timeout=60)
    for pid in map(int, ready.read_text().split()):
        wait_until(lambda pid=pid: not is_running(pid))
    if number == signal.SIGINT:
        assert messages.rstrip().endswith("KeyboardInterrupt")
        assert messages.count("Traceback") == 1  # the workers say nothing


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # one that nobody has waited for yet is not running
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until(condition) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_little_is_read_ahead(workers):
    read = []

    def chunks():
        for number in range(60):
            read.append(number)
            yield Chunk(f"a {number}"), False

    with open_encoder(Tokenizer.train(WORD, ["a"]), LARGE) as encode:
        for position, _ in enumerate(encode(chunks())):
            assert len(read) <= position + 1 + 2 * 2
