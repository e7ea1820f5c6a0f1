"""The wheel as a user has it: installed into a fresh environment, used away from the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

from release import (
    CheckFailed,
    Release,
    clean_environment,
    make_environment,
    run,
    run_pip,
)

EXTRAS = "serve,tensorboard"
ADVICE = 'pip install "llm-timecycle[serve]"'
TRAINING = ("--set", "training.max_steps=3", "--set", "data.valid_fraction=0.005")
LOADING_S = 60
ADDRESS = re.compile(r"http://\S+(?=;)")


def install_wheel(release: Release) -> str:
    """Install the wheel without extras, and see that the program is that of the wheel."""
    make_environment(release, release.user)
    run_pip(release, release.user, "install", "--quiet", release.wheel)
    run_pip(release, release.user, "check")
    release.elsewhere.mkdir()
    (release.place / "home").mkdir()
    code = "import llm_timecycle; print(llm_timecycle.__file__)"
    place = _use(release, "python", "-c", code).stdout.strip()
    if not Path(place).is_relative_to(release.user):
        raise CheckFailed(f"the program that is used is {place}, and not that of the wheel")
    return "the wheel is installed into a fresh environment, where all that it needs is consistent"


def check_version(release: Release) -> str:
    """Ask the command for its version."""
    return "--version: " + _expect(
        f"llm-timecycle, version {release.version}",
        _use(release, "llm-timecycle", "--version").stdout,
    )


def check_module(release: Release) -> str:
    """Start the program as a module."""
    _expect("Usage: llm-timecycle", _use(release, "python", "-m", "llm_timecycle", "--help").stdout)
    return "python -m llm_timecycle: starts"


def check_settings(release: Release) -> str:
    """Write a settings file, and check it."""
    _use(release, "llm-timecycle", "config", "new", "my.yaml")
    _use(release, "llm-timecycle", "config", "check", "my.yaml")
    _use(release, "llm-timecycle", "config", "check", "small")
    return "config: a new settings file and a shipped one are right"


def check_shipped_run(release: Release) -> str:
    """Let a model that comes with the program write."""
    before = set(release.elsewhere.iterdir())
    for name, prompt in (("demo", "One morning"), ("demo-zh", "有一天")):
        words = ("--prompt", prompt, "--seed", "2")  # some draws end after a sentence
        text = _use(release, "llm-timecycle", "generate", name, *words).stdout
        if len(_expect(prompt, text)) < len(prompt) + 20:
            raise CheckFailed(f"generate {name}: expected a text that goes on, found {text!r}")
    if after := set(release.elsewhere.iterdir()) - before:
        raise CheckFailed(f"generate has left {', '.join(map(str, after))}")
    return "generate: both models that come with the program write"


def check_training(release: Release) -> str:
    """Train three steps, and let that model write."""
    _use(release, "llm-timecycle", "train", "small", *TRAINING)
    _use(release, "llm-timecycle", "generate", "runs/small", "--length", "5")
    return "train: three steps of small, and the model writes"


def check_evaluation(release: Release) -> str:
    """Score the model that was trained."""
    printed = _use(release, "llm-timecycle", "evaluate", "runs/small", "--json").stdout
    perplexity = json.loads(printed)["perplexity"]
    if not 1 < perplexity < 1e6:
        raise CheckFailed(f"evaluate: expected a perplexity, found {perplexity}")
    return f"evaluate: perplexity {perplexity:,.0f} after three steps"


def check_missing_extra(release: Release) -> str:
    """See that a server without its packages says what to install."""
    _expect(ADVICE, _use(release, "llm-timecycle", "serve", "--help").stdout)
    _expect(ADVICE, _use(release, "llm-timecycle", "serve", "demo", expected=2).stderr)
    return f"serve: without the extra, it and its help page say {ADVICE}"


def check_extras(release: Release) -> str:
    """Install what users may add, and let the server answer one request."""
    run_pip(release, release.user, "install", "--quiet", f"{release.wheel}[{EXTRAS}]")
    run_pip(release, release.user, "check")
    command = [str(release.user / "bin/llm-timecycle"), "serve", "demo", "--port", "0"]
    server = subprocess.Popen(
        command,
        cwd=release.elsewhere,
        env=_make_user(release),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        first = server.stderr.readline()
        address = ADDRESS.search(first)
        if address is None:
            raise CheckFailed(f"serve: expected its address, found {first!r}")
        text = _ask_server(address[0])
    except OSError as error:
        raise CheckFailed(f"serve: no answer: {error}") from error
    finally:
        server.terminate()
        server.communicate(timeout=60)
    if not text:
        raise CheckFailed("serve: expected a text, found none")
    return f"serve: with the extras {EXTRAS}, it answers"


def _ask_server(address: str) -> str:
    """A text of a server, which first loads its model."""
    body = json.dumps({"prompt": "One morning", "max_tokens": 5}).encode()
    request = urllib.request.Request(f"{address}/v1/completions", body)
    for _ in range(LOADING_S):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return str(json.load(answer)["choices"][0]["text"])
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(1)
    raise CheckFailed(f"serve: its model was not loaded in {LOADING_S} s")


def _use(
    release: Release, program: str, *arguments: str, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program of the user's environment as the user would, away from the checkout."""
    command = [release.user / "bin" / program, *arguments]
    environment = _make_user(release)
    return run(command, cwd=release.elsewhere, environment=environment, expected=expected)


def _make_user(release: Release) -> dict[str, str]:
    """The variables of a user with an empty home directory."""
    home = str(release.place / "home")
    dropped = {"XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"}
    kept = {name: v for name, v in clean_environment().items() if name not in dropped}
    return {**kept, "HOME": home, "LANG": "C.UTF-8", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _expect(expected: str, printed: str) -> str:
    if expected not in printed:
        raise CheckFailed(f"expected {expected!r}, found {printed.strip()[-500:]!r}")
    return printed.strip()
