"""The tables say the figures of a profile made by hand, and nothing that was not measured."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from llm_timecycle.profiling.render.tables import WIDTH, draw_bar
from llm_timecycle.profiling.render.terminal import write_comparison, write_tables
from llm_timecycle.profiling.results import ComparedTime, Durations
from tests.profiling.profiles import (
    make_bare_profile,
    make_cycle,
    make_growth,
    make_profile,
    make_workers,
)


def find_line(text: str, start: str) -> list[str]:
    """The words of the only line that begins with these words."""
    found = [line for line in text.splitlines() if line.startswith(start)]
    assert len(found) == 1, found
    return found[0].split()


def test_the_tables_are_as_they_were(snapshot: SnapshotAssertion) -> None:
    assert write_tables(make_profile()) == snapshot


def test_stages_stand_with_time_share_and_time_a_token() -> None:
    text = write_tables(make_profile())
    # 200 of 333 ms; 200 ms / 128 tokens; 24 cells x 8 eighths x 0.6006 = 115 = 14 cells and 3.
    bar = "█" * 14 + "▍"
    line = ["backward", "200", "ms", "204", "ms", "60.1", "%", "1.56", "ms", bar]
    assert line in [found.split() for found in text.splitlines()]
    assert find_line(text, "sum") == ["sum", "333", "ms", "2.60", "ms"]
    assert find_line(text, "step without markers")[3:5] == ["330", "ms"]
    assert "8 x 16 = 128 tokens: 330 ms, 388 tokens/s" in text  # 128 / 0.33 = 387.9


def test_a_backward_pass_that_noise_swallows_is_not_said_to_take_no_time() -> None:
    cycle = make_cycle()
    layers = {**cycle.layers, "embedding": {"forward": Durations((0.001,) * 5)}}
    layers["embedding"]["backward"] = Durations((0.0,) * 5)
    text = write_tables(make_profile(training=replace(cycle, layers=layers)))
    line = next(line for line in text.splitlines() if line.startswith("embedding  "))
    assert line.split()[:5] == ["embedding", "1.00", "ms", "within", "noise"]


def test_closure_is_told_once_with_what_it_is() -> None:
    text = " ".join(write_tables(make_profile()).split())
    assert "closure 1.009 (the stages of steps with markers, added up" in text  # 333 / 330
    assert "a step waits 1.00 ms for its window; 4.00 ms more are hidden" in text
    assert "Outside 0.97 to 1.03" not in text


def test_a_closure_that_is_not_sound_says_so() -> None:
    cycle = make_cycle()
    faster = type(cycle)(**{**vars(cycle), "wall": Durations((0.3, 0.3, 0.3))})
    text = " ".join(write_tables(make_profile(training=faster)).split())
    assert "closure 1.110" in text
    assert "Outside 0.97 to 1.03" in text


def test_the_roof_the_growth_and_the_sharing() -> None:
    text = write_tables(make_profile())
    # 20 GFLOP at 400 GFLOP/s take 50 ms, half of what was measured.
    roof = next(line for line in text.splitlines() if "compute" in line and "forward" in line)
    assert roof.split()[1:9] == ["100", "ms", "50.0", "ms", "50.0", "%", "compute", "200"]
    assert "time = 12.0 ms + 1.00 ms x T^1.00" in text
    efficiency = ["4", "400", "ms", "2.50", "62.5", "%"]  # 1 s / 0.4 s, of 4
    assert efficiency in [line.split() for line in text.splitlines()]
    assert "serial fraction 0.20" in text
    assert "more replicas here only share the same cores" in text


def test_advice_stands_with_its_saving_its_reason_and_its_settings() -> None:
    lines = write_tables(make_profile()).splitlines()
    place = lines.index("1. Tie the embeddings (saves 21.0 ms)")
    assert lines[place + 1 : place + 4] == [
        "   output layer: 31 % of the step and bound by memory",
        "   --set model.tie_embeddings=true",
        "2. Validate less often (saves 13.0 ms)",
    ]


def test_inference_stands_with_its_definitions() -> None:
    text = write_tables(make_profile())
    assert "numpy engine, a prompt of 10 tokens, 50 new tokens" in text
    assert ["8", "1,500", "3.00", "x"] in [line.split()[:4] for line in text.splitlines()]
    definition = (
        "TPOT time per output token: (end to end - TTFT) / (N - 1), for N tokens of one request"
    )
    assert definition in " ".join(text.split())


def test_what_was_not_measured_is_not_shown() -> None:
    bare = make_bare_profile()
    assert write_tables(bare) == "tiny: 12,345 parameters\nA Processor, 2 cores, 24.0 GiB"


@pytest.mark.parametrize("width", [WIDTH, 60])
def test_lines_are_no_wider_than_asked_but_for_settings_to_copy(width: int) -> None:
    text = write_tables(make_profile(growth=(make_growth(), make_growth("length"))), width=width)
    assert max(len(line) for line in text.splitlines() if "--set" not in line) <= width
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_settings_to_copy_stay_in_one_line() -> None:
    profile = make_profile()
    long = replace(profile.advice[0], changes=("data.train=" + "a b " * 60, "training.epochs=1"))
    text = write_tables(replace(profile, advice=(long,)))
    assert f"--set {long.changes[0]} --set training.epochs=1" in text


def test_colours_are_written_where_they_are_wanted_and_change_nothing_else() -> None:
    plain = write_tables(make_profile())
    coloured = write_tables(make_profile(), is_coloured=True)
    assert "\x1b" not in plain
    assert "\x1b[32m██" in coloured  # the third stage is green
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain


@pytest.mark.parametrize("name", ["NO_COLOR", "FORCE_COLOR", "COLUMNS"])
def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain, coloured = (write_tables(make_profile(), is_coloured=c) for c in (False, True))
    monkeypatch.setenv(name, "40")
    assert write_tables(make_profile()) == plain
    assert write_tables(make_profile(), is_coloured=True) == coloured


def test_a_name_is_never_read_as_markup() -> None:
    name = "[red]a[/red] :smile: 中文"
    assert write_tables(make_profile(name=name)).startswith(f"{name}: 12,345 parameters\n")


@pytest.mark.parametrize(("share", "cells"), [(1.0, 24), (1.7, 24), (-0.2, 0), (1 / 24, 1)])
def test_a_bar_is_as_long_as_its_share_and_never_leaves_its_room(share: float, cells: int) -> None:
    assert draw_bar(share) == "█" * cells


def test_a_comparison_has_its_times_and_then_what_differs(snapshot: SnapshotAssertion) -> None:
    times = (
        ComparedTime("step", 0.2, 0.1, 2.0, 1.9, 2.1),
        ComparedTime("forward", 0.1, 0.1, 1.0, 0.9, 1.1),
    )
    differences = {"training.batch_size": (8, 16), "versions.keras": ("3.14", None)}
    assert write_comparison("one", "other", times, differences) == snapshot


def test_each_library_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys\n"
        "from llm_timecycle.profiling.api import ProfileResult\n"
        "from tests.profiling.profiles import make_profile\n"
        "libraries = {'rich', 'matplotlib', 'jinja2'}\n"
        "print(*sorted(libraries & sys.modules.keys()))\n"
        "str(ProfileResult(make_profile()))\n"
        "print(*sorted(libraries & sys.modules.keys()))\n"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.splitlines() == ["", "rich"]


@pytest.mark.parametrize(
    ("step_s", "said"),
    [
        (0.32, "make 1.000 of a step without markers: nothing overlaps"),  # 285 + 5 + 10 + 20 ms
        (0.256, "make 1.250 of a step without markers: up to 20.0 % of them may overlap in it"),
        (0.4, "make 0.800 of a step without markers; measure on an idle machine"),
    ],
)
def test_what_overlaps_is_what_the_stages_take_beyond_the_step(step_s: float, said: str) -> None:
    workers = make_workers()
    step = replace(workers.steps[0], step_s=(step_s,) * 5)
    text = write_tables(make_profile(workers=replace(workers, steps=[step])))
    assert f"2 workers: compute + waiting + communication + update {said}" in " ".join(text.split())
