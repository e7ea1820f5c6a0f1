"""The random draw: the Gumbel-max trick, which is robust to rounding.

Each token i gets an exponential variable E_i, the time at which it arrives, and the first to arrive
is drawn:

    argmin E_i / w_i  =  argmax log w_i - log E_i,      E_i = -log(1 - p_i)

is token i with probability w_i / sum w. The p_i in (0, 1) are hashes of the uniform number of the
draw and the id of the token. If logits differ in their last bits (another engine, or another number
of rows), the same token arrives first, unless two arrive within that difference: about once in a
million draws, however large the vocabulary. The usual way, to look up a uniform number among
cumulative sums of weights, differs a thousand times as often, because every border between two
tokens moves with all the weights before it.

Sources: Maddison, Tarlow, Minka 2014, "A* Sampling", section 2, where -log E_i is a Gumbel
variable; Wellons 2018, "Prospecting for Hash Functions", for the hash (lowbias32).

Shapes: B rows, N tokens that are left.
"""

from __future__ import annotations

import math

import numpy as np

EXACT_AT_MOST = 512  # tokens; among more, a bound first excludes all but a few
GOLDEN = np.uint64(0x9E3779B1)  # 2^32 / the golden ratio: spreads neighbouring ids far apart
MIX = (np.uint32(16), np.uint32(0x7FEB352D)), (np.uint32(15), np.uint32(0x846CA68B))
LAST_SHIFT = np.uint32(16)
SMALLEST_TEMPERATURE = 1e-30  # what float32 can divide by
BOUND_MARGIN = 1.001  # far above the rounding error of the bound, which is float32
NO_ID = 2**32 - 1  # the hash of no token: a second random number from the same draw


def draw_positions(
    logits: np.ndarray,
    uniforms: np.ndarray,
    ids: np.ndarray | None = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """Draw one position per row, int64 (B,), with P(i) proportional to exp(logit_i / temperature).

    Args:
        logits: (B, N); -inf for a removed token; every row needs at least one finite logit.
        uniforms: one number from [0, 1) per row, (B,).
        ids: the ids of the tokens, (B, N); None if they are 0 to N - 1.
        temperature: above 0.

    >>> logits = np.log(np.array([[0.5, 0.25, 0.25]]))
    >>> uniforms = np.random.default_rng(1).random(1000)
    >>> drawn = [int(draw_positions(logits, uniforms[[n]])[0]) for n in range(1000)]
    >>> [round(drawn.count(i) / 1000, 1) for i in range(3)]
    [0.5, 0.2, 0.3]
    """
    N = logits.shape[1]
    if ids is None:
        ids = np.arange(N)[np.newaxis]
    if N <= EXACT_AT_MOST:
        gaps = compute_gaps(logits, temperature)
        first: np.ndarray = np.argmax(_score(gaps, hash_ids(ids, uniforms)), axis=1)
        return first
    positions = np.empty(len(logits), np.int64)
    for row, u in enumerate(uniforms):
        (hashed,) = hash_ids(ids[row if len(ids) > 1 else 0][np.newaxis], u[np.newaxis])
        positions[row] = _draw_from_many(logits[row], hashed, temperature)
    return positions


def compute_gaps(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The gaps to the likeliest token, (l - max l) / temperature; float64 (B, N).

    Subtracting the maximum changes no probability and prevents overflow at any temperature.

    Args:
        logits: (B, N).
        temperature: above 0.

    >>> compute_gaps(np.array([[1.0, 3.0]]), 0.5).tolist()
    [[-4.0, 0.0]]
    """
    gaps: np.ndarray = logits.astype(np.float64)
    gaps -= gaps.max(axis=1, keepdims=True)
    if temperature != 1.0:
        with np.errstate(over="ignore"):  # -inf is right, far below the likeliest
            gaps /= temperature
    return gaps


def hash_ids(ids: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """A hash h of each row's uniform number and each token, uint32 (B, N); p = (h + 1/2) / 2^32.

    Of the 53 bits of a uniform number, the upper 21 multiply the ids and the lower 32 shift them;
    then every bit is mixed with every other.

    Args:
        ids: (B, N), or (1, N) if all rows have the same.
        uniforms: from [0, 1), (B,).
    """
    bits = (uniforms[:, np.newaxis] * 2.0**53).astype(np.uint64)
    spread = ((bits >> np.uint64(31) | np.uint64(1)) * GOLDEN).astype(np.uint32)
    hashed: np.ndarray = ids.astype(np.uint32) * spread
    hashed += bits.astype(np.uint32)
    for shift, multiplier in MIX:
        hashed ^= hashed >> shift
        hashed *= multiplier
    hashed ^= hashed >> LAST_SHIFT
    return hashed


def draw_second(uniforms: np.ndarray) -> np.ndarray:
    """A second uniform number for each draw, in (0, 1), independent of what it draws; (B,).

    It is the p of an id that no token has, so that a text needs one random number a token, with
    XTC as without.

    Args:
        uniforms: one number from [0, 1) per row, (B,).
    """
    (hashed,) = hash_ids(np.array([[NO_ID]]), uniforms).T
    second: np.ndarray = (hashed + 0.5) * 2.0**-32
    return second


def _score(gaps: np.ndarray, hashed: np.ndarray) -> np.ndarray:
    """log w - log E of each token, for any shape; the largest arrives first."""
    p = (hashed + 0.5) * 2.0**-32
    scores: np.ndarray = gaps - np.log(-np.log1p(-p))
    return scores


def _draw_from_many(logits: np.ndarray, hashed: np.ndarray, temperature: float) -> int:
    """The position of the highest score in a row (N,), without computing most of them.

    E is at least p, so a token whose p / w exceeds the E / w of another cannot be first. The bounds
    are float32; the final comparison is float64.
    """
    largest = logits.max()
    with np.errstate(over="ignore", divide="ignore"):  # far below the largest
        gaps = (logits - largest).astype(np.float32)
        gaps /= np.float32(max(temperature, SMALLEST_TEMPERATURE))
        bounds = (hashed.astype(np.float32) + np.float32(0.5)) / np.exp(gaps)
        near = int(np.argmin(bounds))
        gap = (float(logits[near]) - float(largest)) / temperature
        arrival = -math.log1p(-(float(hashed[near]) + 0.5) * 2.0**-32) * math.exp(min(-gap, 700.0))
        candidates = np.flatnonzero(bounds <= BOUND_MARGIN * arrival * 2.0**32)
        gaps_of_candidates = (logits[candidates].astype(np.float64) - largest) / temperature
    return int(candidates[np.argmax(_score(gaps_of_candidates, hashed[candidates]))])
