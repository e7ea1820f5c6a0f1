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
import math
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.config.load import LoadedSettings
from llm_timecycle.config.sections import list_section_keys
from llm_timecycle.config.settings import Settings
from llm_timecycle.errors import DivergenceError, TimecycleError
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.prepare import prepare_text
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.training.budget.memory import check_step_fits

SHORTEST = "e"
"""The shortest text: a letter of the training text, and the field of its records."""
TEXT = "text.jsonl"
LETTERS = 75_000
"""Of the text: enough for a step of 65,536 lanes, or of 65,536 tokens, and for no more, because
half of it may be scored token by token through 64 layers."""
USABLE = {"data.train": TEXT, "data.valid": TEXT, "data.test": TEXT, "data.encoding": "latin-1"}
"""Texts that are no ends, for settings whose shortest text can only be refused."""
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


class End(NamedTuple):
    """A setting at an end of its range."""

    path: str
    value: Any

    def __str__(self) -> str:
        return f"{self.path}={self.value!r}"


Row = tuple[End, ...]
Refuses = Callable[[Row], object | None]


class Failure(NamedTuple):
    """Ends that failed together, and how."""

    row: Row
    error: Exception

    def __str__(self) -> str:
        lines = traceback.format_exception(self.error)[-4:]
        return f"{' '.join(map(str, self.row))}\n{''.join(lines)}"


def list_ends() -> list[End]:
    """Every end of every setting, in order."""
    ends = []
    for section, keys in list_section_keys().items():
        for key in keys:
            path = f"{section}.{key}"
            values = find_ends(list_key_schemas(section)[key])
            values += [USABLE[path]] if path in USABLE else []
            ends += [End(path, value) for value in values]
    return ends


def find_ends(schema: dict[str, Any]) -> list[Any]:
    """The values at the ends of what a key's schema allows.

    >>> find_ends({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}]})
    [1, 9, None]
    """
    if "anyOf" in schema:
        return [value for choice in schema["anyOf"] for value in find_ends(choice)]
    if "enum" in schema:
        return list(schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return [[SHORTEST]] if schema.get("minItems") else [[], [SHORTEST]]
    if kind == "object":
        inner = find_ends(schema["additionalProperties"])
        return [{}, *({SHORTEST: value} for value in inner)]
    if kind in ("integer", "number"):
        return [
            find_bound(schema, "minimum", "exclusiveMinimum", math.inf),
            find_bound(schema, "maximum", "exclusiveMaximum", -math.inf),
        ]
    return {"null": [None], "boolean": [False, True], "string": [SHORTEST]}[kind]


def find_bound(schema: dict[str, Any], inclusive: str, exclusive: str, towards: float) -> float:
    """The number at one end of a range; KeyError where the schema leaves it open."""
    is_whole = schema["type"] == "integer"
    if inclusive in schema:
        bound: float = schema[inclusive]
    elif is_whole:
        bound = schema[exclusive] + (1 if towards > 0 else -1)
    else:
        bound = math.nextafter(schema[exclusive], towards)
    return int(bound) if is_whole else float(bound)


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


def shrink(row: Row, fails: Callable[[Row], bool]) -> Row:
    """The fewest ends that still fail: parts are left out as long as it does without them."""
    size = len(row) // 2
    while size > 0:
        for start in range(0, len(row), size):
            rest = row[:start] + row[start + size :]
            if rest and fails(rest):
                row = rest
                break
        else:
            size //= 2
    return row


def cover_singles(ends: Sequence[End], refuses: Refuses, draw: random.Random) -> Iterator[Row]:
    """Rows that hold every end once or more, each as many as go together.

    An end that is refused with all others small is tried beside each of the others; one that is
    refused even then is in no row.

    Args:
        refuses: not None for ends that do not go together.
        draw: in which order they are tried.
    """
    left = list(ends)
    while left:
        draw.shuffle(left)
        starts = ((left[0],), *((left[0], other) for other in ends if other.path != left[0].path))
        row = next((start for start in starts if refuses(start) is None), ())
        for end in 2 * left if row else []:  # what is refused at first may go with what came later
            is_new = end.path not in {path for path, _ in row}
            if is_new and refuses((*row, end)) is None:
                row = (*row, end)
        if row:
            yield row
        left = [end for end in left[1:] if end not in row]


def cover_pairs(
    pairs: set[frozenset[int]],
    ends: Sequence[End],
    refuses: Refuses,
    draw: random.Random,
) -> Iterator[Row]:
    """Rows that hold every pair, given as indices of `ends`; the set empties as they are made."""
    partners: dict[int, set[int]] = {}
    for first, second in map(tuple, pairs):
        partners.setdefault(first, set()).add(second)
        partners.setdefault(second, set()).add(first)
    allowed = {first: set(others) for first, others in partners.items()}
    while pairs:
        chosen = list(draw.choice(sorted(map(sorted, pairs))))
        paths = sorted({ends[index].path for index in partners})
        draw.shuffle(paths)
        for path in paths:
            if path in {ends[index].path for index in chosen}:
                continue
            gains = {
                index: len(partners[index] & set(chosen))
                for index in partners
                if ends[index].path == path and allowed[index] >= set(chosen)
            }
            for index in sorted(gains, key=lambda index: -gains[index]):
                row = tuple(ends[each] for each in (*chosen, index))
                if gains[index] > 0 and refuses(row) is None:
                    chosen.append(index)
                    break
        for first, second in combinations(chosen, 2):
            pairs.discard(frozenset((first, second)))
            partners[first].discard(second)
            partners[second].discard(first)
        yield tuple(ends[index] for index in chosen)


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
