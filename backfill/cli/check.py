"""`backfill check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backfill.cli.grouped import Grouped
from backfill.cli.shared import (
    BASE_URL,
    FILES,
    MAPPING,
    NEW_IDS,
    NOT_NEWER_THAN,
    REHEARSED,
    STATE,
    STORE,
    flags,
    observing,
    show,
)

__all__ = ["check"]


@click.command(cls=Grouped)
@MAPPING
@STORE
@BASE_URL
@STATE
@FILES
@NEW_IDS
@NOT_NEWER_THAN
@REHEARSED
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def check(mapping: Path, *, as_json: bool, quiet: bool, **options: Any) -> int:
    """Read, map and validate everything; send nothing.

    Tells what is ready, what is rejected and why, what is suspicious, and how long sending would take; the same as a
    page, with a chart of when the events are, is in the state folder.
    Exit status 0: all is ready. 3: some rows or events are rejected. 65: a file can't be read.
    78: the mapping is wrong, or would give delivered events other ids.

    \b
    backfill check orders.yaml
    backfill check orders.yaml --files .backfill/runs/RUN/rejected.csv
    """
    from backfill import check as checks
    from backfill import check_many
    from backfill.errors import BackfillError, StorageError
    from backfill.printable import printable
    from backfill.progress import JsonLines
    from backfill.read import unread_error
    from backfill.report import check_data
    from backfill.report.text import check_text

    if check_many.is_for_many(mapping):
        with observing(as_json=as_json, quiet=quiet) as observer:
            many = check_many.check_stores(mapping, flags(options), observer)
            if not as_json:
                show(many.text(), words=True)
            elif isinstance(observer, JsonLines):
                observer.emit("check", **many.data(), report=None)
        if many.error:
            raise many.error
        return many.status
    with observing(as_json=as_json, quiet=quiet) as observer:
        checked = planned, found, settings = checks.check(mapping, flags(options), observer)
        error: BackfillError | None = unread_error(found.unread) if found.unread else None
        if found.moved and not options["new_ids"]:
            error = found.moved
        status = error.status if error else 3 if found.rejected else 0
        try:
            page = checks.write_check_page(mapping, flags(options), checked, status)
        except StorageError as trouble:
            page = None
            observer.note(f"no report is written: {trouble.message}")
        if not as_json:
            show(check_text(planned, found, settings), words=True)
            if page:
                show(f"report: {printable(str(page))}")
        elif isinstance(observer, JsonLines):
            observer.emit("check", **check_data(planned, found, settings), report=str(page) if page else None)
    if error:
        raise error
    return status
