"""The run directory: written whole or not at all, read with suspicion. No TensorFlow here.

    config.yaml  tokenizer.json  model.safetensors  metrics.csv  manifest.json  checkpoints/step-N/

The manifest holds the size and the SHA-256 of every other file. Two of them change while a run is
trained. `metrics.csv` only grows, so the manifest speaks of its first bytes. `model.safetensors` is
replaced, so for that moment the manifest names the old and the new content, and a process killed
between any two of its writes leaves a directory that still matches its manifest.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from llm_timecycle import __version__
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.config.dump import dump_settings
from llm_timecycle.config.load import read_settings
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError, RunError
from llm_timecycle.system import read_versions
from llm_timecycle.files import compute_sha256, explain_os_error, write_durably

FORMAT_VERSION = 1
MANIFEST_BYTES_AT_MOST = 1 << 20
RESTORE = "Restore it from a copy, or train again"


@dataclass(frozen=True)
class Run:
    """A run directory whose manifest, settings and tokenizer were found sound.

    Made by `create_run` and `open_run`. `vocab_size` (V) is that of its tokenizer.
    """

    path: Path
    settings: Settings
    vocab_size: int

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
        """A row a logging step."""
        return self.path / "metrics.csv"

    @property
    def checkpoints_path(self) -> Path:
        """The directory of the checkpoints."""
        return self.path / "checkpoints"

    def read_manifest(self) -> dict[str, Any]:
        """The manifest as it stands on the disk now."""
        return _read_manifest(self.path)

    def check_weights_exist(self) -> None:
        """Raise RunError where the file of the best weights is not there yet, or no longer."""
        if not self.weights_path.exists():
            if "model.safetensors" in self.read_manifest()["files"]:
                raise RunError(
                    f"{self.path} is incomplete: the file of its weights, model.safetensors, is "
                    f"gone. {RESTORE}"
                )
            raise RunError(
                f"{self.path} has no trained weights yet: its training ended before the first "
                f"validation. Go on with: llm-timecycle train {quote(str(self.path))} --resume"
            )

    def load_weights(self) -> dict[str, np.ndarray]:
        """The best weights by name, each float32 and of the shape that the settings imply.

        Raises RunError where the file is missing, damaged, or of other names, shapes or types;
        shapes are compared before any of the weights is read.
        """
        self.check_weights_exist()
        shapes = compute_parameter_shapes(self.settings.model, self.vocab_size)
        weights = read_tensors(self.weights_path, shapes)
        _check_file(self.path, self.read_manifest(), "model.safetensors")
        return weights

    def check_vocab_size(self, vocab_size: int) -> None:
        """Raise RunError unless its tokenizer, which has so many tokens, fits the model."""
        if vocab_size != self.vocab_size:
            raise RunError(
                f"{self.tokenizer_path} has {vocab_size:,} tokens, and the manifest of the run "
                f"says {self.vocab_size:,}: it is another model's. {RESTORE}"
            )

    def save_weights(self, weights: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Replace the best weights, and note `facts` (step, validation loss) in the manifest."""
        content = save({name: np.ascontiguousarray(w) for name, w in weights.items()})
        self._replace("model.safetensors", content, {"best": dict(facts)})

    def replace_settings(self, settings: Settings) -> Run:
        """The same run with other settings (a higher `training.epochs`, say), written down."""
        self._replace("config.yaml", dump_settings(settings).encode(), {})
        return Run(self.path, settings, self.vocab_size)

    def _replace(self, name: str, content: bytes, facts: Mapping[str, Any]) -> None:
        """Put new content in a file's place; wherever this is cut short, the manifest is true."""
        staged = self.path / f".{name}.new"
        try:
            write_durably(staged, content)
            manifest = self.read_manifest()
            new_entry = _describe_file(staged)
            self._write_manifest({**manifest, "replacing": {name: new_entry}})
            staged.replace(self.path / name)
            manifest["files"][name] = new_entry
            self._write_manifest({**manifest, "replacing": {}, **facts})
        except OSError as error:
            staged.unlink(missing_ok=True)
            raise RunError(
                f"cannot write {self.path / name}: {explain_os_error(error)}. "
                f"What was there before is still there"
            ) from error

    def record_metrics(self) -> None:
        """Note in the manifest how far `metrics.csv` is safely written."""
        manifest = self.read_manifest()
        manifest["files"]["metrics.csv"] = _describe_file(self.metrics_path)
        self._write_manifest(manifest)

    def check_metrics(self) -> None:
        """Raise RunError unless `metrics.csv` begins with what the manifest knows of it."""
        _check_file(self.path, self.read_manifest(), "metrics.csv")

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_durably(self.path / "manifest.json", _encode_json(manifest))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for one training process; RunError where another one has it.

        The system lets go of the lock when the process ends, however it ends.
        """
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"{self.path} is being trained by another process: wait for it or stop it"
                ) from error
            yield


def check_run_is_new(path: Path) -> None:
    """Raise RunError where a new run cannot be written to `path`, before any work is done."""
    if path.exists() or path.is_symlink():
        if (path / "manifest.json").exists():
            advice = "To go on with it, add --resume; to start afresh, choose another place with"
        else:
            advice = "It is no run of llm-timecycle: choose another place with"
        raise RunError(f"{path} exists already. {advice} --run DIR")
    parent = path.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=parent):
            pass
    except OSError as error:
        raise RunError(f"cannot make a run in {parent}: {explain_os_error(error)}") from error


def create_run(
    path: Path,
    settings: Settings,
    tokenizer_json: bytes,
    vocab_size: int,
    corpora: Mapping[str, Any],
) -> Run:
    """Make a run directory in one stroke: it appears complete, under its final name, or not at all.

    Args:
        path: where; nothing may be there yet.
        settings: as resolved.
        tokenizer_json: the trained tokenizer, as `tokenizers` writes it.
        vocab_size: the tokenizer's number of kinds of tokens (V).
        corpora: what is known of each text (name, sha256, counts), for the manifest.
    """
    check_run_is_new(path)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        staging.chmod(0o777 & ~_read_umask())
        write_durably(staging / "config.yaml", dump_settings(settings).encode())
        write_durably(staging / "tokenizer.json", tokenizer_json)
        (staging / "checkpoints").mkdir()
        manifest = {
            "format_version": FORMAT_VERSION,
            "versions": read_versions(),
            "vocab_size": vocab_size,
            "corpora": dict(corpora),
            "files": {
                name: _describe_file(staging / name) for name in ("config.yaml", "tokenizer.json")
            },
            "replacing": {},
            "best": None,
        }
        write_durably(staging / "manifest.json", _encode_json(manifest))
        staging.rename(path)
    except OSError as error:
        raise RunError(f"cannot make {path}: {explain_os_error(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Run(path, settings, vocab_size)


def open_run(path: Path) -> Run:
    """A run directory, checked: manifest, format version, settings, tokenizer.

    Raises RunError where it is missing, incomplete, of a newer format, or not as its manifest says.
    """
    if not path.exists():
        raise RunError(f"there is no run at {path}: train one with llm-timecycle train CONFIG")
    if not path.is_dir():
        raise RunError(f"{path} is a file; a run is a directory, made by llm-timecycle train")
    manifest = _read_manifest(path)
    for name in ("config.yaml", "tokenizer.json"):
        _check_file(path, manifest, name)
    try:
        settings = read_settings(path / "config.yaml").settings
    except ConfigError as error:
        raise RunError(f"the settings of {path} cannot be read: {error}") from error
    return Run(path, settings, manifest["vocab_size"])


def read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, which must be float32 and exactly those of `shapes`.

    They are mapped from the file, not copied: read-only, and in memory where they are used.
    Raises RunError naming the first difference; nothing is read before all shapes agree.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            if missing := sorted(shapes.keys() - names):
                raise RunError(f"{path} lacks the weights {', '.join(missing)}. {RESTORE}")
            if unknown := sorted(names - shapes.keys()):
                raise RunError(
                    f"{path} holds weights unknown to its settings: {', '.join(unknown)}. {RESTORE}"
                )
            for name, shape in shapes.items():
                view = file.get_slice(name)
                found = tuple(view.get_shape())
                if found != shape or view.get_dtype() != "F32":
                    raise RunError(
                        f"{path}: {name} should be F32 {shape}, found {view.get_dtype()} {found}. "
                        f"{RESTORE}"
                    )
        return _map_tensors(path, shapes)
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is damaged or no safetensors file: {error}. {RESTORE}") from error


def _map_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file that was found sound, as they lie on the disk.

    Format: the header's length (8 bytes, little end first), the header (JSON), the numbers.
    """
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors = {}
    for name, shape in shapes.items():
        start = 8 + header_bytes + header[name]["data_offsets"][0]
        tensors[name] = np.frombuffer(content, "<f4", math.prod(shape), start).reshape(shape)
    return tensors


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    try:
        if file.stat().st_size > MANIFEST_BYTES_AT_MOST:
            raise RunError(f"{file} is too large to be a manifest")
        manifest: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is not a complete run: it has no manifest.json. "
            f"Give the directory that llm-timecycle train made"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise RunError(f"{file} is no manifest of llm-timecycle: it names no format version")
    if version > FORMAT_VERSION:
        raise RunError(
            f"{path} was made by a newer llm-timecycle (format {version}, this one reads up to "
            f"{FORMAT_VERSION}): upgrade with pip install --upgrade llm-timecycle"
        )
    kinds = {"files": dict, "corpora": dict, "replacing": dict, "vocab_size": int}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            raise RunError(f"{file} is damaged: its entry {key} is missing or of another kind")
    return manifest


def _check_file(path: Path, manifest: Mapping[str, Any], name: str) -> None:
    """Raise RunError unless a file begins with (or is) what the manifest says of it."""
    entries = [manifest["files"].get(name), manifest.get("replacing", {}).get(name)]
    accepted = [entry for entry in entries if isinstance(entry, dict)]
    file = path / name
    if not accepted:
        raise RunError(f"the manifest of {path} does not know {name}")
    try:
        size = file.stat().st_size
        for entry in accepted:
            is_whole = size == entry["bytes"] or (name == "metrics.csv" and size > entry["bytes"])
            if is_whole and compute_sha256(file, entry["bytes"]) == entry["sha256"]:
                return
    except OSError as error:
        raise RunError(f"{path} is incomplete: {name} cannot be read ({error.strerror})") from error
    except (KeyError, TypeError) as error:
        raise RunError(f"the manifest of {path} is damaged where it speaks of {name}") from error
    raise RunError(
        f"{file} is not what the manifest says: it was changed or damaged after it was written. "
        f"{RESTORE}"
    )


def _describe_file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": compute_sha256(path)}


def _encode_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _read_umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
