"""The calls that change what is on the disk.

A run takes them from one Disk, so that a test can put another in its place: one that is full, or one at which the
process is killed, at each single call. What is read needs none of this.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Protocol

__all__ = ["Database", "Disk"]


class Database(Protocol):
    """A connection to a database, as far as it is known here."""

    def execute(self, statement: str, /) -> object: ...


class Disk:
    """The machine's own. Folders are made 0700 and files 0600: they hold customers' rows. Raises OSError."""

    def make_folder(self, path: Path) -> None:
        """A folder, with those above it; one that is there stays as it is."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: Path, *, instead: bool = False, encoding: str = "utf-8") -> IO[str]:
        """A new file whose lines are in the system's hands once they are written; `instead` of one that is there."""
        how = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if instead else os.O_EXCL)

        def opener(name: str, _flags: int) -> int:
            return os.open(name, how, 0o600)

        return open(path, "w", encoding=encoding, newline="", errors="backslashreplace", buffering=1, opener=opener)

    def write(self, file: IO[str], text: str) -> None:
        """Append to a file that was created here."""
        file.write(text)

    def sync(self, file: IO[str]) -> None:
        """Have a file's content on the disk itself: a power cut can't take it."""
        file.flush()
        os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Put a file in another's place, in one step."""
        source.replace(target)

    def commit(self, database: Database, doing: str) -> None:
        """Make a transaction last; `doing` says what it does."""
        database.execute("COMMIT")
