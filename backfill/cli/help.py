"""`backfill help`."""

from __future__ import annotations

import sys

import click

from backfill.cli.shared import show

__all__ = ["help_"]


@click.command("help")
@click.argument("topic", required=False)
def help_(topic: str | None) -> int:
    """Show a page on a topic, offline: mapping, ids, exit statuses and others.

    \b
    backfill help           the topics
    backfill help ids       how ids, reruns and the ledger work
    """
    from backfill import help as pages

    if topic is None:
        titles = pages.topics()
        wide = max(map(len, titles))
        show("\n".join(f"backfill help {name:<{wide}}  {title}" for name, title in titles.items()))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        console = Console(width=min(Console().width, 100))
        with console.pager(styles=True):
            console.print(Markdown(pages.page(topic)))
    else:
        show(pages.page(topic).rstrip("\n"))
    return 0
