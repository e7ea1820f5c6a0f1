"""A text scored with the cache, with dynamic evaluation, or with both: tuned first, then scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import keras
import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.evaluation.adaptive.dynamic import (
    STATISTICS_LANES,
    Adaptation,
    DynamicNetwork,
)
from llm_timecycle.evaluation.adaptive.neural_cache import CacheReach
from llm_timecycle.evaluation.adaptive.reading import (
    Block,
    HiddenReader,
    Text,
    choose_cache_lanes,
    make_hidden_reader,
    read_lanes,
)
from llm_timecycle.evaluation.adaptive.result import Outcome, Trial, describe_settings
from llm_timecycle.evaluation.adaptive.scoring import Stopwatch, add_up, collect, predict
from llm_timecycle.evaluation.adaptive.tuning import (
    CACHE_TUNED_TOKENS,
    DYNAMIC_TUNED_TOKENS,
    WINDOWS,
    CacheSettings,
    list_reaches,
    tune_adaptation,
    tune_cache,
)
from llm_timecycle.evaluation.stream import LONG_WARM_UP_TOKENS
from llm_timecycle.model.network import build_trained_network
from llm_timecycle.system import count_cores
from llm_timecycle.text.batches import Lanes

log = logging.getLogger("llm_timecycle")

SEGMENT_TOKENS = {"char": 20, "byte": 20, "word": 5, "subword": 5}
"""Tokens between two changes of the weights, by level, as in the paper."""


@dataclass(frozen=True)
class Texts:
    """The text to score, and what is learned from others beforehand."""

    scored: Text
    tuned: Text
    """The validation text."""
    training: Text | None = None
    """For dynamic evaluation, which measures the sizes of gradients on it."""


@dataclass(frozen=True)
class Model:
    """A trained model: what its networks are built from."""

    settings: Settings
    vocab_size: int
    weights: Mapping[str, np.ndarray]

    def build(self, precision: str = "float32") -> keras.Model:
        """A new network with the trained weights."""
        return build_trained_network(self.settings.model, self.vocab_size, self.weights, precision)


class CacheEvaluation:
    """Scores texts with the neural cache.

    Args:
        model: the model.
        precision: of its network, as of `build_network`.
        is_exact: whether to read the text in one lane.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self,
        model: Model,
        precision: str,
        *,
        is_exact: bool = False,
        show_progress: bool = False,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = model.settings.model
        self._network = model.build(precision)
        self._precision, self._is_exact = precision, is_exact
        self._show_progress, self._now = show_progress, now
        self._readers: dict[int, HiddenReader] = {}
        self.reaches: list[CacheReach] = []
        """The candidates, once it has tuned."""

    def run(self, texts: Texts) -> Outcome:
        """Tune on the validation text, then score."""
        settings, trials, tuned_tokens = self.tune(texts.tuned)
        log.info("neural cache: %s", _describe(settings.to_dict(), tuned_tokens))
        window, began_s = settings.reach.window, self._now()
        lanes = 1 if self._is_exact else self._choose_lanes(texts.scored, window)
        blocks = self._read(texts.scored, lanes, window)
        _, loss_nats, _ = add_up(predict(blocks, [settings.reach]), settings.weight)
        return Outcome(
            loss_nats,
            self._now() - began_s,
            settings.to_dict(),
            tuned_tokens,
            tuple(trials),
            self._describe(lanes, window),
        )

    def tune(self, text: Text) -> tuple[CacheSettings, list[Trial], int]:
        """The settings that suit the beginning of a text best."""
        text = text.cut(CACHE_TUNED_TOKENS)
        first = next(self._read(text.cut(LONG_WARM_UP_TOKENS), 1, 0))
        self.reaches = list_reaches(first.hidden)
        window = max(WINDOWS)
        blocks = self._read(text, self._choose_lanes(text, window), window)
        settings, trials = tune_cache(collect(predict(blocks, self.reaches)), self.reaches)
        return settings, trials, text.predictions

    def _choose_lanes(self, text: Text, window: int) -> int:
        return choose_cache_lanes(text.predictions, window, self._settings.hidden_units)

    def _read(self, text: Text, lanes: int, window: int) -> Iterator[Block]:
        shards = min(lanes, count_cores())
        if shards not in self._readers:
            self._readers[shards] = make_hidden_reader(self._network, shards)
        return read_lanes(
            self._readers[shards],
            self._settings,
            text,
            lanes=lanes,
            memory=window,
            show_progress=self._show_progress,
        )

    def _describe(self, lanes: int, window: int) -> str:
        number_format = ", bfloat16" if self._precision == "mixed_bfloat16" else ""
        if lanes == 1:
            return f"1 lane{number_format}"
        before = LONG_WARM_UP_TOKENS + window
        return f"{lanes} lanes, each after reading the {before:,} tokens before it{number_format}"


