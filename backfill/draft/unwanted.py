"""Rows that nobody wants among the events: tests, and what was cancelled; each a condition to leave them out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backfill.draft.columns import Column, harmless
from backfill.draft.events import EventName
from backfill.draft.scalars import comment

__all__ = ["TEST", "Unwanted", "unwanted"]

TEST = re.compile(r"(?i)^(?:is_?)?test(?:_?(?:order|mode|event|data))?$|_test$")
LIVE = re.compile(r"(?i)^live_?mode$")
TESTS = frozenset(("test", "testing", "test order", "test_order", "testbestellung", "testkauf", "prueba", "demo"))
CANCELLED = frozenset(
    """
    cancelled canceled cancellation cancel voided void storniert storno annulliert abgebrochen annulé annulée annule
    cancelado cancelada anulado anulada annullato annullata geannuleerd annullerad annulleret avbruten anulowane
    anulowany failed fehlgeschlagen trash deleted gelöscht
    """.split()  # noqa: SIM905 (a list of words reads better)
)
CANCELLED_NAME = re.compile(
    r"^(?:is_|was_)?(?:order_)?(?:cancelled|canceled|voided|storniert|annulé|cancelado)(?:_(?:at|on|am))?$"
)
# Where the events are such themselves, they are what is wanted.
ENDINGS = ("Cancelled", "Refunded", "Return")


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The condition `sql` leaves rows out by a column, and `why`."""

    sql: str
    why: str
    column: Column


def unwanted(columns: Sequence[Column], event: EventName) -> list[Unwanted]:
    """Conditions without the rows that look like tests or were cancelled."""
    wanted = any(word in event.name for word in ENDINGS)
    found = []
    for column in columns:
        if column.private or column.secret or (event.column and event.column.reference == column.reference):
            continue
        slug = column.name.slug
        if column.kind == "boolean" and (TEST.search(slug) or LIVE.search(slug)):
            sql = _not(column, live=bool(LIVE.search(slug)))
            found.append(Unwanted(sql, f'column "{comment(column.reference)}" marks tests', column))
        elif CANCELLED_NAME.search(slug) and not wanted:
            if column.kind == "boolean":
                why = f'column "{comment(column.reference)}" marks what was cancelled'
                found.append(Unwanted(_not(column), why, column))
            elif column.kind == "time" and column.filled < column.rows:
                says = "row has" if column.filled == 1 else "rows have"
                why = f'{column.filled:,} {says} a time in column "{comment(column.reference)}"'
                found.append(Unwanted(f"{column.sql} IS NULL", why, column))
        elif column.kind == "text":
            words = TESTS if wanted else TESTS | CANCELLED
            values = [one for one in column.values if one[0].casefold() in words and harmless(one[0])]
            # What all rows say is no exception.
            if values and len(values) < len(column.values):
                found.append(_others(column, values))
    return found


def _not(column: Column, *, live: bool = False) -> str:
    """The rows that a column of yes and no does not mark, or does where it marks those that are `live`."""
    if column.true is None:
        return column.sql if live else f"NOT {column.sql}" + f" OR {column.sql} IS NULL" * (column.filled < column.rows)
    return f"LOWER({column.sql}) = '{column.true[0 if live else 1]}'" + ("" if live else f" OR {column.sql} IS NULL")


def _others(column: Column, values: Sequence[tuple[str, int]]) -> Unwanted:
    texts = ["'" + text.replace("'", "''") + "'" for text, _ in values]
    condition = f"{column.sql} <> {texts[0]}" if len(texts) == 1 else f"{column.sql} NOT IN ({', '.join(texts)})"
    keep = condition + (f" OR {column.sql} IS NULL" if column.filled < column.rows else "")
    count = sum(count for _, count in values)
    shown = " or ".join(f'"{comment(text)}"' for text, _ in values)
    says = "row says" if count == 1 else "rows say"
    return Unwanted(keep, f'{count:,} {says} {shown} in column "{comment(column.reference)}"', column)
