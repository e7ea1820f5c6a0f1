"""The Python interface, called with values of every type."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzzing.cases.prompts import LONGEST, SCHEMAS, draw_option, draw_prompt
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt
from fuzzing.mutations import ODD_VALUES
from fuzzing.small_runs import ENGLISH, GENERATION, MODEL, TRAINING, make_run

import llm_timecycle as lt

SECTIONS = ("data", "tokenizer", "model", "training", "generation")


class _Colour(enum.Enum):
    RED = 1


class _Text(str):
    __slots__ = ()


def _make_loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def _make_mapping_loop() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["training"] = loop
    return loop


OBJECTS: tuple[Callable[[], Any], ...] = (
    *(object, lambda: object, lambda: print, lambda: (x for x in "abc"), lambda: iter([1, 2])),
    *(lambda: b"the", lambda: bytearray(b"a"), lambda: memoryview(b"a"), lambda: "a\udcff"),
    *(lambda: np.array([1.0, 2.0]), lambda: np.array([]), lambda: np.array(3), lambda: np.nan),
    *(lambda: np.float32(0.5), lambda: np.int64(3), lambda: np.bool_(True), lambda: np.str_("a")),
    *(lambda: np.array(["a"]), lambda: np.zeros((2, 2)), lambda: np.array([None], object)),
    *(lambda: 1j, lambda: decimal.Decimal("0.5"), lambda: fractions.Fraction(1, 2)),
    *(lambda: decimal.Decimal("NaN"), lambda: datetime.date(2001, 1, 1), lambda: range(3)),
    *(set, lambda: {"a", "b"}, frozenset, lambda: {1: 2}, lambda: {None: None}, lambda: {(): []}),
    *(tuple, lambda: ("a", "b"), lambda: [1], lambda: ["a", 1], lambda: [[["a"]]], lambda: ...),
    *(lambda: Path("nothing"), Path, lambda: Path("x" * 300), lambda: Path("/dev/zero")),
    *(_make_loop, _make_mapping_loop, lambda: _Colour.RED, lambda: _Text("the"), lambda: 10**400),
    *(
        lambda: lt.Settings(),
        lambda: GENERATION,
        lambda: MODEL,
        lambda: TypeError("x"),
        lambda: type,
    ),
    *(lambda: {"epochs": 2}, lambda: {"training.epochs": 2}, lambda: {"training.epochs": object()}),
)


def draw_object(draw: Random) -> Any:
    """A value of any type."""
    if draw.random() < 0.4:
        return draw.choice(ODD_VALUES)
    return draw.choice(OBJECTS)()


def prepare(world: Path) -> MakeAttempt:
    """A run, loaded once."""
    run = make_run(world / "my").path
    model = lt.load(run, engine="numpy")
    makers: tuple[Callable[[Random], tuple[str, Callable[[], Any]]], ...] = (
        lambda draw: _load(draw, run),
        lambda draw: _generate(draw, model),
        lambda draw: _generate(draw, model),
        lambda draw: _generate(draw, model),
        lambda draw: _score(draw, model),
        _make_settings,
        _make_settings,
        _compare,
    )

    def make(draw: Random, place: Path) -> Attempt:
        what, call = draw.choice(makers)(draw)
        return Attempt(what[:3000], call)

    return make


def _load(draw: Random, run: Path) -> tuple[str, Callable[[], Any]]:
    if draw.random() < 0.3:
        engine = draw_object(draw)
        return f"load(run, engine={_show(engine)})", lambda: lt.load(run, engine=engine)
    path = draw_object(draw)
    return f"load({_show(path)})", lambda: lt.load(path)


def _generate(draw: Random, model: lt.Model) -> tuple[str, Callable[[], Any]]:
    """One to three wrong arguments beside right ones."""
    given: dict[str, Any] = {"length": draw.randint(1, LONGEST), "seed": 1}
    names = [*SCHEMAS, "prompt", "samples", "log_probabilities", "top_logprobs"]
    for name in draw.sample(names, draw.randint(1, 3)):
        is_setting = name in SCHEMAS and draw.random() < 0.3
        given[name] = draw_option(draw, name) if is_setting else draw_object(draw)
    if not isinstance(given["length"], int) or LONGEST < given["length"] < 2**53:
        given["length"] = draw.choice([given["length"], LONGEST])
        if isinstance(given["length"], (int, np.integer)) and LONGEST < given["length"] < 2**53:
            given["length"] = LONGEST
    samples = given.get("samples")
    if isinstance(samples, (int, np.integer)) and 8 < samples < 2**53:
        given["samples"] = 8
    if draw.random() < 0.2:
        streamed = {name: given[name] for name in given if name in SCHEMAS or name == "prompt"}
        return f"stream({_show(streamed)})", lambda: list(model.stream(**streamed))
    return f"generate({_show(given)})", lambda: model.generate(**given)


def _score(draw: Random, model: lt.Model) -> tuple[str, Callable[[], Any]]:
    text = draw_prompt(draw) if draw.random() < 0.2 else draw_object(draw)
    return f"score({_show(text)})", lambda: model.score(text)


def _make_settings(draw: Random) -> tuple[str, Callable[[], Any]]:
    """`Settings(...)`: sections as mappings, with wrong keys and values; or no sections at all."""
    given: dict[str, Any] = {}
    for section in draw.sample(SECTIONS, draw.randint(1, 3)):
        fields = list(lt.Settings.model_fields[section].annotation.model_fields)  # type: ignore[union-attr]
        keys = [
            *draw.sample(fields, draw.randint(1, 3)),
            *draw.choice([[], [], ["epoch"], [3], [""]]),
        ]
        values = {key: draw_object(draw) for key in keys}
        given[section] = values if draw.random() < 0.8 else draw_object(draw)
    if draw.random() < 0.1:
        given[draw.choice(["trainings", "", "Data", "model_config"])] = draw_object(draw)
    return f"Settings({_show(given)})", lambda: lt.Settings(**given)


def _compare(draw: Random) -> tuple[str, Callable[[], Any]]:
    a, b = draw_object(draw), draw_object(draw)
    if draw.random() < 0.5:
        a, b = [a], {"version": draw_object(draw), "stages": draw_object(draw)}
    return f"compare({_show(a)}, {_show(b)})", lambda: lt.compare(a, b)


def _show(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  of an object that was drawn
        return f"<{type(value).__name__}: {error}>"


def prepare_training(world: Path) -> MakeAttempt:
    """The calls that need TensorFlow, each with one wrong argument, mostly."""
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    run = make_run(world / "my").path
    text = world / "text.txt"
    text.write_text(ENGLISH)
    brief = {"max_steps": 2, **TRAINING.model_dump(include={"batch_size", "sequence_length"})}
    right: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "train": (
            lt.train,
            {
                **{"source": str(text), "run": "new", "tokenizer": {"level": "char"}},
                **{"model": MODEL.model_dump(), "training": brief, "show_progress": False},
                **{"minutes": None, "resume": False, "from_run": None, "settings": None},
                **{"extend_vocabulary": False, "data": None, "generation": None, "callbacks": ()},
            },
        ),
        "suggest": (
            lt.suggest,
            {"text": str(text), "minutes": 1.0, "settings": None, "show_progress": False},
        ),
        "evaluate": (
            lt.evaluate,
            {
                **{"run": run, "data": str(text), "split": None, "exact": False, "cache": False},
                **{"dynamic": False, "samples": 0, "settings": None, "show_progress": False},
            },
        ),
        "profile": (
            lt.profile,
            {"source": run, "overrides": (), "steps": 0, "grow": ["nothing"], "parallel": False},
        ),
    }

    def make(draw: Random, place: Path) -> Attempt:
        name = draw.choice([*right])
        function, arguments = right[name]
        wrong = draw.choice(sorted(arguments))
        given = {**arguments, wrong: draw_object(draw)}
        return Attempt(
            f"{name}({wrong}={_show(given[wrong])})"[:3000],
            lambda: function(**given),
            may_write=True,
        )

    return make
