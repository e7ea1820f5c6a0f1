"""The command line of `serve`: options from the environment, and what a user lacks."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llm_timecycle.cli import serve
from llm_timecycle.runs.directory import Run

OPTIONS = [param for param in serve.command.params if isinstance(param, click.Option)]
VALUES = {
    "allowed_host": ("writer.lan other.lan", ("writer.lan", "other.lan")),
    "cors_origin": ("https://example.org", ("https://example.org",)),
    "api_key_file": ("key.txt", Path("key.txt")),
    "host": ("::1", "::1"),
    "api_key": ("sesame", "sesame"),
    "chat_template": ("lines", "lines"),
    "page": ("0", False),
    "metrics": ("1", True),
}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_can_come_from_the_environment(
    option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, expected = VALUES.get(str(option.name), ("7777", 7777))
    monkeypatch.setenv(f"{serve.ENVIRONMENT}_{str(option.name).upper()}", given)
    context = serve.command.make_context("serve", ["runs/my"])
    assert context.params[str(option.name)] == expected


@pytest.mark.parametrize("option", ["--max-batch", "--timeout", "--drain", "--max-body-bytes"])
def test_a_number_beyond_all_use_is_a_mistake_of_usage(option: str) -> None:
    for digits in ("9" * 400, "9" * 5000):
        result = CliRunner().invoke(serve.command, ["runs/my", option, digits])
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.output


def test_help_fits_the_terminal_and_hides_nothing() -> None:
    printed = CliRunner().invoke(serve.command, ["--help"], terminal_width=80).output
    assert max(map(len, printed.splitlines())) <= 80
    for option in OPTIONS:
        assert option.opts[0] in printed


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "prometheus_client"])
def test_without_the_extra_there_is_the_command_that_installs_it(
    runs: dict[str, Run], package: str
) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from llm_timecycle.cli.main import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "serve", str(runs["char"].path), "--metrics"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert f"serving needs {package}" in ended.stderr
    assert 'pip install "llm-timecycle[serve]"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_by_default_only_this_machine_reaches_the_server() -> None:
    (host,) = (option for option in OPTIONS if option.name == "host")
    assert ipaddress.ip_address(host.default).is_loopback
