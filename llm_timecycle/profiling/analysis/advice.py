"""What would save time, how much and why: a short list, the largest saving first.

Every figure comes from measurements: the stages and layers of a step with their FLOPs (`what_if`),
a growth fit, a sweep, the times of requests, the run's log. Each saving is estimated alone; they do
not add up. Advice that changes the model says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.profiling.analysis.what_if import StepModel, make_step_model
from llm_timecycle.profiling.format import format_duration, format_share
from llm_timecycle.profiling.results import Advice, Profile

WORTH_SHARE = 0.02  # of a step: a smaller saving is not worth a change
CLEARLY_FASTER = 1 / 0.7  # as `training.devices.choose_precision` asks for
LARGE_VOCABULARY_SHARE = 0.25
LARGEST_SIDE_SHARE = 0.1  # of a run's time, for validation and for checkpoints
SMALLEST_VOCABULARY = 1_000
WORTH_BATCH = 2.0  # times as many tokens a second, of texts generated together


def give_advice(profile: Profile) -> list[Advice]:
    """What would save time, the largest saving first; empty where nothing would."""
    found = list(_advise_on_run(profile))
    model = make_step_model(profile)
    if model is not None:
        for advise in _STEP_ADVISERS:
            found += advise(model, profile)
    return sorted(found, key=lambda advice: advice.saves_s, reverse=True)


def _advise_on_run(profile: Profile) -> Iterator[Advice]:
    """Advice that needs no estimate of another step."""
    yield from _advise_on_input(profile)
    yield from _advise_on_log(profile)
    yield from _advise_on_requests(profile)


def _advise_on_tying(model: StepModel, profile: Profile) -> Iterator[Advice]:
    if model.settings.model.tie_embeddings:
        return
    saved_s = model.estimate_saving_s(_replace(model.settings, "model", tie_embeddings=True))
    if _is_worth(saved_s, model):
        E, H = model.settings.model.embedding_dim, model.settings.model.hidden_units
        width = f"multiply {E} numbers a token instead of {H}, and " if E < H else ""
        yield Advice(
            "tie the output layer to the embedding",
            f"{_describe_output(model, profile)}; tied embeddings would {width}need "
            f"{model.vocab_size * H:,} fewer weights: {_describe_saving(saved_s, model)}. "
            "It is another model, often no worse.",
            saved_s,
            ("model.tie_embeddings=true",),
        )


def _advise_on_vocabulary(model: StepModel, profile: Profile) -> Iterator[Advice]:
    level, V = model.settings.tokenizer.level, model.vocab_size
    is_large = model.sum_layer_s("output") > LARGE_VOCABULARY_SHARE * model.step_s
    if level not in ("word", "subword") or V < 2 * SMALLEST_VOCABULARY or not is_large:
        return
    saved_s = model.estimate_saving_s(model.settings, V // 2)
    if _is_worth(saved_s, model):
        price = (
            "more words become <unk>" if level == "word" else "the same text becomes more tokens"
        )
        yield Advice(
            "halve the vocabulary",
            f"{_describe_output(model, profile)}; with a vocabulary of {V // 2:,} instead of "
            f"{V:,} {_describe_saving(saved_s, model)}. The price: {price}.",
            saved_s,
            (f"tokenizer.vocab_size={V // 2}",),
        )


def _advise_on_precision(model: StepModel, profile: Profile) -> Iterator[Advice]:
    ratio = model.limits["bfloat16"] / model.limits["float32"]
    if model.settings.training.precision != "float32" or ratio < CLEARLY_FASTER:
        return
    changed = _replace(model.settings, "training", precision="mixed_bfloat16")
    saved_s = model.estimate_saving_s(changed)
    if _is_worth(saved_s, model):
        yield Advice(
            "multiply in bfloat16",
            f"bfloat16 products ran {ratio:.1f} times as fast as float32 ones here: "
            f"{_describe_saving(saved_s, model)}. Weights and losses stay float32.",
            saved_s,
            ("training.precision=mixed_bfloat16",),
        )


def _advise_on_batch(model: StepModel, profile: Profile) -> Iterator[Advice]:
    """From the growth along B, where it was measured up to twice the batch size."""
    B = model.cycle.batch_size
    for growth in profile.growth:
        if growth.axis != "B" or max(growth.fit.sizes) < 2 * B:
            continue
        one_s, double_s = growth.fit.predict_s(B), growth.fit.predict_s(2 * B)
        saved_s = one_s - double_s / 2
        if _is_worth(saved_s, model):
            yield Advice(
                "increase the batch size",
                f"two steps of {B} lanes take {format_duration(2 * one_s)}, one of {2 * B} "
                f"{format_duration(double_s)}: for the same tokens, "
                f"{_describe_saving(saved_s, model)}. "
                "Fewer, larger steps may need a higher learning_rate.",
                saved_s,
                (f"training.batch_size={2 * B}",),
            )


def _advise_on_threads(model: StepModel, profile: Profile) -> Iterator[Advice]:
    """From the sweep; without one, from the passes, which threads share almost entirely."""
    used = model.settings.training.threads or 1
    swept = [sweep.samples_s for sweep in profile.sweeps if sweep.name == "threads"]
    if swept and used in swept[0]:
        times_s = {n: median(samples) for n, samples in swept[0].items()}
        best = min(times_s, key=lambda n: times_s[n])
        saved_s, source = times_s[used] - times_s[best], "as measured"
    else:
        best = int(profile.machine.get("cores") or used)
        stages = model.cycle.stages
        passes_s = stages["forward"].median_s + stages["backward"].median_s
        saved_s, source = passes_s * (1 - used / best), "if the threads share the passes evenly"
    if best != used and _is_worth(saved_s, model):
        yield Advice(
            f"compute with {best} threads",
            f"{used} of {profile.machine.get('cores', best)} cores compute; with {best} threads "
            f"{_describe_saving(saved_s, model)}, {source}.",
            saved_s,
            (f"training.threads={best}",),
        )


def _advise_on_input(profile: Profile) -> Iterator[Advice]:
    if profile.training is None or profile.training.share("input") <= WORTH_SHARE:
        return
    waited_s = profile.training.stages["input"].median_s
    yield Advice(
        "reduce the wait for input",
        f"a step waits {format_duration(waited_s)} for its window, "
        f"{format_share(profile.training.share('input'))} of it, not counting what overlaps with "
        "the step before: keep the cache on a faster disk (LLM_TIMECYCLE_CACHE), or leave a core "
        "free.",
        waited_s,
    )


def _advise_on_log(profile: Profile) -> Iterator[Advice]:
    """From the run's log: what validation and checkpoints took beside the steps."""
    rows = profile.history
    steps = max((row.get("step", 0.0) for row in rows), default=0.0)
    wall_s = max((row.get("wall_s", 0.0) for row in rows), default=0.0)
    training = profile.settings.training
    for stage, key in (("validation", "eval_every"), ("checkpoint", "checkpoint_every")):
        spent_s = sum(row.get(f"{stage}_s", 0.0) for row in rows)
        every = getattr(training, key)
        if not every or wall_s <= 0 or spent_s <= LARGEST_SIDE_SHARE * wall_s:
            continue
        yield Advice(
            "validate less often" if stage == "validation" else "save less often",
            f"{stage} took {format_share(spent_s / wall_s)} of the run; every {2 * every} steps "
            f"instead of every {every} would save half of it.",
            spent_s / steps / 2,
            (f"training.{key}={2 * every}",),
        )


