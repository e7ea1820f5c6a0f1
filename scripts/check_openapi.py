"""Does a server keep what its /openapi.json says? Schemathesis sends cases made from it.

    .venv/bin/python scripts/check_openapi.py
    .venv/bin/python scripts/check_openapi.py runs/talk --chat-template names

Serves RUN and sends up to --examples cases to each path, right ones and wrong ones: no answer may
be a server error, each must have a status, a type and a body that the description has, and a body
that it does not allow must be refused. What it allows may be refused too, such as an id beyond the
vocabulary, so that is not checked. Ends with status 1 if a case fails; with the defaults, there are
about 2,500 cases.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory


@contextmanager
def serve(run: str, options: Sequence[str]) -> Iterator[str]:
    """A server in a process; its address."""
    command = [sys.executable, "-m", "llm_timecycle", "serve", run, "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"at (http://\S+);", line)
        if found is None:
            sys.exit(line + process.stderr.read())
        yield found[1]
    finally:
        process.terminate()
        process.communicate()


def send_cases(address: str, examples: int, seed: int) -> int:
    """Let Schemathesis run; its status, 0 if nothing failed."""
    arguments = [
        *("run", f"{address}/openapi.json", "--wait-for-schema", "10", "--continue-on-failure"),
        *("--max-examples", str(examples), "--seed", str(seed)),
        *("--exclude-checks", "positive_data_acceptance"),
    ]
    command = [sys.executable, "-m", "schemathesis.cli", *arguments]
    with TemporaryDirectory() as folder:  # where it leaves its notes
        return subprocess.run(command, cwd=folder).returncode


def main() -> int:
    """Serve, send, and say what failed."""
    parser = argparse.ArgumentParser(description="Check a server against its description.")
    parser.add_argument("run", nargs="?", default="demo")
    parser.add_argument("--examples", type=int, default=100, help="cases for each path")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chat-template", choices=["names", "lines"])
    asked = parser.parse_args()
    options = ["--metrics", "--max-tokens", "32"]
    if asked.chat_template:
        options += ["--chat-template", asked.chat_template]
    with serve(asked.run, options) as address:
        return send_cases(address, asked.examples, asked.seed)


if __name__ == "__main__":
    sys.exit(main())
