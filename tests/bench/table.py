"""How figures are shown: sections of lines, the first line of each being what the others are compared with."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

__all__ = ["Line", "Section", "machine", "markdown", "section_text"]

PACKAGES = ("backfill", "polars", "pyarrow", "aiohttp", "httpx", "uvloop", "orjson")
HEAD = ("", "events", "seconds", "per second", "times", "CPU µs each", "own MB", "")


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. `count` is of what was done in `seconds`; 0: it has no rate. `cpu` in seconds, `memory` in MB.

    `base`: this line, and those after it, are compared with it.
    """

    name: str
    count: int
    seconds: float
    cpu: float | None = None
    memory: float | None = None
    note: str = ""
    base: bool = False

    @property
    def rate(self) -> float:
        """A second's worth; of what has no count, the inverse of its time."""
        return max(self.count, 1) / self.seconds


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured, and its lines, of which the first is a base."""

    title: str
    lines: Sequence[Line]


def machine() -> str:
    """What the figures were taken on, and with."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f} before\n"
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}"
    )


def section_text(section: Section) -> str:
    """A section as a table. `times` is a line's rate over its base's."""
    rows: list[tuple[str, ...]] = [(section.title, *HEAD[1:])]
    base = section.lines[0]
    for line in section.lines:
        base = line if line.base else base
        rows.append(_cells(line, base))
    widths = [70, 10, 9, 12, 7, 12, 8]
    texts = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)),
        ]
        texts.append(("".join(cells) + (f"  {row[-1]}" if row[-1] else "")).rstrip())
    return "\n".join(texts)


def markdown(sections: Sequence[Section]) -> str:
    """All sections as one table of Markdown."""
    lines = ["| what | events | seconds | events/s | CPU an event | own memory | |", "|---|---|---|---|---|---|---|"]
    for section in sections:
        lines.append(f"| **{section.title}** | | | | | | |")
        for line in section.lines:
            name, count, seconds, rate, _, cpu, memory, note = _cells(line, line)
            cells = (name.strip(), count, seconds, rate, cpu and f"{cpu} µs", memory and f"{memory} MB", note)
            lines.append(f"| {' | '.join(cells)} |".replace("  |", " |"))
    return "\n".join(lines)


def _cells(line: Line, base: Line) -> tuple[str, ...]:
    cpu = "" if line.cpu is None or not line.count else f"{line.cpu / line.count * 1e6:,.1f}"
    return (
        f"  {line.name}",
        f"{line.count:,}" if line.count else "",
        f"{line.seconds:.3f}" if line.seconds < 1 else f"{line.seconds:.1f}",
        f"{line.rate:,.0f}" if line.count else "",
        f"{line.rate / base.rate:.2f}",
        cpu,
        "" if line.memory is None else f"{line.memory:,.0f}",
        line.note,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
