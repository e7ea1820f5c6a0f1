"""`evaluate`: a trained run scored on its own held-out text, or on any other text."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.errors import DataError, HeldOutTextError, RunError, UsageError
from llm_timecycle.evaluation.table import Figure, write_html_table, write_table
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.system import count_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from llm_timecycle.config.settings import Settings
    from llm_timecycle.evaluation.stream import Sums
    from llm_timecycle.text.token_store import TokenStream
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")

SPLITS = ("valid", "test")


@dataclass(frozen=True)
class EvaluationResult:
    """How well a model predicts a text: `print` shows a table, and so does a notebook."""

    split: str
    """"valid", "test", or the text that was given."""
    loss_nats_per_token: float
    """The mean negative log-likelihood."""
    perplexity: float
    """exp of the mean loss; infinite where that is beyond a float."""
    perplexity_per_word: float
    """exp(nats / words): comparable between models whose tokens differ."""
    bits_per_character: float
    """nats / ln 2 / characters: comparable between models whose tokens differ."""
    bits_per_byte: float
    """nats / ln 2 / bytes of UTF-8."""
    accuracy: float
    """The share of tokens that were the most likely one."""
    tokens: int
    """Tokens in the text; all but the first are predicted."""
    words: int
    """Words in the text."""
    characters: int
    """Characters in the text."""
    bytes: int
    """Bytes of UTF-8 in the text."""
    unknown_tokens: int
    """Tokens outside the vocabulary (`<unk>`)."""
    method: str
    """How the text was read: in one lane and in float32 ("exact"), or in several, each after a
    warm-up."""

    def __str__(self) -> str:
        return write_table(asdict(self))

    def _repr_html_(self) -> str:
        """The table, for a notebook."""
        return write_html_table("Evaluation", asdict(self))

    def to_dict(self) -> dict[str, Figure]:
        """What `--json` prints: every figure by name; None for one that is not finite."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    exact: bool = False,
    show_progress: bool = True,
) -> EvaluationResult:
    """Score a trained model on text that it was not trained on.

    Every token after the first is predicted exactly once. A long text is read in up to 128 lanes
    side by side, each after a warm-up on the 512 tokens before it, so that its LSTM state is all
    but that of reading the whole text, and in bfloat16 if the model was trained in it and this
    machine multiplies faster in it: within 0.0005 nats. `exact` reads it in one lane and in
    float32, many times slower.

    Args:
        run: a run directory.
        data: a text to score: a file, a directory, a glob, or the name of a built-in corpus. None
            scores held-out text of the run.
        split: which held-out text: "valid" (the default) or "test".
        exact: whether to read the text in one lane.
        show_progress: whether to draw a progress bar.

    Raises:
        UsageError: `split` is neither, or given beside `data`.
        DataError: the text is missing or is shorter than two tokens.
        HeldOutTextError: the run has no such held-out text, or it has changed since the training.
        RunError: the run is missing, damaged or has no weights, or the loss that its weights give
            is not finite.

    >>> import llm_timecycle as lt
    >>> result = lt.evaluate("runs/my", split="test")  # doctest: +SKIP
    >>> result.perplexity, result.bits_per_character  # doctest: +SKIP
    (78.2, 1.31)
    """
    if split not in (None, *SPLITS):
        raise UsageError(f"split: received {split!r}; expected 'valid' or 'test'")
    if data is not None and split is not None:
        raise UsageError("give data or split, not both")
    if data is not None and str(data) == "":
        raise UsageError("data is empty; expected a file, a directory, or a glob")
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.text.prepare import find_cache_directory

    opened = open_run(Path(run))
    weights = opened.load_weights()
    split = split or "valid"
    name = split if data is None else str(data)
    cache, tokenizer = find_cache_directory(), opened.load_tokenizer()
    if data is None:
        stream = _open_split(opened, tokenizer, split, cache, show_progress)
    else:
        stream = _open_text(name, tokenizer, cache, show_progress)
    if stream.tokens < 2:
        raise DataError(f"{name} holds {stream.tokens} tokens; scoring needs at least 2")
    if stream.unknown:
        share = stream.unknown / stream.tokens
        log.info("%s tokens (%.2f %%) are unknown to the model", f"{stream.unknown:,}", 100 * share)
    sums, method = _score(opened, weights, stream, exact, show_progress)
    if not math.isfinite(sums.loss_nats):
        raise RunError(
            f"the loss of {run} is {sums.loss_nats}, not a finite number. Its weights are damaged "
            f"or its training diverged: train it again, with a lower training.learning_rate"
        )
    return summarize(name, sums, stream, method)


