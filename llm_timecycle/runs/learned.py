"""What a run keeps of its training text beside the tokenizer, so that figures can be checked.

    spelling.json         what unknown words cost (`text.tokenizer.spelling`)
    shingles.safetensors  a sample that finds copies of the text (`text.shingles`)

Runs of older versions lack them. A run whose tokenizer has no unknown tokens has no spelling model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_timecycle.errors import RunError
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.manifest import RESTORE, read_whole

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
    from llm_timecycle.text.tokenizer.spelling import parse_spelling

    content = _read(run, SPELLING)
    return None if content is None else parse_spelling(content, str(run.path / SPELLING))


def load_shingles(run: Run) -> Sketch | None:
    """A sample of the training text; None where the run has none.

    Raises:
        RunError: the file is missing or damaged.
    """
    from llm_timecycle.text.shingles import Sketch

    content = _read(run, SHINGLES)
    try:
        return None if content is None else Sketch.from_bytes(content)
    except ValueError as error:
        raise RunError(f"{run.path / SHINGLES} is damaged: {error}. {RESTORE}") from error


def _read(run: Run, name: str) -> bytes | None:
    """The content of a file that the manifest lists, which then must be as it says."""
    return read_whole(run.path, name) if name in run.read_manifest()["files"] else None
