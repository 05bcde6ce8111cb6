"""The first events of an export, as they would be sent."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from backfill import api, mapping
from backfill.parting import STORE, with_stores
from backfill.plan import Plan, plan
from backfill.printable import printable_json
from backfill.records import FILE, ROW
from backfill.survey import events_of

__all__ = ["preview"]


def preview(path: Path, count: int, *, row: int | None = None, curl: bool = False) -> Iterator[str]:
    """Up to `count` events as indented JSON, or as curl commands; of one row, when `row` is given.

    Twins, which only the whole export shows, have the id of the first among them here.
    """
    planned = plan(mapping.read(path), datetime.now(UTC))
    left = count
    with tempfile.TemporaryDirectory(prefix="backfill-") as scratch:
        for chunk in planned.shaper.whole_groups(planned.export.chunks(), Path(scratch)):
            if not chunk.frame.height:
                continue
            events = planned.shaper.finish_id(planned.shaper.shape(chunk.frame).events)
            if row is not None:
                events = events.filter(pl.col(ROW) == row)
            for event in events.head(left).iter_slices(1):
                (body,) = events_of(event).bodies
                declared = _store(planned, chunk.frame, event)
                yield (_curl(body, declared or "$REDO_STORE_ID") if curl else _indented(body))
                left -= 1
            if not left:
                return


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
