"""Whether an export holds what it should: one with a header alone delivers "everything", night after night."""

from __future__ import annotations

from collections.abc import Sequence

from backfill.errors import ExportError
from backfill.plan import Plan
from backfill.printable import plural
from backfill.tally import Survey

__all__ = ["too_few", "too_few_of_all", "warnings_of"]

NO_ROWS = "the export holds no rows"
NO_NEW_ROWS = "no file that is new or has changed holds a row"


def warnings_of(found: Survey, reading: Plan) -> list[str]:
    """What is no error and yet is to be told loudly; `reading` is what was read: files that are new or have changed."""
    if found.rows.read or not reading.export.files or _passed_over(found, reading):
        return []
    return [NO_NEW_ROWS if found.passed else NO_ROWS]


def too_few(found: Survey, reading: Plan, least: int | None) -> ExportError | None:
    """Why nothing is to be sent: fewer rows than `least` were read. Nothing is asked of a run that has nothing to read.

    Rows that `source.since` leaves out unread were there before: how many is not known.
    """
    rows = found.rows.read
    if least is None or rows >= least or not reading.export.files or _passed_over(found, reading):
        return None
    return _few_rows(rows, least)


def too_few_of_all(rest: Survey, stores: Sequence[tuple[Survey, Plan]], least: int | None) -> ExportError | None:
    """As `too_few`, of an export to many stores: what was found of each, and what was read; `rest` is of none."""
    rows = rest.rows.read + sum(found.rows.read for found, _ in stores)
    if least is None or rows >= least or rest.unread or any(_passed_over(*one) for one in stores):
        return None
    if stores and not any(reading.export.files for _, reading in stores):
        return None
    return _few_rows(rows, least)


def _few_rows(rows: int, least: int) -> ExportError:
    """That the export holds fewer rows than it should."""
    return ExportError(
        f"the export holds {plural(rows, 'row')}, and --min-rows asks for {least:,} at least: nothing was sent",
        hint="look at what writes the export, and run again; or give a smaller --min-rows",
    )


def _passed_over(found: Survey, reading: Plan) -> bool:
    """Whether a part of the files was not read: it can't be, or it is older."""
    older = reading.export.older
    return bool(found.unread or (older and sum(older.skipped.values())))
