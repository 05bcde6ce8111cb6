"""What every run begins with, to one store or to many: the ledger, the export, a folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial

from backfill.engine import Engine
from backfill.ledger import Ledger, Target
from backfill.mapping import Draft
from backfill.observer import Observer
from backfill.plan import Plan, plan
from backfill.read import report_like
from backfill.report import RunFolder
from backfill.scratch import clear_scratch, make_folder
from backfill.settings import Flags, Settings
from backfill.world import World

__all__ = ["open_folder", "open_ledger_and_export"]


def open_ledger_and_export(
    stack: ExitStack,
    draft: Draft,
    flags: Flags,
    settings: Settings,
    at: Target | None,
    observer: Observer,
    world: World,
    engine: Engine,
    begun: Callable[[], object],
) -> tuple[Ledger, Plan]:
    """The ledger, held until the `stack` ends, and the export with its mapping. `at` is None for a run of many stores.

    Raises LockedError, StorageError, SettingsError for the ledger, MappingError and ExportError for the rest.
    """
    if settings.sandbox:
        make_folder(settings.state.parent, world)
    # Absolute, since another process may open it.
    state = settings.state.absolute()
    opened = partial(Ledger.open, state, at, url=settings.ledger, now=world.now, disk=world.disk)
    ledger = stack.enter_context(engine.ledger(opened))
    begun()
    for warning in ledger.warnings:
        observer.note(warning)
    planned = plan(draft, world.now(), flags.files)
    for note in planned.export.notes:
        observer.note(note)
    return ledger, planned


def open_folder(stack: ExitStack, settings: Settings, started: datetime, planned: Plan, world: World) -> RunFolder:
    """A new folder for the run's report, without what killed runs left beside it. Raises StorageError."""
    # Of several files the first one's.
    style = report_like(planned.export.files[0].dialect)
    folder = RunFolder(settings.state, started, planned.export.name, planned.export.schema, world.disk, style)
    stack.callback(folder.close)
    if settings.ledger is None:
        # Else runs of other stores may go on in this folder: the lock is not the folder's.
        clear_scratch(folder.path.parent)
    return folder
