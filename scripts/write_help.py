"""Put the program's own help texts into the READMEs, between their `<!-- help: ... -->` marks.

    .venv/bin/python scripts/write_help.py

`tests/test_readme.py` fails while they differ.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from click.testing import CliRunner

from llm_timecycle.cli.main import group

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
BLOCK = re.compile(r"(<!-- help: ([\w -]+) -->\n```text\n).*?(```\n)", re.DOTALL)


def render_help(command: str) -> str:
    """What `llm-timecycle COMMAND --help` prints, 88 columns wide."""
    arguments = [*command.split()[1:], "--help"]
    result = CliRunner().invoke(group, arguments, prog_name="llm-timecycle", terminal_width=88)
    return result.output


def write_help(text: str) -> str:
    """A README with every help text brought up to date."""
    return BLOCK.sub(lambda match: match[1] + render_help(match[2]) + match[3], text)


def main() -> int:
    """Rewrite both READMEs."""
    for name in READMES:
        path = ROOT / name
        path.write_text(write_help(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
