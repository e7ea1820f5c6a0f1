"""What would save time, how much and why: a short list, the largest saving first.

Every figure comes from measurements: the stages and layers of a step with their FLOPs (`what_if`),
a growth fit, a sweep, the times of requests, the run's log. Each saving is estimated alone; they do
not add up. Advice that changes the model says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from llm_timecycle.config.settings import Settings
from llm_timecycle.config.weight_shapes import count_parameters
from llm_timecycle.profiling.analysis.what_if import StepModel, make_step_model
from llm_timecycle.profiling.format import format_duration, format_share
from llm_timecycle.profiling.results import Advice, Profile, TrainingCycle

WORTH_SHARE = 0.02  # of a step: a smaller saving is not worth a change
CLEARLY_FASTER = 1 / 0.7  # as `training.devices.choose_precision` asks for
LARGE_VOCABULARY_SHARE = 0.25
LARGEST_SIDE_SHARE = 0.1  # of a run's time, for validation and for checkpoints
SMALLEST_VOCABULARY = 1_000
WORTH_BATCH = 2.0  # times as many tokens a second, of texts generated together


def give_advice(profile: Profile) -> list[Advice]:
    """What would save time, the largest saving first; empty where nothing would."""
    found = [*_advise_on_log(profile), *_advise_on_requests(profile)]
    if profile.training is not None:
        found += _advise_on_input(profile.training)
    if (model := make_step_model(profile)) is not None:
        smallest_s = WORTH_SHARE * model.step_s
        steps = (
            *_advise_on_tying(model, profile),
            *_advise_on_vocabulary(model, profile),
            *_advise_on_precision(model),
            *_advise_on_batch(model, profile),
            *_advise_on_threads(model, profile),
        )
        found += [advice for advice in steps if advice.saves_s > smallest_s]
    return sorted(found, key=lambda advice: advice.saves_s, reverse=True)


def _advise_on_tying(model: StepModel, profile: Profile) -> Iterator[Advice]:
    if model.settings.model.tie_embeddings:
        return
    tied = _replace(model.settings, "model", tie_embeddings=True)
    saved_s = model.estimate_saving_s(tied)
    fewer = profile.parameters - count_parameters(tied.model, model.vocab_size)
    if fewer <= 0:  # the projection outweighs the output layer
        return
    E, H = model.settings.model.embedding_dim, model.settings.model.hidden_units
    width = f"multiply {E} numbers a token instead of {H}, and " if E < H else ""
    yield Advice(
        "Tie the output layer to the embedding",
        f"{_describe_output(model, profile)}; tied embeddings would {width}need "
        f"{fewer:,} fewer weights: {_describe_saving(saved_s, model)}. "
        "It is another model, often no worse.",
        saved_s,
        ("model.tie_embeddings=true",),
    )


def _advise_on_vocabulary(model: StepModel, profile: Profile) -> Iterator[Advice]:
    level, V = model.settings.tokenizer.level, model.vocab_size
    prices = {"word": "more words become <unk>", "subword": "the same text becomes more tokens"}
    is_large = model.sum_layer_s("output") > LARGE_VOCABULARY_SHARE * model.step_s
    if level not in prices or V < 2 * SMALLEST_VOCABULARY or not is_large:
        return
    saved_s = model.estimate_saving_s(model.settings, V // 2)
    yield Advice(
        "Halve the vocabulary",
        f"{_describe_output(model, profile)}; with a vocabulary of {V // 2:,} instead of "
        f"{V:,} {_describe_saving(saved_s, model)}. The price: {prices[level]}.",
        saved_s,
        (f"tokenizer.vocab_size={V // 2}",),
    )


def _advise_on_precision(model: StepModel) -> Iterator[Advice]:
    ratio = model.limits["bfloat16"] / model.limits["float32"]
    if model.settings.training.precision != "float32" or ratio < CLEARLY_FASTER:
        return
    changed = _replace(model.settings, "training", precision="mixed_bfloat16")
    saved_s = model.estimate_saving_s(changed)
    yield Advice(
        "Multiply in bfloat16",
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
        yield Advice(
            "Increase the batch size",
            f"Two steps of {B} lanes take {format_duration(2 * one_s)}, one of {2 * B} "
            f"{format_duration(double_s)}: for the same tokens, "
            f"{_describe_saving(saved_s, model)}. "
            "Fewer, larger steps may need a higher learning_rate.",
            saved_s,
            (f"training.batch_size={2 * B}",),
        )


def _advise_on_threads(model: StepModel, profile: Profile) -> Iterator[Advice]:
    """From the sweep; without one, from the passes, which threads share almost entirely."""
    used = model.settings.training.threads or 1
    machine = profile.machine
    cores = int(machine.get("physical_cores") or machine.get("cores") or used)
    samples_s = next((s.samples_s for s in profile.sweeps if s.name == "threads"), {})
    if used in samples_s:
        times_s = {n: median(samples) for n, samples in samples_s.items()}
        best = min(times_s, key=lambda n: times_s[n])
        saved_s, source = times_s[used] - times_s[best], "as measured"
    else:
        best, stages = cores, model.cycle.stages
        passes_s = stages["forward"].median_s + stages["backward"].median_s
        saved_s, source = passes_s * (1 - used / best), "if the threads share the passes evenly"
    threads = "1 thread" if best == 1 else f"{best} threads"
    yield Advice(
        f"Compute with {threads}",
        f"{used} of {cores} cores compute; with {threads} "
        f"{_describe_saving(saved_s, model)}, {source}.",
        saved_s,
        (f"training.threads={best}",),
    )


def _advise_on_input(cycle: TrainingCycle) -> Iterator[Advice]:
    share, waited_s = cycle.share("input"), cycle.stages["input"].median_s
    if share > WORTH_SHARE:
        yield Advice(
            "Reduce the wait for input",
            f"A step waits {format_duration(waited_s)} for its window, {format_share(share)} of "
            "it, not counting what overlaps with the step before: keep the cache on a faster disk "
            "(LLM_TIMECYCLE_CACHE), or leave a core free.",
            waited_s,
        )


def _advise_on_log(profile: Profile) -> Iterator[Advice]:
    """From the run's log: what validation and checkpoints took beside the steps."""
    rows = profile.history
    steps, wall_s = (
        max((row.get(k, 0.0) for row in rows), default=0.0) for k in ("step", "wall_s")
    )
    for stage, key, verb in (
        ("validation", "eval_every", "Validate"),
        ("checkpoint", "checkpoint_every", "Save"),
    ):
        spent_s = sum(row.get(f"{stage}_s", 0.0) for row in rows)
        every = getattr(profile.settings.training, key)
        if every and wall_s > 0 and spent_s > LARGEST_SIDE_SHARE * wall_s:
            yield Advice(
                f"{verb} less often",
                f"{stage.capitalize()} took {format_share(spent_s / wall_s)} of the run; "
                f"every {2 * every} steps instead of every {every} would save half of it.",
                spent_s / steps / 2,
                (f"training.{key}={2 * every}",),
            )


