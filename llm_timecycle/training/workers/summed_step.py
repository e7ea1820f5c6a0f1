"""A training step whose gradient is a sum: over workers, and over groups of lanes in each of them.

    g = sum over all lanes and tokens of dl/dw / (B T)

Every worker computes its own lanes, with `training.accumulate` a group of them at a time, so that
no more than a group is in memory. The sums divided by the numbers of the whole step make the
gradient of one step over all B lanes, to rounding, however they are divided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.model.activation_penalty import ActivationPenalty
from llm_timecycle.model.lane_masks import LaneLayout
from llm_timecycle.model.loss import LossNetwork
from llm_timecycle.model.sharding import join_lanes, split_lanes
from llm_timecycle.training.devices import ComputePlan, make_plan
from llm_timecycle.training.step import TrainStep, compile_step, update_weights
from llm_timecycle.training.workers.workers import Workers


@dataclass(frozen=True)
class Division:
    """How the lanes of a step are divided; made by `divide_step`."""

    layout: LaneLayout
    """This worker's lanes, and the shards for which one process draws dropout."""
    groups: int
    """Of this worker's lanes, computed one after the other."""
    shards: int
    """Of the lanes of a group, computed in parallel."""


def divide_step(
    training: TrainingSettings, plan: ComputePlan, workers: Workers, layers: int
) -> Division | None:
    """How this worker computes its lanes; None where it has all of them, and computes them at once.

    Groups of different workers are computed at the same time: with 4 groups for the whole step,
    each of 2 workers computes 2.

    Args:
        plan: of one process that trains alone. layers: of the model (L).
    """
    if workers.size == 1 and training.accumulate == 1:
        return None
    own = workers.own_lanes(training.batch_size)
    groups = math.ceil(training.accumulate / workers.size)
    at_once = math.ceil(len(own) / groups)
    shards = make_plan(workers.threads or plan.threads, at_once, plan.precision, layers).shards
    return Division(LaneLayout(training.batch_size, own, plan.shards), groups, shards)


class _Sums:
    """Computes the gradient of a group of lanes.

    Args:
        masks: drawn for the weights, by layer. lane_masks: for the lanes of the worker.
        weight: of the loss of a token, 1 / (B T).
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        variables: Sequence[keras.Variable],
        shards: int,
        masks: Mapping[str, tf.Tensor],
        weight: tf.Tensor,
    ) -> None:
        self._loss_network, self._variables = loss_network, variables
        self._shards, self._masks, self._weight = shards, masks, weight

    def compute(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        keep: tf.Tensor | None,
        states: Sequence[tf.Tensor],
        lane_masks: Mapping[str, tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The gradients with the loss behind them, both times the weight; the new states."""
        names, count = list(lane_masks), len(states)
        with tf.name_scope("forward"), tf.GradientTape() as tape:
            drawn = self._loss_network.drop(self._masks)
            parts = [tokens, targets, keep, *states, *lane_masks.values()]
            results = [
                self._loss_network.compute_losses(
                    x,
                    y,
                    rest[:count],
                    training=True,
                    keep=kept,
                    drawn=drawn | dict(zip(names, rest[count:], strict=True)),
                )
                for x, y, kept, *rest in split_lanes(parts, self._shards)
            ]
            losses, *new_states = join_lanes([[loss, *after] for loss, after in results])
            loss = tf.reduce_sum(losses) * self._weight
        with tf.name_scope("backward"):
            found = tape.gradient(loss, self._variables)
            gradients = [tf.convert_to_tensor(gradient) for gradient in found]
        return [*gradients, loss], new_states


def make_summed_step(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    workers: Workers,
    division: Division,
    clip_norm: float | None,
    *,
    has_documents: bool = False,
    penalty: ActivationPenalty | None = None,
) -> TrainStep:
    """As `training.step.make_train_step`, for this worker's lanes.

    The loss and the gradient norm that it returns are those of all lanes.
    """
    variables = network.trainable_variables
    loss_network = LossNetwork(network, penalty)

    def run(
        tokens: tf.Tensor,
        targets: tf.Tensor,
        states: list[tf.Tensor],
        keep: tf.Tensor | None = None,
    ) -> Any:
        width = tf.shape(tokens)[1]
        weight = 1.0 / tf.cast(division.layout.lanes * width, tf.float32)
        masks = loss_network.draw_masks()
        lane_masks = loss_network.draw_lane_masks(division.layout, width)
        sums = _Sums(loss_network, variables, division.shards, masks, weight)
        if division.groups == 1:
            added, new_states = sums.compute(tokens, targets, keep, states, lane_masks)
        else:
            parts = (tokens, targets, keep, states, lane_masks)
            shapes = [*(tuple(variable.shape) for variable in variables), ()]
            added, new_states = _add_groups(sums, division.groups, shapes, *parts)
        with tf.name_scope("update"):
            *gradients, loss = workers.add(added)
            norm = update_weights(optimizer, gradients, variables, clip_norm)
        return loss, norm, new_states

    return compile_step(run, network, has_documents=has_documents)


def _add_groups(
    sums: _Sums,
    groups: int,
    shapes: Sequence[tuple[int, ...]],
    tokens: tf.Tensor,
    targets: tf.Tensor,
    keep: tf.Tensor | None,
    states: Sequence[tf.Tensor],
    lane_masks: Mapping[str, tf.Tensor],
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """What `_Sums.compute` gives for all lanes, a group at a time.

    Args:
        shapes: of the gradients and the loss.
    """
    lanes = tf.shape(tokens)[0]
    arrays = [
        tf.TensorArray(tf.float32, groups, infer_shape=False, element_shape=(None, state.shape[1]))
        for state in states
    ]

    def add_group(
        group: tf.Tensor, added: list[tf.Tensor], arrays: list[tf.TensorArray]
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.TensorArray]]:
        own = slice(lanes * group // groups, lanes * (group + 1) // groups)
        found, after = sums.compute(
            tokens[own],
            targets[own],
            None if keep is None else keep[own],
            [state[own] for state in states],
            {name: mask[own] for name, mask in lane_masks.items()},
        )
        added = [total + value for total, value in zip(added, found, strict=True)]
        written = [a.write(group, state) for a, state in zip(arrays, after, strict=True)]
        return group + 1, added, written

    start = (tf.constant(0), [tf.zeros(shape) for shape in shapes], arrays)
    _, added, arrays = tf.while_loop(
        lambda group, *_: group < groups, add_group, start, parallel_iterations=1
    )
    return added, [array.concat() for array in arrays]
