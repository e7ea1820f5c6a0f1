"""A training struck at each of its operations, in processes that share one import of TensorFlow."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from boundaries.disk import State, read_state, write_state
from boundaries.operations import Operation, Perform, watch
from boundaries.processes import hold_errors, start, wait
from boundaries.strikes import FAULTS, WENT_ON, Fault, Store, Strike, Striker, find_settled, mask

LONGEST_S = 600
"""Of one training."""


def import_program() -> None:
    """Import what every training needs, once, for all processes that are forked from this one.

    TensorFlow is imported and not used: it starts its threads in each of them.
    """
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    os.environ.setdefault(  # small networks gain nothing from code that is optimized
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        "--xla_cpu_use_fusion_emitters=false",
    )
    with hold_errors():  # TensorFlow's log lines
        import keras  # noqa: F401
    import llm_timecycle.cli.main
    import llm_timecycle.cli.train
    import llm_timecycle.training.session  # noqa: F401


def run_command(arguments: Sequence[str], place: Path) -> int:
    """`llm-timecycle` in this process, in a directory that has its cache; the exit code."""
    from llm_timecycle.cli.main import main

    os.chdir(place)
    os.environ["LLM_TIMECYCLE_CACHE"] = str(place / "cache")
    sys.argv = ["llm-timecycle", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def leave_before_computing() -> None:
    """End a forked child where it comes to a training step: TensorFlow's threads are not there."""
    from llm_timecycle.model import tf_import
    from llm_timecycle.training.prefetch import WindowFeed

    def leave(*_: object) -> None:
        os._exit(WENT_ON)

    WindowFeed.take = leave  # type: ignore[assignment, method-assign]
    tf_import.refuse_after_fork = leave


@dataclass
class Recording:
    """A command, what it begins with, and what striking at it showed."""

    command: Sequence[str]
    run: Path
    """The run that it trains, as the command names it."""
    start: State
    store: Store
    execute: Callable[[Sequence[str], Path], int] = run_command
    """Does the command in a directory; returns the exit code."""
    enter_child: Callable[[], None] = leave_before_computing
    """Called in each process that was forked to meet a fault."""
    end: State = field(default_factory=dict)
    """What the command left where nothing struck it."""
    operations: list[str] = field(default_factory=list)
    """All of them, in order, without the names that are others in each process."""
    broken_rules: list[str] = field(default_factory=list)
    """Names given to what was not flushed."""
    unflushed: list[str] = field(default_factory=list)
    """What a power cut after the end of the command would change."""


def record(
    recording: Recording, place: Path, choose: Callable[[int], Sequence[Fault]], every: int = 1
) -> None:
    """Run the command of a recording in `place` and strike at every operation.

    Args:
        choose: the faults to try at an operation of that number, where they fit.
        every: strike only at each operation that is a multiple of this.

    Raises:
        RuntimeError: it failed though nothing was in its way.
    """
    write_state(recording.start, place)
    notes, log = recording.store.place / "notes.json", recording.store.place / "log"

    def program() -> int:
        parts = (recording.run, recording.store, choose, recording.enter_child, every)
        striker = Striker(place, *parts)
        with watch(place, striker.around) as striker.watching:
            code = recording.execute(recording.command, place)
        if not striker.is_child:
            unflushed = striker.finish()
            notes.write_text(json.dumps([striker.operations, striker.disk.broken_rules, unflushed]))
        return code

    if wait(start(program, log, 10 * LONGEST_S)) != 0:
        raise RuntimeError(f"{recording.command} failed:\n{log.read_text()}")
    found = json.loads(notes.read_text())
    recording.operations, recording.broken_rules, recording.unflushed = found
    recording.end = read_state(place)


def strike_alone(recording: Recording, fault: Fault, number: int, place: Path) -> Strike:
    """Strike at one operation of the command, run from its beginning for that alone."""
    write_state(recording.start, place)
    log, settled = place.with_suffix(".log"), place.with_suffix(".settled")
    seen = -1

    def around(operation: Operation, perform: Perform) -> object:
        nonlocal seen
        seen += 1
        if seen == number:
            settled.write_text(json.dumps(find_settled(read_state(place), recording.run)))
            if mask(str(operation)) != recording.operations[number]:
                raise RuntimeError(f"{operation} in place of {recording.operations[number]}")
        if seen < number:
            return perform()
        return fault.meet(operation, perform, is_first=seen == number)

    def program() -> int:
        with watch(place, around):
            return recording.execute(recording.command, place)

    code = wait(start(program, log, LONGEST_S))
    known = (recording.operations[number], fault.name, recording.store.put(read_state(place)))
    return Strike(number, *known, *json.loads(settled.read_text()), code, log.read_text())


def strike_those_that_went_on(recording: Recording, place: Path) -> list[Strike]:
    """The strikes of a recording; where a child could not go on, what came of striking alone."""
    by_name = {fault.name: fault for fault in FAULTS}
    strikes = []
    for strike in recording.store.list_strikes():
        if strike.kind in by_name and strike.exit_code in (WENT_ON, -signal.SIGALRM):
            alone = strike_alone(recording, by_name[strike.kind], strike.number, place)
            strike = replace(alone, step=strike.step, has_weights=strike.has_weights)
        strikes.append(strike)
    return strikes
