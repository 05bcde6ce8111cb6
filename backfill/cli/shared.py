"""What commands share: options, who watches, and how results and errors are shown."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill.cli.completion import EXPORTS, MAPPINGS, ending_with
from backfill.errors import BackfillError, SettingsError

if TYPE_CHECKING:
    from backfill.progress import Plain
    from backfill.settings import Flags

__all__ = [
    "ANY_MAPPING",
    "BASE_URL",
    "FILES",
    "LEDGER",
    "MAPPING",
    "MIN_ROWS",
    "NEW_IDS",
    "NOT_NEWER_THAN",
    "REHEARSED",
    "RUNS_TO",
    "SANDBOX",
    "STATE",
    "STORE",
    "flags",
    "observing",
    "show",
    "tell",
]

MAPPING = click.argument(
    "mapping", type=click.Path(path_type=Path, dir_okay=False), shell_complete=ending_with(*MAPPINGS)
)
# For the commands that look at the folder when no mapping is named.
ANY_MAPPING = click.argument(
    "mapping", required=False, type=click.Path(path_type=Path, dir_okay=False), shell_complete=ending_with(*MAPPINGS)
)
STATE = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of ledger and runs [BACKFILL_STATE].",
)
LEDGER = click.option(
    "--ledger", metavar="URL", help="Keep the ledger in PostgreSQL: postgresql://… [BACKFILL_LEDGER]."
)
STORE = click.option("--store", help="The store's id [REDO_STORE_ID].")
BASE_URL = click.option("--base-url", help="The API, or a sandbox [REDO_BASE_URL].")
SANDBOX = click.option("--sandbox", is_flag=True, help="Start the sandbox inside the run and send there.")
REHEARSED = click.option("--sandbox", is_flag=True, help="What `run --sandbox` did, instead of real runs.")
NEW_IDS = click.option(
    "--new-ids", is_flag=True, help="Events that a changed mapping gives other ids are wanted in the store once more."
)
NOT_NEWER_THAN = click.option(
    "--not-newer-than", metavar="AGE", help="Keep events under this age back: 72h, 3d [BACKFILL_NOT_NEWER_THAN]."
)
MIN_ROWS = click.option(
    "--min-rows", type=click.IntRange(1), metavar="N", help="Send nothing if fewer rows were read [BACKFILL_MIN_ROWS]."
)
RUNS_TO = click.option(
    "--runs-to", metavar="URL", help="Copy the run's folder there: s3://bucket/runs, a folder [BACKFILL_RUNS_TO]."
)
FILES = click.option(
    "--files",
    multiple=True,
    help="Read this instead of source.files: a mended rejected.csv. May be repeated.",
    shell_complete=ending_with(*EXPORTS),
)


def flags(options: dict[str, Any]) -> Flags:
    from backfill.settings import Flags

    if options.get("ledger"):
        from backfill.ledger.postgres.address import has_password

        if has_password(options["ledger"]):
            raise SettingsError(
                "--ledger holds a password, and everybody on this machine can read a command's words",
                hint="set BACKFILL_LEDGER or BACKFILL_LEDGER_FILE to the URL, or leave the password to ~/.pgpass or "
                "PGPASSWORD",
            )
    return Flags(**options)


def observing(*, as_json: bool, quiet: bool) -> Plain:
    from backfill.progress import JsonLines, Plain, Terminal
    from backfill.terminal import can_move

    if as_json:
        return JsonLines()
    if quiet or not sys.stderr.isatty():
        return Plain(quiet=quiet)

    class Asking(Plain):
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

    class Drawing(Terminal, Asking):
        """One on which lines can be drawn."""

    return Drawing() if can_move(sys.stderr) else Asking()


def show(text: str, *, words: bool = False) -> None:
    """A result on stdout. That nobody reads it changes nothing about how the command ends.

    `words` are for people: on a terminal they are laid out within its width, with colours if it has any.
    """
    if words:
        from backfill.terminal import for_terminal

        text = for_terminal(text, sys.stdout)
    with suppress(OSError):
        # To what takes ASCII only, click writes UTF-8: right for a pipe, and rubbish on a terminal.
        click.echo(text, file=sys.stdout if sys.stdout.isatty() else None)


def tell(error: BackfillError) -> None:
    """One red line (a line for each problem of a mapping), and what to do."""
    from backfill.printable import printable
    from backfill.terminal import colourful, for_terminal

    text = printable(error.message) + (f"\n{printable(error.hint)}" if error.hint else "")
    # When nobody reads stderr, the exit status still tells.
    with suppress(OSError, ValueError):
        text = for_terminal(text, sys.stderr, colours=False)
        click.secho(text, fg="red" if colourful(sys.stderr) else None, err=True)
