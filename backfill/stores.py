"""Many stores in one export: which of its files are whose, and the secret of each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from backfill.errors import SettingsError
from backfill.mapping import Delivery, StoreColumn
from backfill.plan import Plan
from backfill.printable import named
from backfill.send import Target
from backfill.settings import Settings, secret_from

__all__ = [
    "Part",
    "by_path",
    "chosen",
    "column_of",
    "folder_of",
    "is_store_id",
    "secret_of",
    "settings_of",
    "shared_secrets",
]


@dataclass(frozen=True)
class Part:
    """One store's part of an export. `names`: what the column holds for it; `wrong`: why nothing of it can be sent."""

    store: str
    names: tuple[str, ...]
    planned: Plan
    wrong: SettingsError | None = None

    @property
    def name(self) -> str:
        """What messages call the store: the name that the export has for it, and its id."""
        names = [name for name in self.names if name != self.store]
        return f"{', '.join(names)} ({self.store})" if names else self.store


def column_of(delivery: Delivery) -> StoreColumn | None:
    """The column that tells a row's store; None where all is for one store."""
    return delivery.store if isinstance(delivery.store, StoreColumn) else None


def is_store_id(text: str) -> bool:
    """Whether a store could be called so."""
    try:
        Target("https://localhost", text, "-")
    except SettingsError:
        return False
    return True


def by_path(planned: Plan, column: StoreColumn) -> list[Part] | None:
    """A part for each store, in the order of the export's files, where their paths tell it; else None.

    Files keep their positions and names, and all parts the columns of the whole export.
    """
    export = planned.export
    positions = sorted({*(one.file.position for one in export.files), *export.unread})
    if not all(column.column in export.in_paths.get(position, {}) for position in positions):
        return None
    values: dict[int, str] = {at: export.in_paths[at][column.column] or "" for at in positions}
    stores: dict[tuple[str, bool], list[int]] = {}
    for position in positions:
        value = values[position]
        known = value in column.map if column.map else is_store_id(value)
        stores.setdefault((column.map.get(value, value), known), []).append(position)
    opened = {one.file.position: one for one in export.files}
    parts = []
    for (store, known), mine in stores.items():
        files = [opened[at] for at in mine if at in opened]
        unread = {at: export.unread[at] for at in mine if at in export.unread}
        alone = len(files) == 1 and not unread
        part = replace(planned, export=replace(export, files=files, unread=unread, notes=[], alone=alone))
        names = tuple(dict.fromkeys(values[position] for position in mine))
        parts.append(Part(store, names, part, None if known else _no_store(names[0], column)))
    return parts


def _no_store(name: str, column: StoreColumn) -> SettingsError:
    if column.map:
        message = f"{named([name])} is not in the map of delivery.store"
        return SettingsError(message, hint="give it the id of its store there, or leave its files out of source.files")
    message = f"{named([name])} is no store's id"
    return SettingsError(message, hint="say which id it stands for: store: {column: …, map: {name: id}}")


def chosen(parts: list[Part], store: str | None) -> list[Part]:
    """All parts, or the one that `--store` names. Raises SettingsError when there is none."""
    if store is None:
        return parts
    found = [part for part in parts if store == part.store] or [part for part in parts if store in part.names]
    if not found:
        there = named([part.names[0] if part.names else part.store for part in parts], last="and")
        raise SettingsError(f"the export has nothing for the store {named([store])}", hint=f"it has {there}")
    return found


def folder_of(store: str) -> str:
    """What the folder of a store's own report is called: its id, where that can be a folder's name."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", store)[:80]
    return plain if plain == store else f"{plain}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"


def shared_secrets(delivery: Delivery, parts: Iterable[Part]) -> SettingsError | None:
    """What is wrong if two stores would be sent to with one secret, though each is to have its own."""
    if delivery.secrets is None:
        return None
    places: dict[str, Part] = {}
    for part in parts:
        for name in part.names:
            place = _place(delivery, name, part.store)
            other = places.setdefault(place, part)
            if other.store != part.store and not part.wrong:
                message = f"delivery.secrets: the stores {other.name} and {part.name} would have one secret: {place}"
                return SettingsError(message, hint="use {id} in the place of {store}, or other names")
    return None


def secret_of(
    delivery: Delivery,
    mapping: Path,
    part: Part,
    warn: Callable[[str], object],
    environment: Mapping[str, str] = os.environ,
) -> str:
    """A store's secret. Raises SettingsError when there is none; `warn` is told of a file that others can read."""
    secrets = delivery.secrets
    if secrets is None:
        return secret_from(environment)
    places = [_place(delivery, name, part.store) for name in part.names]
    if secrets.env is not None:
        for place in places:
            if environment.get(place):
                return environment[place].strip()
        raise SettingsError(f"there is no secret: {places[0]} is not set", hint="set it, as delivery.secrets says")
    why = ""
    for place in places:
        path = mapping.resolve().parent / Path(place).expanduser()
        if any(not name.strip(".") or "/" in name or "\0" in name for name in part.names):
            raise SettingsError("there is no secret: no file can be called as the store is", hint="use {id}")
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
            mode = path.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            why = why or (error.strerror or "" if isinstance(error, OSError) else "it is not text")
            continue
        if mode & 0o077:
            warn(f"others can read the secret in {place}: chmod 600 {place}")
        return text
    raise SettingsError(f"there is no secret: can't read {places[0]}: {why}", hint="put it there, and chmod 600")


def _place(delivery: Delivery, name: str, store: str) -> str:
    """The name of the variable or file that holds the secret."""
    assert delivery.secrets is not None
    if delivery.secrets.env is not None:
        name, store = (re.sub(r"[^A-Z0-9]", "_", one.upper()) for one in (name, store))
    place = delivery.secrets.env or delivery.secrets.file or ""
    return place.replace("{store}", name).replace("{id}", store)


def settings_of(base: Settings, part: Part, secret: str) -> Settings:
    """The settings of a run as they are for one store."""
    return replace(base, store=part.store, secret=secret, warnings=())
