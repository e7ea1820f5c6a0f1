"""The copy meter: fresh samples of a model, and what of them stands in its training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llm_timecycle.errors import DataError
from llm_timecycle.evaluation.copies.places import find_places
from llm_timecycle.evaluation.copies.report import Passage, SampleReport, mean
from llm_timecycle.evaluation.copies.search import Copies, find_copies
from llm_timecycle.evaluation.repetition import measure_distinct, measure_repetition
from llm_timecycle.generation.engines.select import make_engine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import load_shingles
from llm_timecycle.text.corpus import Corpus
from llm_timecycle.text.shingles import compute_overlap, sketch_piece
from llm_timecycle.text.survey import find_script
from llm_timecycle.text.token_store import TokenStream
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

SAMPLE_TOKENS = {"char": 1000, "byte": 1000, "word": 200, "subword": 200}
"""How long a sample is, by level."""
RUN_WORDS, LETTERS_IN_A_WORD = 8, 5
PASSAGES = 10
COMMON_TOKENS = 300
SEED = 1


@dataclass(frozen=True)
class TrainingText:
    """The text that a model was trained on."""

    corpus: Corpus
    stream: TokenStream


def draw_samples(
    run: Run, tokenizer: Tokenizer, samples: int, length: int | None = None
) -> tuple[list[np.ndarray], int]:
    """New texts as `generate` writes them without a prompt, with the run's settings: their ids.

    Beams and stop sequences are left out: they belong to a request, not to the model. A run
    without a seed gets one, so that the same run gives the same figures.

    Args:
        samples: how many.
        length: tokens of each at most; None takes that of `SAMPLE_TOKENS`.

    Returns:
        The ids of each (T,), and the seed.
    """
    level = run.settings.tokenizer.level
    generation = run.settings.generation
    seed = SEED if generation.seed is None else generation.seed
    tokens = SAMPLE_TOKENS[level] if length is None else length
    changes = {"beams": 1, "stop": [], "seed": seed, "length": tokens}
    engine = make_engine(run, rows=samples, tokens=tokens)
    settings = generation.model_copy(update=changes)
    texts = TextGenerator(engine, tokenizer, settings).generate("", samples)
    return [np.array(text.ids, np.int64) for text in texts], seed


def measure_samples(
    run: Run,
    tokenizer: Tokenizer,
    samples: Sequence[np.ndarray],
    seed: int,
    *,
    held_out: TokenStream | None,
    training: TrainingText | str,
    search_at_most: int | None = None,
    most_passages: int = PASSAGES,
    show_progress: bool = False,
) -> SampleReport:
    """How much samples repeat themselves, and how much of them stands in the training text.

    Args:
        run: what wrote them. tokenizer: the run's.
        samples: ids of each.
        seed: of the samples, for the report.
        held_out: text to compare them with.
        training: the training text; or, where it cannot be read, why.
        search_at_most: tokens at the beginning of the training text that are searched; None
            searches all.
        most_passages: how many of the longest passages to name.
        show_progress: whether to draw a progress bar.
    """
    pieces = [] if held_out is None else cut_pieces(held_out.ids, [len(each) for each in samples])
    unit = choose_run(tokenizer)
    report = SampleReport(
        count=len(samples),
        tokens=sum(map(len, samples)),
        seed=seed,
        run_tokens=unit,
        repetition=_measure_repetition(samples),
        held_out_repetition=_measure_repetition(pieces) if pieces else None,
        distinct_1=measure_distinct(_to_lists(samples), 1),
        distinct_2=measure_distinct(_to_lists(samples), 2),
        held_out_distinct_1=measure_distinct(_to_lists(pieces), 1) if pieces else None,
        held_out_distinct_2=measure_distinct(_to_lists(pieces), 2) if pieces else None,
    )
    if isinstance(training, str):
        return _estimate_copies(report, run, tokenizer, samples, training)
    ids = training.stream.ids[:search_at_most]
    with tqdm(
        desc="searching the training text",
        total=len(ids),
        unit="tok",
        unit_scale=True,
        leave=False,
        disable=not show_progress,
    ) as bar:
        copies = find_copies(
            [*samples, *pieces],
            ids,
            run=unit,
            most=most_passages,
            listed=len(samples),
            barred=[tokenizer.unk_id],
            after_chunk=bar.update,
        )
    return _fill_in(report, tokenizer, samples, training, copies, len(ids))


def choose_run(tokenizer: Tokenizer) -> int:
    """Tokens of a run that counts as a copy: 8 words or Han characters, or as long in letters."""
    level = tokenizer.settings.level
    if level in ("word", "subword"):
        return RUN_WORDS
    common = range(tokenizer.eos_id + 1, min(tokenizer.vocab_size, COMMON_TOKENS))
    script = find_script(Counter("".join(map(tokenizer.token, common))))
    is_word = level == "char" and script == "CJK"
    return RUN_WORDS if is_word else RUN_WORDS * LETTERS_IN_A_WORD


def cut_pieces(ids: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """Pieces of a text of these lengths, spread over it; fewer where it is shorter than all.

    >>> [piece.tolist() for piece in cut_pieces(np.arange(10), [2, 3])]
    [[0, 1], [5, 6, 7]]
    """
    kept = [length for length in lengths if length]
    while kept and sum(kept) > len(ids):
        kept.pop()
    starts = np.arange(len(kept)) * (len(ids) // max(len(kept), 1))
    return [
        ids[start : start + length].astype(np.int64)
        for start, length in zip(starts.tolist(), kept, strict=True)
    ]


def _fill_in(
    report: SampleReport,
    tokenizer: Tokenizer,
    samples: Sequence[np.ndarray],
    training: TrainingText,
    copies: Copies,
    searched: int,
) -> SampleReport:
    """The report with what was found in the training text."""
    total = len(training.stream.ids)
    found = [
        samples[match.sample][match.start : match.start + match.tokens] for match in copies.matches
    ]
    shares = [match.position / total for match in copies.matches]
    try:
        places = find_places(training.corpus, tokenizer, list(zip(found, shares, strict=True)))
    except DataError:  # it was read a moment ago; the figures stand without the places
        places = [None] * len(found)
    passages = tuple(
        Passage(tokenizer.decode(ids), match.tokens, match.sample, place, match.position)
        for ids, match, place in zip(found, copies.matches, places, strict=True)
    )
    n = len(samples)
    note = None
    if searched < total:
        note = f"the first {searched:,} of {total:,} training tokens were searched"
    return replace(
        report,
        copied_share=_divide(copies.copied[:n], copies.runs[:n]),
        held_out_copied_share=_divide(copies.copied[n:], copies.runs[n:]),
        passages=passages,
        searched_tokens=searched,
        note=note,
    )


def _estimate_copies(
    report: SampleReport,
    run: Run,
    tokenizer: Tokenizer,
    samples: Sequence[np.ndarray],
    reason: str,
) -> SampleReport:
    """The report of a run whose training text cannot be read: what its shingles still tell."""
    known = load_shingles(run)
    share = None
    if known is not None:
        text = "\n".join(tokenizer.decode(ids) for ids in samples).encode()
        overlap = compute_overlap(sketch_piece(text, known.level), known)
        share = None if overlap is None else overlap.share
    note = f"copies were not looked for: {reason}"
    return replace(report, share_in_training_text=share, note=note)


def _measure_repetition(samples: Sequence[np.ndarray]) -> float:
    return mean([measure_repetition(each) for each in _to_lists(samples)])


def _to_lists(samples: Sequence[np.ndarray]) -> list[list[int]]:
    return [each.tolist() for each in samples]


def _divide(copied: Sequence[int], runs: Sequence[int]) -> float | None:
    return sum(copied) / sum(runs) if sum(runs) else None
