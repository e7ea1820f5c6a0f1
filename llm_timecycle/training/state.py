"""The state of training: everything that a step changes, as arrays by name and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import ModelSettings, TrainingSettings
from llm_timecycle.model.activation_penalty import make_activation_penalty
from llm_timecycle.model.network import (
    list_parameters,
    list_random_states,
    make_zero_states,
)
from llm_timecycle.model.sharding import distribute, gather
from llm_timecycle.training.averaging import WeightAverage
from llm_timecycle.training.step import TrainStep, make_train_step
from llm_timecycle.training.workers.summed_step import Division, make_summed_step
from llm_timecycle.training.workers.workers import ALONE, Workers


@dataclass(frozen=True)
class TrainState:
    """What a training loop updates; built once, under the strategy's scope."""

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    strategy: tf.distribute.Strategy
    shards: int = 1
    """Shards of the lanes that compute in parallel on each device."""
    average: WeightAverage | None = None
    """The mean of the weights; None with `training.averaging: none`."""
    workers: Workers = ALONE
    """Those that train together."""
    division: Division | None = None
    """How a step is divided among workers and in time; None where it is not."""

    def compile_step(self, training: TrainingSettings, *, has_documents: bool) -> TrainStep:
        """The training step: see `make_train_step`."""
        clip_norm, penalty = training.gradient_clip_norm, make_activation_penalty(training)
        network, optimizer = self.network, self.optimizer
        if self.division is None:
            return make_train_step(
                network,
                optimizer,
                self.strategy,
                clip_norm,
                self.shards,
                has_documents=has_documents,
                penalty=penalty,
            )
        return make_summed_step(
            network,
            optimizer,
            self.workers,
            self.division,
            clip_norm,
            has_documents=has_documents,
            penalty=penalty,
        )

    def list_variables(self) -> dict[str, keras.Variable]:
        """Weights, random states, optimizer variables, mean weights: by their checkpoint names."""
        weights = {f"weights.{n}": v for n, v in list_parameters(self.network).items()}
        random = {f"random.{n}": v for n, v in list_random_states(self.network).items()}
        moments = {f"optimizer.{n}": v for n, v in enumerate(self.optimizer.variables)}
        means = {} if self.average is None else self.average.variables
        return weights | random | moments | {f"average.{n}": v for n, v in means.items()}

    def apply_average(self, averaged_steps: int) -> AbstractContextManager[None]:
        """A context in which the network has the weights to judge and to keep.

        They are the mean over the `averaged_steps` steps since averaging began; where there are
        none, the weights as they are.
        """
        if self.average is None or averaged_steps == 0:
            return nullcontext()
        return self.average.apply()

    def compute_shapes(self, states: Sequence[Any], lanes: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that `collect` returns."""
        shapes = {name: tuple(v.shape) for name, v in self.list_variables().items()}
        width = self.network.inputs[1].shape[-1]
        return shapes | {f"state.{number}": (lanes, width) for number in range(len(states))}

    def read_variables(self) -> dict[str, np.ndarray]:
        """A copy of every variable, by its checkpoint name."""
        return {name: np.asarray(v) for name, v in self.list_variables().items()}

    def collect(self, states: Sequence[Any]) -> dict[str, np.ndarray]:
        """A copy of every variable and of the LSTM states, all lanes together (B, H).

        All workers call it together.
        """
        lanes = 0 if self.division is None else self.division.layout.lanes
        tensors = self.read_variables()
        for number, state in enumerate(states):
            own = gather(self.strategy, state)
            tensors[f"state.{number}"] = self.workers.join_lanes(own, lanes)
        return tensors

    def make_zero_states(self, model: ModelSettings, lanes: int) -> list[Any]:
        """The LSTM states before the first token, of this worker's part of `lanes` lanes."""
        zeros = make_zero_states(model, len(self.workers.own_lanes(lanes)))
        return [distribute(self.strategy, state) for state in zeros]

    def restore(self, tensors: Mapping[str, np.ndarray], states: int) -> list[Any]:
        """Fill every variable; returns the LSTM states of this worker's lanes.

        They are distributed over the replicas.
        """
        for name, variable in self.list_variables().items():
            variable.assign(tensors[name])
        found = [tensors[f"state.{n}"] for n in range(states)]
        own = self.workers.own_lanes(len(found[0]))
        return [distribute(self.strategy, state[own.start : own.stop]) for state in found]
