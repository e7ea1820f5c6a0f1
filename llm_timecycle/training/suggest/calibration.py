"""Every number that the choice of settings rests on, with where it comes from.

"Measured" means: on two cores with AMX, bfloat16, two layers, NAdam, linear decay, unless it says
otherwise. "Guess" means: taken from experience, to be replaced by a measurement.
`scripts/bench/suggest.py` measures, and compares the choices with the best of a grid;
`fit_loss_curve.py` beside it fits `LOSS_CURVES`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCost:
    """What a training step takes beside its matrix products, in seconds; see `predict_step_s`.

    Least squares over 15 measured steps (H 128 to 1,024, B 32 to 128, T 16 to 64, V 65 to 33,278):
    within 3.5 % of them in the mean.
    """

    efficiency: float = 0.73
    """Rate of the products in a step (0.88 TFLOP/s) over that of `measure_products` (1.2)."""
    time_step_s: float = 260e-6
    """For each of the T time steps of a window."""
    recurrent_weight_s: float = 0.30e-9
    """For each recurrent weight and time step: they are read again for each."""
    parameter_s: float = 3.0e-9
    """For each parameter, in the update."""
    logit_s: float = 1.76e-9
    """For each of the B T V logits, in softmax and loss, on two cores."""
    cores: int = 2
    """The cores that `logit_s` was measured on."""


@dataclass(frozen=True)
class LossCurve:
    """The loss in nats a token that a model reaches; see `predict_loss`.

    "char" is a least-squares fit, within 0.005 nats in the mean, to tiny Shakespeare without
    dropout, one seed, H: millions of characters, nats. 192: 2.10, 1.4819; 256: 1.59, 1.4886; 384:
    0.88, 1.5145; 512: 3.05, 1.4192; 640: 2.15, 1.4123; 768: 1.50, 1.4298 and 3.07, 1.4007; and with
    dropout 0.1, 256: 9.5, 1.458; 384: 4.18, 1.4302 and 5.0, 1.423. Its overfitting is measured on
    the first 100 kB (40 epochs: H 128 1.436, H 256 1.441) and 10 kB (H 64 2.034, H 128 2.033).
    "char of many": poems of the Song dynasty after 1.55 M characters, H 128 5.20, H 256 5.06, H 512
    4.94 give the size term; its other constants are guesses. "byte" is taken from "char".

    "word" follows WikiText-2, tied, with the dropout and decay that are chosen, one seed, within
    0.04 nats in the mean. Its first 300 kB (V 2,835, 3.1 epochs): H 64 4.021, 256 4.012, 512 4.063.
    Its first 2 MB (V 10,000, 1.03 epochs): H 64 4.788, 256 4.720, 512 4.754. All of it, V 4,000:
    after 0.41 M tokens H 64 4.159, 256 4.086; after 1.02 M H 64 3.953. V 33,278, E 256, with other
    settings (docs/results.md): H 512 after 1 epoch 4.84 to 4.89, H 640 after 10.2 epochs 4.517.
    Least squares alone give size 1.14, tokens 8.95 and its exponent 0.1, within 0.01; but these are
    small models or few epochs, and the poems say 4.8 for size. The constants lie between: a
    judgement. "subword" is taken from "word", unmeasured.
    """

    floor: float
    """With infinitely many parameters and tokens. It does not affect a choice."""
    size: float
    size_exponent: float
    tokens: float
    tokens_exponent: float
    overfit: float
    overfit_exponent: float
    repeats: float
    """Epochs after which a further one is worth 1 / e of a new text (Muennighoff 2023, eq. 5)."""


DEFAULT_MINUTES = 10.0
"""Time for a text where none is given."""
START_UP_S = 10.0
"""Measured: from the start of the process to the first step, saving and exit included."""
SHORTEST_TRAINING_SHARE = 0.2
"""Of a time so short that start-up would take it all, this share is counted on."""
VALIDATION_SHARE = 0.05
"""Share of the time that validation may take; the time budget allows 0.03, the last one extra."""
FULL_USE = 0.5
"""A text that is learned in this share of the time, or less, gets epochs in place of minutes."""

STEP_COST = StepCost()
LOSS_CURVES = {
    "char": LossCurve(1.24, 4.98, 0.25, 1.86e6, 1.2, 0.005, 0.5, 2.0),
    "char of many": LossCurve(3.0, 4.8, 0.15, 160.0, 0.35, 0.009, 0.5, 8.0),
    "byte": LossCurve(1.24, 4.98, 0.25, 1.86e6, 1.2, 0.005, 0.5, 2.0),
    "subword": LossCurve(2.4, 2.4, 0.15, 18.0, 0.2, 0.011, 0.5, 16.0),
    "word": LossCurve(2.4, 2.4, 0.15, 18.0, 0.2, 0.011, 0.5, 16.0),
}

MANY_CHARACTERS = 1_000
"""From this vocabulary on, characters say as much as words do, and are as hard to predict."""

PARTS_OF_A_RUN = tuple(2 ** (-quarters / 4) for quarters in range(24))
"""A size is judged by its lowest predicted loss after these parts of a run: more time does not make
a large model look worse, only because it could also be trained for too long."""

HIDDEN_UNITS = (64, 96, 128, 192, 256, 384, 512, 640, 768, 1024)
"""The sizes to choose from."""
MOST_EPOCHS = 40
"""Measured on characters, 128 units. 10 kB, dropout 0.5: 15 epochs 2.060 nats, 40 2.033, 100 2.046.
100 kB: 15 epochs (dropout 0.2) 1.447, 40 (0.3) 1.436."""
DROPOUT_BY_LOAD = ((15, 0.0), (30, 0.1), (60, 0.2), (300, 0.3), (600, 0.4))
"""Up to this load (`predict_load`), this dropout. Measured on characters: 0 is best at 3 (1 MB, 256
units, 3 epochs) and 11 (512 units), and 0.25 costs 0.05 nats at 7 (256 units, 7.7 epochs); 0.2
beats 0.4 at 38 (100 kB, 128 units, 15 epochs); 0.3 is best at 95 and 253 (10 kB, 64 units), 0.5
from 380 (10 kB, 128 units) on."""
DROPOUT_ABOVE = 0.5
WEIGHT_DECAY_EPOCHS = 2.0
"""Epochs after which a weight that gets no gradient is 1 / e of what it was, at the peak rate:
1 / (weight decay x rate x steps per epoch). Measured on 250 kB of characters, 384 units, 4 epochs
without dropout: no decay 1.828, 3.5 epochs 1.779; with dropout 0.2: 1.803, 3.5 epochs 1.778, 2.1
epochs 1.771, 1.2 epochs 1.792. On 1 MB, 768 units, 4 epochs: none 1.410, 2.1 epochs 1.389. In 1
epoch: none 1.902, 2.1 epochs 1.900."""
WEIGHT_DECAY_STEPS = 500
"""But after these steps at the soonest: on a short text two epochs are too few for a weight to show
that it is needed. Measured on the suggestion for a minute at 50 GFLOP/s, bits a byte with the decay
in so many steps. 100 kB, 128 units, dropout 0.2, 12 epochs of 44 steps: 88 2.205, 256 2.117, 512
2.102, 1,024 2.099, none 2.103. 10 kB, dropout 0.5, 27 to 39 epochs of 9 steps: 17 3.377, 256 2.986,
512 2.981, 1,024 2.983, none 2.969."""
MOST_WEIGHT_DECAY = 10.0
PATIENCE_EPOCHS = 15
"""From these epochs on, early stopping may save time."""
PATIENCE = (5, 0.25)
"""Validations without improvement: at least these, and this share of all."""

BATCH_SIZE = 64
"""Measured: 32 lanes learn 0.01 nats more from the same text, and read a fifth fewer tokens/s."""
SEQUENCE_LENGTH = {"char": 32, "byte": 32, "subword": 16, "word": 16}
"""Measured on characters (T 100 to 32: -0.087 nats; 16: +0.012) and words (35 to 16: -0.249)."""
WARMUP_STEPS = 50
"""Measured on characters at rates up to 0.016."""
WARMUP_SHARE = 0.1
"""Of all steps, at most."""

SUBWORD_BYTES = 20_000_000
"""Guess: from this size on, a text in characters would hardly be read once."""
MIXED_CHARACTERS = 500
"""With more different characters outside CJK and Hangul, and many of them rare: bytes."""
MIXED_RARE_FRACTION = 0.005
CHARACTERS_AT_MOST = 8_000
WORDS_AT_MOST = 10_000
SUBWORD_VOCABULARY = ((1_000_000, 1_000), (5_000_000, 2_000), (20_000_000, 4_000))
"""Up to these bytes, this vocabulary. Guess."""
SUBWORD_VOCABULARY_ABOVE = 8_000
BYTES_PER_SUBWORD = 3.5
"""English, byte-level BPE of a few thousand tokens."""
TOKENS_PER_WORD = {"whitespace": 1.0, "unicode": 1.25}
"""By `tokenizer.word_split`, for English prose: punctuation adds a quarter."""

TIED_LEVELS = frozenset({"word", "subword"})
TIED_EMBEDDING = (256, 512)
"""Smallest and largest embedding of words and subwords, which is tied."""
REPETITIVE = 0.15
"""zlib leaves at least this share of prose (0.4) and code (0.2); below, a text repeats itself."""

SHORTEST_TEXT = 500
"""Characters below which a single document has nothing to train and validate on."""
HELD_OUT_FRACTION = 0.05
HELD_OUT_CHARACTERS = (1_000, 300_000)
"""Characters of the validation text, at least (but 10 % at most) and at most."""
TEST_FROM_CHARACTERS = 200_000
"""A shorter text holds out nothing for testing."""

GENERATION_LENGTH = {"char": 500, "byte": 500, "subword": 150, "word": 100}
GENERATION_LENGTH_CJK = 200

DRY_MULTIPLIER = 0.8
"""Against loops; the value of DRY's author. Measured by `scripts/bench/repetition.py`, table in
docs/generation.md: on words of a small text, 4-grams repeat twice as often as in held-out text
without it, and as often with it; where nothing loops, it changes next to nothing."""
DRY_ALLOWED_LENGTH = {"word": 2, "subword": 3, "char": 8, "byte": 8}
DRY_ALLOWED_LENGTH_CJK = 4