class DynamicEvaluation:
    """Scores texts with weights that follow them, and with a cache beside that.

    Args: those of `CacheEvaluation`.
    """

    def __init__(
        self,
        model: Model,
        *,
        show_progress: bool = False,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = model.settings.model
        self._segment = SEGMENT_TOKENS[model.settings.tokenizer.level]
        self._network = DynamicNetwork(model.build())
        self._show_progress, self._now = show_progress, now

    def run(self, texts: Texts, reaches: list[CacheReach]) -> tuple[Outcome, Outcome | None]:
        """Tune on the validation text, then score; with `reaches`, also with a cache.

        Both scores come from one reading of the text.
        """
        assert texts.training is not None, "gradients are measured on the training text"
        read_tokens = self._network.measure_gradients(self._cut(texts.training), self._settings)
        log.info("dynamic evaluation: sizes of gradients from %s tokens", f"{read_tokens:,}")
        tuned = texts.tuned.cut(DYNAMIC_TUNED_TOKENS)
        adaptation, trials = tune_adaptation(partial(self._measure, tuned), self._segment)
        settings = {"rate": adaptation.rate, "decay": adaptation.decay, "segment": self._segment}
        log.info("dynamic evaluation: %s", _describe(settings, tuned.predictions))
        cache, cache_trials = None, list[Trial]()
        if reaches:
            cache, cache_trials = tune_cache(
                collect(predict(self._read(tuned, adaptation), reaches)), reaches
            )
        watch, began_s = Stopwatch(self._now), self._now()
        blocks = self._read(texts.scored, adaptation, self._show_progress)
        chosen = [] if cache is None else [cache.reach]
        weight = None if cache is None else cache.weight
        plain_nats, mixed_nats, _ = add_up(predict(blocks, chosen, watch), weight)
        wall_s = self._now() - began_s
        method = f"1 lane, segments of {self._segment} tokens"
        dynamic = Outcome(
            plain_nats, wall_s - watch.cache_s, settings, tuned.predictions, tuple(trials), method
        )
        if cache is None:
            return dynamic, None
        both = Outcome(
            mixed_nats,
            wall_s,
            settings | cache.to_dict(),
            tuned.predictions,
            tuple(cache_trials),
            method,
        )
        return dynamic, both

    def _measure(self, text: Text, adaptation: Adaptation) -> float:
        """The mean loss of a text."""
        nats, _, tokens = add_up(predict(self._read(text, adaptation), []), None)
        shown = describe_settings(asdict(adaptation))
        log.info("tuning dynamic evaluation: %s: %.4f nats a token", shown, nats / tokens)
        return nats / tokens

    def _read(
        self, text: Text, adaptation: Adaptation, show_progress: bool = False
    ) -> Iterator[Block]:
        return self._network.read(
            self._settings, text, adaptation, segment=self._segment, show_progress=show_progress
        )

    def _cut(self, training: Text) -> Lanes:
        """The training text as the lanes that gradients are measured on."""
        lanes = max(1, min(STATISTICS_LANES, training.predictions // self._segment))
        return Lanes(training.ids, lanes, self._segment, training.document_starts)


def score_with_memory(
    model: Model,
    texts: Texts,
    precision: str,
    *,
    cache: bool,
    dynamic: bool,
    is_exact: bool = False,
    show_progress: bool = False,
) -> dict[str, Outcome]:
    """A text scored with memory: "cache", "dynamic", and with both also "cache_and_dynamic".

    Args:
        precision: of the network that the cache reads, as of `build_network`; dynamic evaluation
            computes in float32.
        cache, dynamic: which ones.
        is_exact: whether the cache reads the text in one lane, as dynamic evaluation always does.
        show_progress: whether to draw progress bars.
    """
    outcomes, reaches = {}, list[CacheReach]()
    if cache:
        evaluation = CacheEvaluation(
            model, precision, is_exact=is_exact, show_progress=show_progress
        )
        outcomes["cache"] = evaluation.run(texts)
        reaches = evaluation.reaches
    if dynamic:
        evaluated = DynamicEvaluation(model, show_progress=show_progress).run(texts, reaches)
        outcomes["dynamic"], both = evaluated
        if both is not None:
            outcomes["cache_and_dynamic"] = both
    return outcomes


def _describe(settings: Mapping[str, float], tuned_tokens: int) -> str:
    return f"{describe_settings(settings)}, tuned on {tuned_tokens:,} tokens"
