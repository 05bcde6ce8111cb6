"""When an export's events are: how many on which day and at which hour, by name, in numbers that take little room.

A year or a zone that is wrong shows there at once: days that no shop was open, nights full of orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Binned", "Series", "Timeline", "binned"]

# Names beyond them are counted as one: an export with more has taken another column for the name.
MOST_NAMES = 100
# Up to that span days are kept, beyond it months: 100 names take 6 MB at the most.
MOST_DAYS = 20 * 366
# What is earlier or later counts for the first or the last month of them.
EARLIEST, LATEST = np.datetime64("1900-01-01", "D").astype(int), np.datetime64("2099-12-31", "D").astype(int)
YEAR_2000 = np.datetime64("2000-01-01", "D").astype(int)

DAY, HOUR = 86_400_000_000, 3_600_000_000

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class Timeline:
    """Add chunk after chunk; `binned` tells what was counted. Days and hours are those of `zone`.

    `hours` counts events by the hour of their day, `midnight` those at 00:00:00; `oldest` and `newest` are days since
    1970. `counts` is by name (as the index
    numbers them), by whether an earlier run knew the event, and by day (or month, when `in_months`) from `first` on.
    """

    zone: str = "UTC"
    hours: Counts = field(default_factory=lambda: np.zeros(24, np.int64))
    midnight: int = 0
    oldest: int | None = None
    newest: int | None = None
    counts: Counts = field(default_factory=lambda: np.zeros((0, 2, 0), np.int64))
    first: int = 0
    in_months: bool = False

    def add(self, names: int | npt.NDArray[np.uint16], times: pl.Series, known: Flags | None) -> None:
        """Events of one chunk: the numbers of their names, their times (UTC), and which an earlier run knew."""
        if not len(times):
            return
        local = _local(_moments(times), self.zone)
        days = local // DAY
        clock = local - days * DAY
        self.hours += np.bincount(clock // HOUR, minlength=24)
        self.midnight += int(np.count_nonzero(clock == 0))
        oldest, newest = int(days.min()), int(days.max())
        self.oldest = oldest if self.oldest is None else min(self.oldest, oldest)
        self.newest = newest if self.newest is None else max(self.newest, newest)
        np.clip(days, EARLIEST, LATEST, out=days)
        self._count(np.minimum(names, MOST_NAMES), days, known)

    def _count(self, names: int | npt.NDArray[np.uint16], days: Counts, known: Flags | None) -> None:
        first, last = int(days.min()), int(days.max())
        if not self.in_months and self.counts.shape[2]:
            first, last = min(first, self.first), max(last, self.first + self.counts.shape[2] - 1)
        if not self.in_months and last - first >= MOST_DAYS:
            self.fold()
        if self.in_months:
            days = _months(days)
        start, span = int(days.min()), int(np.ptp(days)) + 1
        place = np.asarray(names, np.int64) * 2 + (0 if known is None else known)
        rows = int(np.max(names)) + 1
        counted = np.bincount(place * span + (days - start), minlength=rows * 2 * span).reshape(rows, 2, span)
        self._make_room(rows, start, start + span)
        self.counts[:rows, :, start - self.first : start - self.first + span] += counted

    def _make_room(self, names: int, start: int, stop: int) -> None:
        rows, _, span = self.counts.shape
        if not span:
            self.first = start
        first, last = min(start, self.first), max(stop, self.first + span)
        if names > rows or first < self.first or last > self.first + span:
            room = np.zeros((max(names, rows), 2, last - first), np.int64)
            room[:rows, :, self.first - first : self.first - first + span] = self.counts
            self.counts, self.first = room, first

    def fold(self) -> None:
        """From now on months are counted."""
        self.in_months = True
        if self.counts.shape[2]:
            months = _months(np.arange(self.first, self.first + self.counts.shape[2]))
            self.first = int(months[0])
            self.counts = _gathered(self.counts, months - months[0])

    def add_part(self, part: Timeline, numbers: Sequence[int]) -> None:
        """All that was counted of another part of the export, whose names have these `numbers` here."""
        if part.oldest is None or part.newest is None:
            return
        self.hours += part.hours
        self.midnight += part.midnight
        self.oldest = part.oldest if self.oldest is None else min(self.oldest, part.oldest)
        self.newest = part.newest if self.newest is None else max(self.newest, part.newest)
        part = replace(part, counts=part.counts.copy())  # it may be folded
        first, last = part.first, part.first + part.counts.shape[2] - 1
        if not (self.in_months or part.in_months) and self.counts.shape[2]:
            first, last = min(first, self.first), max(last, self.first + self.counts.shape[2] - 1)
        if part.in_months or last - first >= MOST_DAYS:
            for one in (self, part):
                if not one.in_months:
                    one.fold()
        elif self.in_months:
            part.fold()
        start, span = part.first, part.counts.shape[2]
        rows = [min(numbers[row], MOST_NAMES) if row < len(numbers) else MOST_NAMES for row in range(len(part.counts))]
        self._make_room(max(rows) + 1, start, start + span)
        for row, counts in zip(rows, part.counts, strict=True):
            self.counts[row, :, start - self.first : start - self.first + span] += counts

    def days(self) -> tuple[Counts, Counts]:
        """(the first day of each bin, counts by name, known and bin), without bins that are empty at both ends."""
        filled = np.flatnonzero(self.counts.any(axis=(0, 1)))
        if not len(filled):
            return np.empty(0, np.int64), self.counts[:, :, :0]
        bins = np.arange(filled[0], filled[-1] + 1)
        starts = bins + self.first
        if self.in_months:
            starts = starts.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        return starts, self.counts[:, :, bins]


@dataclass(frozen=True, slots=True)
class Series:
    """Events of one name in each bin: those that are new in this export, and those that an earlier run knew."""

    name: str
    new: list[int]
    known: list[int]


@dataclass(frozen=True, slots=True)
class Binned:
    """Events over time, for a chart. `starts` has each bin's first day and the day behind the last one (ISO dates).

    `unit`: day, week, month, quarter or year. `others`: how many names the last series stands for, if it is of several.
    """

    zone: str
    unit: str
    starts: list[str]
    series: list[Series]
    others: int
    hours: list[int]
    midnight: int
    before_2000: int
    first: str
    last: str

    @property
    def total(self) -> int:
        """All events."""
        return sum(self.hours)


def binned(timeline: Timeline, names: Sequence[str], most: int = 12) -> Binned | None:
    """The most frequent names, and the rest of them as one; None when there is no event.

    `names`: as the index numbers them.
    """
    starts, counts = timeline.days()
    if timeline.oldest is None or timeline.newest is None:
        return None
    unit = _unit(int(starts[-1] - starts[0]) + 1)
    of_bin = _bins(starts, unit)
    edges = _edges(of_bin, unit)
    counted = _gathered(counts, of_bin - of_bin[0])
    totals = counted.sum(axis=(1, 2))
    order = [int(i) for i in np.argsort(-totals, kind="stable") if totals[i]]
    # What is beyond MOST_NAMES has no name of its own.
    alone = [i for i in order if i < MOST_NAMES][:most]
    rest = [i for i in order if i not in alone]
    series = [Series(names[i], counted[i, 0].tolist(), counted[i, 1].tolist()) for i in alone]
    others = len(rest) + (max(0, len(names) - MOST_NAMES - 1) if MOST_NAMES in rest else 0)
    if rest:
        summed = counted[rest].sum(axis=0)
        series.append(Series("", summed[0].tolist(), summed[1].tolist()))
    return Binned(
        zone=timeline.zone,
        unit=unit,
        starts=[str(np.datetime64(int(day), "D")) for day in edges],
        series=series,
        others=others,
        hours=timeline.hours.tolist(),
        midnight=timeline.midnight,
        before_2000=int(counts[:, :, starts < YEAR_2000].sum()),
        first=str(np.datetime64(timeline.oldest, "D")),
        last=str(np.datetime64(timeline.newest, "D")),
    )


def _moments(times: pl.Series) -> Counts:
    """Microseconds since 1970."""
    return times.dt.cast_time_unit("us").to_physical().to_numpy().astype(np.int64, copy=False)


def _local(moments: Counts, zone: str) -> Counts:
    """What a clock in the zone shows."""
    starts, offsets = _offsets(zone)
    # A chunk is of some years at the most, which have few changes to be looked through.
    first, last = np.searchsorted(starts, [moments.min(), moments.max()], side="right")
    local: Counts = moments + (
        offsets[first] if first == last else offsets[first + np.searchsorted(starts[first:last], moments, side="right")]
    )
    return local


@cache
def _offsets(zone: str) -> tuple[Counts, Counts]:
    """(the moments at which the zone's offset changes, the offset before each of them and after the last).

    Polars' own local times cost 60 ns an event, which would be 2 % of a check.
    """
    days = np.arange(EARLIEST, LATEST + 2) * DAY
    of_days = _offsets_at(days, zone)
    changes = np.flatnonzero(np.diff(of_days))
    # Quarters of an hour: there are no zones that change between them, but for the local mean times of long ago.
    quarters = (days[changes, None] + np.arange(96 + 1) * (HOUR // 4)).ravel()
    of_quarters = _offsets_at(quarters, zone)
    at = np.flatnonzero(np.diff(of_quarters))
    # Between one such day and the next nothing changes.
    at = at[np.diff(quarters)[at] == HOUR // 4]
    return quarters[at + 1], np.append(of_days[0], of_quarters[at + 1])


def _offsets_at(moments: Counts, zone: str) -> Counts:
    times = pl.Series(moments, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    return _moments(times.dt.convert_time_zone(zone).dt.replace_time_zone(None)) - moments


def _unit(days: int) -> str:
    """So that there are some 60 bars or less, which a phone shows; 80 quarters or 200 years at the very most."""
    for unit, longest in (("day", 62), ("week", 430), ("month", 6 * 366), ("quarter", 20 * 366)):
        if days <= longest:
            return unit
    return "year"


_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def _bins(days: Counts, unit: str) -> Counts:
    """The number of the bin of each day: weeks begin on Monday."""
    if unit == "day":
        return days
    if unit == "week":
        return (days + 3) // 7
    return _months(days) // _MONTHS[unit]


def _edges(of_bin: Counts, unit: str) -> Counts:
    """The first day of each bin, and of the one behind the last."""
    numbers = np.arange(of_bin[0], of_bin[-1] + 2)
    if unit == "day":
        return numbers
    if unit == "week":
        return numbers * 7 - 3
    return (numbers * _MONTHS[unit]).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _months(days: Counts) -> Counts:
    """The month of each day, counted from 1970-01."""
    first = int(days.min())
    every = np.arange(first, int(days.max()) + 1)
    return every.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)[days - first]


def _gathered(counts: Counts, to: Counts) -> Counts:
    """Bins put together: the i-th into bin `to[i]`; `to` ascends from 0."""
    gathered = np.zeros((*counts.shape[:2], int(to[-1]) + 1), np.int64)
    for number, bin_ in enumerate(to):
        gathered[:, :, bin_] += counts[:, :, number]
    return gathered
