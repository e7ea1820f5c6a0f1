"""Settings at the ends of their ranges, each alone and every two together: do they train?

    .venv/bin/python scripts/try_settings.py [--singles] [--seed N]

The ends come from the JSON Schema: the least and the largest number, every choice, null, the
shortest text, an empty list. Two ends together must be refused, by the name of one of them, or
train two steps and write a text. As many ends as go together are tried in one training, a row, so
that few rows hold every two of them; a row that fails is cut down to the fewest ends that do.

Each failure is printed with its ends; the exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from setting_ends.ends import SHORTEST, TEXT, End, list_ends
from setting_ends.rows import Row, cover_pairs, cover_singles, shrink

from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import DivergenceError, TimecycleError
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.prepare import prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.training.budget.memory import check_step_fits

LETTERS = 75_000
"""Of the text: enough for a step of 65,536 lanes, or of 65,536 tokens, and for no more, because
half of it may be scored token by token through 64 layers."""
SMALL: dict[str, dict[str, Any]] = {
    "data": {"train": TEXT, "valid_fraction": 0.02, "test_fraction": 0.02},
    "tokenizer": {"level": "char"},
    "model": {"embedding_dim": 4, "num_layers": 1, "hidden_units": 8},
    "training": {"batch_size": 4, "sequence_length": 10, "precision": "float32", "threads": 1},
    "generation": {"length": 3, "seed": 1},
}
"""What ends are tried with: as small as it can be."""
STEPS, TOKENS = 2, 3
MEMORY_BYTES = 3_000_000_000
"""What a step may take; what takes more is refused by the check that `train` makes too."""


class Failure(NamedTuple):
    """Ends that failed together, and how."""

    row: Row
    error: Exception

    def __str__(self) -> str:
        lines = traceback.format_exception(self.error)[-4:]
        return f"{' '.join(map(str, self.row))}\n{''.join(lines)}"


def write_text(place: Path, letters: int = LETTERS) -> None:
    """The text to train on, of about so many letters: records with one field."""
    draw = random.Random(1)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "sleeps"]
    lines = []
    while letters > 0:
        line = " ".join(draw.choices(words, k=20))
        letters -= len(line)
        lines.append(json.dumps({SHORTEST: line}))
    (place / TEXT).write_text("\n".join(lines), encoding="utf-8")


def make_settings(row: Iterable[End]) -> Settings:
    """The small settings with these values; ConfigError where they do not go together."""
    sections = {section: dict(values) for section, values in SMALL.items()}
    is_open = True
    for path, value in row:
        section, key = path.split(".")
        sections[section][key] = value
        is_open = is_open and path not in ("training.max_steps", "training.minutes")
    if is_open:
        sections["training"]["max_steps"] = STEPS
    return Settings(**sections)


class Trials:
    """Tries ends in a directory that holds the text.

    Args:
        place: the directory, see `write_text`.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._cache = place, place / "cache"
        self._tokenizers: dict[str, Tokenizer | TimecycleError] = {}
        self.counts: Counter[str] = Counter()
        """Rows by what came of them."""

    def find_refusal(self, row: Sequence[End]) -> TimecycleError | None:
        """Why these ends are refused before anything is built; None where they are not."""
        try:
            settings = make_settings(row)
            tokenizer = self._find_tokenizer(settings)
            check_step_fits(settings, tokenizer.vocab_size, MEMORY_BYTES)
            make_plan(settings.generation, tokenizer)
        except TimecycleError as error:
            return error
        return None

    def find_failure(self, row: Row) -> Exception | None:
        """What is wrong with these ends: the error of a training that is none of ours."""
        try:
            self.train(row)
        except DivergenceError:
            self.counts["diverged"] += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for
            self.counts["failed"] += 1
            return error
        else:
            self.counts["trained"] += 1
        return None

    def train(self, row: Row) -> None:
        """Train two steps and write a text."""
        from llm_timecycle.training.session import train

        settings = make_settings(row)
        loaded = LoadedSettings(settings, "ends", self._place, self._place / "ends.yaml")
        with tempfile.TemporaryDirectory(dir=self._place) as directory:
            run_path = Path(directory) / "run"
            summary = train(loaded, run_path, cache=self._cache, callbacks=[make_stop()])
            wanted = min(STEPS, settings.training.max_steps or STEPS)
            assert summary.progress.step == wanted, summary.progress
            if summary.run.weights_path.exists():  # not where it was stopped before its end
                write_tokens(summary.run)

    def _find_tokenizer(self, settings: Settings) -> Tokenizer:
        """That of the text, which is prepared once for all settings that are alike to it."""
        training = settings.training
        key = repr((settings.data, settings.tokenizer, training.batch_size))
        key += repr(training.sequence_length)
        if key not in self._tokenizers:
            try:
                text = prepare_text(settings, self._place, self._cache, False, is_trained=True)
                self._tokenizers[key] = text.tokenizer
            except TimecycleError as error:
                self._tokenizers[key] = error
        found = self._tokenizers[key]
        if isinstance(found, TimecycleError):
            raise found
        return found


