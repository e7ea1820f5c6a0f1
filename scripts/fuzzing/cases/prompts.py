"""Prompts and options of `generate`: as a command, from Python, and as files of prompts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.commands import Printed, call_command
from fuzzing.kinds import MakeAttempt
from fuzzing.laws import Attempt, Wrong
from fuzzing.mutations import ODD_TEXTS, ODD_VALUES, draw_text, mutate_bytes
from fuzzing.places import feed_pipe, replace_path
from fuzzing.small_runs import CHINESE, ENGLISH, make_run

from llm_timecycle.config.json_schema import list_key_schemas
from llm_timecycle.generation.api import Model, load

SCHEMAS = list_key_schemas("generation")
TOKENS = ("the", " the", "<unk>", "<eos>", "\n", "a", "fox", "石", "\\n", "\\xe4", ".", "Ġthe")
COMMANDS = (
    *(
        "/help",
        "/length 3",
        "/length 0",
        f"/length -{'9' * 400}",
        "/temperature nan",
        "/",
        "//",
        "/x",
    ),
    *(
        "/seed 5",
        "/seed",
        "/ban the",
        "/ban",
        "/stop a",
        "/beams 3",
        "/bias the=5",
        "/bias",
        "/retry",
    ),
    *(
        "/more",
        "/reset",
        "/quit",
        "/set",
        "/settings",
        "/top_k 2",
        "/top-k 2",
        "/samples 3",
        "\x03",
    ),
)
LONGEST = 24
"""Tokens that a text may have: longer ones are right, and take as long as they take."""


def prepare(world: Path) -> MakeAttempt:
    """A run of every level, loaded once."""
    models = []
    for level, documents, text in (
        ("char", "line", ENGLISH),
        ("word", "file", ENGLISH),
        ("unicode", "file", CHINESE),
        ("subword", "line", ENGLISH),
        ("byte", "file", CHINESE),
    ):
        run = make_run(world / level, level, documents, text)
        models.append(load(run.path, engine="numpy"))

    def make(draw: Random, place: Path) -> Attempt:
        model = draw.choice(models)
        prompt = draw_prompt(draw)
        options = draw_options(draw)
        way = draw.choice([_call_python, _call_python, _call_command, _call_command, _read_prompts])
        what, call, check = way(draw, model, prompt, options)
        return Attempt(f"{model.run.path.name}: {what}"[:3000], call, check, kept=())

    return make


def draw_prompt(draw: Random) -> str:
    """A prompt, now and then a long one."""
    if draw.random() < 0.3:
        return draw.choice(["", "The fox", "The fox saw a", "从前", "\n", "The\nfox\n\n"])
    text = draw_text(draw)
    return text * draw.choice([1, 1, 1, 100]) if len(text) < 100 else text


def draw_options(draw: Random) -> dict[str, Any]:
    """Settings of `generation`, most of them right."""
    given: dict[str, Any] = {"length": draw.randint(1, LONGEST), "seed": draw.randint(0, 99)}
    for _ in range(draw.choice([0, 1, 1, 2, 3, 5])):
        name = draw.choice([*SCHEMAS])
        given[name] = draw_option(draw, name)
    if draw.random() < 0.02:
        given[draw.choice(["lenght", "", "model", "top-k", "__class__", "self2"])] = 1
    length = given["length"]
    if isinstance(length, (int, float)) and LONGEST < length < 2**53:
        given["length"] = LONGEST
    return given


def draw_option(draw: Random, name: str) -> Any:
    """A value of a setting: in its range, at its ends, or an odd one."""
    schema = SCHEMAS[name]
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind["type"] != "null"]
    kind = kinds[0]
    if draw.random() < 0.15:
        return draw.choice(ODD_VALUES)
    if kind["type"] == "boolean":
        return draw.random() < 0.5
    if kind["type"] in ("integer", "number"):
        low = kind.get("minimum", kind.get("exclusiveMinimum", 0))
        high = min(kind.get("maximum", kind.get("exclusiveMaximum", 100)), 10**6)
        drawn = [low, high, low + 1, draw.uniform(low, high), draw.uniform(low, min(high, 2.0))]
        drawn.append(kind.get("default", 1) or 1)
        value = draw.choice(drawn)
        return int(value) if kind["type"] == "integer" else float(value)
    texts = [draw.choice([*TOKENS, *ODD_TEXTS[:50]]) for _ in range(draw.choice([0, 1, 2, 9]))]
    if kind["type"] == "object":
        return {text: draw.choice([-1000.0, -5.0, 0.0, 5, 1000.0, 1001.0]) for text in texts}
    return texts


Ways = tuple[str, Callable[[], Any], Callable[[Any], None]]


def _call_python(draw: Random, model: Model, prompt: str, options: dict[str, Any]) -> Ways:
    """`Model.generate`, `stream` and `score`."""
    samples = draw.choice([None, None, 1, 2, 3, *ODD_VALUES[:12]])
    if isinstance(samples, int) and samples > 8:
        samples = 8
    ranked = draw.choice([0, 0, 0, 1, 3, 5, -1, 10**6])
    is_scored = draw.random() < 0.2
    is_streamed = not is_scored and draw.random() < 0.2

    def call() -> Any:
        if is_scored:
            return [model.score(prompt) for _ in range(2)]
        if is_streamed:
            whole = model.generate(prompt, **options)
            return [whole.text, "".join(model.stream(prompt, **options))]
        given = {"samples": samples, "top_logprobs": ranked, **options}
        return [model.generate(prompt, log_probabilities=True, **given) for _ in range(2)]

    def check(found: Any) -> None:
        if options.get("seed") is not None and found[0] != found[1]:
            raise Wrong("the same call gives something else")
        if not is_scored and not is_streamed:
            texts = found[0] if isinstance(found[0], list) else [found[0]]
            for text in texts:
                check_text(text, model, options)

    method = "score" if is_scored else "stream" if is_streamed else "generate"
    return f"{method}({prompt!r}, {samples=}, {ranked=}, {options!r})", call, check


def check_text(text: Any, model: Model, options: dict[str, Any]) -> None:
    """A text is as long as allowed, has no banned token, and ends before a stop sequence."""
    if not 1 <= len(text.ids) <= options["length"]:
        raise Wrong(f"{len(text.ids)} tokens, asked for were {options['length']}")
    if 0 in text.ids and not options.get("allow_unknown"):
        raise Wrong("<unk> was generated")
    if any(stop in text.text for stop in options.get("stop") or []):
        raise Wrong("a stop sequence is in the text")
    if not all(math.isfinite(each) and each <= 1e-6 for each in text.log_probabilities):
        raise Wrong(f"log-probabilities {text.log_probabilities}")
    for banned in options.get("ban") or []:
        ids = model.tokenizer.encode(banned).tolist()
        if len(ids) == 1 and ids[0] != 0 and ids[0] in text.ids:
            raise Wrong(f"{banned!r} was banned, and generated")
    n = options.get("no_repeat_ngram") or 0
    grams = [text.ids[at : at + n] for at in range(len(text.ids) - n + 1)]
    if n > 0 and options.get("beams", 1) == 1 and len(set(grams)) < len(grams):
        raise Wrong(f"{n} tokens are repeated")


def _write_arguments(draw: Random, options: dict[str, Any]) -> list[str]:
    """Options as a shell would hand them over; without NUL, which no shell can."""
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, dict):
            words += [word for key, each in value.items() for word in (option, f"{key}={each}")]
        elif isinstance(value, list):
            words += [word for each in value for word in (option, str(each))]
        elif isinstance(value, bool):
            words += [option] if value else []
        elif value is not None:
            words += [option, str(value)]
    if draw.random() < 0.2:
        words += draw.choice([["--json"], ["--no-stream"], ["--stream"], ["--samples", "3"]])
    if draw.random() < 0.1:
        digits = draw.choice(["-1", "0", "9" * 400, "1e3", "x", "", "２", "1_0", "nan"])
        words += [draw.choice(["--length", "--samples", "--seed", "--top-logprobs"]), digits]
    return [word.replace("\0", "").encode("utf-8", "replace").decode() for word in words]


def _call_command(draw: Random, model: Model, prompt: str, options: dict[str, Any]) -> Ways:
    """`llm-timecycle generate`, the prompt as an option, from a file, or from standard input."""
    words = ["generate", str(model.run.path), "--engine", "numpy"]
    words += _write_arguments(draw, options)
    content = prompt.encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:
        content, _ = mutate_bytes(draw, content)
    way = draw.choice(["--prompt", "--prompt-file", "-", "--interactive"])
    if way == "--prompt":
        words += ["--prompt", prompt.replace("\0", "").encode("utf-8", "replace").decode()]
    elif way == "--prompt-file":
        file = Path("prompt.txt")
        file.write_bytes(content)
        if draw.random() < 0.1 and replace_path(draw, file, file) == "a pipe":
            feed_pipe(file, content)
        words += ["--prompt-file", str(file)]
    elif way == "-":
        words += ["--prompt-file", "-"]
    else:
        words += ["--interactive"]
        typed = [draw.choice([*COMMANDS, prompt.partition("\n")[0][:80]]) for _ in range(4)]
        content = "\n".join(typed).encode("utf-8", "surrogatepass")
    what = f"{' '.join(map(repr, words[2:]))} < {content[:80]!r}"
    return what, lambda: call_command(words, content), _check_printed


def _check_printed(printed: Printed) -> None:
    if "Traceback" in printed.errors or "internal error" in printed.errors:
        raise Wrong(printed.errors)


def _read_prompts(draw: Random, model: Model, prompt: str, options: dict[str, Any]) -> Ways:
    """`generate --prompts FILE --output FILE`, twice: the second time, there is nothing to do."""
    lines = []
    for number in range(draw.choice([0, 1, 2, 6])):
        value: Any = {"prompt": prompt, "id": number, **draw_options(draw)}
        if draw.random() < 0.3:
            value = draw.choice([prompt, {"prompt": prompt}, *ODD_VALUES[:60], {"prompt": 3}])
        lines.append(json.dumps(value))
    if draw.random() < 0.1:
        lines.append(draw.choice(["[" * 100_000, "9" * 5000, '{"prompt": "a"', "\ufeff", "NaN"]))
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:
        content, _ = mutate_bytes(draw, content)
    Path("prompts.jsonl").write_bytes(content)
    file = Path("prompts.jsonl")
    if draw.random() < 0.05 and replace_path(draw, file, Path("other")) == "a pipe":
        feed_pipe(file, content)
    if draw.random() < 0.1:
        replace_path(draw, Path("texts.jsonl"), Path("prompts.jsonl"))
    words = ["generate", str(model.run.path), "--engine", "numpy", *_write_arguments(draw, options)]
    words += ["--prompts", "prompts.jsonl", "--output", "texts.jsonl"]

    def call() -> list[bytes]:
        found = []
        for _ in range(2):
            call_command(words)
            found.append(Path("texts.jsonl").read_bytes())
        return found

    def check(found: list[bytes]) -> None:
        if found[0] != found[1]:
            raise Wrong("the same command, called again, has changed its texts")
        texts = [json.loads(line) for line in found[0].decode().splitlines()]
        if not texts:
            raise Wrong("no text was written")

    return f"prompts {content[:300]!r} {options!r}", call, check
