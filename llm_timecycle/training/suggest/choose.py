"""From facts about a text, a machine's speed and the time to settings, each with its reason.

Pure: no TensorFlow, no clock. What the user has set is taken as given, and all else suits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.validation import DECAYING_OPTIMIZERS
from llm_timecycle.errors import DataError
from llm_timecycle.text.survey import TextFacts
from llm_timecycle.training.schedules import choose_learning_rate
from llm_timecycle.training.suggest import calibration as c
from llm_timecycle.training.suggest.choices import Choices
from llm_timecycle.training.suggest.choose_model import TrainedSize, choose_model
from llm_timecycle.training.suggest.choose_tokens import (
    choose_held_out,
    choose_lanes,
    choose_tokenizer,
    count_training_tokens,
)
from llm_timecycle.training.suggest.predict import MachineSpeed


@dataclass(frozen=True)
class Suggestion:
    """Chosen settings by dotted path, and one reason for each."""

    values: Mapping[str, Any]
    reasons: Mapping[str, str]


def choose(
    facts: TextFacts,
    speed: MachineSpeed,
    fixed: Settings,
    given: frozenset[str],
) -> Suggestion:
    """Choose everything that the user has not given.

    Args:
        facts: of the training text.
        speed: of this machine.
        fixed: settings with what the user gave. Its `training.minutes` is the time there is; where
            it is null, `DEFAULT_MINUTES`.
        given: the dotted paths of what must stay as it is. Where `training.minutes` is not one of
            them, it is the most that training may take.

    Raises:
        DataError: the text is too short.
    """
    choices = choose_text_side(facts, fixed, given)
    tokens = count_training_tokens(facts, choices)
    limit = fixed.training.minutes or c.DEFAULT_MINUTES
    size = choose_model(facts, speed, limit, tokens, choices)
    _choose_duration(limit, size, tokens, choices)
    precision = "bfloat16" if speed.precision == "mixed_bfloat16" else speed.precision
    choices.choose(
        "training.precision",
        speed.precision,
        f"{precision} products measured the fastest here: "
        f"{speed.products_flops_per_s / 1e9:,.0f} GFLOP/s; auto measures again",
    )
    _choose_learning(size, tokens, choices)
    _choose_generation(facts, choices)
    return Suggestion(choices.values, choices.reasons)


def choose_text_side(facts: TextFacts, fixed: Settings, given: frozenset[str]) -> Choices:
    """The choices that depend on the text alone, the lanes among them.

    Raises:
        DataError: the text is too short.
    """
    if facts.characters < c.SHORTEST_TEXT and facts.documents == 1:
        raise DataError(
            f"{facts.name} is too short to train on: it has {facts.characters:,} characters; "
            f"expected at least {c.SHORTEST_TEXT:,}, or several documents. 100,000 or more write "
            f"better"
        )
    choices = Choices(fixed, given)
    choose_tokenizer(facts, choices)
    choose_held_out(facts, choices)
    choose_lanes(count_training_tokens(facts, choices), choices)
    return choices


def _choose_duration(limit: float, size: TrainedSize, tokens: int, choices: Choices) -> None:
    """`training.minutes`, or `training.epochs` where these end the run."""
    training = choices.fixed.training
    is_given, has_budget = "training.minutes" in choices.given, training.minutes is not None
    has_epochs = "training.epochs" in choices.given and not has_budget
    rate = f"about {size.tokens_per_s:,.0f} tokens/s here"
    if training.max_steps is not None:
        epochs = ceil(size.wanted_tokens / tokens)
        choices.choose("training.epochs", epochs, "enough for max_steps, which ends the run")
    elif has_epochs or (is_given and has_budget):
        return
    elif is_given or size.fills(limit) < c.FULL_USE:
        epochs = max(1, round(size.tokens / tokens))
        time = _write_time(c.START_UP_S + epochs * tokens / size.tokens_per_s)
        most = "" if is_given else f" of {limit:g} min; more would teach little"
        choices.choose("training.epochs", epochs, f"{rate}: {time}{most}")
    else:
        passes = size.affordable_tokens / tokens
        choices.choose(
            "training.minutes", limit, f"{rate}: {passes:.1f} epochs of {tokens:,} tokens"
        )


def _choose_learning(size: TrainedSize, tokens: int, choices: Choices) -> None:
    """Optimizer, weight decay, schedule, and when to stop early."""
    training = choices.fixed.training
    optimizer = choices.choose(
        "training.optimizer", "nadam", "adam with Nesterov momentum, at the same price"
    )
    if optimizer in DECAYING_OPTIMIZERS:
        rate = training.learning_rate or choose_learning_rate(
            optimizer, choices.read("model.hidden_units")
        )
        window = choices.read("training.batch_size") * choices.read("training.sequence_length")
        memory_steps = max(c.WEIGHT_DECAY_EPOCHS * tokens / window, c.WEIGHT_DECAY_STEPS)
        decay = min(1 / (rate * memory_steps), c.MOST_WEIGHT_DECAY)
        choices.choose(
            "training.weight_decay",
            float(f"{decay:.2g}"),
            f"a weight that is no longer needed fades within {memory_steps * window / tokens:.3g} "
            "epochs",
        )
    choices.choose(
        "training.schedule", "linear", "decays to zero at the end, where most is learned"
    )
    steps = size.tokens / (
        choices.read("training.batch_size") * choices.read("training.sequence_length")
    )
    warmup = min(c.WARMUP_STEPS, int(c.WARMUP_SHARE * steps))
    choices.choose("training.warmup_steps", warmup, "the first gradients are rough")
    epochs = size.tokens / tokens
    data = choices.fixed.data
    has_validation = data.valid is not None or choices.read("data.valid_fraction") > 0
    if epochs > c.PATIENCE_EPOCHS and has_validation:
        least, share = c.PATIENCE
        validations = choices.values.get("training.epochs", 0)
        choices.choose(
            "training.patience",
            max(least, ceil(share * validations)),
            f"at {epochs:.0f} epochs the text may be learned before the end",
        )


def _choose_generation(facts: TextFacts, choices: Choices) -> None:
    level = choices.read("tokenizer.level")
    length, allowed = c.GENERATION_LENGTH[level], c.DRY_ALLOWED_LENGTH[level]
    if level == "char" and facts.script == "CJK":
        length, allowed = c.GENERATION_LENGTH_CJK, c.DRY_ALLOWED_LENGTH_CJK
    choices.choose("generation.length", length, f"a paragraph or two, in {level} tokens")
    if choices.read("generation.beams") > 1:
        return
    multiplier = choices.choose(
        "generation.dry_multiplier", c.DRY_MULTIPLIER, "DRY: a passage is hardly written twice"
    )
    if multiplier > 0:
        choices.choose(
            "generation.dry_allowed_length", allowed, f"{level} tokens that may come again freely"
        )


def _write_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
