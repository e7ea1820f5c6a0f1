"""What a run keeps of its training text beside the tokenizer, so that figures can be checked.

    spelling.json         what unknown words cost (`text.tokenizer.spelling`)
    shingles.safetensors  a sample that finds copies of the text (`text.shingles`)

Runs of older versions lack them. A run whose tokenizer has no unknown tokens has no spelling model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import RESTORE, check_file

if TYPE_CHECKING:
    from llm_timecycle.text.prepare import PreparedText
    from llm_timecycle.text.shingles import Sketch
    from llm_timecycle.text.tokenizer.spelling import SpellingModel

SPELLING = "spelling.json"
SHINGLES = "shingles.safetensors"


def write_learned(text: PreparedText) -> dict[str, bytes]:
    """The files of a prepared text, by name, for `create_run`."""
    files = {}
    if text.tokenizer.spelling is not None:
        files[SPELLING] = text.tokenizer.spelling.to_json().encode()
    if text.train.shingles is not None:
        files[SHINGLES] = text.train.shingles.to_bytes()
    return files


def load_spelling(run: Run) -> SpellingModel | None:
    """What unknown words cost; None where the run does not say.

    Raises:
        RunError: the file is missing or damaged.
    """
    from llm_timecycle.text.tokenizer.spelling import read_spelling

    return read_spelling(run.path / SPELLING) if _has_file(run, SPELLING) else None


def load_shingles(run: Run) -> Sketch | None:
    """A sample of the training text; None where the run has none.

    Raises:
        RunError: the file is missing or damaged.
    """
    from llm_timecycle.text.shingles import Sketch

    if not _has_file(run, SHINGLES):
        return None
    path = run.path / SHINGLES
    try:
        return Sketch.from_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}. {RESTORE}") from error


def _has_file(run: Run, name: str) -> bool:
    """Whether the manifest lists a file, which then must be as it says."""
    manifest = run.read_manifest()
    if name not in manifest["files"]:
        return False
    check_file(run.path, manifest, name)
    return True
