"""How `--help` is laid out, and what is said of a command that there is not."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from backfill.cli.completion import EXPORTS, MAPPINGS

__all__ = ["Backfill", "Grouped"]

# Options by what they are about, in this order; the rest stand below them.
GROUPS = {
    "Where": ("store", "base_url", "sandbox", "state", "ledger", "runs_to", "ray"),
    "What": (
        "files",
        "reread",
        "limit",
        "limit_each",
        "not_newer_than",
        "min_rows",
        "retry_rejected",
        "new_ids",
        "yes",
    ),
    "How fast": ("endpoint", "rate", "concurrency"),
    "What is told": ("as_json", "quiet", "metrics_file", "ping"),
}
OTHERS = "Options"


class Grouped(click.Command):
    """A command with many options, which stand in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {name: [] for name in [*GROUPS, OTHERS]}
        for option in self.get_params(ctx):
            about = next((name for name, members in GROUPS.items() if option.name in members), OTHERS)
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                records[about].append(record)
        # One width for all, so that what they do stands in one column.
        widest = max((len(names) for group in records.values() for names, _ in group), default=0)
        for name, group in records.items():
            if group:
                with formatter.section(name):
                    formatter.write_dl([(names.ljust(widest), does) for names, does in group])


class Backfill(click.Group):
    """All commands; it sees what somebody means who names a file instead of one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand:
            if not (meant := self._meant(args[0])):
                raise
        words = shlex.join(["backfill", meant, *args])
        raise click.UsageError(f"No such command {args[0]!r}, which is a file. Did you mean: {words}", ctx)

    def _meant(self, word: str) -> str:
        """What is done first with such a file; empty when it is none."""
        if word.lower().endswith(MAPPINGS):
            return "check"
        is_export = word.lower().endswith(EXPORTS) or Path(word).is_file()
        return "init" if is_export and "init" in self.commands else ""
