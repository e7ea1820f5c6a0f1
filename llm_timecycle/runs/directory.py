"""The run directory: written whole or not at all, validated on load. No TensorFlow here.

    config.yaml  tokenizer.json  spelling.json  shingles.safetensors  model.safetensors
    metrics.csv  samples.txt  manifest.json  checkpoints/step-N/

`runs.manifest` says how the files are kept true to the manifest, `runs.tensors` how weights are
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from llm_timecycle.config.dump import read_comments
from llm_timecycle.config.locate import (
    SETTINGS_SUFFIXES,
    find_run_directory,
    list_shipped_names,
    list_shipped_runs,
)
from llm_timecycle.config.settings import Settings
from llm_timecycle.config.sources import MAX_SETTINGS_BYTES
from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import RunError, RunInUseError
from llm_timecycle.files import (
    explain_os_error,
    read_regular,
)
from llm_timecycle.runs.config_file import read_config, record_settings, write_config
from llm_timecycle.runs.locking import WAIT_S, make_lock
from llm_timecycle.runs.manifest import (
    GROWING_FILES,
    RESTORE,
    read_file,
    read_manifest,
    read_whole,
    record_facts,
    record_files,
    replace_file,
)
from llm_timecycle.runs.preflight import (
    check_writable,
    remove_leftovers,
)
from llm_timecycle.runs.tensors import bound_file_size, read_tensors

if TYPE_CHECKING:
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Run:
    """A run directory whose manifest and settings are valid.

    Made by `create_run` and `open_run`. `vocab_size` (V) is that of its tokenizer.
    """

    path: Path
    settings: Settings
    vocab_size: int

    @property
    def name(self) -> str:
        """What a command or a call names it by: its path, or the name of a shipped run."""
        return self.path.name if self.is_shipped else str(self.path)

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the program, and is therefore never changed."""
        place = self.path.resolve()
        return any(path.resolve() == place for path in list_shipped_runs().values())

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer, in the format of the `tokenizers` library."""
        return self.path / "tokenizer.json"

    @property
    def weights_path(self) -> Path:
        """The best weights so far."""
        return self.path / "model.safetensors"

    @property
    def metrics_path(self) -> Path:
        """One row per logging step."""
        return self.path / "metrics.csv"

    @property
    def samples_path(self) -> Path:
        """What the model wrote after each validation."""
        return self.path / "samples.txt"

    @property
    def checkpoints_path(self) -> Path:
        """The directory of the checkpoints."""
        return self.path / "checkpoints"

    def read_manifest(self) -> dict[str, Any]:
        """The manifest as it is on the disk now."""
        return read_manifest(self.path)

    def read_identity(self) -> str | None:
        """What its checkpoints are known by; None in a run of before they were marked."""
        return self.read_manifest().get("identity")

    def load_tokenizer(self) -> Tokenizer:
        """The run's tokenizer.

        Raises:
            RunError: it is missing, damaged, or does not fit the model.
        """
        from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

        settings, data = self.settings.tokenizer, self.settings.data
        tokenizer = Tokenizer.parse(
            read_whole(self.path, self.tokenizer_path.name),
            str(self.tokenizer_path),
            settings,
            documents=data.documents,
            normalize=data.normalize,
        )
        if tokenizer.vocab_size != self.vocab_size:
            raise RunError(
                f"{self.tokenizer_path} has {tokenizer.vocab_size:,} tokens, and the manifest of "
                f"the run says {self.vocab_size:,}: it belongs to another model. {RESTORE}"
            )
        return tokenizer

    def check_weights_exist(self) -> None:
        """Raise RunError where the file of the best weights is not there yet, or no longer."""
        if not self.weights_path.exists():
            if "model.safetensors" in self.read_manifest()["files"]:
                raise RunError(
                    f"{self.path} is incomplete: its weights file, model.safetensors, is "
                    f"missing. {RESTORE}"
                )
            raise RunError(
                f"{self.path} has no trained weights yet: its training ended before the first "
                f"validation. Resume it with: llm-timecycle train {quote(str(self.path))} --resume"
            )

    def load_weights(self) -> dict[str, np.ndarray]:
        """The best weights by name, each float32 and of the shape that the settings imply.

        Raises:
            RunError: the file is missing, damaged, or of other names, shapes or types. What is
                compared are the bytes that are used; their number, before any of them is read.
        """
        self.check_weights_exist()
        shapes = compute_parameter_shapes(self.settings.model, self.vocab_size)
        content = read_file(self.path, self.weights_path.name, bound_file_size(shapes))
        name = str(self.weights_path)
        return read_tensors(content, shapes, name=name, dtype="F32", advice=RESTORE)

    def save_weights(self, weights: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Replace the best weights, and note `facts` (step, validation loss) in the manifest."""
        content = save({name: np.ascontiguousarray(w) for name, w in weights.items()})
        replace_file(self.path, "model.safetensors", content, {"best": dict(facts)})

    def replace_settings(self, settings: Settings) -> Run:
        """The same run with other settings (a higher `training.epochs`, say), written down.

        A comment stays where the setting that it explains has not changed.
        """
        written = read_regular(self.path / "config.yaml", MAX_SETTINGS_BYTES)
        comments = read_comments(written.decode())
        before, after = self.settings.model_dump(), settings.model_dump()
        kept = {}
        for path, comment in comments.items():
            section, _, key = path.partition(".")
            if before[section].get(key) == after[section].get(key):
                kept[path] = comment
        content = write_config(self.path, settings, kept)
        replace_file(self.path, "config.yaml", content, {"settings": record_settings(settings)})
        return Run(self.path, settings, self.vocab_size)

    def record_logs(
        self, metrics_bytes: int | None = None, samples_bytes: int | None = None
    ) -> None:
        """Note in the manifest how much of `metrics.csv` and `samples.txt` is on the disk.

        Args:
            metrics_bytes, samples_bytes: what is left of them when they are cut, right after this;
                None leaves all.
        """
        lengths = {self.metrics_path: metrics_bytes, self.samples_path: samples_bytes}
        record_files(self.path, {p.name: length for p, length in lengths.items() if p.exists()})

    def record_plans(self, plans: Sequence[Mapping[str, Any]]) -> None:
        """Note in the manifest the plans of a run with a budget, durably."""
        record_facts(self.path, {"plans": list(plans)})

    def read_metrics(self) -> str:
        """The text of `metrics.csv`, which begins with what the manifest says; "" if there is none.

        Raises:
            RunError: it cannot be read, or was changed.
        """
        return self._read_log(self.metrics_path.name)

    def read_samples(self) -> str:
        """The text of `samples.txt`, as `read_metrics` reads the other."""
        return self._read_log(self.samples_path.name)

    def _read_log(self, name: str) -> str:
        if name not in self.read_manifest()["files"]:  # its training began just now
            return ""
        return read_whole(self.path, name).decode("utf-8", "replace")

    def check_files(self) -> None:
        """Raise RunError unless the files that training goes on with are as the manifest says."""
        listed = self.read_manifest()["files"]
        if self.weights_path.name in listed:
            self.load_weights()
        for name in GROWING_FILES:
            if name in listed:
                read_whole(self.path, name)

    def remove_leftovers(self) -> None:
        """Delete what killed processes have left, while `lock` is held."""
        remove_leftovers(self.path)

    def check_is_own(self) -> None:
        """Raise RunError for a run that comes with the program."""
        if self.is_shipped:
            raise RunError(
                f"{self.name} comes with the program and stays as it is. To begin a new run with "
                f"its weights: llm-timecycle train --from {self.name} TEXT"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for one training process, which may end in any way.

        Raises:
            RunInUseError: another process holds it.
            RunError: the run cannot be written to, as far as can be known, or comes with the
                program.
        """
        self.check_is_own()
        check_writable(self.path, (self.metrics_path.name, self.samples_path.name))
        from filelock import Timeout

        lock = make_lock(self.path)
        try:
            lock.acquire(timeout=WAIT_S)
        except Timeout as error:
            raise RunInUseError(
                f"{self.path} is being trained by another process: wait for it or stop it"
            ) from error
        except OSError as error:
            raise RunError(f"cannot lock {self.path}: {explain_os_error(error)}") from error
        try:
            yield
        finally:
            lock.release()


def open_run(path: Path) -> Run:
    """A run, checked: manifest, format version, settings, tokenizer.

    Args:
        path: a run directory, or the name of a run that comes with the program.

    Raises:
        RunError: it is missing, incomplete, of a newer format, or not as its manifest says.
    """
    path = find_run_directory(path)
    if not path.is_dir():
        raise RunError(_explain_no_run(path))
    manifest = read_manifest(path)
    settings = read_config(path, manifest)
    read_whole(path, "tokenizer.json")
    return Run(path, settings, manifest["vocab_size"])


def _explain_no_run(path: Path) -> str:
    """What `path` is instead of a run directory, and the run or the settings it may mean."""
    name = quote(str(path))
    if path.exists():
        problem = f"{path} is a file; expected a run directory"
        if (path.parent / "manifest.json").exists():
            return f"{problem}, such as {path.parent}"
        if path.suffix.lower() in SETTINGS_SUFFIXES:
            return f"{problem}. Train a run with these settings: llm-timecycle train {name}"
        return f"{problem}, made by llm-timecycle train"
    problem = f"there is no run at {path}"
    if ("runs" / path / "manifest.json").exists():
        return f"{problem}. Did you mean {'runs' / path}?"
    if str(path) in list_shipped_names():
        return f"{problem}. Train one with the shipped settings {path}: llm-timecycle train {name}"
    if nearest := find_nearest(str(path), list_shipped_runs()):
        return f"{problem}. Did you mean {nearest}, which comes with the program?"
    return f"{problem}: train one with llm-timecycle train CONFIG"
