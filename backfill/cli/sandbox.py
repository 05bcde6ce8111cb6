"""`backfill sandbox`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from backfill.cli.shared import show
from backfill.errors import UsageError

__all__ = ["sandbox"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; this machine only, unless told.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--database", type=click.Path(path_type=Path, dir_okay=False), help="Keep what arrives in this file.")
@click.option("--faults", default="", help="Misbehave: latency=80±40,503=1%,reset=2% …; 'help' explains each word.")
@click.option("--rate", default=100.0, show_default=True, help="Requests per second a store; 0: no limit.")
@click.option("--bulk-body", is_flag=True, help="Answer bulk requests with the older per-event body.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take only the secrets in this file, one a line; without it, any.",
)
def sandbox(
    *,
    host: str,
    port: int,
    database: Path | None,
    faults: str,
    rate: float,
    bulk_body: bool,
    secret_file: Path | None,
) -> int:
    """Run a local stand-in for the API, with a page.

    The page shows what arrived. Any secret will do, unless --secret-file names those that are known: the sandbox looks
    at no environment variable, so that the secret of your real store need not be here.

    \b
    backfill sandbox                               then: run --base-url …
    backfill sandbox --database arrived.db         keep what arrives
    backfill sandbox --faults 503=1%,latency=80    see how a run bears it
    backfill sandbox --faults help                 what can go wrong
    backfill sandbox --faults unauthorized@200     the secret is replaced, after
                                                   200 requests
    """
    import anyio

    from backfill.sandbox import Faults, FaultsError, ListenError, Options, StoreError, serve

    if faults.strip() == "help":
        show(Faults.explained())
        return 0
    try:
        chosen = Faults.parse(faults)
    except FaultsError as error:
        raise UsageError(
            f"--faults: {error}", hint="such as latency=80±40,503=1%,reset=2%; '--faults help' explains each"
        ) from error
    options = Options(
        host=host,
        port=port,
        database=database,
        faults=chosen,
        rate=rate or None,
        bulk_body=bulk_body,
        secrets=None if secret_file is None else _secrets(secret_file),
    )

    def started(base_url: str) -> None:
        for line in _places(base_url, person=sys.stdout.isatty()):
            show(line)
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


def _places(base_url: str, *, person: bool) -> list[str]:
    """Where it listens. A person wants the page first; a script has always found the base URL in the first line."""
    lines = [f"page:     {base_url.rpartition('/')[0]}/", f"base URL: {base_url}"]
    return lines if person else lines[::-1]


def _secrets(file: Path) -> frozenset[str]:
    try:
        found = frozenset(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise UsageError(f"--secret-file: can't read {file}: {reason}", hint="one secret a line") from error
    if not found:
        raise UsageError(f"--secret-file: {file} holds no secret", hint="one secret a line")
    return found
