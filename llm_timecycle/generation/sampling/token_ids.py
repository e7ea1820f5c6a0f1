"""Tokens as people write them, in `ban`, `bias` and `dry_sequence_breakers`, to ids."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.sampling.pipeline import SamplingPlan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

MOST_EXPLAINED = 20  # looking for the nearest token reads the whole vocabulary
SEARCHES_KEPT = 8
"""Results of reading a whole vocabulary, which many requests of one model ask for again."""


def make_plan(
    settings: GenerationSettings,
    tokenizer: Tokenizer,
    write_name: Callable[[str], str] = lambda name: name,
) -> SamplingPlan:
    """The plan of sampling: the settings, with the tokens that they name as ids.

    <unk> is banned unless `allow_unknown`. Raises UsageError if a text is not a token, or if no
    token would be left; `write_name` is how the user writes the name of a setting.
    """
    banned_ids = find_tokens(tokenizer, write_name("ban"), settings.ban)
    biased_ids = find_tokens(tokenizer, write_name("bias"), list(settings.bias))
    unknown = () if settings.allow_unknown else (tokenizer.unk_id,)
    banned = tuple(dict.fromkeys((*unknown, *banned_ids)))
    if len(banned) >= tokenizer.vocab_size:
        raise UsageError(
            f"{write_name('ban')}: all {tokenizer.vocab_size:,} tokens are banned; leave at least "
            f"one (<unk> is also banned, unless {write_name('allow_unknown')} is set)"
        )
    return SamplingPlan(
        settings,
        banned,
        tuple(add_up(zip(biased_ids, settings.bias.values(), strict=True)).items()),
        breakers=find_breakers(tokenizer, settings) if settings.dry_multiplier > 0 else frozenset(),
        ends=find_ends(tokenizer) if settings.xtc_probability > 0 else (),
    )


def add_up(amounts: Iterable[tuple[int, float]]) -> dict[int, float]:
    """The sum for each id: several texts can mean one token, as `The` and `the` in lowercase do.

    >>> add_up([(7, -5.0), (3, 2.0), (7, -1.0)])
    {7: -6.0, 3: 2.0}
    """
    sums: dict[int, float] = {}
    for id, amount in amounts:
        sums[id] = sums.get(id, 0.0) + amount
    return sums


def find_breakers(tokenizer: Tokenizer, settings: GenerationSettings) -> frozenset[int]:
    """The tokens at which a repeated passage begins anew, for DRY.

    They are the tokens that contain one of `dry_sequence_breakers`, and `<eos>`. A text that no
    token contains breaks nothing: like a stop sequence, it may never appear.
    """
    return _find_containing(tokenizer, tuple(map(tokenizer.unify, settings.dry_sequence_breakers)))


@lru_cache(SEARCHES_KEPT)
def _find_containing(tokenizer: Tokenizer, breakers: tuple[str, ...]) -> frozenset[int]:
    ids = range(tokenizer.vocab_size)
    shown = ((id, tokenizer.decode([id])) for id in ids)
    found = (id for id, text in shown if any(breaker in text for breaker in breakers))
    return frozenset((tokenizer.eos_id, *found))


def find_ends(tokenizer: Tokenizer) -> tuple[int, ...]:
    """`<eos>` and the line break, as far as it is a token: what XTC never removes."""
    line_break = tokenizer.encode("\n").tolist()
    known = [id for id in line_break[-1:] if id != tokenizer.unk_id]
    return tuple(dict.fromkeys((tokenizer.eos_id, *known)))


def find_tokens(tokenizer: Tokenizer, setting: str, texts: Sequence[str]) -> list[int]:
    """The id of each text; one UsageError names the texts that are not a token.

    A text means the one token that it is encoded as, or else the token that is shown like it: ` th`
    and `th` are two tokens at subword level, `\\n` is a line break, `<eos>` the end of a text.
    """
    ids: list[int] = []
    unclear: list[str] = []
    shown: tuple[str, ...] = ()
    for text in texts:
        encoded = tokenizer.encode(text)
        if len(encoded) == 1 and encoded[0] != tokenizer.unk_id:
            ids.append(int(encoded[0]))
            continue
        shown = _show_tokens(tokenizer)
        if text in shown:
            ids.append(shown.index(text))
        else:
            unclear.append(text)
    if unclear:
        explained = unclear[:MOST_EXPLAINED]
        problems = [_explain_no_token(tokenizer, setting, text, shown) for text in explained]
        if others := len(unclear) - len(explained):
            problems.append(f"{setting}: {others:,} others are not one token, either")
        raise UsageError("\n".join(problems))
    return ids


@lru_cache(SEARCHES_KEPT)
def _show_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    return tuple(map(tokenizer.token, range(tokenizer.vocab_size)))


def _explain_no_token(tokenizer: Tokenizer, setting: str, text: str, shown: Sequence[str]) -> str:
    pieces = [tokenizer.token(int(id)) for id in tokenizer.encode(text)]
    if len(pieces) > 1 and shown[tokenizer.unk_id] not in pieces:
        named = ", ".join(repr(piece) for piece in pieces[:10])
        reason = f"which is {len(pieces)} tokens of this model ({named})"
    else:
        reason = "which the model does not know"
    nearest = difflib.get_close_matches(text[:100], shown, n=1, cutoff=0.7)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"{setting}: received {text!r}, {reason}; expected one token{hint}"
