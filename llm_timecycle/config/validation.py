"""Settings that are each allowed but at odds with one another."""

from __future__ import annotations

from dataclasses import dataclass

from llm_timecycle.config.settings import GenerationSettings, Settings

BYTE_VOCABULARY = 258  # 256 bytes, <unk> and <eos>
DRAWING_KEYS = (
    *("top_k", "top_p", "min_p", "typical_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
"""Settings of `generation` that decide which token is drawn, and that beam search has no use for;
so are temperature and seed, but a file that has values for both ways is fine."""


@dataclass(frozen=True)
class Conflict:
    """Dotted paths of the settings involved, the one to blame first, and what to do."""

    paths: tuple[str, ...]
    explanation: str


def find_conflicts(settings: Settings) -> list[Conflict]:
    """Every pair of settings that cannot work together, or of which one would do nothing."""
    return [
        *_find_vocabulary_conflicts(settings),
        *_find_held_out_conflicts(settings),
        *_find_optimizer_conflicts(settings),
        *_find_beam_conflicts(settings),
    ]


def _find_vocabulary_conflicts(settings: Settings) -> list[Conflict]:
    tokenizer = settings.tokenizer
    if tokenizer.level not in {"byte", "subword"} or tokenizer.vocab_size >= BYTE_VOCABULARY:
        return []
    return [
        Conflict(
            ("tokenizer.vocab_size", "tokenizer.level"),
            f"received {tokenizer.vocab_size}, but level: {tokenizer.level} needs "
            f"{BYTE_VOCABULARY} or more (256 bytes and 2 special tokens)",
        )
    ]


def _find_held_out_conflicts(settings: Settings) -> list[Conflict]:
    data, training = settings.data, settings.training
    cuts = {
        "data.valid_fraction": data.valid_fraction if data.valid is None else 0.0,
        "data.test_fraction": data.test_fraction if data.test is None else 0.0,
    }
    conflicts = []
    if sum(cuts.values()) >= 0.9:
        conflicts.append(
            Conflict(
                (*cuts, "data.valid", "data.test"),
                f"valid_fraction ({data.valid_fraction:g}) and test_fraction "
                f"({data.test_fraction:g}) must be less than 0.9 together, or too little is left "
                f"to learn from",
            )
        )
    if data.valid is not None or data.valid_fraction > 0:
        return conflicts
    needs_validation = {
        "training.schedule": training.schedule == "plateau",
        "training.patience": training.patience is not None,
        "training.eval_every": training.eval_every is not None,
    }
    for path, is_set in needs_validation.items():
        if is_set:
            key = path.removeprefix("training.")
            conflicts.append(
                Conflict(
                    (path, "data.valid", "data.valid_fraction"),
                    f"{getattr(training, key)} goes by validation, and there is no "
                    f"validation text: give data.valid, or a data.valid_fraction above 0",
                )
            )
    return conflicts


def _find_optimizer_conflicts(settings: Settings) -> list[Conflict]:
    training = settings.training
    if training.weight_decay == 0 or training.optimizer == "adamw":
        return []
    return [
        Conflict(
            ("training.weight_decay", "training.optimizer"),
            f"{training.weight_decay:g} would do nothing with optimizer: {training.optimizer}; "
            f"set optimizer to adamw, or weight_decay to 0",
        )
    ]


def find_drawing_keys(generation: GenerationSettings) -> list[str]:
    """Those settings, other than at their defaults, that do nothing where `beams` is above 1."""
    defaults = GenerationSettings()
    if generation.beams == 1:
        return []
    return [key for key in DRAWING_KEYS if getattr(generation, key) != getattr(defaults, key)]


def _find_beam_conflicts(settings: Settings) -> list[Conflict]:
    return [
        Conflict(
            (f"generation.{key}", "generation.beams"),
            f"{getattr(settings.generation, key):g} would do nothing with beams: "
            f"{settings.generation.beams}, which searches and does not draw; set beams to 1, or "
            f"leave {key} out",
        )
        for key in find_drawing_keys(settings.generation)
    ]
