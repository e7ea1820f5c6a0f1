"""Held-out text that lies in the training text too, which makes a model look better than it is."""

from __future__ import annotations

import logging

from llm_timecycle.runs.directory import Run
from llm_timecycle.runs.learned import load_shingles
from llm_timecycle.text.prepare import PreparedText
from llm_timecycle.text.shingles import Overlap, compute_overlap
from llm_timecycle.text.token_store import TokenStream

log = logging.getLogger("llm_timecycle")

SPLITS = {"valid": "validation", "test": "test"}


def describe_leakage(text: PreparedText) -> str | None:
    """A warning where most of a held-out text occurs word for word in the training text."""
    copied = []
    for split, name in SPLITS.items():
        stream = text.valid if split == "valid" else text.test
        if stream is None or stream.shingles is None or text.train.shingles is None:
            continue
        overlap = compute_overlap(stream.shingles, text.train.shingles)
        if overlap is not None and overlap.is_leak:
            copied.append(f"{100 * overlap.share:.0f} % of the {name} text")
    if not copied:
        return None
    return (
        f"{' and '.join(copied)} {'occurs' if len(copied) == 1 else 'occur'} word for word in the "
        f"training text. The loss on it says how well the model memorizes, not how well it "
        f"predicts new text. Remove the copies, or set data.valid and data.test to other texts"
    )


def find_overlap(run: Run, name: str, stream: TokenStream) -> Overlap | None:
    """How much of a text the run has learned from; a warning where it is most of it."""
    training = load_shingles(run)
    if training is None or stream.shingles is None:
        return None
    overlap = compute_overlap(stream.shingles, training)
    if overlap is not None and overlap.is_leak:
        log.warning(
            "%.0f %% of the text scored (%s) occurs word for word in the text that %s was trained "
            "on: the figures say how well the model memorized, not how well it predicts new text",
            100 * overlap.share,
            name,
            run.path,
        )
    return overlap
