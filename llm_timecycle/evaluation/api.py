"""`evaluate`: a trained run scored on its own held-out text, or on any other text."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from llm_timecycle.config.load import check_sources, list_given
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.errors import DataError, HeldOutTextError, RunError, UsageError
from llm_timecycle.evaluation.result import EvaluationResult, summarize
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.text_paths import find_texts
from llm_timecycle.system import count_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from llm_timecycle.config.settings import Settings
    from llm_timecycle.config.sources import Source
    from llm_timecycle.config.text_settings import DataSettings
    from llm_timecycle.evaluation.stream import Sums
    from llm_timecycle.text.corpus import Corpus
    from llm_timecycle.text.token_store import TokenStream
    from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")

SPLITS = ("valid", "test")


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    exact: bool = False,
    settings: Mapping[str, object] | None = None,
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
        settings: settings of `data` in place of the run's, by dotted path, such as where its text
            is now: `{"data.train": "novel.txt"}`.
        show_progress: whether to draw a progress bar.

    Raises:
        UsageError: `split` is neither, or given beside `data`; a setting is not one of `data`.
        ConfigError: a setting is wrong.
        DataError: the text is missing or is shorter than two tokens.
        HeldOutTextError: the run has no such held-out text, or it has changed since the training.
        RunError: the run is missing, damaged or has no weights, or the loss that its weights give
            is not finite.

    >>> import llm_timecycle as lt
    >>> result = lt.evaluate("runs/my", split="test")  # doctest: +SKIP
    >>> result.perplexity, result.bits_per_character_with_spelling  # doctest: +SKIP
    (78.2, 1.31)
    """
    given = [] if settings is None else [PythonValues(settings, "argument settings")]
    return evaluate_with(run, data, split, exact, given, show_progress)


def evaluate_with(
    run: str | Path,
    data: str | Path | None,
    split: str | None,
    exact: bool,
    given: Sequence[Source],
    show_progress: bool,
) -> EvaluationResult:
    """`evaluate`, the settings of `data` given as sources."""
    if split not in (None, *SPLITS):
        raise UsageError(f"split: received {split!r}; expected 'valid' or 'test'")
    if data is not None and split is not None:
        raise UsageError("give data or split, not both")
    if data is not None and str(data) == "":
        raise UsageError("data is empty; expected a file, a directory, or a glob")
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.evaluation.leakage import find_overlap
    from llm_timecycle.evaluation.unknown import charge_unknown
    from llm_timecycle.text.cache import open_cache

    opened = open_run(Path(run))
    settings = _override(opened, given)
    weights = opened.load_weights()
    split = split or "valid"
    name = split if data is None else str(data)
    tokenizer = opened.load_tokenizer()
    with open_cache() as cache:
        if data is None:
            corpus, stream = _open_split(opened, settings, tokenizer, split, cache, show_progress)
        else:
            corpus, stream = _open_text(name, settings.data, tokenizer, cache, show_progress)
        if stream.tokens < 2:
            raise DataError(f"{name} holds {stream.tokens} tokens; scoring needs at least 2")
        overlap = find_overlap(opened, name, stream)
        spelling = charge_unknown(opened, tokenizer, corpus, stream)
        sums, method = _score(opened, weights, stream, exact, show_progress)
    if not math.isfinite(sums.loss_nats):
        raise RunError(
            f"the loss of {run} is {sums.loss_nats}, not a finite number. Its weights are damaged "
            f"or its training diverged: train it again, with a lower training.learning_rate"
        )
    return summarize(name, sums, stream, method, spelling, overlap)


def _override(run: Run, given: Sequence[Source]) -> Settings:
    """The run's settings with those given in their place, which must be settings of `data`."""
    if not given:
        return run.settings
    if wrong := sorted(path for path in list_given(given) if not path.startswith("data.")):
        raise UsageError(
            f"{wrong[0]} cannot change: the run was trained with it; expected settings of data, "
            f"such as data.train"
        )
    return check_sources([PythonValues.from_settings(run.settings), *given], str(run.path))


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


def _open_text(
    data: str, how: DataSettings, tokenizer: Tokenizer, cache: Path, show_progress: bool
) -> tuple[Corpus, TokenStream]:
    """A text that the run knows nothing of, and its ids; read as the run's own texts are."""
    from llm_timecycle.text.corpus import open_corpus
    from llm_timecycle.text.prepare import encode_corpus

    corpus = open_corpus(data, Path.cwd(), cache, show_progress, how)
    return corpus, encode_corpus(tokenizer, corpus, cache, show_progress)


def _open_split(
    run: Run,
    settings: Settings,
    tokenizer: Tokenizer,
    split: str,
    cache: Path,
    show_progress: bool,
) -> tuple[Corpus, TokenStream]:
    """The run's held-out text, which must be the one that was held out when it was trained."""
    from llm_timecycle.text.prepare import prepare_text

    held_out = run.read_manifest()["corpora"]
    if split not in held_out:
        raise HeldOutTextError(
            f"{run.path} has no {split} text: data.{split} was not given and "
            f"data.{split}_fraction is 0"
        )
    command = f"llm-timecycle evaluate {quote(str(run.path))}"
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
