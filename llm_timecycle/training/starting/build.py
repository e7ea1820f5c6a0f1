"""What training updates, built for the devices and the workers that train."""

from __future__ import annotations

import logging
import math

import tensorflow as tf

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import ConfigError
from llm_timecycle.evaluation.leakage import describe_leakage
from llm_timecycle.model.network import build_network, start_from_frequencies
from llm_timecycle.text.batches import count_tokens
from llm_timecycle.text.prepare import PreparedText, find_unsuitable_level
from llm_timecycle.training.averaging import WeightAverage
from llm_timecycle.training.devices import ComputePlan, choose_strategy
from llm_timecycle.training.optimizers import make_optimizer
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.workers.summed_step import divide_step
from llm_timecycle.training.workers.workers import Workers

log = logging.getLogger("llm_timecycle")


def build_train_state(
    settings: Settings, plan: ComputePlan, text: PreparedText, workers: Workers
) -> TrainState:
    """The network and the optimizer, with fresh weights, on all devices that train."""
    training = settings.training
    division = divide_step(training, plan, workers, settings.model.num_layers)
    alone = workers.size == 1
    strategy = choose_strategy(training.batch_size) if alone else tf.distribute.get_strategy()
    if training.accumulate > 1 and strategy.num_replicas_in_sync > 1:
        raise ConfigError(
            f"training.accumulate: received {training.accumulate}; expected 1 with "
            f"{strategy.num_replicas_in_sync} devices"
        )
    vocab_size = text.tokenizer.vocab_size
    try:
        with strategy.scope():
            network = build_network(
                settings.model, vocab_size, seed=training.seed, precision=plan.precision
            )
            start_from_frequencies(network, count_tokens(text.train.ids, vocab_size))
            optimizer = make_optimizer(training)
            optimizer.build(network.trainable_variables)
            average = None
            if training.averaging != "none":
                average = WeightAverage(network, strategy)
    except tf.errors.ResourceExhaustedError as error:
        raise ConfigError(explain_memory(settings, vocab_size)) from error
    if workers.is_chief:
        _log_facts(settings, plan, text, network.count_params())
    shards = plan.count_shards(strategy) if division is None else division.shards
    return TrainState(network, optimizer, strategy, shards, average, workers, division)


def _log_facts(settings: Settings, plan: ComputePlan, text: PreparedText, parameters: int) -> None:
    """Log what is about to be trained, and with what."""
    log.info(
        "model: %s parameters, %s; text: %s training tokens, vocabulary %s (at most %s)",
        f"{parameters:,}",
        plan.precision,
        f"{text.train.tokens:,}",
        f"{text.tokenizer.vocab_size:,}",
        f"{settings.tokenizer.vocab_size:,}",
    )
    each = f" of {plan.threads_per_shard} threads" if plan.threads_per_shard > 1 else ""
    log.info("threads: %s; shards of the batch: %s%s", plan.threads, plan.shards, each)
    for split, stream in (("training", text.train), ("validation", text.valid)):
        if stream is not None and stream.unknown > 0.01 * stream.tokens:
            share = 100 * stream.unknown / stream.tokens
            log.info("%.1f %% of the %s tokens are unknown (<unk>)", share, split)
    if warning := describe_leakage(text):
        log.warning("%s", warning)
    if warning := find_unsuitable_level(text.tokenizer):
        log.warning(warning)


def explain_memory(settings: Settings, vocab_size: int) -> str:
    """The message where a step has found too little memory."""
    shapes = compute_parameter_shapes(settings.model, vocab_size)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return (
        f"out of memory: the model's {parameters:,} parameters alone take "
        f"{16 * parameters / 1e9:.1f} GB with gradients and optimizer state. Lower "
        f"model.hidden_units, model.num_layers, tokenizer.vocab_size or training.batch_size"
    )
