"""The texts of an evaluation: held-out text of the run, its training text, or any other text."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from llm_timecycle.errors import DataError, HeldOutTextError
from llm_timecycle.runs.text_paths import find_texts

if TYPE_CHECKING:
    from llm_timecycle.config.settings import Settings
    from llm_timecycle.config.text_settings import DataSettings
    from llm_timecycle.runs.directory import Run
    from llm_timecycle.text.corpus import Corpus
    from llm_timecycle.text.token_store import TokenStream
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer


def open_text(
    data: str, how: DataSettings, tokenizer: Tokenizer, cache: Path, show_progress: bool
) -> tuple[Corpus, TokenStream]:
    """A text that the run knows nothing of, and its ids; read as the run's own texts are."""
    from llm_timecycle.text.corpus import open_corpus
    from llm_timecycle.text.prepare import encode_corpus

    corpus = open_corpus(data, Path.cwd(), cache, show_progress, how)
    return corpus, encode_corpus(tokenizer, corpus, cache, show_progress)


def open_split(
    run: Run,
    settings: Settings,
    tokenizer: Tokenizer,
    split: str,
    cache: Path,
    show_progress: bool,
) -> tuple[Corpus, TokenStream]:
    """The run's held-out text, which must be the one that was held out when it was trained.

    Raises:
        HeldOutTextError: the run has none, or it is missing or has changed.
    """
    from llm_timecycle.text.prepare import prepare_text

    held_out = run.read_manifest()["corpora"]
    if split not in held_out:
        raise HeldOutTextError(
            f"{run.path} has no {split} text: data.{split} was not given and "
            f"data.{split}_fraction is 0"
        )
    command = _write_command(run)
    try:
        data, part = find_texts(settings.data, run.path, command), split
    except DataError:
        data, part = _keep_needed(settings.data, split)
        try:
            data = find_texts(data, run.path, command)
        except DataError as error:
            raise HeldOutTextError(str(error)) from error
    settings = settings.model_copy(update={"data": data})
    text = prepare_text(settings, Path.cwd(), cache, show_progress, tokenizer=tokenizer)
    stream = {"train": text.train, "valid": text.valid, "test": text.test}[part]
    if stream is None or stream.corpus_sha256 != held_out[split]["sha256"]:
        raise HeldOutTextError(
            f"the {split} text of {run.path} has changed since the run was trained, so the model "
            f"may have been trained on parts of it. Restore it"
        )
    return text.corpora[part], stream


def open_training_text(
    run: Run, settings: Settings, tokenizer: Tokenizer, cache: Path, show_progress: bool
) -> tuple[Corpus, TokenStream]:
    """The text that the run was trained on, which must not have changed since.

    Raises:
        DataError: it is missing or has changed.
    """
    from llm_timecycle.text.prepare import prepare_text

    others = [split for split in ("valid", "test") if getattr(settings.data, split) is not None]
    left_out = dict.fromkeys(others) | {f"{split}_fraction": 0.0 for split in others}
    data = settings.data.model_copy(update=left_out)
    data = find_texts(data, run.path, _write_command(run))
    settings = settings.model_copy(update={"data": data})
    text = prepare_text(settings, Path.cwd(), cache, show_progress, tokenizer=tokenizer)
    trained = run.read_manifest()["corpora"].get("train", {}).get("sha256")
    if text.train.corpus_sha256 != trained:
        raise DataError(
            f"the training text of {run.path} has changed since the run was trained. Restore it, "
            f"or set data.train to where it is now"
        )
    return text.corpora["train"], text.train


def _write_command(run: Run) -> str:
    return f"llm-timecycle evaluate {quote(str(run.path))}"


def _keep_needed(data: DataSettings, split: str) -> tuple[DataSettings, str]:
    """Settings with only the text that the held-out text is, or is cut from, and its part there."""
    other = "test" if split == "valid" else "valid"
    own, others = getattr(data, split), getattr(data, other)
    changes: dict[str, object] = {}
    if own is not None or others is not None:
        changes |= {other: None, f"{other}_fraction": 0.0}
    if own is not None:
        changes |= {"train": own, split: None, f"{split}_fraction": 0.0}
    return data.model_copy(update=changes), "train" if own is not None else split
