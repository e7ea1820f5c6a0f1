"""Whether the stages of `profile` agree with TensorFlow's own profiler, or this fails.

    .venv/bin/python scripts/check_stages.py [SOURCE] [--set KEY=VALUE]... [--steps N]

A step is measured twice. By marks, as `llm-timecycle profile` does it: barriers in the compiled
step, whose moments cut its wall time into passes. And by a trace: steps without marks run under
`tf.profiler`, which notes when each thread began and ended every operation; the name of an
operation tells its pass (see `training.step`). The two have nothing but the step in common.

To be comparable, what the trace says must be wall time too. So every moment of a traced step goes
to the pass that is computed then. Without barriers, passes overlap: where cores work at two of
them, the moment is divided between these by cores. A core that waits while another one works adds
nothing: the step waits for the pass of the one that works, as it does at a barrier. A moment at
which nothing is computed goes to the operation that begins next, as a mark would have it; what
follows the last one is handing back the results, and belongs to the update. On one thread an
operation's time is its own, without that of operations inside it, so that nothing counts twice.
Outside the step two spans of the calling thread tell the wait for a window from the rest.

A stage's share is its median over the sum of all medians, both times; the shares must agree within
5 points. On a machine that does other work meanwhile they may not. It is for processors: a GPU's
operations are not in the lines that are read here.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_timecycle.config.settings import Settings

if TYPE_CHECKING:
    from llm_timecycle.text.batches import Lanes

PASSES = {
    "forward": "forward",
    "backward": "backward",
    "gradient_tape": "backward",
    "update": "update",
}
STEP, INPUT = "checked step", "checked input"
LARGEST_DIFFERENCE = 0.05
WARM_UP_STEPS = 3
# An operation is name:type; events of the train_state, and those inside of operations, are not.
OPERATION = re.compile(r"[\w./>-]+:\w+")


class Span(NamedTuple):
    """Picoseconds of one thread: on an operation of a pass, or on what `name` says."""

    begin: int
    end: int
    name: str


class Trace(NamedTuple):
    """What the profiler saw of two steps."""

    host: list[Span]
    """The calling thread: the wait for a window, its step, and both once more."""
    threads: list[list[Span]]
    """The operations of each thread that had any, named by their pass."""


def name_pass(operation: str) -> str:
    """The pass of an operation: the first scope of its name that stands for one.

    What rewrites the graph puts scopes of its own before it; a gradient names what it is the
    gradient of after it.

    Raises:
        ValueError: its name tells no pass.
    """
    for scope in re.split("[/:]", operation):
        if scope in PASSES:
            return PASSES[scope]
    raise ValueError(f"an operation that belongs to no pass: {operation}")


def read_trace(space: Any) -> Trace:
    """The spans of a profile, as `tf.profiler` writes it (an `XSpace`).

    Raises:
        ValueError: an operation belongs to no pass.
    """
    (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    trace = Trace([], [])
    for line in plane.lines:
        operations = []
        for event in line.events:
            name = plane.event_metadata[event.metadata_id].name
            begin = 1000 * line.timestamp_ns + event.offset_ps
            span = Span(begin, begin + event.duration_ps, name)
            if name in (STEP, INPUT):
                trace.host.append(span)
            elif operation := _read_operation(plane, event, name):
                operations.append(span._replace(name=name_pass(operation)))
        if operations:
            trace.threads.append(operations)
    trace.host.sort()
    return trace


def _read_operation(plane: Any, event: Any, name: str) -> str | None:
    """The operation that an event is of; None for one that is not."""
    if not name.startswith("ExecutorState::ProcessAsync"):
        return name if OPERATION.fullmatch(name) else None
    # An operation that calls a compiled piece has its name in a field.
    fields = {plane.stat_metadata[stat.metadata_id].name: stat for stat in event.stats}
    return str(fields["name"].str_value or plane.stat_metadata[fields["name"].ref_value].name)


def split_step(step: Span, threads: Sequence[Sequence[Span]]) -> dict[str, float]:
    """Picoseconds of a step by pass; they add up to the step."""
    edges = []
    for thread, operations in enumerate(threads):
        for begin, end, name in operations:
            if step.begin <= begin < end <= step.end:
                # At one moment ends come first, and of beginnings that of the outer operation.
                edges += [(begin, 1, -end, thread, name), (end, 0, 0, thread, name)]
    under_way: list[list[str]] = [[] for _ in threads]  # on each thread, the innermost last
    spent = dict.fromkeys(PASSES.values(), 0.0)
    before = step.begin
    for moment, begins, _, thread, name in sorted(edges):
        computed = [passes[-1] for passes in under_way if passes] or [name]
        for each in computed:
            spent[each] += (moment - before) / len(computed)
        before = moment
        if begins:
            under_way[thread].append(name)
        else:
            under_way[thread].pop()
    spent["update"] += step.end - before
    return spent


def split_trace(trace: Trace) -> dict[str, float]:
    """Picoseconds of the second step by stage, from the end of the first."""
    _, before, wait, step = trace.host
    return {
        "input": wait.end - wait.begin,
        **split_step(step, trace.threads),
        "other": (wait.begin - before.end) + (step.begin - wait.end),
    }


def record_steps(settings: Settings, vocab_size: int, lanes: Lanes, times: int) -> Iterator[Trace]:
    """Traces of two training steps without marks.

    Many short ones: what the profiler keeps gets in the way of the memory of later steps.
    """
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from llm_timecycle.profiling.measure.stages import TrialStep
    from llm_timecycle.training.devices import read_plan
    from llm_timecycle.training.prefetch import WindowFeed

    profiler = tf.profiler.experimental
    trial = TrialStep(settings, vocab_size, read_plan(settings).shards)
    run = trial.prepare_for_windows(lanes.lanes)
    windows = max(
        lanes.lane_length // lanes.window, 1
    )  # a last one that is shorter is another step
    with closing(WindowFeed(lanes, trial.strategy)) as feed:
        for position in range(WARM_UP_STEPS):
            run(*feed.take(position % windows))
        for first in range(WARM_UP_STEPS, WARM_UP_STEPS + 2 * times, 2):
            with tempfile.TemporaryDirectory() as place:
                with profiler.Profile(place):
                    for position in (first, first + 1):
                        with profiler.Trace(INPUT):
                            window = feed.take(position % windows)
                        with profiler.Trace(STEP):
                            run(*window)
                (path,) = Path(place).rglob("*.xplane.pb")
                space = xplane_pb2.XSpace.FromString(path.read_bytes())
            yield read_trace(space)


def measure(
    source: str, overrides: Sequence[str], steps: int
) -> tuple[dict[str, Sequence[float]], dict[str, Sequence[float]]]:
    """Seconds of each stage of so many steps, by marks and by trace."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.profiling.measure.stages import measure_training
    from llm_timecycle.profiling.source import open_source
    from llm_timecycle.text.prepare import find_cache_directory, prepare_text
    from llm_timecycle.training.devices import resolve_machine
    from llm_timecycle.training.session import cut_training_lanes

    opened, cache = open_source(source, overrides), find_cache_directory()
    text = prepare_text(opened.settings, opened.base, cache, False, tokenizer=opened.tokenizer)
    vocab_size = text.tokenizer.vocab_size
    settings = resolve_machine(opened.settings, vocab_size).fill_in(opened.settings)
    lanes = cut_training_lanes(settings, text)
    cycle = measure_training(settings, vocab_size, lanes, steps)
    traced = [split_trace(trace) for trace in record_steps(settings, vocab_size, lanes, steps)]
    return (
        {stage: durations.samples_s for stage, durations in cycle.stages.items()},
        {stage: [times[stage] / 1e12 for times in traced] for stage in cycle.stages},
    )


