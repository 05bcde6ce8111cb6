"""What a survey finds: rows and events by what will become of them, problems with examples, names with their times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from backfill.chosen import Sends
from backfill.errors import MappingError
from backfill.index import Index, LateProblem, State
from backfill.names import NewName
from backfill.read import Export
from backfill.records import FILE, Rejection, UnreadFile
from backfill.shape import NAME, TIME, Notice, advice
from backfill.sums import Sums, Worth
from backfill.timeline import Timeline

__all__ = [
    "NameStats",
    "ProblemGroup",
    "Survey",
    "Tally",
    "Window",
    "add_mended",
    "add_names",
    "add_notices",
    "add_problems",
    "late_rejection",
    "look_at_names",
    "resolve",
]

EXAMPLES = 5
# What a rejected event without a name is called, and those with one more name than are counted of a file.
UNNAMED, OTHERS = "(no eventName)", "(others)"
MOST_NAMES = 1_000
RECENT = timedelta(hours=72)
MANY_NAMES = 50
# So many of the greatest values show how far apart they usually are.
GREATEST = 200


@dataclass
class ProblemGroup:
    """All rejections of one problem: `count`, and the first few as examples."""

    code: str
    count: int = 0
    examples: list[Rejection] = field(default_factory=list)


@dataclass
class NameStats:
    """Events of one name that are to be sent: how many, from when to when, and how many are under 72 hours old."""

    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    recent: int = 0


@dataclass
class Tally:
    """Rows by what became of them: read = unreadable + filtered + mapped."""

    read: int = 0
    unreadable: int = 0
    filtered: int = 0
    mapped: int = 0


@dataclass
class Window:
    """What was seen of `source.since`: rows that were `older` and left out, rows without a value (`unknown`), the
    `greatest` values that differ, from the greatest down, and the least one of a row that is rejected, refused or kept
    back (`held`); `stuck`: of a rejected or refused row it is not known.
    """

    older: int = 0
    unknown: int = 0
    greatest: list[int] = field(default_factory=list)
    held: int | None = None
    stuck: bool = False

    def see(self, values: pl.Series, most: int | None = None) -> None:
        """The values of rows that were read; those above `most` tell nothing of what is still to come."""
        self.unknown += values.null_count()
        seen = values.drop_nulls() if most is None else values.filter(values <= most)
        self.greatest = sorted({*self.greatest, *seen.unique().top_k(GREATEST)}, reverse=True)[:GREATEST]

    @property
    def newest(self) -> int | None:
        return self.greatest[0] if self.greatest else None

    def reject(self, values: pl.Series) -> None:
        """The values of rows of which something is rejected or refused: mended, such a row may have any value."""
        self.stuck = self.stuck or values.null_count() > 0
        self.wait(values)

    def wait(self, values: pl.Series) -> None:
        """The values of rows that have to be read again. Those without a value always are."""
        least = values.min()
        if isinstance(least, int):
            self.held = least if self.held is None else min(self.held, least)


@dataclass
class Survey:
    """What the whole export shows. `index` holds the state of each event that could be made; `changed` the first of the
    changed ones, by their number in it: uniqueId, file, row, eventName. `rejected_in` are the files (by position) in
    which anything is rejected. `timeline` counts over time all events that could be made, `sums`
    adds up their value. `moved` says that delivered
    events would get other ids. `passed` counts, by name and state, the events of files that were passed over because
    they have not changed since these were delivered. `mended` counts, by file (its position) and name, the events that
    could not be made and are delivered already under their ids. `window` is what was seen of `source.since`, and
    `since` what is told of it. `reached`: bytes of the files that are read so far, and all of them.

    `not_newer_than` is the age (`72h`) below which events were kept back, "" if none were. `new_names` are those that
    are ready and were never sent to the store, as far as the ledger knows; None where there is no store to ask about.
    `sends` are the events that a run is about to send, by name. `warnings` are no errors, and to be told in any case.
    """

    rows: Tally = field(default_factory=Tally)
    index: Index = field(default_factory=Index)
    invalid: int = 0
    problems: dict[str, ProblemGroup] = field(default_factory=dict)
    notices: dict[tuple[str, str], Notice] = field(default_factory=dict)
    names: dict[str, NameStats] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    sums: Sums = field(default_factory=Sums)
    changed: dict[int, tuple[str, int, int, str]] = field(default_factory=dict)
    late: list[LateProblem] = field(default_factory=list)
    unread: list[UnreadFile] = field(default_factory=list)
    rejected_in: set[int] = field(default_factory=set)
    passed: dict[str, Counter[State]] = field(default_factory=dict)
    mended: dict[int, Counter[str]] = field(default_factory=dict)
    moved: MappingError | None = None
    reached: tuple[int, int] = (0, 0)
    not_newer_than: str = ""
    new_names: list[NewName] | None = None
    sends: dict[str, Sends] = field(default_factory=dict)
    window: Window = field(default_factory=Window)
    since: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)

    def events(self) -> dict[str, int]:
        """Events by state, before anything is sent: total = invalid + duplicate + already_delivered + changed +
        refused + ready + held (they wait, because their file can't be read to its end) + kept_back (they wait, because
        they are too new).
        """
        counts = Counter(self.index.counts())
        for of_name in self.passed.values():
            counts.update(of_name)
        counts[State.DELIVERED] += self.mended_earlier
        return {
            "total": self.invalid + counts.total(),
            "invalid": self.invalid + counts[State.INVALID],
            "duplicate": counts[State.DUPLICATE],
            "already_delivered": counts[State.DELIVERED],
            "changed": counts[State.CHANGED],
            "refused": counts[State.REFUSED],
            "ready": counts[State.NEW],
            "held": counts[State.HELD],
            "kept_back": counts[State.KEPT],
        }

    def by_name(self, state: State) -> dict[str, int]:
        """How many events of each name have this state."""
        found = Counter(self.index.counts_by_name(state))
        for name, counts in self.passed.items():
            found[name] += counts[state]
        if state == State.DELIVERED:
            for names in self.mended.values():
                found.update(names)
        return +found

    def worth(self) -> dict[str, Worth]:
        """What the events that were read are worth, by name; "" stands for all names beyond the first hundred."""
        return self.sums.by_name(self.index.names)

    @property
    def mended_earlier(self) -> int:
        """Events that could not be made, and are delivered already under their ids."""
        return sum(names.total() for names in self.mended.values())

    @property
    def rejected(self) -> int:
        """Rows and events that can't be sent as they are: unreadable, invalid, or refused before."""
        events = self.events()
        return self.rows.unreadable + events["invalid"] + events["refused"]


