"""`backfill status`, `report` and `schema`: what is there already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backfill.cli.shared import ANY_MAPPING, LEDGER, REHEARSED, STATE, flags, show

__all__ = ["report", "schema", "status"]


@click.command()
@ANY_MAPPING
@STATE
@LEDGER
@REHEARSED
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(mapping: Path | None, *, as_json: bool, **options: Any) -> int:
    """Show what the ledger knows; may be asked while a run goes on.

    \b
    backfill status orders.yaml            events by name, and the last runs
    backfill status orders.yaml --json     the same for programs
    """
    from backfill.status import status as told

    show(told(mapping, flags(options), as_json=as_json))
    return 0


@click.command()
@ANY_MAPPING
@STATE
@LEDGER
@REHEARSED
@click.option("--open", "opening", is_flag=True, help="Open it in the browser.")
def report(mapping: Path | None, *, opening: bool, **options: Any) -> int:
    """Say where the last run's report is.

    \b
    backfill report orders.yaml --open             look at it in the browser
    backfill report orders.yaml --sandbox --open   the rehearsal's
    """
    from backfill.status import copy_of, last_report, without_report

    path = last_report(mapping, flags(options))
    show(str(path))
    if note := without_report(mapping, flags(options), path):
        click.echo(f"note: {note}", err=True)
    if copy := copy_of(path):
        click.echo(f"note: it was copied to {copy}", err=True)
    if opening:
        click.launch(str(path))
    return 0


@click.command()
def schema() -> int:
    """Print the mapping's JSON Schema, for editors.

    \b
    backfill schema > mapping.schema.json
    """
    import json

    from backfill.mapping import json_schema

    show(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
