"""The proof of the stage clock: what it reads out of a trace, and when it is content."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from llm_timecycle.config.settings import ModelSettings, Settings, TrainingSettings
from llm_timecycle.profiling.results import TRAINING_STAGES
from llm_timecycle.text.batches import cut_lanes

V = 50


def load_script() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "check_stages.py"
    spec = importlib.util.spec_from_file_location("check_stages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = load_script()


class MadeUpTrace:
    """A profile as TensorFlow writes it, with times that are easy to reckon with."""

    def __init__(self) -> None:
        self.space = xplane_pb2.XSpace()
        self.space.planes.add(name="/host:metadata")
        self.plane = self.space.planes.add(name="/host:CPU")
        self.plane.stat_metadata[1].name = "name"

    def add_thread(self, began_ns: int, *events: tuple[str, int, int]) -> None:
        """A thread with events (name, begin, end), in nanoseconds of one clock.

        A name in brackets is that of an operation that calls a compiled piece.
        """
        line = self.plane.lines.add(timestamp_ns=began_ns)
        for name, begin, end in events:
            number = len(self.plane.event_metadata) + 1
            event = line.events.add(
                metadata_id=number,
                offset_ps=1000 * (begin - began_ns),
                duration_ps=1000 * (end - begin),
            )
            if name.startswith("["):
                event.stats.add(metadata_id=1, str_value=name.strip("[]"))
                name = "ExecutorState::ProcessAsync::Start"
            self.plane.event_metadata[number].name = name


def test_a_trace_with_known_times_gives_known_stages() -> None:
    made_up = MadeUpTrace()
    made_up.add_thread(
        0,
        (CHECK.INPUT, 0, 20),
        (CHECK.STEP, 20, 90),
        (CHECK.INPUT, 93, 100),
        (CHECK.STEP, 105, 205),
        ("EagerLocalExecute: __inference_step", 106, 204),
    )
    made_up.add_thread(
        5,
        ("forward/MatMul:MatMul", 25, 85),  # of the step before
        ("ExecutorState::Process", 105, 205),
        ("forward/MatMul:MatMul", 109, 145),
        ("gradient_tape/forward/dense/MatMul/MatMul_1:MatMul", 145, 185),
        ("update/adam/ResourceApplyAdam:ResourceApplyAdam", 189, 199),
    )
    made_up.add_thread(
        50,
        ("forward/lstm/while:While", 115, 155),
        ("forward/lstm/while/body/_1/forward/lstm/while/MatMul:MatMul", 115, 150),
        ("[backward/while/PartitionedCall]", 155, 175),
        ("broadcast_add_fusion", 156, 164),
        ("update/global_norm/L2Loss:L2Loss", 165, 175),
    )
    made_up.add_thread(60, ("ThreadpoolListener::Record", 130, 190))
    # By hand, from 105 on:             forward  backward  update
    #     4 nothing, then forward             4
    #    36 forward, on one core or two      36
    #    10 forward and backward              5         5
    #    10 backward twice                             10
    #    10 backward, and update inside one             5       5
    #    10 backward                                   10
    #     4 nothing, then update                                4
    #    10 update                                             10
    #     6 until the step returns                              6
    assert CHECK.split_trace(CHECK.read_trace(made_up.space)) == {
        "input": 7_000,
        "forward": 45_000,
        "backward": 30_000,
        "update": 25_000,
        "other": 3_000 + 5_000,
    }


@pytest.mark.parametrize(
    ("operation", "its_pass"),
    [
        ("forward/functional_1/lstm_1/Tensordot/MatMul:MatMul", "forward"),
        ("forward/while/body/_66/forward/while/PartitionedCall", "forward"),
        ("backward/MatMul_4:MatMul", "backward"),
        ("gradient_tape/forward/functional_1/lstm_1/Tensordot/MatMul/MatMul:MatMul", "backward"),
        ("ConstantFolding/update/adam/Pow:Const", "update"),
    ],
)
def test_the_name_of_an_operation_tells_its_pass(operation: str, its_pass: str) -> None:
    assert CHECK.name_pass(operation) == its_pass


def test_an_operation_of_no_pass_is_refused() -> None:
    made_up = MadeUpTrace()
    made_up.add_thread(0, ("forwards/MatMul:MatMul", 1, 2))
    with pytest.raises(ValueError, match=r"belongs to no pass: forwards/MatMul:MatMul"):
        CHECK.read_trace(made_up.space)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({}, {"precision": "float32", "threads": 2}),
        (
            {
                "tie_embeddings": True,
                "dropout": 0.3,
                "weight_drop": 0.2,
                "embedding_dropout": 0.1,
                "layer_norm": True,
                "residual": True,
            },
            {
                "precision": "mixed_bfloat16",
                "threads": 1,
                "optimizer": "adamw",
                "gradient_clip_norm": 1.0,
                "weight_decay": 0.1,
                "activation_regularization": 2.0,
                "temporal_activation_regularization": 1.0,
            },
        ),
        ({}, {"precision": "float32", "threads": 1, "optimizer": "sgd"}),
    ],
)
def test_every_operation_of_a_real_step_has_its_pass(
    model: dict[str, Any], training: dict[str, Any]
) -> None:
    settings = Settings.model_construct(
        model=ModelSettings(embedding_dim=16, hidden_units=16, num_layers=2, **model),
        training=TrainingSettings(batch_size=8, sequence_length=12, learning_rate=1e-3, **training),
    )
    ids = np.random.default_rng(0).integers(0, V, 8 * 12 * 3 + 1, np.int32)
    traces = list(CHECK.record_steps(settings, V, cut_lanes(ids, 8, 12), times=2))
    assert len(traces) == 2
    for trace in traces:
        assert [span.name for span in trace.host] == 2 * [CHECK.INPUT, CHECK.STEP]
        _, before, _, step = trace.host
        operations = [span for thread in trace.threads for span in thread]
        # The loops of two layers multiply once a token; eight weights, with tied ones, are updated.
        for its_pass, fewest in (("forward", 2 * 12), ("backward", 2 * 12), ("update", 8)):
            count = sum(span.name == its_pass for span in operations if span.begin >= step.begin)
            assert count >= fewest, its_pass
        stages = CHECK.split_trace(trace)
        assert stages.keys() == set(TRAINING_STAGES)
        assert min(stages.values()) >= 0
        assert sum(stages.values()) == pytest.approx(step.end - before.end)


@pytest.mark.parametrize(("forward_s", "agrees"), [(0.351, True), (0.349, False)])
def test_shares_agree_within_five_points(
    forward_s: float, agrees: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = {"input": [0.0], "forward": [0.8, 0.1, 0.4], "backward": [0.6]}
    traced = {"input": [0.0], "forward": [forward_s], "backward": [1 - forward_s]}
    assert CHECK.compare(marked, traced) is agrees
    difference = "-4.9" if agrees else "-5.1"
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["forward", "40.0%", f"{forward_s:.1%}", difference] in printed
