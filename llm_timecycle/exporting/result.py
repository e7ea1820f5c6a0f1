"""What `export` gives back: where the export is, how large, how close to the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from llm_timecycle.exporting.comparison import Comparison

PAGE = "index.html"


@dataclass(frozen=True)
class ExportResult:
    """An export that was written; `print` tells where it is and what is in it."""

    path: Path
    """Its directory."""
    run: str
    """The run's name."""
    format: str
    precision: str
    """How its weights are stored."""
    files: dict[str, int]
    """The bytes of each file, by its path in the directory."""
    comparison: Comparison | None
    """How close it is to the run; None where what reads it is not installed."""
    remark: str = ""
    """Why it was not compared."""
    left_out: tuple[str, ...] = ()
    """Settings of `generation` that have no effect in it."""
    url: str | None = None
    """Where it was sent."""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        return {
            "path": str(self.path),
            "run": self.run,
            "format": self.format,
            "precision": self.precision,
            "bytes": self.bytes,
            "files": dict(self.files),
            "comparison": asdict(self.comparison) if self.comparison else None,
            "left_out": list(self.left_out),
            "url": self.url,
        }

    def __str__(self) -> str:
        width = max(map(len, self.files))
        lines = [f"{self.path} ({self.format}, {self.precision}): {write_size(self.bytes)}"]
        lines += [f"  {name:<{width}}  {write_size(size)}" for name, size in self.files.items()]
        told = str(self.comparison) if self.comparison else f"not compared: {self.remark}"
        lines.append(told[0].upper() + told[1:])
        if self.left_out:
            lines.append(f"Without effect in it: {', '.join(self.left_out)}")
        if PAGE in self.files:
            lines.append(f"Open it in a browser: {self.path / PAGE}")
        if self.url is not None:
            lines.append(f"Sent to {self.url}")
        if "example.py" in self.files:
            lines.append(f"Write with it: python {quote(str(self.path / 'example.py'))}")
        return "\n".join(lines)


def write_size(count: int) -> str:
    """A number of bytes, in the unit that suits it.

    >>> write_size(999), write_size(45_437_000), write_size(3_768_280)
    ('999 bytes', '45.4 MB', '3.77 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
