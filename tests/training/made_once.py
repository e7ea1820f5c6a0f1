"""Networks and their traced functions, made once for all loops with the same settings.

To trace a step takes longer than most of these trainings. A loop that gets a network again finds
every variable as it was when the network was new, so nothing reaches it from the loop before except
through the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.model.network import build_network
from llm_timecycle.training import state as state_module
from llm_timecycle.training import validation as validation_module
from llm_timecycle.training.averaging import WeightAverage
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.state import TrainState

_states: dict[object, tuple[TrainState, dict[str, np.ndarray]]] = {}
_functions: dict[object, Any] = {}


def make_train_state(settings: Settings, vocab_size: int) -> TrainState:
    """The state of a training that has not begun; the same object for the same settings."""
    training = settings.training
    names = ("optimizer", "learning_rate", "weight_decay", "averaging", "seed")
    made_of = [getattr(training, name) for name in names]
    key = (settings.model.model_dump_json(), vocab_size, *made_of)
    if key not in _states:
        strategy = tf.distribute.get_strategy()
        network = build_network(settings.model, vocab_size, seed=training.seed)
        optimizer = make_optimizer(training)
        optimizer.build(network.trainable_variables)
        average = None if training.averaging == "none" else WeightAverage(network, strategy)
        made = TrainState(network, optimizer, strategy, average=average)
        _states[key] = (
            made,
            {name: np.array(v.numpy()) for name, v in made.list_variables().items()},
        )
    state, new = _states[key]
    for name, variable in state.list_variables().items():
        variable.assign(new[name])
    state.network.stop_training = False
    return state


@contextmanager
def keep_functions() -> Iterator[None]:
    """Let a loop that is made meanwhile take the functions of an earlier one for its network."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((state_module, "make_train_step"), (validation_module, "make_scorer")):
            patch.setattr(module, name, _remember(getattr(module, name)))
        yield


def _remember(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_once(*arguments: Any, **options: Any) -> Any:
        key = (make, *arguments, *sorted(options.items()))
        if key not in _functions:
            _functions[key] = make(*arguments, **options)
        return _functions[key]

    return make_once