def resolve(found: Survey, export: Export) -> None:
    """Decide what only the whole export shows, or as much of it as was read; once it is done it changes nothing."""
    late = found.index.resolve()
    found.late += late
    add_problems(found, [late_rejection(one, export) for one in late])
    if found.index.twins_differ:
        notice = Notice("twins_differ", "uniqueId", found.index.twins_differ, 0, 0, "")
        found.notices["twins_differ", "uniqueId"] = notice


def late_rejection(late: LateProblem, export: Export) -> Rejection:
    other = f"see {export.name(late.other_file)}:{late.other_row}"
    if (late.file, late.row) == (late.other_file, late.other_row):
        other = "two events of this row have one id"
    detail = f"{advice(late.problem).title}: {other}"
    return Rejection(late.file, late.row, late.problem, detail)


def add_problems(found: Survey, rejections: Sequence[Rejection]) -> None:
    for rejection in rejections:
        found.rejected_in.add(rejection.file)
        group = found.problems.setdefault(rejection.problem, ProblemGroup(rejection.problem))
        group.count += 1
        if len(group.examples) < EXAMPLES:
            # Without its whole text, which may be megabytes.
            group.examples.append(replace(rejection, text=""))


def add_mended(found: Survey, events: pl.DataFrame) -> None:
    """Rejected events that are delivered already: FILE and NAME."""
    for file, name, count in events.group_by(FILE, NAME, maintain_order=True).len().iter_rows():
        names = found.mended.setdefault(file, Counter())
        called = name or UNNAMED
        names[called if called in names or len(names) < MOST_NAMES else OTHERS] += count


def add_notices(found: Survey, notices: list[Notice]) -> None:
    for notice in notices:
        before = found.notices.get((notice.code, notice.field))
        if before:
            notice = Notice(  # noqa: PLW2901 (the same, counted on)
                before.code, before.field, before.count + notice.count, before.file, before.row, before.value,
                before.severity,
            )  # fmt: skip
        found.notices[notice.code, notice.field] = notice


def add_names(found: Survey, events: pl.DataFrame, now: datetime | None) -> None:
    recent = pl.col(TIME) > pl.lit(now - RECENT) if now else pl.lit(False)
    groups = events.group_by(NAME).agg(
        pl.len(),
        pl.col(TIME).min().alias("oldest"),
        pl.col(TIME).max().alias("newest"),
        recent.sum().alias("recent"),
    )
    for name, count, oldest, newest, fresh in groups.iter_rows():
        stats = found.names.setdefault(name, NameStats())
        stats.count += count
        stats.recent += fresh
        stats.oldest = min(stats.oldest or oldest, oldest)
        stats.newest = max(stats.newest or newest, newest)


def look_at_names(found: Survey) -> None:
    """Names that differ only in case or spacing are one name mistyped; each would become a type of its own."""
    folded: dict[str, list[str]] = {}
    for name in found.index.names:
        folded.setdefault("".join(name.casefold().split()), []).append(name)
    for names in folded.values():
        if len(names) > 1:
            shown = ", ".join(f'"{name}"' for name in sorted(names))
            count = sum(found.names[name].count for name in names if name in found.names)
            found.notices["similar_names", shown] = Notice("similar_names", shown, count, 0, 0, shown)
    if len(found.index.names) > MANY_NAMES:
        count = len(found.index.names)
        found.notices["many_names", "eventName"] = Notice("many_names", "eventName", count, 0, 0, "")
