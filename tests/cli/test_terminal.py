"""The bar at the end of a training: as long as its parts, the longest first."""

from __future__ import annotations

import pytest

from llm_timecycle.cli.terminal import BAR_CELLS, format_shares


@pytest.mark.parametrize("shares", [(1, 1, 1), (97, 1, 1, 0.5, 0.5), (1,), (0.2, 0.2, 99.6)])
def test_every_cell_of_the_bar_is_filled_whatever_rounds(shares: tuple[float, ...]) -> None:
    bar, names = format_shares({f"part {n}": share for n, share in enumerate(shares)}).split("\n")
    assert len(bar) == BAR_CELLS
    assert names.count("part") == len(shares)


def test_a_run_that_took_no_time_has_no_bar() -> None:
    assert format_shares({"compute": 0.0, "input": 0.0}) == "\n█ compute 0.0 %  ▓ input 0.0 %"
