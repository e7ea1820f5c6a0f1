"""`export`: a run in the format of another program, compared with the run before it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_timecycle import __version__
from llm_timecycle.arguments import check_arguments
from llm_timecycle.config.locate import check_path_name
from llm_timecycle.errors import ExportExistsError, UsageError
from llm_timecycle.exporting.companions import write_companions
from llm_timecycle.exporting.comparison import Comparison, compare
from llm_timecycle.exporting.formats import FORMATS, Format, check_precision, find_format
from llm_timecycle.exporting.result import ExportResult
from llm_timecycle.exporting.source import Source, open_source
from llm_timecycle.files import explain_os_error, read_or_map
from llm_timecycle.staging import flush_tree, stage_directory
from llm_timecycle.text.cache import open_cache

MARK = "export.json"
"""What makes a directory an export: what it was made of, its files, how close it is to the run."""
FOLDER = Path("exports")
HUB = "huggingface"


@check_arguments
def export(
    run: str | Path,
    to: str,
    *,
    output: str | Path | None = None,
    force: bool = False,
    precision: str | None = None,
    license: str | None = None,
    license_name: str | None = None,
    license_link: str | None = None,
    languages: Sequence[str] = (),
    datasets: Sequence[str] = (),
    samples: bool = True,
    push: str | None = None,
    private: bool = False,
) -> ExportResult:
    """Write a run in the format of another program.

    The directory appears complete or not at all: the model, `tokenizer.json`,
    `generation_config.json`, an `example.py` that needs nothing of this package, and `export.json`.
    Before that, the model is read back by its runtime and compared with the run.

    Args:
        run: a run directory, or the name of a shipped run ("demo", "demo-zh").
        to: the format: "onnx", "keras", "saved_model", "litert", "web" or "huggingface".
        output: the directory to make; None is `exports/NAME-FORMAT`, after the run.
        force: whether to replace an export that is there.
        precision: how weights are stored: "float32", for litert also "int8", for web also "int8"
            and "float16"; None is float32, for web float16.
        license, languages, datasets, samples: for the model card of huggingface.
        license_name, license_link: with the license "other", its name and where it is written.
        push: USER/NAME on the Hugging Face Hub, to which the folder is sent; None sends nothing. A
            model that is there already is replaced with `force` only.
        private: whether that repository is made for its owner only.

    Raises:
        UsageError: an argument is wrong, or a package that the format needs is not installed.
        ExportExistsError: something is at `output`.
        ExportError: what was written does not give what the run gives.
        RunError: the run is missing, damaged, or has no weights yet.

    >>> import llm_timecycle as lt  # doctest: +SKIP
    >>> print(lt.export("runs/my", "onnx"))  # doctest: +SKIP
    """
    form = find_format(to)
    precision = form.precisions[0] if precision is None else precision
    check_precision(to, precision)
    card: dict[str, Any] = {"license": license, "languages": tuple(languages)}
    card |= {"license_name": license_name, "license_link": license_link}
    card |= {"datasets": tuple(datasets), "samples": samples}
    _check_hub(to, {**card, "push": push, "private": private})
    writer = form.load()
    if output is not None:
        check_path_name(output)
    source = open_source(Path(run))
    place = _choose_place(source, to, precision) if output is None else Path(output)
    _check_free(place, force)
    card = {**card, "repository": push, "copies": _measure(source)} if to == HUB else {}
    try:
        result = _write(source, to, place, precision, writer, card)
    except OSError as error:
        raise UsageError(f"cannot write {place}: {explain_os_error(error)}") from error
    url = None if push is None else _send(place, push, private=private, update=force)
    return replace(result, url=url)


def _write(
    source: Source, to: str, place: Path, precision: str, writer: Any, card: Mapping[str, Any]
) -> ExportResult:
    """Write the directory and compare what is in it; see `export`."""
    form = find_format(to)
    place.parent.mkdir(parents=True, exist_ok=True)
    with stage_directory(place, replaces=place.exists()) as staging:
        if form.example is not None:
            write_companions(source, staging, form.example)
        written = writer.write(source, staging, precision, **card)
        comparison = _compare(form, source, staging, precision)
        _write_mark(staging, source, to, precision, comparison)
        files = dict(_list_files(staging))
        flush_tree(staging)
    remark = "" if comparison else _explain_no_comparison(form)
    result = ExportResult(place, source.run.name, to, precision, files, comparison, remark)
    return replace(result, left_out=tuple(getattr(written, "left_out", ())))


def _send(folder: Path, repository: str, **choices: bool) -> str:
    from llm_timecycle.exporting.huggingface.push import push

    return push(folder, repository, **choices)


def _measure(source: Source) -> object:
    """What the copy meter says of the model, for its card."""
    from llm_timecycle.exporting.huggingface.copies import measure_copies

    with open_cache() as cache:
        return measure_copies(source.run, source.tokenizer, cache)


def _check_hub(to: str, given: Mapping[str, Any]) -> None:
    """Check what only the Hub's folder has, before anything is written.

    Raises:
        UsageError: it is given for another format, or there is no license to push with.
    """
    usual = {"languages": (), "datasets": (), "samples": True, "private": False}
    changed = [name for name, value in given.items() if value != usual.get(name)]
    if to != HUB and changed:
        raise UsageError(f"{changed[0]}: the format {to} has no such choice; {HUB} has")
    if given["push"] is not None and given["license"] is None:
        raise UsageError(
            "license: received none, and nothing is pushed without one; expected the Hub's name of "
            "the license that you choose, such as cc-by-4.0, mit or apache-2.0"
        )
    if given["private"] and given["push"] is None:
        raise UsageError("private: nothing is sent; expected it with push")


def _choose_place(source: Source, to: str, precision: str) -> Path:
    suffix = "" if precision == FORMATS[to].precisions[0] else f"-{precision}"
    return FOLDER / f"{source.name}-{to}{suffix}"


def _check_free(place: Path, force: bool) -> None:
    """Raise ExportExistsError unless `place` is free, or is an export that may be replaced."""
    if not (place.exists() or place.is_symlink()):
        return
    is_export = not place.is_symlink() and (place / MARK).is_file()
    if not (force and is_export):
        raise ExportExistsError(place, is_export)


def _compare(form: Format, source: Source, directory: Path, precision: str) -> Comparison | None:
    if not form.has_runtime:
        return None
    module = form.load()
    return compare(
        source, lambda: module.open_reader(directory, source), str(form.runtime), precision
    )


def _explain_no_comparison(form: Format) -> str:
    if form.runtime is None:
        return "nothing here reads this format"
    return f'{form.runtime} is not installed: pip install "llm-timecycle[export]"'


def _list_files(directory: Path) -> Iterator[tuple[str, int]]:
    """The path in the directory, and the bytes, of each file; the largest first."""
    sizes = {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file()
    }
    yield from sorted(sizes.items(), key=lambda item: (-item[1], item[0]))


def _write_mark(
    directory: Path, source: Source, to: str, precision: str, comparison: Comparison | None
) -> None:
    mark: dict[str, Any] = {
        "format": to,
        "precision": precision,
        "run": source.name,
        "llm_timecycle": __version__,
        "model": source.model.model_dump(),
        "vocab_size": source.vocab_size,
        "tokenizer_sha256": source.tokenizer_sha256,
        "files": {name: _hash(directory / name) for name, _ in _list_files(directory)},
        "largest_difference": comparison and comparison.largest_difference,
    }
    text = json.dumps(mark, ensure_ascii=False, indent=2) + "\n"
    (directory / MARK).write_text(text, encoding="utf-8")


def _hash(path: Path) -> str:
    return hashlib.sha256(read_or_map(path)).hexdigest()
