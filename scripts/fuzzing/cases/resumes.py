"""Whole trainings, resumed from runs that were changed.

A resume is refused, and has changed nothing; or it ends as that of the run that nobody changed, bit
for bit, unless hashes were made to fit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.cases.runs import change_run
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.small_runs import ENGLISH, make_settings

import llm_timecycle as lt

LONGER = {"training.max_steps": 12}


def prepare(world: Path) -> MakeAttempt:
    """Two short trainings, and the end of the first one, resumed as it is."""
    runs = [world / "home" / "my", world / "home" / "other"]
    text = world / "home" / "text.txt"
    text.parent.mkdir()
    text.write_text(ENGLISH)
    for seed, run in enumerate(runs, 1):
        settings = make_settings(text)
        training = settings.training.model_copy(update={"seed": seed, "precision": "float32"})
        settings = settings.model_copy(update={"training": training})
        lt.train(settings, run=run, show_progress=False)
    shutil.copytree(text.parent, world / "end")
    expected = _resume(world / "end" / "my")

    def make(draw: Random, place: Path) -> Attempt:
        home = place / "home"
        shutil.copytree(text.parent, home)
        what, is_sealed = change_run(draw, home / "my", home / "other")

        def check(found: dict[str, bytes]) -> None:
            different = [name for name in expected if found.get(name) != expected[name]]
            if different and not is_sealed:
                raise Wrong(f"resumed, and ends differently: {', '.join(different)}")

        kept = tuple(
            str(path.relative_to(place))
            for path in (*_list_parts(home / "my"), home / "other", home / "text.txt")
        )
        return Attempt(what, lambda: _resume(home / "my"), check, kept, may_write=True)

    return make


def _list_parts(run: Path) -> list[Path]:
    """All of a run but its lock."""
    if not run.is_dir() or run.is_symlink():
        return [run]
    return [path for path in run.iterdir() if path.name != ".lock"]


def _resume(run: Path) -> dict[str, Any]:
    """What must not differ at the end of a resumed training."""
    lt.train(run, resume=True, settings=LONGER, show_progress=False)
    names = ("model.safetensors", "samples.txt", "checkpoints/step-12/tensors.safetensors")
    return {name: (run / name).read_bytes() for name in names}
