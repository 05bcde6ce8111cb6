"""A draft, checked by what checks every mapping: it is read, compiled over the columns, and tried on the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backfill.draft.sample import Sample
from backfill.errors import MappingError, MappingProblem, SettingsError
from backfill.mapping import Reference, parse
from backfill.plan import Plan
from backfill.printable import plural
from backfill.shape import Columns, advice, compile_shaper
from backfill.survey import survey
from backfill.tally import Survey

__all__ = ["Proof", "prove"]


@dataclass(frozen=True)
class Proof:
    """What checking a draft found: `problems` with the mapping itself, else what became of the rows."""

    problems: Sequence[MappingProblem]
    references: Sequence[Reference]
    found: Survey | None = None

    def words(self) -> list[str]:
        """What is told of it, a line each."""
        if self.found is None:
            return []
        events, rows = self.found.events(), self.found.rows
        said = f"Checked on these rows: {plural(events['total'], 'event')}, {events['ready']:,} ready"
        parts = [f"{events['duplicate']:,} duplicates" * bool(events["duplicate"])]
        parts += [f"{rows.filtered:,} rows filtered" * bool(rows.filtered)]
        lines = [", ".join([said, *filter(None, parts)]) + "."]
        for group in sorted(self.found.problems.values(), key=lambda one: -one.count)[:5]:
            share = f"{100 * group.count / max(1, rows.read):.1f} % of the rows"
            lines.append(f"Rejected: {group.count:,} x {advice(group.code).title} ({share}); {advice(group.code).fix}.")
        return lines


def prove(text: str, path: Path, sample: Sample, now: datetime) -> Proof:
    """Check a draft over the sample, as `check` would do over the whole export."""
    draft = parse(text, path)
    references = draft.references()
    columns = Columns(sample.schema)
    problems = draft.problems + draft.check_columns(list(sample.schema), columns.nested, "the export")
    if problems or draft.mapping is None:
        return Proof(problems, references)
    try:
        planned = Plan(draft.mapping, sample, compile_shaper(draft.mapping, sample.schema, now))
    except MappingError as error:
        return Proof(error.problems, references)
    with tempfile.TemporaryDirectory(prefix="backfill-") as scratch:
        try:
            return Proof([], references, survey(planned, None, now, Path(scratch)))
        except SettingsError as error:
            return Proof([MappingProblem(0, 0, error.message, error.hint)], references)
