"""`llm-timecycle serve`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llm_timecycle.cli.options import HELP, PathName
from llm_timecycle.errors import TimecycleError, UsageError
from llm_timecycle.serving.chat.templates import TEMPLATES, ChatTemplate, check_template
from llm_timecycle.serving.completions.request import Limits
from llm_timecycle.serving.completions.sampling import list_not_served
from llm_timecycle.serving.models import ServedModel, open_models
from llm_timecycle.serving.service import Service, ServiceLimits
from llm_timecycle.text.files.streams import read_given

if TYPE_CHECKING:
    from llm_timecycle.serving.app import Access

ENVIRONMENT = "LLM_TIMECYCLE_SERVE"
MOST = 1_000_000_000
PACKAGES = ("starlette", "uvicorn")
Function = TypeVar("Function", bound=Callable[..., object])


def whole(
    name: str, least: int, default: int, help: str, metavar: str = "N"
) -> Callable[[Function], Function]:
    """An option for a whole number."""
    return click.option(
        name,
        type=click.IntRange(least, MOST),
        default=default,
        show_default=True,
        metavar=metavar,
        help=help,
    )


@click.command("serve", context_settings={**HELP, "auto_envvar_prefix": ENVIRONMENT})
@click.argument("runs", nargs=-1, required=True, type=PathName(), metavar="RUN...")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on. 0.0.0.0 lets other machines in: set an API key then.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="Another name by which requests may call the server; localhost and addresses are always "
    "allowed. * allows all. Repeatable.",
)
@click.option(
    "--cors-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose web pages may use the server, such as https://example.org. * allows all. "
    "Repeatable.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    help="Key that requests must send as Authorization: Bearer KEY. Other users of the machine see "
    "it in the list of processes: better give it in a file or the environment.",
)
@click.option(
    "--api-key-file",
    type=PathName(),
    metavar="FILE",
    help="File with the key on its first line.",
)
@click.option(
    "--chat-template",
    type=click.Choice(list(TEMPLATES)),
    help="For runs trained on dialogues: also answer /v1/chat/completions. Turns begin with User: "
    "or Assistant: (names), or each turn is a line (lines).",
)
@click.option(
    "--page/--no-page", default=True, show_default=True, help="Serve the page to write with."
)
@click.option("--metrics", is_flag=True, help="Answer /metrics for Prometheus.")
@whole("--max-batch", 1, 32, "Most texts written at the same time; others wait.")
@whole("--max-queue", 1, 256, "Most requests that wait; further ones get status 429.")
@whole("--max-tokens", 1, 4096, "Largest max_tokens of a request.")
@whole("--max-prompt-tokens", 1, 100_000, "Longest prompt, in tokens.")
@whole("--max-body-bytes", 1000, 4_000_000, "Largest request, in bytes.")
@whole("--timeout", 1, 600, "Longest time for one request.", "SECONDS")
@whole("--drain", 1, 60, "How long SIGTERM lets requests finish.", "SECONDS")
def command(runs: tuple[Path, ...], **options: Any) -> None:
    """Serve trained models over HTTP: completions, log-probabilities, and a page to write with.

    Each RUN is a run directory, or a model that comes with the program: demo (English) or demo-zh
    (Chinese). Requests choose one by its name; the first is the default.

    The page is at the address that the command prints. Programs use it as they use the OpenAI
    completions API, with that address and /v1 as base URL; GET /openapi.json describes every field.

    Options can also come from the environment: --max-batch from LLM_TIMECYCLE_SERVE_MAX_BATCH, and
    so on.

    \b
    pip install "llm-timecycle[serve]"    # once: the packages that it needs
    llm-timecycle serve demo
    llm-timecycle serve runs/my runs/other --port 9000
    llm-timecycle serve runs/my --host 0.0.0.0 --api-key-file key.txt
    """
    _check_packages(has_metrics=options["metrics"])
    from llm_timecycle.serving.app import PAGE, make_app
    from llm_timecycle.serving.server import Server, bind_socket

    access = _read_access(options)
    models = open_models(runs)
    template = _choose_template(options["chat_template"], models)
    failures: list[TimecycleError] = []

    def fail(error: TimecycleError) -> None:
        failures.append(error)
        server.end()

    service = Service(models, _read_limits(options), on_failure=fail)
    statistics = None
    if options["metrics"]:
        from llm_timecycle.serving.statistics import Statistics

        statistics = Statistics(lambda: service.running, lambda: service.waiting)
        service.note = statistics.note
    listener = bind_socket(options["host"], options["port"])
    page = PAGE if options["page"] and (PAGE / "index.html").exists() else None
    app = make_app(service, access, statistics=statistics, page=page, chat_template=template)
    address = _write_address(options["host"], listener.getsockname()[1])

    def announce() -> None:
        click.echo(f"Serving {', '.join(models)} at {address}; Ctrl-C stops.", err=True)
        for warning in _list_warnings(options["host"], access, service):
            click.echo(f"Warning: {warning}", err=True)

    server = Server(app, service, options["drain"], announce)
    try:
        server.run(sockets=[listener])
    finally:
        service.stop()
        service.join(1.0)
    if failures:
        raise failures[0]


def _check_packages(*, has_metrics: bool) -> None:
    needed = (*PACKAGES, "prometheus_client") if has_metrics else PACKAGES
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serving needs {' and '.join(missing)}: install with\n"
            f'pip install "llm-timecycle[serve]"'
        )


def _read_access(options: dict[str, Any]) -> Access:
    from llm_timecycle.serving.app import Access

    names = options["allowed_host"]
    return Access((*names, options["host"]), options["cors_origin"], _read_key(options))


def _read_key(options: dict[str, Any]) -> str | None:
    key: str | None = options["api_key"]
    file: Path | None = options["api_key_file"]
    source = "--api-key"
    if key is not None and file is not None:
        raise UsageError("--api-key and --api-key-file: received both; expected one of them")
    for variable in (f"{ENVIRONMENT}_API_KEY", f"{ENVIRONMENT}_API_KEY_FILE"):
        if key is None and file is None and os.environ.get(variable) == "":
            raise UsageError(f"{variable} is empty: give it a value, or unset it to need no key")
    if file is not None:
        source = f"--api-key-file {file}"
        try:
            lines = read_given(file).decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise UsageError(f"{source}: cannot read it: {reason}") from error
        key = lines[0].strip() if lines else ""
    if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
        found = "nothing" if not key.strip() else "other characters"
        raise UsageError(f"{source}: expected a key of printable ASCII characters, found {found}")
    return key


def _choose_template(name: str | None, models: Mapping[str, ServedModel]) -> ChatTemplate | None:
    if name is None:
        return None
    template = TEMPLATES[name]
    for model in models.values():
        check_template(template, model.tokenizer, model.name)
    return template


def _list_warnings(host: str, access: Access, service: Service) -> Iterator[str]:
    """What the one who starts the server should know."""
    if access.api_key is None and not _is_loopback(host):
        yield (
            "no API key is set, so everyone who reaches this address can use the server; "
            "--api-key-file sets one"
        )
    for model in service.models.values():
        if ignored := list_not_served(model.generation, service.limits.request.max_tokens):
            named = " and ".join(f"{name}: {value}" for name, value in ignored.items())
            yield (
                f"the settings of {model.run.name} have {named}, which generate follows and the "
                f"server does not"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_limits(options: dict[str, Any]) -> ServiceLimits:
    return ServiceLimits(
        Limits(options["max_tokens"], options["max_prompt_tokens"]),
        max_batch=options["max_batch"],
        max_queue=options["max_queue"],
        max_body_bytes=options["max_body_bytes"],
        timeout_s=options["timeout"],
    )


def _write_address(host: str, port: int) -> str:
    """The address to open on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
