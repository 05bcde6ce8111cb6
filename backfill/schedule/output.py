"""Puts what was written where the user wants it, and never over a file of somebody else's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from backfill.errors import StorageError, UsageError

__all__ = ["MARK", "save"]

# In the first lines of every file, by which one of ours is known.
MARK = "Written by `backfill schedule`"


def save(files: Mapping[str, str], place: Path, mapping: Path) -> list[Path]:
    """Write files (name → text) into a folder, or one file as `place`; gives their paths.

    Only our own are replaced, and of those only the same mapping's (an absolute path).
    """
    folder = place.is_dir()
    if not folder and len(files) > 1:
        raise UsageError(
            f"{place} is no folder, and there are {len(files)} files: {' and '.join(files)}",
            hint="give --output a folder that exists",
        )
    paths = {(place / name if folder else place): text for name, text in files.items()}
    for path in paths:
        try:
            there = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
        except OSError as error:
            raise StorageError(f"can't read {path}: {error.strerror}", hint="choose another --output") from error
        if there is not None and MARK not in there[:1000]:
            raise UsageError(
                f"{path} is there already, and not written by this command",
                hint="choose another --output, or move that file away",
            )
        # The way to write it anew stands in it.
        if there is not None and shlex.quote(str(mapping)) not in there:
            raise UsageError(
                f"{path} is there already, for another mapping",
                hint="give this one a --name of its own (what units and files are named after), or another --output",
            )
    for path, text in paths.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"can't write {path}: {error.strerror}", hint="choose another --output, or ask for the right to write"
            ) from error
    return list(paths)
