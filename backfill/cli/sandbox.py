"""`backfill sandbox`."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from backfill.cli.shared import show
from backfill.errors import UsageError

__all__ = ["sandbox"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; this machine only, unless told.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--database", type=click.Path(path_type=Path, dir_okay=False), help="Keep what arrives in this file.")
@click.option("--faults", default="", help="Misbehave: latency=80±40,503=1%,reset=2%,429=2% …")
@click.option("--rate", default=100.0, show_default=True, help="Requests per second a store; 0: no limit.")
@click.option("--bulk-body", is_flag=True, help="Answer bulk requests with the older per-event body.")
def sandbox(*, host: str, port: int, database: Path | None, faults: str, rate: float, bulk_body: bool) -> int:
    """Run a local stand-in for the API, with a page.

    The page shows what arrived.

    \b
    backfill sandbox                               then: run --base-url …
    backfill sandbox --database arrived.db         keep what arrives
    backfill sandbox --faults 503=1%,latency=80    see how a run bears it
    """
    import anyio

    from backfill.sandbox import Faults, FaultsError, ListenError, Options, StoreError, serve

    try:
        chosen = Faults.parse(faults)
    except FaultsError as error:
        raise UsageError(f"--faults: {error}", hint="such as latency=80±40,503=1%,reset=2%") from error
    options = Options(host=host, port=port, database=database, faults=chosen, rate=rate or None, bulk_body=bulk_body)

    def started(base_url: str) -> None:
        show(f"base URL: {base_url}")
        show(f"page:     {base_url.rpartition('/')[0]}/")
        click.echo("stop it with Ctrl-C", err=True)

    async def until_stopped() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: serve(options, started=started))
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()

    try:
        anyio.run(until_stopped)
    except* (ListenError, StoreError) as errors:
        raise UsageError(str(errors.exceptions[0]), hint="choose another --port, --host or --database") from None
    return 0
