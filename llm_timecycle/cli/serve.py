"""`llm-timecycle serve`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from llm_timecycle.cli.options import HELP
from llm_timecycle.errors import TimecycleError, UsageError
from llm_timecycle.serving.completions.request import Limits
from llm_timecycle.serving.models import open_models
from llm_timecycle.serving.service import Service, ServiceLimits

if TYPE_CHECKING:
    from llm_timecycle.serving.app import Access

ENVIRONMENT = "LLM_TIMECYCLE_SERVE"
PACKAGES = ("starlette", "uvicorn")
Function = TypeVar("Function", bound=Callable[..., object])


def option(*names: str, **kinds: Any) -> Callable[[Function], Function]:
    """An option whose help names its default and its environment variable."""
    return click.option(*names, show_envvar=True, **kinds)


def whole(name: str, least: int, default: int, help: str) -> Callable[[Function], Function]:
    """An option for a whole number."""
    return option(
        name,
        type=click.IntRange(least),
        default=default,
        show_default=True,
        metavar="N",
        help=help,
    )


@click.command("serve", context_settings={**HELP, "auto_envvar_prefix": ENVIRONMENT})
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address to listen on. 0.0.0.0 lets other machines in: set --api-key then.",
)
@option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    metavar="N",
    help="The port to listen on; 0 takes a free one.",
)
@option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="A name that requests may give the server, beside localhost and addresses; * allows all. "
    "Repeatable.",
)
@option(
    "--cors-origin",
    multiple=True,
    metavar="ORIGIN",
    help="An origin, such as https://example.org, whose pages may use the server; * allows all. "
    "Repeatable.",
)
@option("--api-key", metavar="KEY", help="A key that requests must give as Authorization: Bearer.")
@option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that holds the key, on its first line.",
)
@option("--page/--no-page", default=True, show_default=True, help="Serve the page to write with.")
@option("--metrics", is_flag=True, help="Answer /metrics for Prometheus.")
@whole("--max-batch", 1, 32, "Texts that are written at once.")
@whole("--max-queue", 1, 256, "Requests that may wait; more get a 429.")
@whole("--max-tokens", 1, 4096, "The largest max_tokens of a request.")
@whole("--max-prompt-tokens", 1, 100_000, "The longest prompt.")
@whole("--max-body-bytes", 1000, 4_000_000, "The largest body of a request.")
@whole("--timeout", 1, 600, "Seconds that one request may take.")
@whole("--drain", 1, 60, "Seconds that SIGTERM waits for requests that are being answered.")
def command(runs: tuple[Path, ...], **options: Any) -> None:
    """Serve trained models over HTTP: completions, log-probabilities, and a page to write with.

    Each RUN is a run directory, or a model that comes with the program: demo (English) or demo-zh
    (Chinese). Requests choose one by its name; the first is the default.

    The endpoints are those of the OpenAI completions API; GET /openapi.json describes them all.

    \b
    llm-timecycle serve demo
    llm-timecycle serve runs/my runs/other --port 9000
    llm-timecycle serve runs/my --host 0.0.0.0 --api-key-file key.txt
    """
    _check_packages(has_metrics=options["metrics"])
    from llm_timecycle.serving.app import PAGE, make_app
    from llm_timecycle.serving.server import Server, bind_socket

    access = _read_access(options)
    models = open_models(runs)
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
    app = make_app(service, access, statistics=statistics, page=page)
    address = _write_address(options["host"], listener.getsockname()[1])

    def announce() -> None:
        click.echo(f"Serving {', '.join(models)} at {address}; Ctrl-C stops.", err=True)

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

    key, file = options["api_key"], options["api_key_file"]
    if key is not None and file is not None:
        raise UsageError("--api-key and --api-key-file: received both; expected one of them")
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file: cannot read {file}: {error}") from error
        key = lines[0].strip() if lines else ""
    if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
        raise UsageError("--api-key: expected printable ASCII characters, at least one")
    names = options["allowed_host"]
    return Access((*names, options["host"]), options["cors_origin"], key)


def _read_limits(options: dict[str, Any]) -> ServiceLimits:

    return ServiceLimits(
        Limits(options["max_tokens"], options["max_prompt_tokens"]),
        max_batch=options["max_batch"],
        max_queue=options["max_queue"],
        max_body_bytes=options["max_body_bytes"],
        timeout_s=options["timeout"],
    )


def _write_address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
