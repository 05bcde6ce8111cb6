"""`backfill schedule`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from backfill.cli.shared import BASE_URL, LEDGER, MAPPING, MIN_ROWS, NOT_NEWER_THAN, STATE, STORE, flags, show

__all__ = ["schedule"]

FORMS = ("cron", "systemd", "kubernetes", "github-actions", "airflow")


@click.command()
@MAPPING
@click.option("--at", required=True, metavar="HH:MM", help="The time of day.")
@click.option("--as", "form", required=True, type=click.Choice(FORMS), help="For which scheduler.")
@click.option("--timezone", metavar="ZONE", help="Whose time of day, such as Europe/Berlin; else this machine's.")
@click.option(
    "--ping",
    envvar="BACKFILL_PING",
    metavar="URL",
    help="A dead man's switch for `run` to tell how it ended: the files say where to put it [BACKFILL_PING].",
)
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where `run` leaves its numbers for Prometheus.",
)
@NOT_NEWER_THAN
@MIN_ROWS
@click.option("--name", help="What its files and units are named after; else the mapping's name. One for each store.")
@STORE
@BASE_URL
@STATE
@LEDGER
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write into this file or folder, not to stdout.")
def schedule(
    mapping: Path,
    *,
    at: str,
    form: Any,
    timezone: str | None,
    ping: str | None,
    metrics_file: Path | None,
    name: str | None,
    output: Path | None,
    **options: Any,
) -> int:
    """Print the file that runs a mapping every night; its first lines say how to install it.

    \b
    backfill schedule orders.yaml --at 02:00 --as cron
    backfill schedule orders.yaml --at 02:00 --as systemd -o units/
    """
    from datetime import UTC, datetime

    from backfill.ping import ping_host
    from backfill.schedule import Options, elsewhere, plan_job, render, save

    # How to write the file anew, from any folder: the paths are spelled out, and --output is another one each time.
    again = ["schedule", str(mapping.absolute()), "--at", at, "--as", form]
    for flag, value in [
        ("--timezone", timezone),
        ("--ping", ping and ping_host(ping)),
        ("--metrics-file", metrics_file and metrics_file.absolute()),
        ("--not-newer-than", options["not_newer_than"]),
        ("--min-rows", options["min_rows"]),
        ("--name", name),
        ("--store", options["store"]),
        ("--base-url", options["base_url"]),
        ("--state", options["state"] and options["state"].absolute()),
        ("--ledger", options["ledger"]),
    ]:
        again += [flag, str(value)] if value else []
    job = plan_job(mapping, flags(options), Options(at, timezone, ping, metrics_file, tuple(again), name))
    if address := elsewhere(job):
        click.echo(
            f"note: each night would send to {address}, as REDO_BASE_URL or --base-url says: not to Redo", err=True
        )
    files = render(job, form, datetime.now(UTC).year)
    if output:
        for path in save(files, output, mapping.absolute()):
            show(str(path))
        return 0
    for number, text in enumerate(files.values()):
        sys.stdout.write("\n" * bool(number) + text)
    return 0
