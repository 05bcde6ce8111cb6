"""What `shim.c` does, for a test: a disk that fails, a process that dies at a chosen call, a clock that jumps."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FAILURES = ("ENOSPC", "EIO", "EROFS")
KILLS = ("kill-before", "kill-half", "kill-after")
SIGNALS = ("SIGINT", "SIGTERM")


@dataclass(frozen=True)
class Call:
    """A call that changes the disk; `file` is told from the folder on, the name of a run's own folder left out."""

    name: str
    file: str


@dataclass(frozen=True)
class Shim:
    """The library that was made of shim.c."""

    library: Path

    @classmethod
    def compiled(cls, folder: Path) -> Shim:
        library = folder / "shim.so"
        source = Path(__file__).with_name("shim.c")
        subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        return cls(library)

    def counting(self, below: Path, log: Path) -> dict[str, str]:
        """An environment in which each call that changes something below a folder is written down."""
        return {"LD_PRELOAD": str(self.library), "SHIM_BELOW": str(below.resolve()), "SHIM_LOG": str(log)}

    def at(self, below: Path, log: Path, number: int, what: str) -> dict[str, str]:
        """An environment in which from call `number` on, or there, something goes wrong: see FAILURES, KILLS, SIGNALS."""
        return {**self.counting(below, log), "SHIM_AT": str(number), "SHIM_DO": what}

    def clock(self, link: Path) -> dict[str, str]:
        """An environment in which the time of day is shifted by the seconds that a symbolic link leads to."""
        return {"LD_PRELOAD": str(self.library), "SHIM_CLOCK": str(link)}

    def mounts(self, text: Path) -> dict[str, str]:
        """An environment in which a file tells which disks are mounted where."""
        return {"LD_PRELOAD": str(self.library), "SHIM_MOUNTS": str(text)}


def calls(log: Path) -> list[Call]:
    """The calls of a log, the first first."""
    found = []
    for line in log.read_text().splitlines():
        _, name, rest = line.split(" ", 2)
        file = rest.rpartition(" ")[0].lstrip("/")
        found.append(Call(name, re.sub(r"^(runs/)[^/]+", r"\1*", file)))
    return found