def _advise_on_requests(profile: Profile) -> Iterator[Advice]:
    """From the tokens a second at each batch size."""
    rates = {} if profile.inference is None else profile.inference.tokens_per_s
    best = max(rates, key=lambda rows: rates[rows], default=1)
    if best > 1 and 1 in rates and rates[best] > WORTH_BATCH * rates[1]:
        saved_s = 1 / rates[1] - 1 / rates[best]
        yield Advice(
            f"Generate {best} texts together",
            f"One text at a time gives {rates[1]:,.0f} tokens/s, {best} together "
            f"{rates[best]:,.0f}, because they share each read of the weights: that "
            f"would save {format_duration(saved_s)} of the {format_duration(1 / rates[1])} of a "
            f"token (samples={best}).",
            saved_s,
        )


def _describe_output(model: StepModel, profile: Profile) -> str:
    """How much of the step the output layer takes, and which limit binds it."""
    share = format_share(model.sum_layer_s("output") / model.step_s)
    bound = [f", bound by {p.binding}" for p in profile.points if p.name == "output forward"]
    return f"The output layer takes {share} of the step{''.join(bound)}"


def _describe_saving(saved_s: float, model: StepModel) -> str:
    return f"that would save {format_duration(saved_s)} of {format_duration(model.step_s)}"


def _replace(settings: Settings, section: str, **changes: Any) -> Settings:
    changed: Mapping[str, Any] = {section: getattr(settings, section).model_copy(update=changes)}
    return settings.model_copy(update=changed)
