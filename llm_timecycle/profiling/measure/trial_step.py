"""Training steps on random tokens, ready to be run: what growth and sharing take the time of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.model.network import build_network, make_zero_states
from llm_timecycle.model.sharding import distribute, read_first
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.step import make_train_step


class TrialStep:
    """The compiled step of `settings` on weights of its own, for windows of any size.

    Args:
        vocab_size: V. parts: parts of the lanes that compute side by side on each device.
        strategy: None takes the default one, a single device.

    Attributes:
        strategy: the one that it runs under.
    """

    def __init__(
        self,
        settings: Settings,
        vocab_size: int,
        parts: int,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        training = settings.training
        self._settings, self._vocab_size = settings, vocab_size
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            network = build_network(
                settings.model, vocab_size, seed=training.seed, precision=training.precision
            )
            optimizer = make_optimizer(training)
            optimizer.build(network.trainable_variables)
        self._step = make_train_step(
            network, optimizer, self.strategy, training.gradient_clip_norm, parts
        )

    def prepare(self, batch_size: int, sequence_length: int) -> Callable[[], object]:
        """A function that does one whole step and returns when its work is done.

        Which tokens are read does not matter to its time; the state is carried, as in training.
        """
        random = np.random.default_rng(self._settings.training.seed)
        shape = (2, batch_size, sequence_length)
        ids = random.integers(0, self._vocab_size, shape, np.int32)
        window = [distribute(self.strategy, array) for array in ids]
        run = self.prepare_for_windows(batch_size)
        return lambda: run(*window)

    def prepare_for_windows(self, batch_size: int) -> Callable[[Any, Any], object]:
        """As `prepare`, for tokens and targets (B, T) that each call is given."""
        zeros = make_zero_states(self._settings.model, batch_size)
        states = [distribute(self.strategy, state) for state in zeros]

        def run(tokens: Any, targets: Any) -> None:
            nonlocal states
            loss, norm, states = self._step(tokens, targets, states)
            read_first(self.strategy, loss), read_first(self.strategy, norm)

        return run
