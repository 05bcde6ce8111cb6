"""`backfill preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backfill.cli.shared import FILES, LEDGER, MAPPING, REHEARSED, STATE, flags, observing, show
from backfill.errors import UsageError

__all__ = ["preview"]


@click.command()
@MAPPING
@STATE
@LEDGER
@FILES
@REHEARSED
@click.option("-n", "count", default=3, show_default=True, type=click.IntRange(1), help="How many events.")
@click.option(
    "--row", type=click.IntRange(1), help="The events of this row (as file:row tells it), or why it has none."
)
@click.option("--curl", is_flag=True, help="As a curl command.")
def preview(mapping: Path, *, count: int, row: int | None, curl: bool, **options: Any) -> int:
    """Show the first events as they would be sent.

    \b
    backfill preview orders.yaml -n 1              the first event, as JSON
    backfill preview orders.yaml --row 17          row 17's, or why it has none
    backfill preview orders.yaml --row 17 --curl   row 17's, as curl commands
    """
    from backfill.preview import preview as previews

    shown = 0
    note = observing(as_json=False, quiet=False).note
    for text in previews(mapping, count, flags(options), row=row, curl=curl, note=note):
        show(text)
        shown += 1
    if not shown:
        raise UsageError("no event to show", hint="`backfill check` tells what becomes of the rows")
    return 0
