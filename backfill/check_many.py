"""A check of an export to many stores: each store's part as if it were alone, and one word on all of them."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backfill import mapping as mappings
from backfill.check import look
from backfill.errors import BackfillError, gravest, of_stores
from backfill.ledger import Ledger
from backfill.ledger import Target as LedgerTarget
from backfill.many import picked, settings_of_all
from backfill.observer import Observer
from backfill.parting import new_place, part
from backfill.plan import Plan, plan
from backfill.read import unread_error
from backfill.report import check_data, stores_check_text, whole_check
from backfill.scratch import scratch_for
from backfill.settings import Flags, Settings
from backfill.stores import Part, by_path, chosen, column_of, settings_of
from backfill.tally import Survey
from backfill.together import Together
from backfill.world import World

__all__ = ["StoresChecked", "check_stores", "is_for_many"]


@dataclass(frozen=True)
class StoresChecked:
    """What a check found of each store, by its id, and of what is of none of them (`rest`)."""

    planned: Plan
    settings: Settings | None
    parts: list[Part]
    rest: Survey
    looked: dict[str, tuple[Plan, Survey]] = field(default_factory=dict)
    errors: dict[str, BackfillError] = field(default_factory=dict)

    @property
    def error(self) -> BackfillError | None:
        """What makes the mapping, a store or a file unfit to be sent; rejected rows are no error."""
        names = {one.store: one.name for one in self.parts}
        errors = {names[store]: error for store, error in self.errors.items()}
        if self.rest.unread:
            errors["no store's own"] = unread_error(self.rest.unread)
        return of_stores(errors) if errors else None

    @property
    def status(self) -> int:
        """The exit status: the gravest of all stores."""
        rejected = self.rest.rejected or any(found.rejected for _, found in self.looked.values())
        return gravest([*(error.status for error in self.errors.values()), *([65] * bool(self.rest.unread)),
                        3 if rejected else 0])  # fmt: skip

    def data(self) -> dict[str, Any]:
        """As `check_data`, summed, with `stores`: each one's."""
        rest = check_data(self.planned, self.rest, self.settings)
        return whole_check(rest, {store: self._data(store) for store in self._stores()})

    def _data(self, store: str) -> dict[str, Any]:
        planned, found = self.looked[store]
        name = next(one.name for one in self.parts if one.store == store)
        error = self.errors.get(store)
        status = error.status if error else 3 if found.rejected else 0
        return {"name": name, "exit": status, **check_data(planned, found, self.settings)}

    def _stores(self) -> list[str]:
        return [one.store for one in self.parts if one.store in self.looked]

    def text(self) -> str:
        """What is printed."""
        wrong = {one.name: self.errors[one.store].message for one in self.parts if one.store in self.errors}
        return stores_check_text(self.planned.export, self.data(), self.settings, wrong)


def is_for_many(path: Path) -> bool:
    """Whether the mapping names many stores."""
    mapping = mappings.read(path).mapping
    return mapping is not None and column_of(mapping.delivery) is not None


def check_stores(path: Path, flags: Flags, observer: Observer, world: World | None = None) -> StoresChecked:
    """Read, map and validate everything; send nothing. Raises BackfillError for what concerns all stores."""
    world = world or World()
    now = world.now()
    draft = mappings.read(path)
    planned = plan(draft, now, flags.files)
    column = column_of(planned.mapping.delivery)
    assert column is not None
    settings = _settings_if_any(path, planned, flags)
    rest = Survey()
    together = Together(observer, world)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.read(settings.state, url=settings.ledger)) if settings else None
        parts = by_path(planned, column)
        if parts is None:
            place = new_place(None)
            stack.callback(shutil.rmtree, place.parent, ignore_errors=True)
            parts = part(planned, column, place, together.parting, lambda *_: None, into=rest)
        checked = StoresChecked(planned, settings, chosen(parts, picked(flags)), rest)
        for one in checked.parts:
            if one.wrong is not None:
                checked.errors[one.store] = one.wrong
                continue
            mine = settings_of(settings, one, "-") if settings else None
            seen = ledger.beside(LedgerTarget(mine.base_url, one.store)) if ledger and mine else None
            scratch = stack.enter_context(scratch_for(None, one.planned))
            watch = together.of(one.name)
            try:
                looked = look(one.planned, seen, mine, flags, path, watch, now, scratch)
            except BackfillError as error:
                checked.errors[one.store] = error
                continue
            checked.looked[one.store] = looked
            watch.checked(*looked, mine)
            found = looked[1]
            if found.moved and not flags.new_ids:
                checked.errors[one.store] = found.moved
            elif found.unread:
                checked.errors[one.store] = unread_error(found.unread)
    return checked


def _settings_if_any(path: Path, planned: Plan, flags: Flags) -> Settings | None:
    try:
        return settings_of_all(path, planned.mapping.delivery, flags)
    except BackfillError:
        return None
