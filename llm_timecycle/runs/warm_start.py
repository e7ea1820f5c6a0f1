"""A new run that begins with the weights of another: what it takes over, and its vocabulary.

The optimizer, the schedule and the random state begin anew. The vocabulary is that of the other
run, or is extended by tokens of the new text, which get the last ids.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import ConfigError, UsageError
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.runs.learned import load_spelling
from llm_timecycle.runs.text_paths import shorten_path
from llm_timecycle.text.prepare import PreparedText, prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")

SHAPE_KEYS = (
    *("data.normalize", "tokenizer.level", "tokenizer.lowercase", "tokenizer.word_split"),
    *("model.embedding_dim", "model.num_layers", "model.hidden_units", "model.tie_embeddings"),
    *("model.layer_norm", "model.residual"),
)
"""What the weights and the tokens of the other run depend on; it cannot change."""
EXTENSIBLE_LEVELS = ("char", "word")


@dataclass(frozen=True)
class WarmStart:
    """The run to begin from.

    Attributes:
        run: the other run; its best weights are used.
        extend_vocabulary: whether tokens of the new text are added to its vocabulary.
    """

    run: Run
    extend_vocabulary: bool = False

    @property
    def defaults(self) -> PythonValues:
        """The run's settings that hold where the new run has none: its tokenizer and its model."""
        values = self.run.settings.model_dump(include={"tokenizer", "model"})
        return PythonValues(
            {"data.normalize": self.run.settings.data.normalize}
            | {f"{section}.{key}": v for section in values for key, v in values[section].items()},
            f"the run {self.run.name}",
        )

    def load_tokenizer(self) -> Tokenizer:
        """The run's tokenizer, with what unknown words cost."""
        return self.run.load_tokenizer().with_spelling(load_spelling(self.run))

    def prepare_text(
        self, loaded: LoadedSettings, cache: Path, show_progress: bool
    ) -> tuple[Settings, PreparedText]:
        """The texts of the new run, and its settings with the vocabulary that it gets.

        Raises ConfigError as `check` does, and DataError as `text.prepare.prepare_text` does.
        """
        settings = loaded.settings
        self.check(settings)
        text = prepare_text(
            settings,
            loaded.base,
            cache,
            show_progress,
            tokenizer=self.load_tokenizer(),
            added_tokens=self.count_added(settings) if self.extend_vocabulary else 0,
            is_trained=True,
        )
        log.info(self.describe_vocabulary(text))
        size = max(settings.tokenizer.vocab_size, text.tokenizer.vocab_size)
        tokenizer = settings.tokenizer.model_copy(update={"vocab_size": size})
        return settings.model_copy(update={"tokenizer": tokenizer}), text

    def check(self, settings: Settings) -> None:
        """Check that a new run with these settings can begin with the weights.

        Raises:
            ConfigError: a setting that the weights depend on differs; names all of them.
        """
        keys = [*SHAPE_KEYS, *([] if self.extend_vocabulary else ["tokenizer.vocab_size"])]
        differences = {
            key: (before, now)
            for key in keys
            if (before := _read(self.run.settings, key)) != (now := _read(settings, key))
        }
        if differences:
            lines = [
                f"  {key}: {before} in the run, {now} now"
                for key, (before, now) in differences.items()
            ]
            raise ConfigError(
                f"the weights of {self.run.name} do not fit these settings:\n"
                + "\n".join(lines)
                + "\nLeave these settings out; they are taken from the run"
            )
        room = settings.tokenizer.vocab_size
        if room < self.run.vocab_size:
            raise ConfigError(
                f"tokenizer.vocab_size: received {room:,}, but the vocabulary of {self.run.name} "
                f"has {self.run.vocab_size:,} tokens, all of which are kept"
            )

    def count_added(self, settings: Settings) -> int | None:
        """At most how many tokens may be added; None where only the new text decides it.

        A `tokenizer.vocab_size` other than the run's is the maximum of the extended vocabulary.
        """
        room = settings.tokenizer.vocab_size
        return (
            None if room == self.run.settings.tokenizer.vocab_size else room - self.run.vocab_size
        )

    def load_weights(self, vocab_size: int) -> dict[str, np.ndarray]:
        """The best weights of the run, for a vocabulary that may be larger (V)."""
        return extend_weights(self.run.load_weights(), vocab_size)

    def describe_vocabulary(self, text: PreparedText) -> str:
        """What the vocabulary is, and how much of the new training text it does not know."""
        added = text.tokenizer.vocab_size - self.run.vocab_size
        extension = f", to which {added:,} are added" if self.extend_vocabulary else ""
        share = 100 * text.train.unknown / text.train.tokens
        can_extend = (
            not self.extend_vocabulary and text.tokenizer.settings.level in EXTENSIBLE_LEVELS
        )
        advice = "; extend the vocabulary to learn them" if share > 0 and can_extend else ""
        return (
            f"starts with the weights of {self.run.name} and its vocabulary of "
            f"{self.run.vocab_size:,} tokens{extension}; {share:.2f} % of the new training tokens "
            f"are unknown (<unk>){advice}"
        )

    def describe(self, new_run: Path, vocab_size: int) -> dict[str, Any]:
        """Where the weights are from, for the manifest of the new run."""
        manifest = self.run.read_manifest()
        path = shorten_path(str(self.run.path.absolute()), new_run.absolute())
        return {
            "run": self.run.name if self.run.is_shipped else path,
            "weights_sha256": manifest["files"]["model.safetensors"]["sha256"],
            "best": manifest.get("best"),
            "vocab_size": self.run.vocab_size,
            "added_tokens": vocab_size - self.run.vocab_size,
        }


