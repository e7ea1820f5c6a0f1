"""What a user sees while a model trains: the bar, a line for each validation, and a sample."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from llm_timecycle.evaluation.figures import compute_perplexity
from llm_timecycle.evaluation.stream import Sums
from llm_timecycle.progress_bars import tqdm
from llm_timecycle.training.reporting.curve import draw_curve
from llm_timecycle.training.reporting.time_left import write_time

log = logging.getLogger("llm_timecycle")

BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}, {rate_fmt}]"
"""tqdm's own, with our time left in place of its own, which knows nothing of validations, and with
the rate at the end, where a narrow terminal cuts it off."""
SAMPLE_LINES, MARGIN = 2, "  │ "


class Display:
    """The bar of a training, and what is written above it.

    Args:
        show_progress: whether there is a bar, and samples are shown.
        losses: of the validations so far, for the curve.
    """

    def __init__(self, show_progress: bool, losses: Sequence[float]) -> None:
        self.is_shown = show_progress
        self._losses = list(losses)
        self._bar: Any = None

    def open(self, tokens: int, planned_tokens: int | None) -> closing[Display]:
        """Show the bar, after `tokens` of `planned_tokens`; as a context, which removes it."""
        self._bar = tqdm(
            total=planned_tokens,
            initial=tokens,
            unit="tok",
            unit_scale=True,
            disable=not self.is_shown,
            dynamic_ncols=True,
            bar_format=BAR_FORMAT,
        )
        return closing(self)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def show_step(
        self,
        tokens: int,
        planned_tokens: int | None,
        epoch: int,
        loss_nats: float,
        left_s: float | None,
    ) -> None:
        """Move the bar to a step.

        Args:
            tokens: trained on. planned_tokens: of the whole run; None while there is no plan.
            epoch: its number, from 1. loss_nats: of the step, per token.
            left_s: seconds to the end of the run; None while that is not known.
        """
        bar = self._bar
        bar.total = planned_tokens
        bar.set_description(f"epoch {epoch}", refresh=False)
        left = "" if left_s is None else f"{write_time(left_s)} left, "
        figures = f"loss {loss_nats:.3f}, ppl {compute_perplexity(loss_nats):.4g}"
        bar.set_postfix_str(f"{left}{figures}", refresh=False)
        bar.update(tokens - bar.n)

    def show_validation(self, epoch: float, step: int, sums: Sums, is_best: bool) -> None:
        """Log the result of a validation, with the curve of all so far."""
        self._losses.append(sums.loss_nats_per_token)
        curve = draw_curve(self._losses)
        log.info(
            "epoch %.3g, step %s: valid loss %.4f, perplexity %.6g%s%s",
            epoch,
            f"{step:,}",
            sums.loss_nats_per_token,
            sums.perplexity,
            " (best so far)" if is_best else "",
            f"  {curve}" if curve else "",
        )

    def show_sample(self, text: str) -> None:
        """Show the beginning of a sample above the bar, in two lines."""
        if not self.is_shown:
            return
        lines = fold(text, measure_width() - len(MARGIN) - 1, SAMPLE_LINES)
        if lines:
            log.info("\n".join(f"{MARGIN}{line}" for line in lines))


def fold(text: str, cells: int, lines: int) -> list[str]:
    """The beginning of a text as at most so many lines of a terminal, each at most `cells` wide.

    Line breaks become ↵, and what cannot be printed a space; Chinese characters are two cells wide.

    >>> fold("one two\\nthree", cells=9, lines=2)
    ['one two ↵', 'three']
    >>> fold("你好世界", cells=5, lines=1)
    ['你好…']
    """
    from rich.cells import cell_len, chop_cells, set_cell_size

    shown = " ↵ ".join(part.strip() for part in text.strip().splitlines() if part.strip())
    shown = "".join(character if character.isprintable() else " " for character in shown)
    cells = max(cells, 2)
    pieces = chop_cells(shown, cells)
    if len(pieces) > lines:
        last = pieces[lines - 1]
        if cell_len(last) == cells:
            last = set_cell_size(last, cells - 1)
        pieces = [*pieces[: lines - 1], f"{last.rstrip()}…"]
    return [piece.strip() for piece in pieces]


def measure_width() -> int:
    """The columns of the terminal that stderr is, or as usual where it is none."""
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return shutil.get_terminal_size().columns
