"""`evaluate`: a trained run scored on its own held-out text, or on any other text."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llm_timecycle.arguments import check_arguments, check_range, write_received
from llm_timecycle.config.load import check_sources, list_given
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.errors import DataError, RunError, UsageError
from llm_timecycle.evaluation.extras import NOTHING_ELSE, Extras, RunTexts
from llm_timecycle.evaluation.result import EvaluationResult, summarize
from llm_timecycle.evaluation.texts import open_split, open_text
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.system import count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from llm_timecycle.config.settings import Settings
    from llm_timecycle.config.sources import Source
    from llm_timecycle.evaluation.stream import Sums
    from llm_timecycle.text.token_store import TokenStream

log = logging.getLogger("llm_timecycle")

SPLITS = ("valid", "test")
MOST_SAMPLES = 1000


@check_arguments
def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    exact: bool = False,
    cache: bool = False,
    dynamic: bool = False,
    samples: int = 0,
    settings: Mapping[str, object] | None = None,
    show_progress: bool = True,
) -> EvaluationResult:
    """Score a trained model on text that it was not trained on.

    Every token after the first is predicted exactly once. A long text is read in up to 128 lanes
    side by side, each after a warm-up on the 512 tokens before it, so that its LSTM state is all
    but that of reading the whole text, and in bfloat16 if the model was trained in it and this
    machine multiplies faster in it: within 0.0005 nats. `exact` reads it in one lane and in
    float32, many times slower.

    `cache` and `dynamic` add scores with memory to the plain one, each tuned on the validation text
    first: the neural cache (Grave et al. 2017), which mixes in what followed moments like the
    present one, and dynamic evaluation (Krause et al. 2018), in which a copy of the weights follows
    the text. With both there is a score of both together too. The run is not changed.

    Args:
        run: a run directory, or the name of a shipped run ("demo", "demo-zh").
        data: a text to score: a file, a directory, a glob, or the name of a built-in corpus. None
            scores held-out text of the run.
        split: which held-out text: "valid" (the default) or "test".
        exact: whether to read the text in one lane.
        cache: whether to score with the neural cache too.
        dynamic: whether to score with dynamic evaluation too, which also reads training text.
        samples: how many texts to sample and to compare with the training text and with the text
            that is scored: copied passages, repetition, distinct n-grams. 0 samples none.
        settings: settings of `data` in place of the run's, by dotted path, such as where its text
            is now: `{"data.train": "novel.txt"}`.
        show_progress: whether to draw a progress bar.

    Raises:
        UsageError: an argument is wrong: `split` is neither, or given beside `data`; a setting is
            not one of `data`; `samples` is not a whole number from 0 to 1,000.
        ConfigError: a setting is wrong.
        DataError: the text is missing or is shorter than two tokens; or a text that `cache` or
            `dynamic` needs is missing or has changed.
        HeldOutTextError: the run has no such held-out text, or it has changed since the training.
        RunError: the run is missing, damaged or has no weights, or the loss that its weights give
            is not finite.

    >>> import llm_timecycle as lt
    >>> result = lt.evaluate("runs/my", split="test", cache=True)  # doctest: +SKIP
    >>> result.perplexity, result.bits_per_character_with_spelling  # doctest: +SKIP
    (78.2, 1.31)
    >>> result.cache.perplexity, result.cache.ms_per_token  # doctest: +SKIP
    (71.5, 0.19)
    """
    given = [] if settings is None else [PythonValues(settings, "argument settings")]
    check_range("samples", samples, 0, MOST_SAMPLES)
    extras = Extras(cache, dynamic, samples)
    return evaluate_with(run, data, split, exact, given, show_progress, extras)


def evaluate_with(
    run: str | Path,
    data: str | Path | None,
    split: str | None,
    exact: bool,
    given: Sequence[Source],
    show_progress: bool,
    extras: Extras = NOTHING_ELSE,
) -> EvaluationResult:
    """`evaluate`, the settings of `data` given as sources."""
    if split not in (None, *SPLITS):
        raise UsageError(f"split: received {write_received(split)}; expected 'valid' or 'test'")
    if data is not None and split is not None:
        raise UsageError("give data or split, not both")
    if data is not None and str(data) == "":
        raise UsageError("data is empty; expected a file, a directory, or a glob")
    opened = open_run(Path(run))
    settings = _override(opened, given)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.evaluation.leakage import find_overlap
    from llm_timecycle.evaluation.unknown import charge_unknown
    from llm_timecycle.text.cache import open_cache

    weights = opened.load_weights()
    split = split or "valid"
    name = split if data is None else str(data)
    tokenizer = opened.load_tokenizer()
    with open_cache() as cache:
        if data is None:
            corpus, stream = open_split(opened, settings, tokenizer, split, cache, show_progress)
        else:
            corpus, stream = open_text(name, settings.data, tokenizer, cache, show_progress)
        if stream.tokens < 2:
            raise DataError(f"{name} holds {stream.tokens} tokens; scoring needs at least 2")
        overlap = find_overlap(opened, name, stream)
        spelling = charge_unknown(opened, tokenizer, corpus, stream)
        began_s = time.perf_counter()
        sums, method, precision = _score(opened, weights, stream, exact, show_progress)
        ms_per_token = 1000 * (time.perf_counter() - began_s) / sums.predicted
        if not math.isfinite(sums.loss_nats):
            raise RunError(
                f"the loss of {run} is {sums.loss_nats}, not a finite number. Its weights are "
                f"damaged or its training diverged: train it again, with a lower "
                f"training.learning_rate"
            )
        result = summarize(name, sums, stream, method, spelling, overlap)
        result = replace(result, ms_per_token=ms_per_token)
        texts = RunTexts(opened, settings, tokenizer, cache, show_progress)
        if extras.cache or extras.dynamic:
            cache_score, dynamic, both = texts.score(
                stream,
                spelling,
                weights,
                extras,
                is_valid=data is None and split == "valid",
                precision=precision,
                exact=exact,
            )
            result = replace(result, cache=cache_score, dynamic=dynamic, cache_and_dynamic=both)
        if extras.samples:
            report = texts.measure_samples(extras.samples, stream)
            result = replace(result, samples=report)
    return result


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
) -> tuple[Sums, str, str]:
    """The sums of a text, how it was read, and the precision of the network."""
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
        window=stream.choose_window(lanes, run.vocab_size, run.settings.model.hidden_units),
        show_progress=show_progress,
    )
    return sums, _describe_method(lanes, warm_up, precision), precision


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
