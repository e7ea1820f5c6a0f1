"""The options of a training on several machines."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import replace
from shlex import quote
from typing import TypeVar

import click

from llm_timecycle.config.locate import names_text
from llm_timecycle.distributed.cluster import (
    HELLO_S,
    SETTINGS_NEEDED,
    STALL_S,
    Cluster,
    find_cluster,
)
from llm_timecycle.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., object])

LONGEST_S = 24 * 3600.0


def worker_options(function: Function) -> Function:
    """Give a command the options that `read_cluster` takes."""
    for option in (
        click.option(
            "--stall-timeout",
            "stall_s",
            type=click.FloatRange(1, LONGEST_S),
            default=STALL_S,
            show_default=True,
            metavar="SECONDS",
            help="With --workers, how long a worker waits without progress before it gives up. A "
            "step may always take 20 times as long as usual.",
        ),
        click.option(
            "--hello-timeout",
            "hello_s",
            type=click.FloatRange(1, LONGEST_S),
            default=HELLO_S,
            show_default=True,
            metavar="SECONDS",
            help="With --workers, how long workers wait for each other at the start.",
        ),
        click.option(
            "--worker-index",
            type=int,
            metavar="I",
            help="With --workers, which of them this one is, from 0. The first one writes the run.",
        ),
        click.option(
            "--workers",
            metavar="HOST:PORT,...",
            help="Train on several machines: the addresses of all workers. Start this command once "
            "for each, with the same list.",
        ),
    ):
        function = option(function)
    return function


def read_cluster(
    config: str,
    resume: bool,
    workers: str | None,
    worker_index: int | None,
    hello_s: float,
    stall_s: float,
) -> Cluster | None:
    """The workers to train with, if there are several; those beside the first log warnings only."""
    try:
        cluster = find_cluster(workers, worker_index, os.environ)
    except UsageError as error:
        # Arguments are named at the start of the message, and before a colon.
        message = re.sub(r"^worker(s|_index)\b|\bworker(s|_index)(?=:)", _name_option, str(error))
        raise UsageError(message) from error
    if cluster is None:
        return None
    if names_text(config) and not resume:
        raise UsageError(
            f"{SETTINGS_NEEDED}. Write it with: llm-timecycle config suggest {quote(config)}"
        )
    if not cluster.is_chief:
        logging.getLogger("llm_timecycle").setLevel(logging.WARNING)
    return replace(cluster, hello_s=hello_s, stall_s=stall_s)


def _name_option(argument: re.Match[str]) -> str:
    return f"--{argument[0].replace('_', '-')}"
