"""A run that ended before it began, in the ledger: who looks at `status` must not see the last success alone.

What is wrong with mapping, settings, secret or export ends a run before the ledger knows of it. Such an attempt is
written down as a run without a folder: its exit status, and why. It never makes a ledger, nor waits for one: where
another run holds it, that run is what `status` shows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import backfill
from backfill import api
from backfill import mapping as mappings
from backfill.errors import BackfillError, InterruptedRun, LockedError, StorageError, as_told
from backfill.ledger import Ledger, RunInfo, Target
from backfill.settings import SANDBOX_STORE, SANDBOX_URL, Flags, ledger_url, state_folder
from backfill.world import World

__all__ = ["Attempt", "write_down"]

MOST_LETTERS = 300
MOST_RUNS = 100
# Nothing can be written down where the ledger is held or broken; and who stops a run knows of it.
_UNTOLD = (LockedError, StorageError, InterruptedRun)


class Attempt:
    """Around the beginning of a run: what ends it there is written down, until `begun` is set."""

    def __init__(self, mapping: Path, flags: Flags, world: World) -> None:
        self.begun = False
        self._mapping, self._flags, self._world = mapping, flags, world

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not self.begun:
            write_down(self._mapping, self._flags, error, self._world)


def write_down(mapping: Path, flags: Flags, error: Exception, world: World | None = None) -> None:
    """Enter into the ledger, if there is one and nobody holds it, how a run ended that did not begin."""
    world, told = world or World(), as_told(error)
    if isinstance(told, _UNTOLD):
        return
    # It is why the run ended that is to be told, not why that can't be written down.
    with suppress(BackfillError):
        folder, url = state_folder(mapping, flags), ledger_url(flags)
        with Ledger.read(folder, url=url) as known:
            targets, runs = known.targets(), known.runs(1 if url is None else MOST_RUNS)
        meant = _meant(mapping, flags)
        if url is not None:
            # Others' stores are there too: neither their records nor their locks are for this.
            runs = [run for run in runs if run.info.mapping == mapping.name]
            targets = [target for target in targets if target == meant] or [run.target for run in runs[:1]]
        if not targets:
            return
        target = meant if meant in targets else runs[0].target if runs else targets[-1]
        with Ledger.open(folder, target, url=url, now=world.now, disk=world.disk) as ledger:
            number = ledger.begin_run(RunInfo(mapping.name, "", backfill.__version__))
            ledger.end_run(number, told.status, {"stopped_by": first_line(told)})


def first_line(error: BackfillError) -> str:
    """Why it ended, in a line that is not too long."""
    line = (error.message.splitlines() or [""])[0]
    return line if len(line) <= MOST_LETTERS else line[: MOST_LETTERS - 1] + "…"


def _meant(mapping: Path, flags: Flags) -> Target | None:
    """Where it would have sent, as far as that can be known of what may be wrong."""
    if flags.sandbox:
        return Target(SANDBOX_URL, SANDBOX_STORE)
    declared = None
    with suppress(BackfillError):
        declared = mappings.read(mapping).mapping
    store = flags.store or os.environ.get("REDO_STORE_ID") or (declared.delivery.store if declared else None)
    with suppress(BackfillError):
        return Target(
            flags.base_url or os.environ.get("REDO_BASE_URL") or api.BASE_URL, store if isinstance(store, str) else ""
        ).plain()
    return None