def make_stop() -> Any:
    """A Keras callback that ends a training after `STEPS` steps."""
    import keras

    class Stop(keras.callbacks.Callback):  # type: ignore[misc]
        done = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.done += 1
            self.model.stop_training = self.done >= STEPS

    return Stop()


def write_tokens(run: Any) -> None:
    """Let a run write the first tokens of a text, under its settings."""
    from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
    from llm_timecycle.generation.generator import TextGenerator

    class Enough(Exception):  # noqa: N818  # how a text of any length is left
        pass

    left = TOKENS

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Enough

    engine = NumpyEngine(run.load_weights(), run.settings.model)
    generator = TextGenerator(engine, run.load_tokenizer(), run.settings.generation)
    with suppress(Enough):
        generator.generate(SHORTEST, after_token=count_down)


def is_named(error: TimecycleError, row: Sequence[End]) -> bool:
    """Whether a message names one of the settings, by its key or by its value."""
    words = [path.partition(".")[2] for path, _ in row]
    words += [value for _, value in row if isinstance(value, str)]
    words += [value[0] for _, value in row if isinstance(value, list) and value]
    return any(word in str(error) for word in words)


def try_rows(trials: Trials, rows: Iterable[Row]) -> Iterator[Failure]:
    """The failures of rows, each cut down to the fewest ends that fail."""
    for number, row in enumerate(rows, 1):
        began_s = time.perf_counter()
        error = trials.find_failure(row)
        took_s = time.perf_counter() - began_s
        print(f"row {number}: {len(row)} ends, {took_s:.0f} s", file=sys.stderr, flush=True)
        if error is not None:
            yield explain_failure(trials, row, error)


def explain_failure(trials: Trials, row: Row, error: Exception) -> Failure:
    """The fewest ends of a row that fail."""

    def fails(part: Row) -> bool:
        return trials.find_refusal(part) is None and trials.find_failure(part) is not None

    fewest = shrink(row, fails)
    return Failure(fewest, trials.find_failure(fewest) or error)


def sort_pairs(trials: Trials, ends: Sequence[End]) -> tuple[set[frozenset[int]], Counter[str]]:
    """The pairs of ends that are not refused, as indices, and how many there are of each kind."""
    counts: Counter[str] = Counter()
    allowed = set()
    for (first, a), (second, b) in combinations(enumerate(ends), 2):
        if a.path == b.path:
            continue
        refusal = trials.find_refusal((a, b))
        if refusal is None:
            allowed.add(frozenset((first, second)))
            counts["allowed"] += 1
        elif is_named(refusal, (a, b)):
            counts["refused by name"] += 1
        else:
            counts["refused without a name"] += 1
            print(f"{a} {b}: {refusal}")
    return allowed, counts


def main() -> int:
    """Try every end, or every two; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--singles", action="store_true", help="each end alone, no pairs")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("llm_timecycle").setLevel(logging.ERROR)
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    draw, ends = random.Random(arguments.seed), list_ends()
    with tempfile.TemporaryDirectory() as directory:
        write_text(Path(directory))
        trials = Trials(Path(directory))
        print(f"ends: {len(ends)}")
        if arguments.singles:
            rows, counts = cover_singles(ends, trials.find_refusal, draw), Counter[str]()
        else:
            pairs, counts = sort_pairs(trials, ends)
            print(f"pairs: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
            rows = cover_pairs(pairs, ends, trials.find_refusal, draw)
        failures = list(try_rows(trials, rows))
    print(f"rows: {', '.join(f'{count} {kind}' for kind, count in trials.counts.items())}")
    for failure in failures:
        print(f"failed: {failure}")
    return int(bool(failures or counts["refused without a name"]))


if __name__ == "__main__":
    sys.exit(main())
