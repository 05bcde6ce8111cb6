"""Folders that a run makes beside its report: for groups that are gathered on disk, for a rehearsal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backfill.errors import StorageError
from backfill.plan import Plan
from backfill.report import RUN_FOLDERS
from backfill.world import World

__all__ = ["clear_scratch", "make_folder", "scratch_for"]

GATHER = "gather"


@contextmanager
def scratch_for(base: Path | None, planned: Plan) -> Iterator[Path | None]:
    """A folder for groups that are gathered on disk, removed at the end; None when nothing needs one.

    `base` is the run's folder; None is the system's for temporary files.
    """
    group_by = planned.mapping.source.group_by
    if group_by is None or group_by.adjacent:
        yield None
        return
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{GATHER}-", dir=base))
    except OSError as error:
        raise _no_folder(base or Path(tempfile.gettempdir()), error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_scratch(runs: Path) -> None:
    """Remove what killed runs left of groups: this one holds the lock, so that nobody uses it."""
    for left in runs.glob(f"{RUN_FOLDERS}/{GATHER}-*"):
        shutil.rmtree(left, ignore_errors=True)


def make_folder(path: Path, world: World) -> None:
    try:
        world.disk.make_folder(path)
    except OSError as error:
        raise _no_folder(path, error) from error


def _no_folder(path: Path, error: OSError) -> StorageError:
    hint = "make room or mend the permissions, or name another folder by --state (TMPDIR for `check`)"
    return StorageError(f"making a folder at {path}: {error.strerror or error}", hint=hint)
