"""Run directories: each of their files changed, as it is or with hashes that fit again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzzing.cases.settings import mutate_yaml
from fuzzing.cases.tensors import mutate_tensors
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import mutate_bytes, mutate_json, write_json
from fuzzing.places import replace_path
from fuzzing.sealing import describe, read_object, seal_run, write_sealed
from fuzzing.small_runs import CHINESE, ENGLISH, make_run

from llm_timecycle.comparing.comparison import RunComparison, compare_figures
from llm_timecycle.comparing.details import read_details
from llm_timecycle.comparing.show import write_details
from llm_timecycle.comparing.side_by_side import write_comparison
from llm_timecycle.comparing.summary import read_summary
from llm_timecycle.comparing.tables import write_list
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.profiling.source import read_history
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.learned import load_shingles, load_spelling
from llm_timecycle.training.checkpoints import (
    Checkpoint,
    list_checkpoints,
    read_checkpoint,
    read_newest_checkpoint,
)
from llm_timecycle.training.reporting.metrics import MetricsLog, add_stage_seconds, read_validations

NAMES = (
    *("config.yaml", "tokenizer.json", "spelling.json", "shingles.safetensors"),
    *("model.safetensors", "model.safetensors", "metrics.csv", "samples.txt"),
    *("manifest.json", "manifest.json", "manifest.json", "checkpoints", "checkpoints/step-8"),
    *("checkpoints/step-8/state.json",) * 2,
    *("checkpoints/step-8/tensors.safetensors", "checkpoints/step-4/state.json", "."),
    *(".lock", ".model.safetensors.new", ".manifest.json.77.tmp", "checkpoints/.step-8.tmp"),
    *("checkpoints/step-9", "checkpoints/step-08", "checkpoints/step-99999999999999999999"),
)
FITS = ", its hash fits"
Truth = Mapping[str, Any]


@dataclass(frozen=True)
class _Pair:
    """A run, another one to take files from, and what is read from both."""

    run: Path
    other: Path
    truths: dict[bytes, Truth]
    """What is read, by the manifest."""


def prepare(world: Path) -> MakeAttempt:
    """Runs of every level, each with another one of the same shapes."""
    pairs = []
    for level, documents, text in (
        ("char", "line", ENGLISH),
        ("word", "file", ENGLISH),
        ("unicode", "file", CHINESE),
        ("subword", "paragraph", ENGLISH),
        ("byte", "file", ENGLISH),
    ):
        run, other = (make_run(world / f"{level}-{n}", level, documents, text, n) for n in (1, 2))
        truths = {
            (each.path / "manifest.json").read_bytes(): _read_truth(each) for each in (run, other)
        }
        pairs.append(_Pair(run.path, other.path, truths))
    shapes = {pair.run: open_run(pair.run) for pair in pairs}

    def make(draw: Random, place: Path) -> Attempt:
        pair = draw.choice(pairs)
        run, other = place / "run", place / "other"
        shutil.copytree(pair.run, run)
        shutil.copytree(pair.other, other)
        what, is_sealed = change_run(draw, run, other)
        order = [*READERS]
        draw.shuffle(order)
        if draw.random() < 0.8:
            order.remove("lock")
        truth = None if is_sealed else find_truth(run, pair.truths)
        kept = ("other", *(_list_kept(run) if "lock" in order else ["run"]))
        original = shapes[pair.run]
        return Attempt(
            f"{pair.run.name}: {what}",
            lambda: read_all(run, original, order),
            lambda found: check(found, truth, is_sealed),
            kept,
        )

    return make


def _list_kept(run: Path) -> list[str]:
    """All but the lock, which a training makes."""
    if not run.is_dir() or run.is_symlink():
        return ["run"]
    return [f"run/{path.name}" for path in run.iterdir() if path.name != ".lock"]


def change_run(draw: Random, run: Path, other: Path) -> tuple[str, bool]:
    """Change a run in one to three places; what was done, and whether the hashes fit again."""
    done = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        name = draw.choice(NAMES)
        done.append(f"{name}: {change_file(draw, run / name, other / name, run)}")
    is_sealed = any(each.endswith(FITS) for each in done)
    if draw.random() < 0.5 and run.is_dir() and not run.is_symlink():
        is_sealed = True
        seal_run(run)
        done.append("sealed")
    return "; ".join(done), is_sealed


def change_file(draw: Random, path: Path, other: Path, run: Path) -> str:
    """Change what is at one path."""
    if not path.parent.is_dir():
        return "is not there"
    if describe(path) is None or draw.random() < 0.25:
        if draw.random() < 0.1:
            files = sorted(each for each in run.rglob("*") if describe(each) is not None)
            other = draw.choice(files or [other])
        return replace_path(draw, path, other) if path != run or draw.random() < 0.1 else "as it is"
    content = path.read_bytes()
    if path.suffix == ".json" and draw.random() < 0.8:
        values = read_object(path)
        if values is not None:
            changed, what = mutate_json(draw, values)
            if isinstance(changed, dict) and draw.random() < 0.5:
                write_sealed(path, changed)
                return f"{what}{FITS}"
            written, way = write_json(draw, changed)
            path.write_bytes(written)
            return f"{what} ({way})"
    if path.suffix == ".safetensors" and len(content) > 8 and draw.random() < 0.6:
        try:
            changed_bytes, what = mutate_tensors(draw, content)
        except (ValueError, OverflowError):
            changed_bytes, what = mutate_bytes(draw, content)
    elif path.suffix == ".yaml" and draw.random() < 0.8:
        changed_bytes, what = mutate_yaml(draw, content)
    else:
        again = other.read_bytes() if describe(other) is not None else b""
        changed_bytes, what = mutate_bytes(draw, content, again)
    path.write_bytes(changed_bytes)
    return what


def find_truth(run: Path, truths: Mapping[bytes, Truth]) -> Truth | None:
    """What must be read under the manifest that is there; None where no manifest is known."""
    try:
        manifest = (run / "manifest.json").resolve()
        is_small = manifest.is_file() and manifest.stat().st_size < 1 << 20
        content = manifest.read_bytes() if is_small else b""
    except (OSError, RuntimeError):  # unreadable, or a link that leads to itself
        return None
    return truths.get(content) or find_same_manifest(content, truths)


def find_same_manifest(content: bytes, truths: Mapping[bytes, Truth]) -> Truth | None:
    """The truth of a manifest that says the same in another form."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None
    same = [truth for known, truth in truths.items() if json.loads(known) == values]
    return same[0] if same else None


