"""One of several tokens, as likely as its weight, drawn so that rounding hardly ever changes it.

Every token i gets an exponential number E_i of its own, and the first to arrive is drawn:

    argmin E_i / w_i  =  argmax log w_i - log E_i,      E_i = -log(1 - p_i)

is token i with probability w_i / sum w. The p_i in (0, 1) are a hash of the one uniform number of
the draw and of the token's id. Where two engines, or one text and several, give logits that differ
in their last bits, the same token arrives first unless two arrive within that difference: about
once in a million draws, however large the vocabulary. Looking a uniform number up among the sums
of weights, the usual way, comes out otherwise a thousand times as often, because every border
between tokens moves with all the weights before it.

Sources: Maddison, Tarlow, Minka 2014, "A* Sampling", section 2, which calls -log E_i a Gumbel
variable; Wellons 2018, "Prospecting for Hash Functions", for the hash (lowbias32).

Shapes: B rows, N tokens that are left.
"""

from __future__ import annotations

import math

import numpy as np

EXACT_AT_MOST = 512  # tokens; of more, all but a few are left out by a bound first
GOLDEN = np.uint64(0x9E3779B1)  # 2^32 / the golden ratio: neighbouring ids fall far apart
MIX = (np.uint32(16), np.uint32(0x7FEB352D)), (np.uint32(15), np.uint32(0x846CA68B))
LAST_SHIFT = np.uint32(16)
SMALLEST_TEMPERATURE = 1e-30  # that float32 can divide by
BOUND_MARGIN = 1.001  # far more than the rounding of the bound, which is float32


def draw_places(
    logits: np.ndarray,
    uniforms: np.ndarray,
    ids: np.ndarray | None = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """One place of each row, int64 (B,), token i as likely as exp(logit_i / temperature).

    Args:
        logits: (B, N); -inf for a token that is out, of which a row must not hold only such.
        uniforms: u in [0, 1) for each row (B,).
        ids: the tokens' ids (B, N); None where they are 0 to N - 1.
        temperature: above 0.

    >>> logits = np.log(np.array([[0.5, 0.25, 0.25]]))
    >>> drawn = [int(draw_places(logits, np.array([u]))[0]) for u in np.arange(8) / 8]
    >>> sorted(set(drawn))
    [0, 1, 2]
    """
    N = logits.shape[1]
    if ids is None:
        ids = np.arange(N)[np.newaxis]
    if N <= EXACT_AT_MOST:
        gaps = compute_gaps(logits, temperature)
        first: np.ndarray = np.argmax(_score(gaps, hash_ids(ids, uniforms)), axis=1)
        return first
    places = np.empty(len(logits), np.int64)
    for row, u in enumerate(uniforms):
        (hashed,) = hash_ids(ids[row if len(ids) > 1 else 0][np.newaxis], u[np.newaxis])
        places[row] = _draw_from_many(logits[row], hashed, temperature)
    return places


def compute_gaps(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The gaps to the likeliest, (l - max l) / temperature, for one above 0; float64 (B, N).

    Taking the maximum off changes no probability, and keeps every temperature from overflowing it.
    """
    gaps: np.ndarray = logits.astype(np.float64)
    gaps -= gaps.max(axis=1, keepdims=True)
    if temperature != 1.0:
        with np.errstate(over="ignore"):  # far below the likeliest, -inf is the right answer
            gaps /= temperature
    return gaps


def hash_ids(ids: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """h from 0 to 2^32 - 1 for every token of every row, uint32 (B, N); p = (h + 1/2) / 2^32.

    The 53 bits of a uniform number choose how the ids are spread (the upper 21) and moved (the
    lower 32) before every bit of each is made to depend on every other.

    Args:
        ids: (B, N), or (1, N) where all rows have the same. uniforms: (B,).
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


def _score(gaps: np.ndarray, hashed: np.ndarray) -> np.ndarray:
    """log w - log E, any shape."""
    p = (hashed + 0.5) * 2.0**-32
    scores: np.ndarray = gaps - np.log(-np.log1p(-p))
    return scores


def _draw_from_many(logits: np.ndarray, hashed: np.ndarray, temperature: float) -> int:
    """The place of the highest score of a row (N,), most of them never computed.

    E is at least p, so a token whose p / w is above the E / w of any one cannot be first. The
    bounds are float32; what decides is not.
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