def compare(marked: Mapping[str, Sequence[float]], traced: Mapping[str, Sequence[float]]) -> bool:
    """Print the shares that seconds by marks and by trace come to; whether they agree."""
    medians_s = [{stage: median(s[stage]) for stage in marked} for s in (marked, traced)]
    sums_s = [sum(by_stage.values()) for by_stage in medians_s]
    differences = []
    print(f"{'stage':<10}{'by marks':>10}{'by trace':>10}{'difference':>12}")
    for stage in marked:
        shares = [by_stage[stage] / s for by_stage, s in zip(medians_s, sums_s, strict=True)]
        differences.append(shares[1] - shares[0])
        points = 100 * differences[-1]
        print(f"{stage:<10}{shares[0]:>10.1%}{shares[1]:>10.1%}{points:>+12.1f}")
    print(
        f"{'a step':<10}{sums_s[0]:>8.4f} s{sums_s[1]:>8.4f} s{sums_s[1] / sums_s[0] - 1:>+12.1%}"
    )
    return all(abs(difference) <= LARGEST_DIFFERENCE for difference in differences)


def main() -> None:
    """Measure by marks and by trace, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("source", nargs="?", default="section5", help="a run or settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=10, help="steps by each method")
    options = parser.parse_args()
    sys.exit(0 if compare(*measure(options.source, options.set, options.steps)) else 1)


if __name__ == "__main__":
    main()
