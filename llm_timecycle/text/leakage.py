"""Held-out text that lies in the training text too, which makes a model look better than it is."""

from __future__ import annotations

from llm_timecycle.text.prepare import PreparedText
from llm_timecycle.text.shingles import compute_overlap

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
