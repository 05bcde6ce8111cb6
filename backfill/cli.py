"""The command line: parse, call one function, print, exit. The only module that knows click.

Modules are imported where they are used, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill import __version__
from backfill.errors import BackfillError, BugError, InterruptedRun, UsageError

if TYPE_CHECKING:
    from backfill.progress import Plain
    from backfill.settings import Flags

__all__ = ["main"]

MAPPING = click.argument("mapping", type=click.Path(path_type=Path, dir_okay=False))
STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of ledger and runs [BACKFILL_STATE].",
)
STORE = click.option("--store", help="The store's id [REDO_STORE_ID].")
BASE_URL = click.option("--base-url", help="The API, or a sandbox [REDO_BASE_URL].")
SANDBOX = click.option("--sandbox", is_flag=True, help="Start the sandbox inside the run and send there.")
REHEARSED = click.option("--sandbox", is_flag=True, help="What `run --sandbox` did, instead of real runs.")
NEW_IDS = click.option(
    "--new-ids", is_flag=True, help="Events that a changed mapping gives other ids are wanted in the store once more."
)
FILES = click.option(
    "--files", multiple=True, help="Read this instead of source.files: a mended rejected.csv. May be repeated."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="backfill")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def backfill(context: click.Context, *, debug: bool) -> None:
    """Bring a store's history into Redo, once and only once.

    \b
    backfill check orders.yaml            read, map and validate everything; send nothing
    backfill run orders.yaml --sandbox    rehearse: send to a local stand-in
    backfill run orders.yaml              send; run it again after anything
    """
    context.ensure_object(dict)["debug"] = debug


@backfill.command()
@MAPPING
@STORE
@BASE_URL
@STATE
@FILES
@NEW_IDS
@REHEARSED
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def check(mapping: Path, *, as_json: bool, quiet: bool, **options: Any) -> int:
    """Read, map and validate everything; send nothing.

    Tells what is ready, what is rejected and why, what is suspicious, and how long sending would take.
    Exit status 0: all is ready. 3: some rows or events are rejected. 65: a file can't be read.
    78: the mapping is wrong, or would give delivered events other ids.
    """
    from backfill import run as runs
    from backfill.progress import JsonLines
    from backfill.read import unread_error
    from backfill.report import check_data
    from backfill.report.text import check_text

    with _observer(as_json=as_json, quiet=quiet) as observer:
        planned, found, settings = runs.check(mapping, _flags(options), observer)
        if not as_json:
            _show(check_text(planned, found, settings))
        elif isinstance(observer, JsonLines):
            observer.emit("check", **check_data(planned, found, settings))
    if found.moved and not options["new_ids"]:
        raise found.moved
    if found.unread:
        raise unread_error(found.unread)
    return 3 if found.rejected else 0


@backfill.command()
@MAPPING
@click.option("-n", "count", default=3, show_default=True, type=click.IntRange(1), help="How many events.")
@click.option("--row", type=click.IntRange(1), help="The events of this row (as file:row tells it).")
@click.option("--curl", is_flag=True, help="As a curl command.")
def preview(mapping: Path, *, count: int, row: int | None, curl: bool) -> int:
    """Show the first events as they would be sent."""
    from backfill.preview import preview as previews

    shown = 0
    for text in previews(mapping, count, row=row, curl=curl):
        _show(text)
        shown += 1
    if not shown:
        raise UsageError("no event to show", hint="`backfill check` tells what becomes of the rows")
    return 0


@backfill.command()
@MAPPING
@STORE
@BASE_URL
@click.option("--endpoint", type=click.Choice(["single", "bulk"]), help="One event a request, or up to 100.")
@click.option("--rate", type=float, help="Requests per second, of the store's 100.")
@click.option("--concurrency", type=click.IntRange(1, 64), help="Requests in flight at most.")
@click.option("--limit", type=click.IntRange(1), help="Send the first N events and stop: a canary.")
@SANDBOX
@click.option("--yes", "-y", is_flag=True, help="Do not ask: these events may start live flows, and that is wanted.")
@click.option("--retry-rejected", is_flag=True, help="Send again what the API refused in an earlier run.")
@click.option("--reread", is_flag=True, help="Read files again that have not changed since they were delivered.")
@STATE
@FILES
@NEW_IDS
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout, the summary last.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def run(mapping: Path, *, as_json: bool, quiet: bool, **options: Any) -> int:
    """Check, ask, send, remember. Run it again after anything: it sends only what is missing.

    \b
    Exit status:
      0  every event is delivered, now or before     65  an export can't be read
      2  wrong usage                                  70  a bug of ours
      3  done, and some rows or events were rejected  74  disk or ledger trouble
     11  another run holds the ledger                 75  events are left: run again
     77  the secret or store was refused              78  the mapping or settings are wrong
    130, 143  interrupted: what was sent is recorded; run again
    """
    from backfill import run as runs
    from backfill.report import describe
    from backfill.report.text import result_text

    with _observer(as_json=as_json, quiet=quiet) as observer:
        result = runs.run(mapping, _flags(options), observer)
    if as_json:
        from backfill.progress import JsonLines

        JsonLines().emit("summary", **result.summary, folder=str(result.folder))
    else:
        places = [f"{'report' if name == 'report.html' else name}: {result.folder / name}" for name in
                  ("report.html", *result.extras) if (result.folder / name).exists()]  # fmt: skip
        _show(result_text(result.summary, *describe(result.status, result.summary), places))
    if result.error is not None:
        _tell(result.error)
    return result.status


@backfill.command()
@click.argument("mapping", required=False, type=click.Path(path_type=Path, dir_okay=False))
@STATE
@REHEARSED
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(mapping: Path | None, *, as_json: bool, **options: Any) -> int:
    """Show what the ledger knows; may be asked while a run goes on."""
    from backfill.status import status as told

    _show(told(mapping, _flags(options), as_json=as_json))
    return 0


@backfill.command()
@click.argument("mapping", required=False, type=click.Path(path_type=Path, dir_okay=False))
@STATE
@REHEARSED
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(mapping: Path | None, *, show: bool, **options: Any) -> int:
    """Say where the last run's report is."""
    from backfill.status import last_report

    path = last_report(mapping, _flags(options))
    _show(str(path))
    if show:
        click.launch(str(path))
    return 0


