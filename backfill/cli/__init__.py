"""The command line: parse, call one function, print, exit. The only package that knows click.

A module a command. They import what they need where they need it, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from backfill import __version__
from backfill.cli.check import check
from backfill.cli.completion import completion
from backfill.cli.grouped import Backfill
from backfill.cli.help import help_
from backfill.cli.init import init
from backfill.cli.look import report, schema, status
from backfill.cli.preview import preview
from backfill.cli.run import run
from backfill.cli.sandbox import sandbox
from backfill.cli.schedule import schedule
from backfill.cli.shared import tell
from backfill.errors import BackfillError, Terminated, as_told
from backfill.terminal import fit_streams

__all__ = ["backfill", "guarded", "main"]


@click.group(cls=Backfill, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="backfill")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def backfill(context: click.Context, *, debug: bool) -> None:
    """Bring a store's history into Redo, once and only once.

    \b
    backfill check orders.yaml            read and check everything; send nothing
    backfill run orders.yaml --sandbox    rehearse: send to a local stand-in
    backfill run orders.yaml              send; run it again after anything
    """
    context.ensure_object(dict)["debug"] = debug


for command in (
    init,
    check,
    preview,
    run,
    status,
    report,
    schedule,
    schema,
    sandbox,
    completion,
    help_,
):
    backfill.add_command(command)


def main() -> None:
    """The entry point: one place turns an error into a line and an exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as __main__ sets it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    # A core would hold the secret, and customers: none is dumped, whatever the shell allows.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = guarded(
        lambda: backfill.main(prog_name="backfill", standalone_mode=False), debug="--debug" in sys.argv[1:]
    )
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
    fit_streams(sys.stdout, sys.stderr)


def _flush_streams() -> None:
    """What can't be written goes nowhere: still there at the end, it would make the exit status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def guarded(work: Callable[[], Any], *, debug: bool) -> int:
    """What `work` returns as exit status; for an error its line on stderr and its status."""

    def stop(_number: int, _frame: object) -> None:
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, stop)
        return int(work() or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt as error:
        return _failed(as_told(error), debug)
    except click.Abort as error:  # so click passes on what ends a question, and either signal
        came = error.__cause__
        return _failed(as_told(came if isinstance(came, KeyboardInterrupt) else KeyboardInterrupt()), debug)
    except BackfillError as error:
        return _failed(error, debug)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (the last place: no traceback reaches a user unasked, Rust's panics too)
        return _failed(as_told(error), debug, error)


def _failed(error: BackfillError, debug: bool, cause: BaseException | None = None) -> int:
    if debug:
        import traceback

        traceback.print_exception(cause or error)
    tell(error)
    return error.status
