"""The size of the model: the one whose predicted loss is lowest in the time there is."""

from __future__ import annotations

from dataclasses import dataclass

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.text.survey import TextFacts
from llm_timecycle.training.suggest import calibration as c
from llm_timecycle.training.suggest.choices import Choices, write_count
from llm_timecycle.training.suggest.predict import (
    MachineSpeed,
    count_lstm_weights,
    count_product_weights,
    predict_load,
    predict_loss,
    predict_step_s,
)


@dataclass(frozen=True)
class TrainedSize:
    """A model size, and what can be trained of it."""

    model: ModelSettings
    tokens_per_s: float
    """Predicted."""
    affordable_tokens: float
    """In the time there is."""
    wanted_tokens: float
    """Until the epochs or steps that are given end, or the text is learned."""
    tokens: float
    """Tokens that the model will be trained on, epochs counted."""
    load: float
    """See `predict_load`."""
    loss: float
    """Lowest predicted nats a token, after the time there is or a part of it."""

    def fills(self, minutes: float) -> float:
        """The share of `minutes` that the wanted tokens take, start-up included."""
        return (c.START_UP_S + self.wanted_tokens / self.tokens_per_s) / (60 * minutes)


def choose_model(
    facts: TextFacts, speed: MachineSpeed, minutes: float, tokens: int, choices: Choices
) -> TrainedSize:
    """`model.hidden_units`, `embedding_dim`, `tie_embeddings`, and the kinds of `dropout`.

    Args:
        facts: of the text. speed: of the machine. minutes: the time there is.
        tokens: of the training text (D).
    """
    level = choices.read("tokenizer.level")
    if level in c.TIED_LEVELS:
        choices.choose("model.tie_embeddings", True, "one matrix for input and output: learns more")
    model = choices.fixed.model
    is_given = "model.hidden_units" in choices.given
    sizes = (model.hidden_units,) if is_given else c.HIDDEN_UNITS
    candidates = [_predict(H, facts, speed, minutes, tokens, choices) for H in sizes]
    best = min(candidates, key=lambda candidate: candidate.loss)
    choices.choose(
        "model.hidden_units",
        best.model.hidden_units,
        f"lowest predicted loss of {len(sizes)} sizes for {minutes:g} min, "
        f"{write_count(speed.cores, 'core')} and {tokens:,} tokens of text",
    )
    choices.choose(
        "model.embedding_dim",
        best.model.embedding_dim,
        "as wide as the layers, up to 512: a word says much"
        if level in c.TIED_LEVELS
        else "half the layers' width: a single character or byte says little",
    )
    rate = next((rate for most, rate in c.DROPOUT_BY_LOAD if best.load <= most), c.DROPOUT_ABOVE)
    dropout = choices.choose(
        "model.dropout",
        rate,
        f"{best.tokens / tokens:.1f} epochs: "
        + ("against memorizing" if rate else "too few to memorize; it would only slow learning"),
    )
    if dropout:
        choices.choose(
            "model.variational_dropout", True, "the same units for a whole window: learns more"
        )
    return best


def _predict(
    H: int, facts: TextFacts, speed: MachineSpeed, minutes: float, tokens: int, choices: Choices
) -> TrainedSize:
    level, training = choices.read("tokenizer.level"), choices.fixed.training
    smallest, largest = c.TIED_EMBEDDING
    E = min(max(H, smallest), largest) if level in c.TIED_LEVELS else max(H // 2, 1)
    if "model.embedding_dim" in choices.given:
        E = choices.fixed.model.embedding_dim
    is_tied = choices.read("model.tie_embeddings")
    model = choices.fixed.model.model_copy(
        update={"hidden_units": H, "embedding_dim": E, "tie_embeddings": is_tied}
    )
    V = choices.read("tokenizer.vocab_size")
    B, T = choices.read("training.batch_size"), choices.read("training.sequence_length")
    rate = B * T / predict_step_s(model, V, B, T, speed)
    time_s = 60 * minutes * (1 - c.VALIDATION_SHARE) - c.START_UP_S
    affordable = rate * max(time_s, 60 * minutes * c.SHORTEST_TRAINING_SHARE)
    given = [training.max_steps * B * T] if training.max_steps is not None else []
    if "training.epochs" in choices.given and training.minutes is None:
        given.append(training.epochs * tokens)
    wanted = float(min(given, default=c.MOST_EPOCHS * tokens))
    most = min(affordable, wanted)
    trained = wanted if given else most
    parameters = count_product_weights(model, V)
    text_tokens = tokens * min(1.0, facts.compressed_fraction / c.REPETITIVE)
    curve = c.LOSS_CURVES["char of many" if level == "char" and V >= c.MANY_CHARACTERS else level]
    return TrainedSize(
        model,
        rate,
        affordable,
        wanted,
        trained,
        load=predict_load(parameters, trained, text_tokens),
        loss=min(
            predict_loss(count_lstm_weights(model), parameters, part * most, text_tokens, curve)
            for part in c.PARTS_OF_A_RUN
        ),
    )
