"""A trained model in Python: `lt.load("runs/my")` generates, streams and scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from llm_timecycle.arguments import check_arguments, check_range
from llm_timecycle.config.settings import GenerationSettings, Settings
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.engines.select import EngineKind, choose_engine, make_engine
from llm_timecycle.generation.generator import GeneratedText, TextGenerator
from llm_timecycle.generation.options import override_settings
from llm_timecycle.generation.scoring import Score, score_text
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import keras
    from typing_extensions import Unpack

    from llm_timecycle.generation.keyword_arguments import GenerationOptions

MOST_SAMPLES = 1000


@check_arguments
def load(path: str | Path, *, engine: str = "auto") -> Model:
    """The trained model of a run directory, ready to generate.

    Args:
        path: a directory that `llm-timecycle train` made, or the name of a run that comes with the
            program: "demo" or "demo-zh".
        engine: `numpy`, `tensorflow`, or `auto`, which picks the faster one for each request.

    Raises:
        UsageError: an argument is wrong.
        RunError: the run is missing, damaged, or has no weights yet.

    >>> import llm_timecycle as lt  # doctest: +SKIP
    >>> model = lt.load("runs/my")  # doctest: +SKIP
    >>> text = model.generate("Once", length=20, temperature=0.8, seed=1)  # doctest: +SKIP
    >>> len(text.ids), text.finish_reason  # doctest: +SKIP
    (20, 'length')
    """
    run = open_run(Path(path))
    return Model(run, run.load_tokenizer(), engine)


class Model:
    """A trained model; `load` makes it.

    Options that a call does not set come from the section `generation` of the run's config.yaml.
    Calls are independent: an unfinished stream continues where it was, whatever runs in between.

    It also works in a process that is forked from this one, and can be pickled and copied: the copy
    reads the run again, with the same settings, and is a RunError if the weights have changed.

    Attributes:
        run: the run directory.
        tokenizer: text to ids and back.
    """

    @check_arguments
    def __init__(self, run: Run, tokenizer: Tokenizer, engine: str) -> None:
        self.run = run
        self.tokenizer = tokenizer
        self._choice, self._path = engine, run.path.absolute()
        self._weights = run.load_weights()
        self._weights_sha256: str | None = None
        self._keras_model: keras.Model | None = None
        self._idle_engines: dict[EngineKind, list[Engine]] = {"numpy": [], "tensorflow": []}
        with self._borrow_engine():  # unusable weights are an error now
            pass

    def __reduce__(self) -> tuple[object, ...]:
        run = replace(self.run, path=self._path)
        return _load_same, (run, self._choice, self._hash_weights())

    def __repr__(self) -> str:
        return f"<Model {self.run.name}: vocabulary {self.tokenizer.vocab_size:,}>"

    @property
    def settings(self) -> Settings:
        """The resolved settings that the model was trained with."""
        return self.run.settings

    @overload
    def generate(
        self,
        prompt: str = ...,
        *,
        samples: None = ...,
        log_probabilities: bool = ...,
        top_logprobs: int = ...,
        **options: Unpack[GenerationOptions],
    ) -> GeneratedText: ...

    @overload
    def generate(
        self,
        prompt: str = ...,
        *,
        samples: int,
        log_probabilities: bool = ...,
        top_logprobs: int = ...,
        **options: Unpack[GenerationOptions],
    ) -> list[GeneratedText]: ...

    @check_arguments
    def generate(
        self,
        prompt: str = "",
        *,
        samples: int | None = None,
        log_probabilities: bool = False,
        top_logprobs: int = 0,
        **options: Unpack[GenerationOptions],
    ) -> GeneratedText | list[GeneratedText]:
        """A continuation of `prompt`, or a list of `samples` of them.

        `print` and `str` of a result give the text that follows the prompt; it also has `ids`,
        `finish_reason`, and with `log_probabilities=True`, `log_probabilities`. With
        `top_logprobs=5` it also has `top_log_probabilities`: at the place of each token, the five
        likeliest with their log-probabilities. All of these are the model's, before any penalty,
        bias, temperature or filter.

        Raises:
            UsageError: an option is unknown or its value is wrong.

        >>> import llm_timecycle as lt  # doctest: +SKIP
        >>> model = lt.load("runs/my")  # doctest: +SKIP
        >>> first, second = model.generate("Once", samples=2, length=5, seed=1)  # doctest: +SKIP
        >>> model.generate("Once", length=5, seed=1) == first  # doctest: +SKIP
        True
        >>> text = model.generate("Once", length=5, log_probabilities=True)  # doctest: +SKIP
        >>> len(text.log_probabilities)  # doctest: +SKIP
        5
        >>> text = model.generate("Once", length=5, top_logprobs=3)  # doctest: +SKIP
        >>> [len(ranked) for ranked in text.top_log_probabilities]  # doctest: +SKIP
        [3, 3, 3, 3, 3]
        """
        count = 1 if samples is None else samples
        check_range("samples", count, 1, MOST_SAMPLES)
        settings = override_settings(self.settings.generation, options)
        rows = max(count, settings.beams)
        with self._borrow_engine(rows, settings.length) as engine:
            generator = TextGenerator(
                engine,
                self.tokenizer,
                settings,
                with_logprobs=log_probabilities or top_logprobs != 0,
                top_logprobs=top_logprobs,
            )
            texts = generator.generate(prompt, count)
        return texts[0] if samples is None else texts

    @check_arguments
    def stream(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Iterator[str]:
        """The continuation of `prompt`, piece by piece as it grows; whole characters only.

        Raises:
            UsageError: an option is unknown or its value is wrong, or `beams` is above 1.

        >>> import llm_timecycle as lt  # doctest: +SKIP
        >>> model = lt.load("runs/my")  # doctest: +SKIP
        >>> pieces = list(model.stream("Once", length=5, seed=1))  # doctest: +SKIP
        >>> "".join(pieces) == model.generate("Once", length=5, seed=1).text  # doctest: +SKIP
        True
        """
        settings = override_settings(self.settings.generation, options)
        if settings.beams > 1:
            raise UsageError(
                "beams: a beam search cannot stream: its best text is only known at the end. Use "
                "generate, or set beams to 1"
            )
        return self._stream(prompt, settings)

    @check_arguments
    def score(self, text: str) -> Score:
        """How likely `text` is: nats, perplexity, and the log-probability of each token.

        It is read as a new text, one that starts after an <eos>.

        Raises:
            UsageError: the text has no token.

        >>> import llm_timecycle as lt  # doctest: +SKIP
        >>> score = lt.load("runs/my").score("Once upon a time")  # doctest: +SKIP
        >>> len(score.log_probabilities) == len(score.ids), score.nats > 0  # doctest: +SKIP
        (True, True)
        """
        with self._borrow_engine(1, 1) as engine:
            return score_text(engine, self.tokenizer, text)

    @property
    def keras_model(self) -> keras.Model:
        """The network as a `keras.Model` with the same weights; importing TensorFlow on first use.

        It maps ids (B, T) and the states of its layers to logits (B, T, V) and the new states.

        Raises:
            UsageError: this process was forked from one that uses TensorFlow.
        """
        from llm_timecycle.model.tf_import import import_tensorflow

        import_tensorflow()
        from llm_timecycle.model.network import build_trained_network

        if self._keras_model is None:
            self._keras_model = build_trained_network(
                self.settings.model, self.run.vocab_size, self._weights
            )
        return self._keras_model

    def _stream(self, prompt: str, settings: GenerationSettings) -> Iterator[str]:
        with self._borrow_engine(1, settings.length) as engine:
            yield from TextGenerator(engine, self.tokenizer, settings).stream(prompt)

    @contextmanager
    def _borrow_engine(self, rows: int = 1, tokens: int = 1) -> Iterator[Engine]:
        """An engine for `rows` texts of `tokens` tokens; nothing else uses it meanwhile."""
        kind = choose_engine(self._choice, rows, tokens)
        idle = self._idle_engines[kind]
        engine = idle.pop() if idle else make_engine(self.run, kind, weights=self._weights)
        try:
            yield engine
        finally:
            idle.append(engine)

    def _hash_weights(self) -> str:
        """The SHA-256 of all weights, in the order of their names."""
        if self._weights_sha256 is None:
            found = hashlib.sha256()
            for _, weight in sorted(self._weights.items()):
                found.update(np.ascontiguousarray(weight).data)
            self._weights_sha256 = found.hexdigest()
        return self._weights_sha256


def _load_same(run: Run, engine: str, weights_sha256: str) -> Model:
    """The copy of a model whose weights had this hash."""
    open_run(run.path)  # says what is wrong with it now
    model = Model(run, run.load_tokenizer(), engine)
    if model._hash_weights() != weights_sha256:
        raise RunError(
            f"the weights of {run.name} have changed since the model was loaded that this is a "
            f"copy of: load it again, with lt.load({run.name!r})"
        )
    return model
