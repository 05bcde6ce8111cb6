"""`backfill init`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill.cli.shared import show

if TYPE_CHECKING:
    from backfill.draft import Drafted, Question

__all__ = ["init"]

TRIES = 3


@click.command()
@click.argument("export")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the mapping to this file.")
@click.option("--preset", help="A preset's name; none: draft from the data alone. Else it is recognised.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing; what is not sure is marked TODO.")
def init(export: str, *, output: Path | None, preset: str | None, yes: bool) -> int:
    """Look at an export (a file, glob, folder or URL) and draft its mapping.

    \b
    backfill init orders.csv -o orders.yaml
    backfill init 'exports/orders_*.csv' -o orders.yaml --preset none

    Each guess says why. What the data can't tell is asked on a terminal, and marked TODO elsewhere.
    """
    from datetime import UTC, datetime

    from backfill import draft

    path = Path(output or "mapping.yaml").absolute()
    if output is not None:
        draft.refuse_existing(output)
    looked = draft.look(export, Path.cwd(), path, datetime.now(UTC), preset=preset)
    if looked.preset is not None:
        click.echo(f"Recognised: {looked.preset.title} (--preset none drafts from the data alone).", err=True)
    asking = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    answers = _answers(looked.questions) if asking else {}
    drafted = looked.draft(answers)
    if output is None:
        show(drafted.text.removesuffix("\n"))
    else:
        draft.save(output, drafted.text)
    _tell(drafted, looked.seen, output)
    return 0


def _answers(questions: list[Question]) -> dict[str, str]:
    """What the user says to each question; Enter takes the guess."""
    if not questions:
        return {}
    # Polars has system calls go on after a signal: Ctrl-C would wait for Enter.
    signal.siginterrupt(signal.SIGINT, True)
    signal.siginterrupt(signal.SIGTERM, True)
    click.echo("Enter takes what stands in brackets.", err=True)
    return {question.key: _answer(question) for question in questions}


def _answer(question: Question) -> str:
    from backfill.draft import wrong_answer
    from backfill.printable import printable

    click.echo(printable(question.text), err=True)
    for number, choice in enumerate(question.choices, 1):
        click.echo(printable(f"  {number}  {choice}"), err=True)
    for _ in range(TRIES):
        click.echo(printable(f"[{question.default}]: "), nl=False, err=True)
        try:
            said = sys.stdin.readline().strip()
        except OSError:  # the terminal has gone
            return question.default
        if not said:
            return question.default
        if said.isascii() and said.isdigit() and 0 < int(said) <= len(question.choices):
            return question.choices[int(said) - 1]
        if question.key in ("currency", "phone_region"):
            said = said.upper()
        wrong = wrong_answer(question, said)
        if not wrong:
            return said
        click.echo(printable(wrong), err=True)
    return question.default


def _tell(drafted: Drafted, seen: str, output: Path | None) -> None:
    from backfill.printable import printable

    name = os.fspath(output) if output else "mapping.yaml"
    lines = [f"Looked at {seen}.", *drafted.checked]
    if drafted.todos:
        lines.append("To decide:")
        lines += [
            f"  {name if output else 'line'}{':' if output else ' '}{line}: {text}" for line, text in drafted.todos
        ]
    else:
        lines.append("Nothing is left to decide.")
    lines.append(
        f"next: backfill check {name}"
        if output
        else "next: save it beside the export (-o orders.yaml), then `backfill check orders.yaml`"
    )
    click.echo(printable("\n".join(lines)), err=True)
