"""The roofline: what each stage and layer of a step reaches of what this machine can reach.

    intensity = FLOPs / bytes                              arithmetic intensity
    bound = max(FLOPs / peak, bytes / bandwidth)           the least time that the stage can take
    share = bound / measured time

The larger of the two times says which limit binds. The peak is that of matrix products in the type
in use; the bandwidth is that of reading or copying memory, whichever is higher
(`measure.machine_limits`). A share above 1 means that the limit does not apply: the bytes stay in a
cache, or the products have a faster shape.

Source: Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model for
multicore architectures".
"""

from __future__ import annotations

from collections.abc import Mapping

from llm_timecycle.config.settings import Settings
from llm_timecycle.profiling.analysis.flops import (
    add_costs,
    count_step_costs,
    find_product_type,
)
from llm_timecycle.profiling.results import Roofline, RooflinePoint, TrainingCycle

_STAGES = ("forward", "backward", "update")


def compute_roofline(
    cycle: TrainingCycle, settings: Settings, vocab_size: int, limits: Mapping[str, float]
) -> tuple[RooflinePoint, ...]:
    """Forward, backward and update on the roofline, then each layer's passes.

    Args:
        cycle: the measured times. settings: with the precision resolved. vocab_size: V.
        limits: of this machine, from `measure.machine_limits`.
    """
    costs = count_step_costs(settings, vocab_size)
    peak = limits[find_product_type(settings)]
    roofline = Roofline(peak, max(limits["read"], limits["copy"]))
    timed = {stage: (add_costs(costs, stage=stage), cycle.stages[stage]) for stage in _STAGES}
    for layer, passes in cycle.layers.items():
        for stage, times in passes.items():
            timed[f"{layer} {stage}"] = (add_costs(costs, layer=layer, stage=stage), times)
    return tuple(
        RooflinePoint(name, cost.operations, cost.bytes_moved, times.median_s, roofline)
        for name, (cost, times) in timed.items()
        # A backward pass is the difference of two times, which noise can bring down to nothing.
        if times.median_s > 0 and cost.bytes_moved > 0
    )
