"""The last entry of a run's `samples.txt`, which `training.reporting.samples` writes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADING = re.compile(r"^=== (epoch \S+, step [\d,]+.*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """What a model wrote at a validation."""

    heading: str
    """When: the epoch, the step, the validation loss."""
    text: str


def find_last_sample(samples: str) -> Sample | None:
    """The last sample; None where there is none.

    >>> find_last_sample("=== epoch 1, step 5: valid loss 2.5\\nOnce\\n\\n")
    Sample(heading='epoch 1, step 5: valid loss 2.5', text='Once')
    """
    headings = list(_HEADING.finditer(samples))
    if not headings:
        return None
    return Sample(headings[-1][1], samples[headings[-1].end() :].strip())
