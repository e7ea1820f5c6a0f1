"""The widths of training windows: drawn around T, with the learning rate in proportion."""

from __future__ import annotations


def choose_width(window: int, uniform: float, normal: float) -> int:
    """The tokens of one window.

        m = T if u < 0.95 else T / 2
        n = m + 5 z, rounded to a multiple of 5, at least 5 and at most T + 10

    Args:
        window: T. uniform: u, drawn from [0, 1). normal: z, drawn from N(0, 1).

    >>> choose_width(50, uniform=0.5, normal=1.0), choose_width(50, uniform=0.99, normal=-0.2)
    (55, 25)

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models",
    section 5: a base length of T with probability p = 0.95 and T / 2 otherwise, then N(base, s).
    The deviation s = 5 and the bounds are those of their code, which rounds to single tokens.
    """
    base = window if uniform < 0.95 else window / 2
    drawn = 5 * round((base + 5.0 * normal) / 5)
    return min(max(drawn, 5), (window + 10) // 5 * 5)


def scale_rate(learning_rate: float, width: int, window: int) -> float:
    """The learning rate for a window of `width` tokens: rate * n / T.

    The loss is a mean over the window's tokens; without this, a token of a short window would count
    for more than one of a long window.

    >>> scale_rate(0.02, width=25, window=50)
    0.01

    Source: the same, section 5: "rescale the learning rate depending on the length".
    """
    return learning_rate * width / window
