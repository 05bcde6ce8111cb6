"""Files that have not changed since every event of theirs was delivered: a run passes over them without reading them.

The ledger holds a record of each such file, and so follows what becomes of it: a copy from a backup knows the files
that were delivered by then. Any other mapping, release or columns make a record void, and so does any sign of a change.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np

import backfill
from backfill.index import State
from backfill.ledger import Ledger
from backfill.plan import Plan
from backfill.read import OpenedFile
from backfill.tally import Survey

__all__ = ["Counts", "pass_over", "recipe", "remember", "without"]

Counts = Mapping[str, Mapping[str, int]]
"""Events of some files, by name and state: `{"Order Placed": {"DELIVERED": 10, "DUPLICATE": 1}}`."""

# Written to again within one tick of its clock a file looks the same: the clocks of some disks go by two seconds, and
# those of file servers are some seconds off.
SETTLED_SECONDS = 60
DONE = (State.NEW, State.DELIVERED, State.DUPLICATE)


def pass_over(planned: Plan, ledger: Ledger, name: str) -> dict[int, Counts]:
    """The files (by position) that need not be read, and the events that were delivered of each.

    `name` is what the ledger calls the mapping. Where events hang on more than their file, on groups and twins, it is
    all files or none.
    """
    records, made = ledger.files(name), recipe(planned)
    found = {}
    for opened in planned.export.files:
        record = json.loads(records.get(opened.file.uri, "{}"))
        if record.get("made") == made and record["print"] == asdict(opened.fingerprint):
            found[opened.file.position] = record["events"]
    whole = len(found) == len(planned.export.files) == len(records) and not planned.export.unread
    return found if whole or not _hangs_together(planned) else {}


def without(planned: Plan, files: Mapping[int, Counts]) -> Plan:
    """The plan for all but these files."""
    left = [opened for opened in planned.export.files if opened.file.position not in files]
    return replace(planned, export=replace(planned.export, files=left)) if files else planned


def remember(
    planned: Plan, found: Survey, passed: Mapping[int, Counts], ledger: Ledger, name: str, now: datetime, *, sent: bool
) -> None:
    """Write down which files need no more reading; `sent`: all that was found ready was accepted by the API."""
    made = recipe(planned)
    counts = _counts(found)
    records = {}
    for opened in planned.export.files:
        position = opened.file.position
        events = passed.get(position)
        if events is None and _is_done(found, counts.get(position, {}), position, sent=sent):
            events = _as_delivered(found, counts.get(position, {}), position)
        if events is not None and _is_settled(opened, now):
            record = {"made": made, "print": asdict(opened.fingerprint), "events": events}
            records[opened.file.uri] = json.dumps(record)
    ledger.set_files(name, records)


def recipe(planned: Plan) -> str:
    """A digest of all that decides, beside a file's bytes, which events are made of it."""
    mapping = planned.mapping.model_dump(mode="json", include={"source", "events"})
    del mapping["source"]["files"]
    columns = {name: str(dtype) for name, dtype in planned.export.schema.items()}
    text = json.dumps([backfill.__version__, mapping, columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _hangs_together(planned: Plan) -> bool:
    """Whether a row of one file can change an event of another."""
    mapping = planned.mapping
    return mapping.source.group_by is not None or any(event.has_twins for event in mapping.events)


def _is_settled(opened: OpenedFile, now: datetime) -> bool:
    """Whether a later change would show: what a web server gives is another copy each time."""
    if opened.file.stored and opened.fingerprint.version:
        # An object is replaced whole, and another content has another ETag.
        return True
    age = now.timestamp() - opened.fingerprint.modified_ns / 1e9
    return opened.file.copy is None and age >= SETTLED_SECONDS


def _counts(found: Survey) -> dict[int, Counter[tuple[int, State]]]:
    """By file: its events by the number of their name and by state."""
    index, at = found.index, 0
    result: dict[int, Counter[tuple[int, State]]] = {}
    width = len(index.names) * len(State)
    states = index.states
    if len(index.kept_twice):
        # Which file it is sent from at last is not known yet: the other may be gone by then.
        states = states.copy()
        states[index.kept_twice] = State.KEPT
    for (count, _, _), files in zip(index.checksums, index.files, strict=True):
        part = slice(at, at + count)
        at += count
        codes = index.name_numbers[part].astype(np.int64) * len(State) + states[part]
        if isinstance(files, int):
            of_files, codes_of = [files], [codes]
        else:
            distinct = np.unique(files)
            of_files, codes_of = distinct.tolist(), [codes[files == one] for one in distinct]
        for file, mine in zip(of_files, codes_of, strict=True):
            sums = np.bincount(mine, minlength=width)
            for code in np.flatnonzero(sums).tolist():
                name, state = divmod(code, len(State))
                result.setdefault(file, Counter())[name, State(state)] += int(sums[code])
    return result


def _is_done(found: Survey, counts: Mapping[tuple[int, State], int], position: int, *, sent: bool) -> bool:
    # What a duplicate is the duplicate of may not have been sent.
    done = DONE if sent else (State.DELIVERED,)
    return position not in found.rejected_in and all(state in done for _, state in counts)


def _as_delivered(found: Survey, counts: Mapping[tuple[int, State], int], position: int) -> dict[str, dict[str, int]]:
    """What the next run will find: what was new is delivered."""
    names: dict[str, Counter[str]] = {}
    for (number, state), count in counts.items():
        told = State.DELIVERED if state == State.NEW else state
        names.setdefault(found.index.names[number], Counter())[told.name] += count
    for name, count in found.mended.get(position, {}).items():
        names.setdefault(name, Counter())[State.DELIVERED.name] += count
    return {name: dict(states) for name, states in names.items()}
