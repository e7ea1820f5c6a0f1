"""Every argument of the Python interface, given what it cannot be."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import llm_timecycle as lt
from llm_timecycle.arguments import check_arguments, to_plain, write_received
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.errors import TimecycleError, UsageError
from llm_timecycle.model import tf_import
from tests.profiling.profiles import make_profile

ITSELF: list[object] = []
ITSELF.append(ITSELF)
VALUES: list[object] = [
    *(None, True, 5, -1, 10**400, -(10**5000), 3.5, float("nan"), float("inf"), 1j),
    *(b"x", object(), object, len, ITSELF, iter(()), range(10**9)),
    *([], [None], [b"x"], (), {}, {5: object()}, {"x": object()}, {"x"}),
    *(np.ones(2), np.array("x"), np.array(None), np.int64(5), np.float32("nan"), np.bool_(True)),
    *([np.ones(2)], {"x": np.ones(2)}),
]
"""Nothing that a text, a path or a list of them may be."""
TEXTS: list[object] = ["", "\0", "no\udc80text", "x", Path("x"), [""], ["x"], ["\0"], 5000 * "x"]
"""What the error about them names need not be the argument."""
RESULTS = (
    "Comparison",
    "EvaluationResult",
    "ExportResult",
    "GeneratedText",
    "ProfileResult",
    "Score",
)
RESULTS += ("TrainingResult",)
"""Classes whose values users get, and do not make."""


class Reached(Exception):  # noqa: N818
    """Nothing was found wrong before TensorFlow is imported, after which the work begins."""


class Call(NamedTuple):
    """A public function or method, and arguments that it takes."""

    function: Callable[..., Any]
    given: dict[str, Any]
    options: tuple[str, ...] = ()
    """What its `**options` may be."""


def take_all(stream: Callable[..., Iterator[str]]) -> Callable[..., str]:
    """The whole stream, with the signature of `stream`."""

    def take(**given: Any) -> str:
        return "".join(stream(**given))

    take.__signature__ = inspect.signature(stream)  # type: ignore[attr-defined]
    return take


@pytest.fixture(scope="module")
def calls() -> dict[str, Call]:
    model, profile = lt.load("demo", engine="numpy"), lt.ProfileResult(make_profile())
    options = tuple(GenerationSettings.model_fields)
    source = lt.Settings(data={"train": "sample-english"})
    quiet = {"show_progress": False}
    return {
        "Model": Call(lt.Model, {"run": model.run, "tokenizer": model.tokenizer, "engine": "auto"}),
        "Model.generate": Call(model.generate, {"length": 2}, options),
        "Model.score": Call(model.score, {"text": "One"}),
        "Model.stream": Call(take_all(model.stream), {"length": 2}, options),
        "ProfileResult.figure": Call(profile.figure, {"name": "cycle"}),
        "Settings": Call(lt.Settings, {}, tuple(lt.Settings.model_fields)),
        "compare": Call(lt.compare, {"a": profile, "b": profile}),
        "evaluate": Call(lt.evaluate, {"run": "demo", **quiet}),
        "export": Call(lt.export, {"run": "demo", "to": "keras"}),
        "load": Call(lt.load, {"path": "demo"}),
        "profile": Call(lt.profile, {"source": "demo", **quiet}),
        "runs": Call(lt.runs, {"directory": Path(__file__).parent}),
        "suggest": Call(lt.suggest, {"text": "sample-english", **quiet}),
        "train": Call(lt.train, {"source": source, "run": "new", **quiet}),
    }


def list_public() -> Iterator[str]:
    """The public functions, constructors and methods that take an argument."""
    for name in lt.__all__:
        found = getattr(lt, name)
        if callable(found) and name not in RESULTS:
            yield name
        for key, method in vars(found).items() if inspect.isclass(found) else ():
            is_public = inspect.isfunction(method) and not key.startswith("_")
            if is_public and len(inspect.signature(method).parameters) > 1:
                yield f"{name}.{key}"


def list_cases(calls: dict[str, Call], values: list[object]) -> Iterator[tuple[str, str, object]]:
    """Function, argument and value: every argument with every value."""
    for name, call in calls.items():
        for argument, each in inspect.signature(call.function).parameters.items():
            named = call.options if each.kind is each.VAR_KEYWORD else (argument,)
            yield from ((name, one, value) for one in named for value in values)


def find_error(call: Call, argument: str, value: object) -> Exception | None:
    """What ends the call with this argument; None where it works as far as it is tried."""
    try:
        call.function(**{**call.given, argument: value})
    except Reached:
        return None
    except Exception as error:  # noqa: BLE001
        return error
    return None


@pytest.fixture
def _before_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise Reached

    monkeypatch.setattr(tf_import, "import_tensorflow", stop)
    monkeypatch.chdir(tmp_path)


def test_every_public_function_is_tried(calls: dict[str, Call]) -> None:
    assert sorted(calls) == sorted(list_public())


@pytest.mark.usefixtures("_before_tensorflow")
def test_a_wrong_argument_is_named(calls: dict[str, Call]) -> None:
    refused: set[tuple[str, str]] = set()
    for name, argument, value in list_cases(calls, VALUES):
        error = find_error(calls[name], argument, value)
        case = f"{name}({argument}={write_received(value)}): {error!r}"
        assert error is None or isinstance(error, TimecycleError), case
        if error is not None:
            assert argument in str(error), case
            assert len(str(error)) < 600, case
            refused.add((name, argument))
    assert refused == {(name, argument) for name, argument, _ in list_cases(calls, [None])}


@pytest.mark.usefixtures("_before_tensorflow")
def test_odd_texts_work_or_are_refused(calls: dict[str, Call]) -> None:
    for name, argument, value in list_cases(calls, TEXTS):
        error = find_error(calls[name], argument, value)
        case = f"{name}({argument}={write_received(value)}): {error!r}"
        assert error is None or isinstance(error, TimecycleError), case


@pytest.mark.usefixtures("_before_tensorflow")
def test_the_calls_work_as_they_are(calls: dict[str, Call]) -> None:
    for name, call in calls.items():
        argument, value = next(iter(call.given.items()), ("data", {"train": "a.txt"}))
        assert find_error(call, argument, value) is None, name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lt.load(None), "path: received None; expected a path"),
        (lambda: lt.load("demo").score(5), "text: received 5; expected a text"),
        (
            lambda: lt.load("demo").generate(log_probabilities=np.ones(2)),
            "log_probabilities: received array([1., 1.]); expected True or False",
        ),
        (
            lambda: lt.load("demo").generate(samples=10**5000),
            "samples: received a number of too many digits; expected a whole number from 1 to "
            "1,000",
        ),
        (
            lambda: lt.load("demo").generate(temperature=float("nan")),
            "temperature: received nan; expected a number from 0 to 100",
        ),
        (
            lambda: lt.train(5),
            "source: received 5; expected a path, a list of paths or a Settings object",
        ),
        (
            lambda: lt.train("small", callbacks=[print]),
            "callbacks: received [<built-in function print>]; expected a list of Callback objects",
        ),
        (
            lambda: lt.evaluate("demo", settings="data.train=a"),
            "settings: received 'data.train=a'; expected a mapping of names to values or None",
        ),
        (
            lambda: lt.profile("demo", grow="T"),
            "grow: received 'T'; expected a list of texts (write ['T'])",
        ),
        (lambda: lt.compare(3, 4), "a: expected results of lt.profile, received 3."),
    ],
)
def test_the_message_says_what_was_expected(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_python_says_what_is_missing_or_unknown() -> None:
    with pytest.raises(TypeError, match=r"load\(\) missing 1 required positional argument: 'path'"):
        lt.load()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"load\(\) got an unexpected keyword argument 'egnine'"):
        lt.load("demo", egnine="numpy")  # type: ignore[call-arg]


def test_numbers_of_numpy_are_numbers() -> None:
    model = lt.load("demo", engine="numpy")
    (text,) = model.generate(
        samples=np.int64(1), length=np.uint8(2), log_probabilities=np.bool_(True)
    )
    assert len(text.ids) == 2
    assert text.log_probabilities is not None
    settings = lt.Settings(training={"epochs": np.int32(3)}, generation={"stop": ("a",)})
    assert type(settings.training.epochs) is int
    assert settings.generation.stop == ["a"]


def test_a_class_is_known_once_its_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Callback: ...

    @check_arguments
    def use(callbacks: Sequence[some_module.Callback] = ()) -> int:  # type: ignore[name-defined]  # noqa: F821
        return len(callbacks)

    given = [Callback()]
    with pytest.raises(UsageError, match=r"callbacks: received .*; expected a list of Callback"):
        use(given)
    assert use([]) == 0
    module = SimpleNamespace(Callback=Callback)
    monkeypatch.setitem(sys.modules, "some_module", module)  # type: ignore[arg-type]
    assert use(given) == 1


def test_a_list_that_holds_itself_ends() -> None:
    assert "None" in str(to_plain(ITSELF))
    assert len(write_received(ITSELF)) < 100