def open_warm_start(run: str | Path, extend_vocabulary: bool) -> WarmStart:
    """The run to begin from, checked as far as it can be without the new settings.

    Raises:
        RunError: the run is missing, damaged or has no weights.
        UsageError: its vocabulary cannot be extended.
    """
    opened = open_run(Path(run))
    opened.check_weights_exist()
    level = opened.settings.tokenizer.level
    if extend_vocabulary and level not in EXTENSIBLE_LEVELS:
        raise UsageError(
            f"the vocabulary of {run} cannot be extended and need not be: at {level} level, no "
            f"text has unknown tokens. Keep it"
        )
    return WarmStart(opened, extend_vocabulary)


def extend_weights(weights: Mapping[str, np.ndarray], vocab_size: int) -> dict[str, np.ndarray]:
    """Weights by name for a vocabulary of `vocab_size` (V), from those for its first U tokens.

    For each token v from U on, with u over the old ones:

        Emb[v] = mean_u Emb[u]    K[:, v] = mean_u K[:, u]    b[v] = min_u b[u]

    So the network reads a new token as an average one, and predicts it no more often than its
    rarest token: what it says of the old ones hardly changes. (Hewitt 2021, "Initializing New Word
    Embeddings for Pretrained Language Models", has the means and their effect.)

    >>> weights = {"embedding.embeddings": np.array([[1.0, 2.0], [3.0, 6.0]]),
    ...            "output.kernel": np.array([[1.0, 2.0]]), "output.bias": np.array([0.5, -1.0])}
    >>> larger = extend_weights(weights, 3)
    >>> larger["embedding.embeddings"][2], larger["output.kernel"][0, 2], larger["output.bias"][2]
    (array([2., 4.]), np.float64(1.5), np.float64(-1.0))
    """
    added = vocab_size - len(weights["output.bias"])
    axes = {"embedding.embeddings": 0, "output.kernel": 1, "output.bias": 0}
    extended = dict(weights)
    for name, axis in axes.items():
        if added > 0 and name in weights:  # with tied embeddings, there is no output.kernel
            old = weights[name]
            new = old.min(axis, keepdims=True) if old.ndim == 1 else old.mean(axis, keepdims=True)
            extended[name] = np.concatenate([old, np.repeat(new, added, axis)], axis)
    return extended


def _read(settings: Settings, path: str) -> Any:
    section, _, key = path.partition(".")
    return getattr(getattr(settings, section), key)