def _score(
    run: Run, weights: Mapping[str, np.ndarray], text: TokenStream, exact: bool, show_progress: bool
) -> tuple[Sums, str]:
    """The sums of a text, and how it was read."""
    from llm_timecycle.evaluation import stream
    from llm_timecycle.model.network import build_trained_network

    lanes = 1 if exact else stream.choose_lanes(len(text.ids) - 1)
    warm_up = stream.LONG_WARM_UP_TOKENS
    precision = "float32" if exact else choose_precision(run.settings, lanes)
    network = build_trained_network(run.settings.model, run.vocab_size, weights, precision)
    has_documents = len(text.document_starts) > 0
    sums = stream.score_stream(
        stream.make_scorer(network, min(lanes, count_cores()), has_documents=has_documents),
        run.settings.model,
        text.ids,
        text.document_starts,
        lanes=lanes,
        warm_up=warm_up,
        show_progress=show_progress,
    )
    return sums, _describe_method(lanes, warm_up, precision)


def choose_precision(settings: Settings, lanes: int) -> str:
    """bfloat16 for a model that was trained in it, where it is faster on this machine too."""
    if settings.training.precision != "mixed_bfloat16" or lanes == 1:
        return "float32"
    from llm_timecycle.model.precision import pick_precision, race_products

    H = settings.model.hidden_units
    return pick_precision(race_products(lanes, H, 4 * H))


def _describe_method(lanes: int, warm_up: int, precision: str) -> str:
    """How a text was read, for a reader of the figures.

    >>> _describe_method(1, 512, "float32"), _describe_method(128, 512, "mixed_bfloat16")
    ('exact', '128 lanes, 512 tokens of warm-up, bfloat16')
    """
    if lanes == 1:
        return "exact"
    number_format = ", bfloat16" if precision == "mixed_bfloat16" else ""
    return f"{lanes} lanes, {warm_up} tokens of warm-up{number_format}"


def summarize(split: str, sums: Sums, stream: TokenStream, method: str) -> EvaluationResult:
    """The figures of a scored text, from its sums and its size.

    perplexity_per_word = exp(nats / words), bits_per_character = nats / ln 2 / characters
    """
    from llm_timecycle.evaluation.stream import compute_perplexity

    bits = sums.loss_nats / math.log(2)
    return EvaluationResult(
        split=split,
        loss_nats_per_token=sums.loss_nats_per_token,
        perplexity=sums.perplexity,
        perplexity_per_word=compute_perplexity(sums.loss_nats / max(stream.words, 1)),
        bits_per_character=bits / max(stream.characters, 1),
        bits_per_byte=bits / max(stream.bytes, 1),
        accuracy=sums.accuracy,
        tokens=stream.tokens,
        words=stream.words,
        characters=stream.characters,
        bytes=stream.bytes,
        unknown_tokens=stream.unknown,
        method=method,
    )


def _open_text(data: str, tokenizer: Tokenizer, cache: Path, show_progress: bool) -> TokenStream:
    """A text that the run knows nothing of, as ids."""
    from llm_timecycle.text.corpus import open_corpus
    from llm_timecycle.text.prepare import encode_corpus

    corpus = open_corpus(data, Path.cwd(), cache)
    return encode_corpus(tokenizer, corpus, cache, show_progress)


def _open_split(
    run: Run, tokenizer: Tokenizer, split: str, cache: Path, show_progress: bool
) -> TokenStream:
    """The run's held-out text, which must be the one that was held out when it was trained."""
    from llm_timecycle.text.prepare import prepare_text

    held_out = run.read_manifest()["corpora"]
    if split not in held_out:
        raise HeldOutTextError(
            f"{run.path} has no {split} text: data.{split} was not given and "
            f"data.{split}_fraction is 0"
        )
    text = prepare_text(run.settings, Path.cwd(), cache, show_progress, tokenizer=tokenizer)
    stream = text.valid if split == "valid" else text.test
    if stream is None or stream.corpus_sha256 != held_out[split]["sha256"]:
        raise HeldOutTextError(
            f"the {split} text of {run.path} has changed since the run was trained, so the model "
            f"may have been trained on parts of it. Restore it"
        )
    return stream
