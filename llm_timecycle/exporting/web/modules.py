"""JavaScript modules joined into one script, since a file that is opened from a disk loads none.

Each file is a module that other tools read as it is; here its imports and the word `export` go.
The names at the top of the files of a script must therefore differ.
"""

from __future__ import annotations

import re
from pathlib import Path

from llm_timecycle.files import read_regular

FOLDER = Path(__file__).parent
PART_BYTES_AT_MOST = 1 << 20
"""Of a file that the page is made of."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:class|const|function)\b)", re.MULTILINE)


def join_modules(folder: str, first: str) -> str:
    """One script of a module and all that it imports, each once, after what it imports."""
    written: dict[str, str] = {}

    def add(name: str) -> None:
        if name in written:
            return
        source = read_regular(FOLDER / folder / name, PART_BYTES_AT_MOST).decode()
        for imported in _IMPORT.findall(source):
            add(imported)
        written[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(first)
    return "".join(written.values())
