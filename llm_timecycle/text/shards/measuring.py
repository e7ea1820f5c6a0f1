"""Measuring the files of a corpus: each is read once, a large corpus by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from llm_timecycle.progress_bars import tqdm
from llm_timecycle.text.files.split_file import SplitFile
from llm_timecycle.text.parallel.pool import WorkerPool, count_workers
from llm_timecycle.text.text_file import Landmark, Measure, TextFile

BYTES_FOR_WORKERS = 300_000_000
"""From this size on, workers save more time than their start takes."""

Source = TextFile | SplitFile
_Plain = tuple[int, str, list[tuple[int, int]], int]
"""A `Measure` in plain values, as a worker sends it."""


def measure_files(name: str, files: Sequence[Source], show_progress: bool = False) -> None:
    """Read every file once to learn its length and hash.

    Args:
        name: of the corpus, for the progress bar.
        files: they remember what was measured.
        show_progress: whether to show a progress bar on stderr, in bytes of the files on disk.

    Raises:
        DataError: a file is not text in its encoding, or is damaged.
    """
    size = sum(file.size_bytes for file in files)
    with tqdm(
        desc=f"reading {name}",
        total=size,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not show_progress,
    ) as bar:
        workers = count_workers(size) if size >= BYTES_FOR_WORKERS and len(files) > 1 else 0
        if workers:
            _measure_in_workers(files, min(workers, len(files)), bar.update)
        for file in files:
            file.measure(bar.update)


def make_measurer() -> Callable[[Any], Any]:
    """What a worker does with each file."""
    return _measure_described


def _measure_in_workers(
    files: Iterable[Source], workers: int, report: Callable[[int], object]
) -> None:
    """Measure the files, but for those that have changed since they were opened."""
    files = list(files)
    with WorkerPool(("measure",), _measure_described, workers) as pool:
        for file, found in zip(files, pool.map(file.describe() for file in files), strict=True):
            if found is None:
                continue
            content, *documents = map(_unpack, found)
            if isinstance(file, SplitFile):
                file.file.accept(content)
                file.accept(*documents)
            else:
                file.accept(content)
            report(file.size_bytes)


def _measure_described(item: tuple[Any, ...]) -> list[_Plain] | None:
    """The measures of a file, and of its documents if it is split; None if it has changed."""
    path, encoding, sha256, identity, *split = item
    file = TextFile(Path(path), encoding, sha256=sha256)
    if file.describe()[3] != identity:
        return None
    if not split:
        return [_pack(file.measure())]
    documents = SplitFile(file, *split).measure()
    return [_pack(file.measure()), _pack(documents)]


def _pack(measure: Measure) -> _Plain:
    landmarks = [(each.characters, each.offset) for each in measure.landmarks]
    return measure.characters, measure.sha256, landmarks, measure.documents


def _unpack(plain: _Plain) -> Measure:
    characters, sha256, landmarks, documents = plain
    return Measure(characters, sha256, [Landmark(*each) for each in landmarks], documents)
