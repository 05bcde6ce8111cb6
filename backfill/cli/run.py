"""`backfill run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill.cli.grouped import Grouped
from backfill.cli.shared import (
    BASE_URL,
    FILES,
    LEDGER,
    MAPPING,
    MIN_ROWS,
    NEW_IDS,
    NOT_NEWER_THAN,
    RUNS_TO,
    SANDBOX,
    STATE,
    STORE,
    flags,
    observing,
    show,
    tell,
)

if TYPE_CHECKING:
    from backfill.progress import Plain
    from backfill.run import Result

__all__ = ["run"]


@click.command(cls=Grouped)
@MAPPING
@STORE
@BASE_URL
@click.option("--endpoint", type=click.Choice(["single", "bulk"]), help="One event a request, or up to 100.")
@click.option("--rate", type=float, help="Requests per second, of the store's 100.")
@click.option("--concurrency", type=click.IntRange(1, 64), help="Requests in flight at most.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Send the first N events and stop: a canary.")
@click.option(
    "--limit-each", type=click.IntRange(1), metavar="N", help="Send the first N events of each name and stop."
)
@NOT_NEWER_THAN
@MIN_ROWS
@SANDBOX
@click.option("--yes", "-y", is_flag=True, help="Do not ask: these events may start live flows, and that is wanted.")
@click.option("--retry-rejected", is_flag=True, help="Send again what the API refused in an earlier run.")
@click.option("--reread", is_flag=True, help="Read everything: unchanged files, and what source.since leaves out.")
@click.option(
    "--ray", metavar="ADDRESS|local", help="Work on a Ray cluster, or on Ray on this machine: see help cluster."
)
@STATE
@RUNS_TO
@LEDGER
@FILES
@NEW_IDS
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout, the summary last.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write how the run ended here, for Prometheus' textfile collector: a file of its own for each mapping.",
)
@click.option(
    "--ping",
    envvar="BACKFILL_PING",
    help="Call URL when all is delivered, URL/<exit status> when not, URL/start at the start, as healthchecks.io has "
    "it [BACKFILL_PING].",
    metavar="URL",
)
def run(
    mapping: Path, *, as_json: bool, quiet: bool, metrics_file: Path | None, ping: str | None, **options: Any
) -> int:
    """Check, ask, send, remember. Run it again after anything: it sends only what is missing.

    \b
    backfill run orders.yaml --sandbox         rehearse: send to a local stand-in
    backfill run orders.yaml --limit 10        send ten; look at the store
    backfill run orders.yaml --endpoint bulk   send up to 100 events a request

    \b
    Exit status:
      0  every event is delivered, now or before  65  an export can't be read
      2  wrong usage                              70  a bug of ours
      3  done, and some rows or events rejected   74  disk or ledger trouble
     11  another run holds the ledger             75  events are left: run again
     77  the secret or store was refused          78  wrong mapping or settings
    130, 143  interrupted: what was sent is recorded; run again

    Of many stores (delivery.store names a column) each ends for itself; the command ends with the gravest status of
    theirs, in the order 70, 74, 78, 77, 65, 75, 11, 2, 143, 130, 3, 0.

    With --json each line on stdout is an object with `type` and `time` (RFC 3339, UTC): note, sandbox, checking,
    checked, ready, sending, error (`exit`, `message`, `hint`), store (of many, each one's summary), and last
    summary. A run that could not begin ends with its error.
    """
    from backfill import run as runs
    from backfill.watched import Watched

    said = flags(options)
    with (
        observing(as_json=as_json, quiet=quiet) as observer,
        Watched(mapping, said, observer.note, metrics_file=metrics_file, url=ping) as watched,
    ):
        result = watched.result = runs.run(mapping, said, observer, begun=watched.begun)
        # First: who watches from outside may be long in answering.
        _show(result, observer)
    return result.status


def _show(result: Result, observer: Plain) -> None:
    """How a run ended, in the words or the lines that its observer had."""
    from backfill.progress import JsonLines
    from backfill.report import describe
    from backfill.report.text import result_text

    observer.close()
    if isinstance(observer, JsonLines):
        if result.error is not None:
            observer.failed(result.error)
        for store, one in result.summary.get("stores", {}).items():
            observer.emit("store", **{**one, "store": store})
        observer.summary(result.summary, result.folder)
    else:
        places = [f"{'report' if name == 'report.html' else name}: {result.folder / name}" for name in
                  ("report.html", *result.extras) if (result.folder / name).exists()]  # fmt: skip
        places += [f"copied to: {result.copy}/"] if result.copy else []
        show(
            result_text(
                result.summary, *describe(result.status, result.summary, told=result.error is not None), places
            ),
            words=True,
        )
    if result.error is not None:
        tell(result.error)
