"""Train the runs that come with the program from their settings, `data/runs/NAME/config.yaml`.

    .venv/bin/python scripts/train_shipped_runs.py            train them and replace their files
    .venv/bin/python scripts/train_shipped_runs.py --check    train them and compare

To change a run, edit its `config.yaml` and train it. Done twice on one machine, with the same
versions of Python's packages, the files are the same to the byte. Another machine rounds
differently: there, `--check` compares the validation losses. The exit status is 1 where a loss is
more than the tolerance from the recorded one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llm_timecycle.config.dump import read_comments
from llm_timecycle.runs.config_file import NAME as CONFIG
from llm_timecycle.runs.config_file import write_config
from llm_timecycle.runs.directory import open_run
from llm_timecycle.runs.manifest import describe_file, read_manifest, write_manifest

RUNS = Path(__file__).parents[1] / "data" / "runs"
LEARNED = ("tokenizer.json", "spelling.json", "model.safetensors")
"""What is shipped beside the settings and the manifest: no checkpoints, no metrics of one machine,
and no shingles, which take a megabyte."""
MANIFEST_KEYS = ("format_version", "versions", "vocab_size", "corpora", "replacing", "best")
MANIFEST_KEYS += ("settings",)


def train(name: str, place: Path) -> Path:
    """A run trained in `place` with the settings of a shipped one, with what is shipped of it."""
    config, trained = RUNS / name / CONFIG, place / "trained"
    command = [sys.executable, "-m", "llm_timecycle", "train", str(config), "--run", str(trained)]
    subprocess.run(command, check=True)
    return pack(trained, place / name, read_comments(config.read_text(encoding="utf-8")))


def pack(trained: Path, shipped: Path, comments: Mapping[str, str]) -> Path:
    """What is shipped of a trained run, with comments in its settings, in a new directory."""
    shipped.mkdir()
    (shipped / CONFIG).write_bytes(write_config(shipped, open_run(trained).settings, comments))
    for file in LEARNED:
        shutil.copyfile(trained / file, shipped / file)
    manifest = read_manifest(trained)
    files = {file: describe_file(shipped / file) for file in (CONFIG, *LEARNED)}
    write_manifest(shipped, {**{key: manifest[key] for key in MANIFEST_KEYS}, "files": files})
    return shipped


def compare(name: str, trained: Path, tolerance: float) -> bool:
    """Whether a run is the recorded one: to the byte, or else by its validation loss."""
    recorded = RUNS / name
    files = (CONFIG, *LEARNED)
    different = [
        file for file in files if (recorded / file).read_bytes() != (trained / file).read_bytes()
    ]
    losses = [read_manifest(run)["best"]["valid_loss_nats"] for run in (recorded, trained)]
    print(f"{name}: recorded {losses[0]:.5f} nats per token, now {losses[1]:.5f}")
    print(f"{name}: {', '.join(different) or 'no file'} different", flush=True)
    return not different or abs(losses[0] - losses[1]) <= tolerance


def main() -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    names = sorted(path.parent.name for path in RUNS.glob(f"*/{CONFIG}"))
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"default: {' '.join(names)}")
    parser.add_argument("--check", action="store_true", help="compare, and replace nothing")
    parser.add_argument("--tolerance", type=float, default=0.01, help="in nats; default: 0.01")
    arguments = parser.parse_args()
    is_same = True
    for name in arguments.names or names:
        with tempfile.TemporaryDirectory() as place:
            trained = train(name, Path(place))
            if arguments.check:
                is_same &= compare(name, trained, arguments.tolerance)
            else:
                shutil.copytree(trained, RUNS / name, dirs_exist_ok=True)
    return int(not is_same)


if __name__ == "__main__":
    sys.exit(main())
