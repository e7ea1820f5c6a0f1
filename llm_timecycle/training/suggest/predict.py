"""How fast a model trains and how well it learns, predicted from its sizes: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, prod

from llm_timecycle.config.settings import ModelSettings
from llm_timecycle.config.weight_shapes import compute_parameter_shapes, count_parameters
from llm_timecycle.training.suggest.calibration import STEP_COST, LossCurve, StepCost


@dataclass(frozen=True)
class MachineSpeed:
    """How fast this machine multiplies; see `training.devices.measure_products`."""

    precision: str
    """The Keras dtype policy in which it trains: `float32` or `mixed_bfloat16`."""
    products_flops_per_s: float
    """FLOP/s of a large matrix product, all cores together."""
    cores: int


def count_product_weights(model: ModelSettings, vocab_size: int) -> int:
    """Weights that a token is multiplied with: all matrices, the tied output one included.

    Args:
        vocab_size: V.

    >>> count_product_weights(ModelSettings(num_layers=1), vocab_size=10)
    1577984
    """
    shapes = compute_parameter_shapes(model, vocab_size)
    is_tied = model.tie_embeddings
    matrices = [s for name, s in shapes.items() if "kernel" in name]
    return sum(map(prod, matrices)) + is_tied * vocab_size * model.embedding_dim


def count_lstm_weights(model: ModelSettings) -> int:
    """Weights of the LSTM layers' matrices: embedding and output are left out.

    With them, a larger vocabulary would look like a better model (Kaplan et al. 2020, Scaling Laws
    for Neural Language Models, section 3.2).

    >>> count_lstm_weights(ModelSettings(num_layers=1))
    1572864
    """
    shapes = compute_parameter_shapes(model, vocab_size=1)
    return sum(prod(s) for name, s in shapes.items() if "lstm" in name and "kernel" in name)


def predict_step_s(
    model: ModelSettings,
    vocab_size: int,
    lanes: int,
    window: int,
    speed: MachineSpeed,
    cost: StepCost = STEP_COST,
) -> float:
    """Seconds of a training step.

        6 B T W / (efficiency x rate) + T (a + b R) + c P + d B T V / cores

    with W product weights (2 FLOPs a token forward, 4 backward), R recurrent weights, P parameters.

    Args:
        model: E, H, L and whether E is tied. vocab_size: V. lanes: B. window: T.
        speed: of the machine.
        cost: the constants.
    """
    tokens = lanes * window
    operations = 6 * tokens * count_product_weights(model, vocab_size)
    products_s = operations / (cost.efficiency * speed.products_flops_per_s)
    recurrent = model.num_layers * 4 * model.hidden_units**2
    time_steps_s = window * (cost.time_step_s + cost.recurrent_weight_s * recurrent)
    update_s = cost.parameter_s * count_parameters(model, vocab_size)
    logits_s = cost.logit_s * tokens * vocab_size * cost.cores / speed.cores
    return products_s + time_steps_s + update_s + logits_s


def predict_load(parameters: float, tokens: float, text_tokens: float) -> float:
    """What invites memorizing: parameters for each token of the text, times the epochs, P n / D^2.

    Args:
        parameters: P. tokens: n, trained on, epochs counted. text_tokens: D, of the training text.

    >>> predict_load(500_000, tokens=2_000_000, text_tokens=1_000_000)
    1.0
    """
    return parameters * tokens / text_tokens**2


def predict_loss(
    lstm_weights: float,
    product_weights: float,
    tokens: float,
    text_tokens: float,
    curve: LossCurve,
) -> float:
    """Nats a token on unseen text.

        floor + size / W^s + tokens / n_eff^t + overfit load^o

    where W counts the LSTM's weights alone, n_eff = D (1 + r (1 - e^(-(n / D - 1) / r))) counts
    repeated tokens for less and less (Muennighoff et al. 2023, Scaling Data-Constrained Language
    Models, eq. 5), and the load is that of `predict_load`.

    Args:
        lstm_weights: W, see `count_lstm_weights`.
        product_weights: P of the load, see `count_product_weights`.
        tokens: n, trained on, epochs counted.
        text_tokens: D, of the training text.
        curve: the constants.
    """
    epochs = tokens / text_tokens
    seen = tokens
    if epochs > 1:
        worth = 1 + curve.repeats * (1 - exp(-(epochs - 1) / curve.repeats))
        seen = text_tokens * worth
    load = predict_load(product_weights, tokens, text_tokens)
    loss: float = (
        curve.floor
        + curve.size / lstm_weights**curve.size_exponent
        + curve.tokens / seen**curve.tokens_exponent
        + curve.overfit * load**curve.overfit_exponent
    )
    return loss
