"""A profile made by hand, with figures that are easy to reckon with."""

from __future__ import annotations

from typing import Any

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.profiling.analysis.amdahl import fit_amdahl
from llm_timecycle.profiling.analysis.communication import fit_communication, predict_steps
from llm_timecycle.profiling.analysis.flops import LayerCost, count_step_costs
from llm_timecycle.profiling.analysis.power_law import fit_growth
from llm_timecycle.profiling.results import (
    Advice,
    Durations,
    Growth,
    InferenceCycle,
    Profile,
    Roofline,
    RooflinePoint,
    Sweep,
    TrainingCycle,
)
from llm_timecycle.profiling.worker_results import WorkersProfile, WorkersStep

STAGES_S = {"input": 0.001, "forward": 0.1, "backward": 0.2, "update": 0.03, "other": 0.002}
ROOF = Roofline(peak_operations_per_s=400e9, bandwidth_bytes_per_s=20e9)
SPREAD = (0.98, 0.99, 1.0, 1.01, 1.02)


def spread(seconds: float, times: int = 1) -> Durations:
    """Timings around a median, five or so many times five of them."""
    return Durations(tuple(seconds * factor for factor in SPREAD) * times)


def make_cycle(scale: float = 1.0) -> TrainingCycle:
    """A step of 8 x 16 = 128 tokens: 333 ms by stage, 330 ms without markers, all times `scale`."""
    layers = {"embedding": (0.001, 0.002), "lstm_1": (0.06, 0.11), "output": (0.03, 0.06)}
    return TrainingCycle(
        stages={stage: spread(scale * s) for stage, s in STAGES_S.items()},
        layers={
            layer: {"forward": spread(scale * f), "backward": spread(scale * b)}
            for layer, (f, b) in layers.items()
        },
        wall=spread(scale * 0.33),
        hidden_input=spread(scale * 0.004),
        batch_size=8,
        sequence_length=16,
    )


def make_inference() -> InferenceCycle:
    """A request of 10 + 50 tokens, 2 ms each."""
    return InferenceCycle(
        engine="numpy",
        prompt_tokens=10,
        new_tokens=50,
        load=spread(0.08),
        cold_first_token=spread(0.4),
        prefill=spread(0.005),
        first_token=spread(0.007),
        per_output_token=spread(0.002),
        between_tokens=spread(0.002, times=20),
        step=spread(0.0018),
        sampling=spread(0.00015),
        decoding=spread(0.00004),
        tokens_per_s={1: 500.0, 8: 1500.0, 32: 2000.0},
    )


def make_growth(axis: str = "T") -> Growth:
    """12 ms + 1 ms n."""
    samples_s = {
        float(n): tuple((0.012 + 0.001 * n) * f for f in SPREAD) for n in (8, 16, 32, 64, 128)
    }
    return Growth(
        axis=axis,
        fit=fit_growth(samples_s),
        predicted_exponent=1.0,
        explanation=f"time grows as the work does along {axis}, after a fixed cost",
        samples_s=samples_s,
        counts={n: 1e6 * n for n in samples_s},
    )


def make_sweep() -> Sweep:
    """Work of which a fifth is serial."""
    samples_s = {n: tuple((0.2 + 0.8 / n) * f for f in SPREAD) for n in (1, 2, 4)}
    remark = "more replicas here only share the same cores"
    return Sweep("threads", samples_s, fit_amdahl(samples_s), remark)


SUMMED_BYTES = 8_000_000


def make_workers() -> WorkersProfile:
    """A step of 300 ms alone; messages of 1 ms and 1 GB/s, so that 2 workers add 8 MB in 10 ms."""

    def make_step(workers: int, step_s: float, compute_s: float) -> WorkersStep:
        sums_s = {
            size: spread(2 * (workers - 1) * (0.001 + size / workers / 1e9)).samples_s
            for size in (SUMMED_BYTES // 16, SUMMED_BYTES // 4, SUMMED_BYTES)
        }
        communication_s = 2 * (workers - 1) * (0.001 + SUMMED_BYTES / workers / 1e9)
        stages_s = {
            "compute": compute_s,
            "waiting": 0.005,
            "communication": communication_s,
            "update": 0.02,
        }
        taken_s = {stage: spread(s).samples_s for stage, s in stages_s.items()}
        return WorkersStep(workers, spread(step_s).samples_s, taken_s, sums_s)

    steps = [make_step(2, 0.32, 0.285), make_step(4, 0.34, 0.3)]
    fit = fit_communication({(2, size): taken for size, taken in steps[0].sums_s.items()})
    alone_s = {1: 0.3, 2: 0.16, 4: 0.09}
    return WorkersProfile(
        alone_s={machines: spread(s).samples_s for machines, s in alone_s.items()},
        steps=steps,
        fit=fit,
        network=predict_steps(alone_s, fit, SUMMED_BYTES),
        remark="All workers share the 2 cores of this machine.",
    )


def make_settings(**training: Any) -> Settings:
    """Of a network that has 12,345 weights over a vocabulary of 315."""
    return Settings(
        model=ModelSettings(embedding_dim=10, hidden_units=16, num_layers=2),
        training=TrainingSettings(
            **{"batch_size": 8, "sequence_length": 16, "learning_rate": 1e-3, **training}
        ),
    )


def make_profile(**changes: Any) -> Profile:
    """A profile with every part; `changes` replace some."""
    parts: dict[str, Any] = {
        "name": "tiny",
        "machine": {
            "processor": "A Processor",
            "cores": 2,
            "physical_cores": 2,
            "memory_bytes": 25_769_803_776,
            "system": "Linux",
        },
        "versions": {"llm_timecycle": "0.1.0", "python": "3.11.2"},
        "settings": make_settings(),
        "vocab_size": 315,
        "training": make_cycle(),
        "points": (
            RooflinePoint("forward", 20_000_000_000, 100_000_000, 0.1, ROOF),
            RooflinePoint("backward", 40_000_000_000, 200_000_000, 0.2, ROOF),
            RooflinePoint("update", 14_000_000, 28_000_000, 0.03, ROOF),
            RooflinePoint("embedding forward", 0, 2_000_000, 0.001, ROOF),
        ),
        "limits": {"float32": 400e9, "bfloat16": 800e9, "read": 20e9, "copy": 15e9},
        "growth": (make_growth(),),
        "inference": make_inference(),
        "sweeps": (make_sweep(),),
        "workers": make_workers(),
        "advice": (
            Advice(
                "Tie the embeddings",
                "output layer: 31 % of the step and bound by memory",
                0.021,
                ("model.tie_embeddings=true",),
            ),
            Advice("Validate less often", "validation took 40 % of the run", 0.013),
        ),
        "history": (
            {"step": 2.0, "train_loss_nats": 3.0, "tokens_per_s": 1000.0},
            {"step": 4.0, "train_loss_nats": 2.5, "valid_loss_nats": 2.7, "tokens_per_s": 1200.0},
        ),
    }
    return Profile(**{**parts, **changes})


def count_step(model: ModelSettings, vocab_size: int, **training: Any) -> tuple[LayerCost, ...]:
    """The costs of a step of `model`, clipped and in float32 where `training` says nothing else."""
    given = {"precision": "float32", "gradient_clip_norm": 1.0, **training}
    settings = Settings.model_construct(model=model, training=TrainingSettings(**given))
    return count_step_costs(settings, vocab_size)


def make_bare_profile() -> Profile:
    """A profile of which no part was asked for."""
    return make_profile(
        training=None,
        points=(),
        growth=(),
        inference=None,
        sweeps=(),
        workers=None,
        advice=(),
        history=(),
    )
