"""`python -m backfill.sandbox`: the sandbox as a process of its own.

Prints its base URL as one line on stdout once it listens; ends with status 0 on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from backfill.sandbox import Faults, FaultsError, ListenError, Options, StoreError, serve


class _FaultsType(click.ParamType[Faults]):
    name = "faults"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Faults:
        """Parse the text; a bad word becomes a usage error."""
        try:
            return value if isinstance(value, Faults) else Faults.parse(str(value))
        except FaultsError as error:
            self.fail(str(error), param, ctx)


async def _until_signalled(options: Options) -> None:
    task = asyncio.create_task(serve(options, started=click.echo))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option("--database", type=click.Path(path_type=Path), help="SQLite file to keep events in.")
@click.option("--faults", type=_FaultsType(), default=Faults(), help="Such as latency=80±40,503=1%.")
@click.option("--rate", type=float, default=100.0, show_default=True, help="Requests/s a store; 0 for no limit.")
@click.option("--store", "stores", multiple=True, help="A store id it knows; any, when none is given.")
@click.option("--bulk-body", is_flag=True, help="Bulk answers with a verdict for each event.")
@click.option("--bulk-400-partial", is_flag=True, help="A bulk that answers 400 still takes its good events.")
def main(
    host: str,
    port: int,
    database: Path | None,
    faults: Faults,
    rate: float,
    stores: tuple[str, ...],
    *,
    bulk_body: bool,
    bulk_400_partial: bool,
) -> None:
    """Run the sandbox until it is told to stop."""
    options = Options(
        host=host,
        port=port,
        stores=frozenset(stores) or None,
        rate=rate or None,
        database=database,
        bulk_body=bulk_body,
        bulk_400_partial=bulk_400_partial,
        faults=faults,
    )
    try:
        asyncio.run(_until_signalled(options))
    except (ListenError, StoreError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
