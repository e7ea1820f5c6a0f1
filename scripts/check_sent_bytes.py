"""Whether workers send the bytes that `profile --workers` says, or this fails.

    .venv/bin/python scripts/check_sent_bytes.py [WORKERS]

Linux counts what its loopback device sends, headers and acknowledgements included, which may add
5 %. Nothing else should send much over it meanwhile.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.profiling.measure.communication import run_workers
from llm_timecycle.profiling.measure.worker_timing import WARM_UP_STEPS, Job
from llm_timecycle.profiling.worker_results import count_sent_bytes

VOCAB_SIZE, REPEATS = 10_000, 20
RATIO = (1.0, 1.05)
"""Of the bytes that the device sent to those of the formula."""
SETTINGS = Settings(
    model=ModelSettings(embedding_dim=256, hidden_units=128, num_layers=1),
    training=TrainingSettings(
        batch_size=8, sequence_length=2, precision="float32", threads=1, learning_rate=1e-3
    ),
)


def count_loopback_bytes() -> int:
    """Bytes sent over the loopback device since the system started."""
    counters = Path("/proc/net/dev").read_text("utf-8").partition("lo:")[2].split()
    return int(counters[8])


def main() -> None:
    """Print both; end with 1 where they differ."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    before = count_loopback_bytes()
    job = Job(workers, SETTINGS.model_dump(mode="json"), VOCAB_SIZE, REPEATS)
    times = run_workers(job, draw=random.Random())
    counted = count_loopback_bytes() - before
    # Steps with markers and steps without, then a sum of every size, in each round.
    step_bytes = max(times.sums_s)
    summed_bytes = (REPEATS + WARM_UP_STEPS) * (2 * step_bytes + sum(times.sums_s))
    reckoned = workers * count_sent_bytes(workers, summed_bytes)
    print(f"{workers} workers: {reckoned:,.0f} bytes by the formula, {counted:,} over loopback")
    print(f"ratio {counted / reckoned:.4f}")
    sys.exit(not RATIO[0] <= counted / reckoned <= RATIO[1])


if __name__ == "__main__":
    main()
