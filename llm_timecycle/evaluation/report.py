"""What `evaluate` reports: a trained run scored on its own held-out text, or on any other."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from llm_timecycle.errors import DataError, RunError
from llm_timecycle.evaluation.stream import Sums, compute_perplexity, make_scorer, score_stream
from llm_timecycle.model.network import build_trained_network
from llm_timecycle.runs.directory import Run, open_run
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.prepare import encode_corpus, prepare_text
from llm_timecycle.text.token_store import TokenStream
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("llm_timecycle")


def summarize(sums: Sums, stream: TokenStream) -> dict[str, float | int]:
    """The figures of `evaluate`, from the sums and the size of the text.

    perplexity_per_word = exp(nats / words), bits_per_character = nats / ln 2 / characters
    """
    bits = sums.loss_nats / math.log(2)
    return {
        "loss_nats_per_token": sums.loss_nats_per_token,
        "perplexity": sums.perplexity,
        "perplexity_per_word": compute_perplexity(sums.loss_nats / max(stream.words, 1)),
        "bits_per_character": bits / max(stream.characters, 1),
        "bits_per_byte": bits / max(stream.bytes, 1),
        "accuracy": sums.accuracy,
        "tokens": stream.tokens,
        "words": stream.words,
        "characters": stream.characters,
        "bytes": stream.bytes,
    }


def score_run(
    path: Path, *, data: str | None, split: str, cache: Path, show_progress: bool
) -> dict[str, str | float | int]:
    """The figures of `evaluate`: see `evaluation.summarize`, and `split` and `unknown_tokens`.

    Args:
        data: a text to score; None scores the run's own `split`, "valid" or "test".

    Raises DataError where the text is missing, is shorter than two tokens, or is no longer the one
    that was held out when the run was trained; RunError where the run is damaged, or the loss that
    its weights give is not finite.
    """
    run = open_run(path)
    weights = run.load_weights()
    tokenizer = Tokenizer.load(run.tokenizer_path, run.settings.tokenizer)
    run.check_vocab_size(tokenizer.vocab_size)
    if data is not None:
        corpus = open_corpus(data, Path.cwd(), cache)
        stream = encode_corpus(tokenizer, corpus, cache, show_progress)
        split = data
    else:
        stream = _open_split(run, tokenizer, split, cache, show_progress)
    if stream.tokens < 2:
        raise DataError(f"{split} holds {stream.tokens} tokens; scoring needs at least 2")
    if stream.unknown:
        share = stream.unknown / stream.tokens
        log.info("%s tokens (%.2f %%) are unknown to the model", f"{stream.unknown:,}", 100 * share)
    network = build_trained_network(run.settings.model, run.vocab_size, weights)
    sums = score_stream(
        make_scorer(network), run.settings.model, stream.ids, show_progress=show_progress
    )
    if not math.isfinite(sums.loss_nats):
        raise RunError(
            f"the loss of {path} is {sums.loss_nats}, not a finite number. Its weights are damaged "
            f"or its training went wrong: train it again, with a lower training.learning_rate"
        )
    return {"split": split, **summarize(sums, stream), "unknown_tokens": stream.unknown}


def _open_split(
    run: Run, tokenizer: Tokenizer, split: str, cache: Path, show_progress: bool
) -> TokenStream:
    """The run's held-out text, which must be the one that it was trained beside."""
    held_out = run.read_manifest()["corpora"]
    if split not in held_out:
        raise DataError(
            f"{run.path} has no {split} text: data.{split} was not given and "
            f"data.{split}_fraction is 0. Score another text with --data FILE"
        )
    text = prepare_text(run.settings, Path.cwd(), cache, show_progress, tokenizer=tokenizer)
    stream = text.valid if split == "valid" else text.test
    if stream is None or stream.corpus_sha256 != held_out[split]["sha256"]:
        raise DataError(
            f"the {split} text of {run.path} has changed since the run was trained, so what was "
            f"held out may have been learned from. Put it back, or score a text with --data FILE"
        )
    return stream
