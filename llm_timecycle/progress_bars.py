"""tqdm's progress bar for where we are: a terminal, or a notebook.

A notebook without ipywidgets shows the bar as text, which is fine: tqdm's warning about it is
silenced.
"""

from __future__ import annotations

import warnings
from typing import Any


def tqdm(*arguments: Any, **options: Any) -> Any:
    """A bar of `tqdm.auto`, which is imported now: worker processes show none."""
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm as auto_tqdm

    return auto_tqdm(*arguments, **options)