def _advise_on_requests(profile: Profile) -> Iterator[Advice]:
    """From the tokens a second at each batch size."""
    if profile.inference is None:
        return
    rates = profile.inference.tokens_per_s
    best = max(rates, key=lambda rows: rates[rows], default=1)
    if best > 1 and 1 in rates and rates[best] > WORTH_BATCH * rates[1]:
        saved_s = 1 / rates[1] - 1 / rates[best]
        yield Advice(
            f"generate {best} texts together",
            f"one text at a time gives {rates[1]:,.0f} tokens/s, {best} together "
            f"{rates[best]:,.0f}, because they share each read of the weights: that "
            f"would save {format_duration(saved_s)} of the {format_duration(1 / rates[1])} of a "
            f"token (samples={best}).",
            saved_s,
        )


_STEP_ADVISERS: tuple[Callable[[StepModel, Profile], Iterator[Advice]], ...] = (
    _advise_on_tying,
    _advise_on_vocabulary,
    _advise_on_precision,
    _advise_on_batch,
    _advise_on_threads,
)


def _describe_output(model: StepModel, profile: Profile) -> str:
    """How much of the step the output layer takes, and which limit binds it."""
    share = model.sum_layer_s("output") / model.step_s
    bound = {point.name: point.binding for point in profile.points}.get("output forward")
    binding = {"compute": ", bound by compute", "memory": ", bound by memory"}
    return f"output layer: {format_share(share)} of the step{binding.get(str(bound), '')}"


def _describe_saving(saved_s: float, model: StepModel) -> str:
    return f"that would save {format_duration(saved_s)} of {format_duration(model.step_s)}"


def _is_worth(saved_s: float, model: StepModel) -> bool:
    return saved_s > WORTH_SHARE * model.step_s


def _replace(settings: Settings, section: str, **changes: Any) -> Settings:
    changed: Mapping[str, Any] = {section: getattr(settings, section).model_copy(update=changes)}
    return settings.model_copy(update=changed)
