"""A whole check: read, map and validate; send nothing. And what a run has in common with it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from backfill import mapping as mappings
from backfill.errors import BackfillError
from backfill.index import State
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.moved import moved
from backfill.names import new_names
from backfill.observer import Observer
from backfill.plan import Plan, plan
from backfill.report import checked_page, render, write_check
from backfill.scratch import scratch_for
from backfill.settings import Flags, Settings, kept_back, resolve, state_folder
from backfill.since import reading_from
from backfill.survey import survey
from backfill.tally import Survey
from backfill.world import World

__all__ = ["check", "look", "look_for_new_names", "name_in", "write_check_page"]


def check(
    path: Path, flags: Flags, observer: Observer, world: World | None = None
) -> tuple[Plan, Survey, Settings | None]:
    """Read, map and validate everything; send nothing.

    What the ledger knows counts, when the store is known and there is a ledger.
    """
    now = (world or World()).now()
    draft = mappings.read(path)
    planned = plan(draft, now, flags.files)
    settings = _settings_if_any(path, planned, flags)
    with ExitStack() as stack:
        ledger = None
        if settings is not None:
            target = LedgerTarget(settings.base_url, settings.store)
            ledger = stack.enter_context(Ledger.read(settings.state, target))
        scratch = stack.enter_context(scratch_for(None, planned))
        planned, found = look(planned, ledger, settings, flags, path, observer, now, scratch)
    observer.checked(planned, found, settings)
    return planned, found, settings


def look(
    planned: Plan,
    ledger: Ledger | None,
    settings: Settings | None,
    flags: Flags,
    path: Path,
    observer: Observer,
    now: datetime,
    scratch: Path | None,
) -> tuple[Plan, Survey]:
    """Read and check one store's export; what is read of it, and what was found."""
    name = name_in(settings.state, path) if settings is not None else ""
    reading = reading_from(planned, ledger, name, everything=bool(flags.files))
    planned = planned.since(reading.start) if reading and reading.start is not None else planned
    kept = kept_back(planned.mapping.delivery, flags)
    found = survey(planned, ledger, now, scratch, watch=observer.checking, not_newer_than=kept)
    found.since = reading.told(planned, found) if reading else None
    if ledger is not None and settings is not None:
        look_for_new_names(found, ledger, settings)
        found.moved = moved(planned, found, ledger, name, now, scratch, other_files=bool(flags.files))
    return planned, found


def write_check_page(
    path: Path, flags: Flags, checked: tuple[Plan, Survey, Settings | None], status: int, world: World | None = None
) -> Path:
    """The page of what `check` found, which ends with this status; where it is. Raises StorageError."""
    world = world or World()
    planned, found, settings = checked
    page = checked_page(planned, found, settings, status=status, now=world.now())
    return write_check(state_folder(path, flags), path, render(page), world.disk)


def look_for_new_names(found: Survey, ledger: Ledger, settings: Settings) -> None:
    """Which names of ready events the store was never sent; a rehearsal tells nothing of that."""
    if settings.sandbox:
        return
    states = (State.NEW, State.REFUSED) if settings.retry_rejected else (State.NEW,)
    ready = {name for state in states for name in found.by_name(state)}
    sent = [name for name, count in ledger.totals().accepted.items() if count]
    found.new_names = new_names(ready, sent)


def name_in(state: Path, mapping: Path) -> str:
    """What the ledger of a state folder calls a mapping: another in another folder has the same file name."""
    return os.path.relpath(mapping.resolve(), state.resolve().parent)


def _settings_if_any(path: Path, planned: Plan, flags: Flags) -> Settings | None:
    """For `check`, which needs neither store nor secret, but asks the ledger if they are known."""
    try:
        return resolve(path, planned.mapping.delivery, flags, {"REDO_API_SECRET": "none", **os.environ})
    except BackfillError:
        return None
