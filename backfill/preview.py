"""The first events of an export, or those of one row, as they would be sent; and why a row has none."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from backfill import api, mapping
from backfill.errors import UsageError
from backfill.parting import STORE, with_stores
from backfill.plan import Plan, plan
from backfill.printable import printable_json
from backfill.records import FILE, ROW, Chunk
from backfill.settings import Flags
from backfill.survey import events_of
from backfill.why import Fate, Waits, fates, waits_of

__all__ = ["preview"]


def preview(
    path: Path,
    count: int,
    flags: Flags | None = None,
    *,
    row: int | None = None,
    curl: bool = False,
    note: Callable[[str], None] | None = None,
) -> Iterator[str]:
    """Up to `count` events as indented JSON, or as curl commands; with `row` those of this row, or of its group.

    Twins, which only the whole export shows, have the id of the first among them here. `note` is told what is to be
    said of a row beside its events. Raises UsageError for a row that has none, which says why.
    """
    flags = flags or Flags()
    now = datetime.now(UTC)
    planned = plan(mapping.read(path), now, flags.files)
    with tempfile.TemporaryDirectory(prefix="backfill-") as scratch:
        chunks = planned.shaper.whole_groups(planned.export.chunks(), Path(scratch))
        if row is None:
            found = _first(planned, chunks)
        else:
            found = _of_row(planned, chunks, row, waits_of(planned, path, flags, now), note or (lambda _: None))
        left = count
        for rows, events in found:
            for event in events.head(left).iter_slices(1):
                (body,) = events_of(event).bodies
                store = flags.store or _store(planned, rows, event) or "$REDO_STORE_ID"
                yield _curl(body, store) if curl else _indented(body)
                left -= 1
            if not left:
                return


def _first(planned: Plan, chunks: Iterable[Chunk]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    for chunk in chunks:
        if chunk.frame.height:
            yield chunk.frame, planned.shaper.finish_id(planned.shaper.shape(chunk.frame).events)


def _of_row(
    planned: Plan, chunks: Iterable[Chunk], row: int, waits: Waits, note: Callable[[str], None]
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The events of a row: of each file that has such a one."""
    without: list[Fate] = []
    shown, missing = False, _Missing(row)
    for chunk in chunks:
        missing.see(chunk)
        for fate in fates(planned, chunk, row, waits):
            if not fate.events.height:
                without.append(fate)
                continue
            for text in fate.words:
                note(f"{fate.place}: {text}")
            shown = True
            yield chunk.frame, fate.events
        if (shown or without) and len(planned.export.files) == 1:
            break
    if without and not shown:
        told = "\n".join(f"{fate.place}: no event: {'; '.join(fate.words)}" for fate in without)
        raise UsageError(told, hint="\n".join(dict.fromkeys(fix for fate in without for fix in fate.fixes)))
    for fate in without:
        note(f"{fate.place}: no event: {'; '.join(fate.words)}")
    if not shown:
        raise missing.error(planned)


class _Missing:
    """The rows next to one that there is not."""

    def __init__(self, row: int) -> None:
        self._row = row
        self._before = 0
        self._after = 0

    def see(self, chunk: Chunk) -> None:
        rows = [*chunk.frame[ROW].to_list(), *(one.row for one in chunk.unreadable)]
        self._before = max([self._before, *(one for one in rows if one < self._row)])
        after = [one for one in rows if one > self._row]
        self._after = min([*after, self._after] if self._after else after, default=0)

    def error(self, planned: Plan) -> UsageError:
        files = planned.export.files
        name = files[0].file.name if len(files) == 1 else f"any of the {len(files)} files"
        near = " and ".join(str(one) for one in (self._before, self._after) if one)
        hint = "`backfill check` names rows as file:row; where a row has several lines, its first one counts"
        return UsageError(
            f"no row {self._row} in {name}"
            + (f": the nearest {'are' if ' ' in near else 'is'} {near}" if near else ""),
            hint=hint,
        )


def _store(planned: Plan, rows: pl.DataFrame, event: pl.DataFrame) -> str | None:
    """The store of an event's row, or of all; None where it is not known."""
    column = planned.mapping.delivery.store
    if column is None or isinstance(column, str):
        return column
    row = rows.select(pl.exclude(STORE)).join(event.select(FILE, ROW), on=[FILE, ROW], how="semi")
    found = with_stores(planned, column, row)[STORE].to_list()
    return str(found[0]) if found and found[0] else None


def _indented(body: bytes) -> str:
    return printable_json(json.dumps(json.loads(body), indent=2, ensure_ascii=False))


def _curl(body: bytes, store: str) -> str:
    url = api.event_url(api.BASE_URL, store)
    return "\n".join(
        [
            f'curl -sS -X POST "{url}" \\',
            '  -H "Authorization: Bearer $REDO_API_SECRET" -H "Content-Type: application/json" \\',
            f"  -d {shlex.quote(printable_json(body.decode()))}",
        ]
    )
