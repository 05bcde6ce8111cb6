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

    Tells what is ready, what is rejected and why, what is suspicious, and how long sending would take.
    Exit status 0: all is ready. 3: some rows or events are rejected. 65: a file can't be read.
    78: the mapping is wrong, or would give delivered events other ids.

    \b
    backfill check orders.yaml
    backfill check orders.yaml --files .backfill/runs/RUN/rejected.csv
    """
    from backfill import run as runs
    from backfill.progress import JsonLines
    from backfill.read import unread_error
    from backfill.report import check_data
    from backfill.report.text import check_text

    with observing(as_json=as_json, quiet=quiet) as observer:
        planned, found, settings = runs.check(mapping, flags(options), observer)
        if not as_json:
            show(check_text(planned, found, settings), words=True)
        elif isinstance(observer, JsonLines):
            observer.emit("check", **check_data(planned, found, settings))
        if found.moved and not options["new_ids"]:
            raise found.moved
        if found.unread:
            raise unread_error(found.unread)
    return 3 if found.rejected else 0