@backfill.command()
def schema() -> int:
    """Print the mapping's JSON Schema, for editors."""
    import json

    from backfill.mapping import json_schema

    _show(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


@backfill.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; this machine only, unless told.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--database", type=click.Path(path_type=Path, dir_okay=False), help="Keep what arrives in this file.")
@click.option("--faults", default="", help="Misbehave: latency=80±40,503=1%,reset=2%,429=2% …")
@click.option("--rate", default=100.0, show_default=True, help="Requests per second a store; 0: no limit.")
@click.option("--bulk-body", is_flag=True, help="Answer bulk requests with the older per-event body.")
def sandbox(*, host: str, port: int, database: Path | None, faults: str, rate: float, bulk_body: bool) -> int:
    """Run a local stand-in for the API, with a page to look at what arrived."""
    import anyio

    from backfill.sandbox import Faults, FaultsError, ListenError, Options, StoreError, serve

    try:
        chosen = Faults.parse(faults)
    except FaultsError as error:
        raise UsageError(f"--faults: {error}", hint="such as latency=80±40,503=1%,reset=2%") from error
    options = Options(host=host, port=port, database=database, faults=chosen, rate=rate or None, bulk_body=bulk_body)

    def started(base_url: str) -> None:
        _show(f"base URL: {base_url}")
        _show(f"page:     {base_url.rpartition('/')[0]}/")
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


def _flags(options: dict[str, Any]) -> Flags:
    from backfill.settings import Flags

    return Flags(**options)


def _observer(*, as_json: bool, quiet: bool) -> Plain:
    from backfill.progress import JsonLines, Plain, Terminal

    if as_json:
        return JsonLines()
    if quiet or not sys.stderr.isatty():
        return Plain(quiet=quiet)

    class Asking(Terminal):
        """A terminal can be asked."""

        def confirm(self) -> bool:
            if not sys.stdin.isatty():
                return False
            # Polars has system calls go on after a signal: Ctrl-C would wait for Enter.
            signal.siginterrupt(signal.SIGINT, True)
            signal.siginterrupt(signal.SIGTERM, True)
            try:
                click.echo("Send them? [y/N]: ", nl=False, err=True)
                return sys.stdin.readline().strip().lower() in ("y", "yes")
            except OSError:  # the terminal has gone
                return False

    return Asking()


def _show(text: str) -> None:
    """A result on stdout. That nobody reads it changes nothing about how the command ends."""
    with suppress(OSError):
        click.echo(text)


def _tell(error: BackfillError) -> None:
    """One red line (a line for each problem of a mapping), and what to do."""
    from backfill.printable import printable

    text = printable(error.message) + (f"\n{printable(error.hint)}" if error.hint else "")
    # When nobody reads stderr, the exit status still tells.
    with suppress(OSError, ValueError):
        click.secho(text, fg="red" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else None, err=True)


def main() -> None:
    """The entry point: one place turns an error into a line and an exit status."""
    _open_streams()
    # A core would hold the secret, and customers: none is dumped, whatever the shell allows.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = guarded(lambda: backfill.main(standalone_mode=False), debug="--debug" in sys.argv[1:])
    _flush_streams()
    sys.exit(status)


def _open_streams() -> None:
    """Streams that were closed lead nowhere from now on; their numbers must not become those of the ledger's files."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")


def _flush_streams() -> None:
    """What can't be written goes nowhere: still there at the end, it would make the exit status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def guarded(work: Callable[[], Any], *, debug: bool) -> int:
    """What `work` returns as exit status; for an error its line on stderr and its status."""

    def stop(number: int, _frame: object) -> None:
        raise InterruptedRun(
            "interrupted: what was sent is recorded",
            signal=number,
            hint="run the same command again to go on",
        )

    try:
        signal.signal(signal.SIGTERM, stop)
        return int(work() or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _failed(InterruptedRun("interrupted", signal=signal.SIGINT, hint="run the same command again"), debug)
    except BackfillError as error:
        return _failed(error, debug)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (the last place: no traceback reaches a user unasked, Rust's panics too)
        return _failed(_bug(error), debug, error)


def _bug(error: BaseException) -> BugError:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    # Without the error's own words: they could hold a customer's data.
    return BugError(
        f"an error that was not foreseen: {type(error).__name__}",
        hint="please report it: `backfill --debug …` shows the traceback; look at what it holds before you send it",
    )


def _failed(error: BackfillError, debug: bool, cause: BaseException | None = None) -> int:
    if debug:
        import traceback

        traceback.print_exception(cause or error)
    _tell(error)
    return error.status
