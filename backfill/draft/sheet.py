"""A mapping that is being written: what its parts share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backfill.draft.columns import Column
from backfill.draft.guess import Findings
from backfill.draft.lines import Lines
from backfill.draft.questions import default_id, id_choices, questions
from backfill.draft.scalars import comment, quoted
from backfill.draft.values import date_shown, share_words

__all__ = ["STAND_IN", "Sheet"]

# What stands for what is to be decided while the rest of a draft is checked.
STAND_IN = {
    "eventTimestamp": "1970-01-01T00:00:00Z",
    "email": "someone@example.com",
}


@dataclass
class Sheet:
    """What is known and was answered, the lines so far, and the columns and names that are used."""

    found: Findings
    answers: Mapping[str, str]
    files: str
    stand_in: bool
    lines: Lines = field(default_factory=Lines)
    used: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=lambda: {"$extra"})

    def __post_init__(self) -> None:
        choices = id_choices(self.found)
        chosen = self.answers.get("id", default_id(self.found))
        self.id = chosen if chosen in choices else default_id(self.found)
        self.grouped = self.id.startswith("group by ") and choices.get(self.id) is not None
        self.key = choices.get(self.id)
        varying = self.found.repeats.varying if self.grouped and self.found.repeats else frozenset[str]()
        self.varying = varying
        self.roles = self.found.steady if self.grouped else self.found.roles
        # Under group_by what a column holds is what its groups hold: an order's own columns may stand on its first row.
        own = {column.reference: column for column in self.found.own if column.reference not in varying}
        self.columns = [own.get(one.reference, one) if self.grouped else one for one in self.found.columns]
        self.asked = {question.key for question in questions(self.found)}
        first = self.answers.get("date_order")
        self.months_first = None if first is None else first == "month"

    def take(self, role: str) -> Column | None:
        """The column for a field of the event, which is used by that."""
        column = self.roles.get(role)
        if column is not None:
            self.used.add(column.reference)
        return column

    def todo(self, key: str, text: str) -> str:
        """What is to decide, unless the user was asked and has decided."""
        return "" if key in self.answers else text

    def emptiness(self, column: Column) -> str:
        """A word on what is missing, for behind a note."""
        return f"; {share_words(column)}" if column.filled < column.rows and not self.grouped else ""

    def doubt(self, column: Column) -> str:
        """What is to decide about a column's dates."""
        moment = column.moment
        if moment is None:
            return ""
        if moment.mixed:
            cells = [date_shown(column, cell) for cell in (moment.proof, moment.mixed) if cell is not None]
            by_day, by_month = cells[::-1] if moment.months_first else cells
            return (
                f"some dates of {comment(column.reference)} have the day first ({by_day}) and some the month "
                f"({by_month}): which is right?"
            )
        if moment.other is None or self.months_first is not None:
            return ""
        first, second = ("month", "day") if moment.months_first else ("day", "month")
        shown = "" if column.private or not column.examples else f" such as {comment(column.examples[0], 40)}"
        return (
            f"the data can't tell whether day or month comes first in {comment(column.reference)}{shown}: "
            f"no part is over 12. The {first} first is likelier ({moment.reason}); "
            f"the {second} first is format: {quoted(moment.other)}"
        )
