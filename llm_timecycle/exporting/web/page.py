"""The page: one HTML file with everything in it, which forbids itself the network.

`page/` is what a person sees and works with, `worker/` the thread that writes: both are JavaScript
modules, joined by `modules`. The policy of the page allows its own style and script by their hashes
and the worker, which is made from a text in the page, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_timecycle.errors import UsageError
from llm_timecycle.exporting.source import Source, load_source
from llm_timecycle.exporting.web.model_data import (
    describe_network,
    describe_others,
    describe_sampling,
    describe_tokenizer,
    list_left_out,
)
from llm_timecycle.exporting.web.modules import FOLDER, PART_BYTES_AT_MOST, join_modules
from llm_timecycle.exporting.web.read_back import read_page
from llm_timecycle.exporting.web.weights import Precision, check_precision, pack_weights
from llm_timecycle.files import read_regular, write_durably
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.runs.directory import Run

FILE_NAME = "index.html"
LONGEST_TEXT = 500_000_000
"""Characters of base64: browsers hold texts of 512 Mi characters or so."""


@dataclass(frozen=True)
class PageFacts:
    """What became of a model."""

    size_bytes: int
    """The whole file."""
    parameters: int
    """Weights of the model."""
    precision: Precision
    """How they are stored."""
    left_out: tuple[str, ...]
    """Settings of `generation` that change what `generate` writes, and not what the page writes."""


def write(source: Source, staging: Path, precision: str) -> PageFacts:
    """Write `index.html` into a folder.

    Args:
        source: the model.
        staging: an existing folder.
        precision: float16, int8 or float32.

    Raises:
        UsageError: the precision is another one or does not hold the weights, the model is too
            large for a page, or a setting of the run names a token that there is not.
        OSError: the file cannot be written.
    """
    chosen = check_precision(precision)
    page, facts = make_page(source, chosen)
    write_durably(staging / FILE_NAME, page)
    return facts


def write_page(run: Run, output: Path, precision: Precision = "float16") -> PageFacts:
    """Write a run as a page to the file `output`; see `write`.

    Raises:
        RunError: the run has no weights, or is damaged.
    """
    page, facts = make_page(load_source(run), check_precision(precision))
    write_durably(output, page)
    return facts


def open_reader(directory: Path, source: Source) -> Callable[[int], np.ndarray]:
    """What `write` put into a folder, at the start of a text: reads a token, gives the logits (V,).

    The weights are those in the page, and the engine is the program's own: what is found out is
    what their precision costs. That the page computes the same is a law of the tests.
    """
    engine = NumpyEngine(read_page(directory / FILE_NAME), source.run.settings.model)
    return lambda token: engine.step(np.array([token]))[0]


def make_page(source: Source, precision: Precision) -> tuple[bytes, PageFacts]:
    """The page and what became of the model; raises as `write` does, before any text is made."""
    settings = source.run.settings
    shapes, packed = pack_weights(source.weights, precision)
    characters = 4 * -(-len(packed) // 3)
    if characters > LONGEST_TEXT:
        smaller = {"float32": "float16 or int8", "float16": "int8"}.get(precision)
        advice = f"choose the precision {smaller}, or " if smaller else ""
        raise UsageError(
            f"the weights would be {characters / 1e6:,.0f} MB of the page, and browsers read at "
            f"most {LONGEST_TEXT / 1e6:,.0f} MB; {advice}export another format"
        )
    parameters = sum(weight.size for weight in source.weights.values())
    model = {
        "name": _show_name(source.run),
        "parameters": parameters,
        "precision": precision,
        "tensors": shapes,
        "network": describe_network(settings),
        "tokenizer": describe_tokenizer(source.tokenizer),
        "sampling": describe_sampling(settings.generation, source.tokenizer),
        "others": describe_others(settings.generation),
    }
    page = _render(model, base64.b64encode(packed).decode())
    left_out = list_left_out(settings.generation)
    return page, PageFacts(len(page), parameters, precision, left_out)


def _render(model: Mapping[str, object], weights: str) -> bytes:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = read_regular(FOLDER / "page" / "page.css", PART_BYTES_AT_MOST).decode()
    script = join_modules("page", "main.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        f"worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    template = read_regular(FOLDER / "page" / "page.html.j2", PART_BYTES_AT_MOST).decode()

    def render(size_bytes: int, weights: str) -> bytes:
        page = environment.from_string(template).render(
            policy=policy,
            name=model["name"],
            style=Markup(style),
            script=Markup(script),
            worker=Markup(join_modules("worker", "worker.js")),
            model=Markup(write_json({**model, "bytes": size_bytes})),
            weights=weights,
        )
        return page.encode()

    # The page tells its own size, whose digits are part of it.
    rest = len(render(0, "")) - 1 + len(weights)
    size_bytes = next(rest + n for n in range(1, 20) if len(str(rest + n)) == n)
    return render(size_bytes, weights)


def _show_name(run: Run) -> str:
    """The name of the run directory; the path before it is nobody else's business."""
    return run.path.resolve().name.encode("utf-8", "replace").decode()


def write_json(values: object) -> str:
    r"""JSON that may be in a script element: no `<` can end it or begin a comment.

    >>> write_json({"a": "</script>"})
    '{"a":"\\u003c/script>"}'
    """
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
