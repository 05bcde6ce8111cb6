"""A mapping over an export: whether the one fits the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from backfill.errors import MappingError
from backfill.mapping import STORE, Draft, Mapping
from backfill.read import Export, Older, open_export, unread_error
from backfill.shape import Columns, Shaper, compile_shaper

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """A mapping over an export whose columns are known."""

    mapping: Mapping
    export: Export
    shaper: Shaper

    def since(self, start: int) -> Plan:
        """The plan for the rows alone whose value in the column of `source.since` is at least this."""
        if self.shaper.since is None:
            return self
        since = replace(self.shaper.since, start=start)
        older = Older(since.column, since.all_old)
        return Plan(self.mapping, replace(self.export, older=older), replace(self.shaper, since=since))


def plan(draft: Draft, now: datetime, files: Sequence[str] = ()) -> Plan:
    """Open the export of a mapping and compile one over the other. `files`: instead of the mapping's own.

    Raises MappingError with every problem of the mapping, also those that only the export's columns show, and
    ExportError for files that can't be read.
    """
    if draft.source is None:
        raise MappingError(str(draft.path), draft.problems)
    needed = {reference.column for reference in draft.references()}
    if draft.source.names_stores:
        # A path that names it makes nothing an export.
        needed.discard(STORE)
    try:
        if files:
            source = draft.source.model_copy(update={"files": list(files), "format": None})
            export = open_export(source, Path.cwd(), needed)
        else:
            export = open_export(draft.source, draft.path.parent, needed)
    except Exception:
        # What is wrong with the mapping comes first: its files may be wrong for the same reason.
        if draft.problems:
            raise MappingError(str(draft.path), draft.problems) from None
        raise
    columns = Columns(export.schema)
    names = export.files[0].file.name if len(export.files) == 1 else f"any of the {len(export.files)} files"
    problems = draft.problems + draft.check_columns(list(export.schema), columns.nested, names)
    if problems and not draft.problems and export.unread:
        # The column may be in a file that can't be opened.
        raise unread_error(list(export.unread.values()))
    if problems or draft.mapping is None:
        raise MappingError(str(draft.path), problems)
    return Plan(draft.mapping, export, compile_shaper(draft.mapping, export.schema, now))