def read_all(path: Path, original: Run, order: list[str]) -> Truth:
    """Open a run, and read all of it, as the commands do."""
    run = open_run(path)
    found: dict[str, Any] = {"settings": run.settings, "vocab_size": run.vocab_size}
    for name in order:
        found[name] = READERS[name](run, original)
    return found


def _generate(run: Run, _: Run) -> str:
    tokenizer = run.load_tokenizer()
    settings = run.settings.generation.model_copy(update={"length": 6, "beams": 1})
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    (text,) = TextGenerator(engine, tokenizer, settings).generate("The fox 一")
    return text.text


def _read_checkpoint(run: Run, original: Run) -> Any:
    checkpoint = _read_newest(run, original)
    if checkpoint is None:
        return None
    return checkpoint.progress, _freeze(checkpoint.tensors)


def _read_newest(run: Run, original: Run) -> Checkpoint | None:
    shapes = _list_shapes(original)
    return read_newest_checkpoint(run.checkpoints_path, shapes, run.read_identity())


def _list_shapes(run: Run) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint of a small run."""
    weights = compute_parameter_shapes(run.settings.model, run.vocab_size)
    shapes = {f"weights.{name}": shape for name, shape in weights.items()}
    return shapes | {"state.0": (4, 6), "random.0": (2,)}


def _read_metrics(run: Run, original: Run) -> Any:
    """As a resume does, which first cuts off what follows its checkpoint, and as `profile` does."""
    text = run.read_metrics()
    run.check_files()
    checkpoint = _read_newest(run, original)
    cut = Path("cut.csv")
    if checkpoint is not None and checkpoint.progress.metrics_bytes > 0 and text:
        cut.write_bytes(run.metrics_path.read_bytes()[: checkpoint.progress.metrics_bytes])
        read_validations(cut)
        add_stage_seconds(cut)
        MetricsLog(cut, checkpoint.progress.metrics_bytes).close()
    return text, read_history(run)


def _read_spelling(run: Run, _: Run) -> Any:
    spelling = load_spelling(run)
    if spelling is None:
        return None
    bits = [spelling.compute_bits(word) for word in ("fox", "石头", "", "😀")]
    if not all(0 < each < 10_000 for each in bits):
        raise Wrong(f"words cost {bits} bits")
    return spelling.to_json()


def _read_shingles(run: Run, _: Run) -> Any:
    shingles = load_shingles(run)
    return None if shingles is None else shingles.to_bytes()


def _show(run: Run, _: Run) -> Any:
    """As `runs list`, `show` and `compare` do, without the date."""
    row, details = read_summary(run.path), read_details(run.path)
    json.dumps([row.to_dict(), details.to_dict()], allow_nan=False)
    comparison = RunComparison((details, details), {}, compare_figures((details, details)))
    for text in (
        write_list([row], 80),
        write_details(details, 80),
        write_comparison(comparison, 80),
    ):
        if not text:
            raise Wrong("nothing is shown")
    return row.weights, row.level


def _lock(run: Run, _: Run) -> None:
    with run.lock():
        pass


def _freeze(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in sorted(tensors.items())}


READERS: dict[str, Callable[[Run, Run], Any]] = {
    "tokenizer": lambda run, _: run.load_tokenizer().to_json(),
    "weights": lambda run, _: _freeze(run.load_weights()),
    "text": _generate,
    "spelling": _read_spelling,
    "shingles": _read_shingles,
    "metrics": _read_metrics,
    "checkpoints": lambda run, _: [path.name for path in list_checkpoints(run.checkpoints_path)],
    "checkpoint": _read_checkpoint,
    "shown": _show,
    "lock": _lock,
}
MAY_DIFFER = ("text", "metrics", "checkpoints", "checkpoint", "lock")
"""What depends on what may be edited, or is not covered by the manifest."""


def check(found: Truth, truth: Truth | None, is_sealed: bool) -> None:
    """Nothing that was changed may pass for what it was."""
    if is_sealed:
        return
    if truth is None:
        raise Wrong("a manifest that was changed is accepted")
    for name, value in found.items():
        if name == "settings":
            _check_settings(value, truth[name])
        elif name == "checkpoint":
            _check_checkpoint(value, truth[name])
        elif name not in MAY_DIFFER and value != truth[name]:
            raise Wrong(f"changed and accepted: {name}")


def _check_settings(found: Any, truth: Any) -> None:
    """Only `generation` and the paths of the texts may be edited."""
    texts = {"train": "", "valid": None, "test": None}
    a, b = (
        replace_section(each, "data", texts).model_dump(exclude={"generation"})
        for each in (found, truth)
    )
    if a != b:
        raise Wrong("settings that belong to the weights are changed and accepted")


def replace_section(settings: Any, section: str, values: Mapping[str, Any]) -> Any:
    """Settings with some of a section replaced, unchecked."""
    changed = getattr(settings, section).model_copy(update=values)
    return settings.model_copy(update={section: changed})


def _check_checkpoint(found: Any, truth: Any) -> None:
    """The newest checkpoint, or an earlier one of the run; never a changed one."""
    if found is not None and found != truth.get(found[0].step):
        raise Wrong("a checkpoint that was changed, or is of another run, is accepted")


def _read_truth(run: Run) -> Truth:
    """What is read of a run that nobody has changed, and its checkpoints by their steps."""
    found = dict(read_all(run.path, run, [*READERS]))
    shapes, identity = _list_shapes(run), run.read_identity()
    found["checkpoint"] = {
        checkpoint.progress.step: (checkpoint.progress, _freeze(checkpoint.tensors))
        for path in list_checkpoints(run.checkpoints_path)
        if (checkpoint := read_checkpoint(path, shapes, identity))
    }
    return found
