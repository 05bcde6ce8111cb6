"""Times in texts and numbers: their format, whether day or month comes first, whether they say their zone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

__all__ = ["Moment", "find_epoch", "find_moment", "swapped"]

# Of a column so many texts are looked at to see its form; how many fit it is counted over all.
LOOKED_AT = 400
ENOUGH = 0.5
MAX_DAY = 12
# The most days of each month.
DAYS = {month: 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 for month in range(1, 13)}
# So few dates that have it the other way round are slips: one of so many, or this share of them.
SLIP = 8
SLIPS = 0.02
ODD_SHOWN = 3
CLOCK = (
    r"(?:(?P<gap> at |, at |,? +|T|:)(?P<clock>\d{1,2}:\d\d(?P<seconds>:\d\d)?)(?P<fraction>\.\d+)?"
    r"(?P<space> ?)(?P<half>[AaPp][Mm])?(?P<apart> ?)(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?",
    re.IGNORECASE,
)
NUMERIC = re.compile(r"(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)" + CLOCK)
YEAR_FIRST = re.compile(r"\d{4}(?P<mark>[/.-])\d{1,2}(?P=mark)\d{1,2}" + CLOCK)
DAY_NAMED = re.compile(
    r"(?P<week>[A-Z][a-z]{2}, )?\d{1,2}(?P<mark>[ /-])(?P<month>[A-Za-z]{3,9})(?P=mark)(?P<year>\d{4}|\d\d)" + CLOCK
)
MONTH_NAMED = re.compile(r"(?P<month>[A-Za-z]{3,9}) \d{1,2}(?P<comma>,?) (?P<year>\d{4})" + CLOCK)
COMPACT = re.compile(r"(?:19|20)\d\d[01]\d[0-3]\d(?P<rest>(?P<gap>[ T]?)(?P<hm>[0-2]\d[0-5]\d)(?P<s>[0-5]\d)?)?")
EPOCHS = ((1, "epoch_s"), (1_000, "epoch_ms"), (1_000_000, "epoch_us"))


@dataclass(frozen=True, slots=True)
class Moment:
    """How a column tells times.

    `format` is a mapping's, None for ISO 8601; `other` the format with day and month the other way round, where the
    data can't tell which comes first. `fits` of `given` values are times. `zoned` of them say their zone, all of them
    where a number counts from 1970. `proof` is what shows that day or month comes first, and its place; `reason` why
    the likelier is. `mixed` is one that shows the opposite, where there are many. `odd` are the first that are none.
    """

    format: str | None
    fits: int
    given: int
    zoned: bool
    clock: bool
    other: str | None = None
    proof: tuple[str, str] | None = None
    reason: str = ""
    mixed: tuple[str, str] | None = None
    odd: tuple[tuple[str, str], ...] = ()
    months_first: bool = False

    @property
    def share(self) -> float:
        return self.fits / self.given if self.given else 0.0


Found = tuple[Moment, pl.Series]
"""How texts tell times, and which of them do."""


def find_epoch(numbers: pl.Series, now: datetime) -> Moment | None:
    """Numbers as seconds, milli- or microseconds since 1970, if all are times from 1990 until soon."""
    given = numbers.drop_nulls()
    if not len(given):
        return None
    values = given.cast(pl.Float64)
    for scale, form in EPOCHS:
        first, last = 631_152_000 * scale, (now + timedelta(days=3650)).timestamp() * scale
        fits = int(values.is_between(first, last).sum())
        if fits >= 0.98 * len(given):
            return Moment(form, fits, len(given), zoned=True, clock=True)
    return None


def find_moment(texts: pl.Series, rows: pl.Series, now: datetime) -> Moment | None:
    """How texts (none null, without blanks around them) tell times; None when fewer than half do.

    `rows` are their places in the export.
    """
    looked = texts.unique(maintain_order=True).head(LOOKED_AT).to_list()
    if not looked:
        return None
    for pattern, finder in (
        (ISO, _iso), (NUMERIC, _numeric), (YEAR_FIRST, _plain), (DAY_NAMED, _plain), (MONTH_NAMED, _plain),
        (COMPACT, _plain),
    ):  # fmt: skip
        matches = [match for match in map(pattern.fullmatch, looked) if match]
        if len(matches) >= ENOUGH * len(looked):
            moment = finder(matches, texts, rows, now)
            if moment is not None and moment[0].share >= ENOUGH:
                return replace(moment[0], odd=_odd(texts, rows, moment[1]))
    return None


def _odd(texts: pl.Series, rows: pl.Series, fine: pl.Series) -> tuple[tuple[str, str], ...]:
    """The first texts that are no times, and where they are."""
    return tuple((str(texts[at]), str(rows[at])) for at in (~fine).arg_true().head(ODD_SHOWN).to_list())


def _first(texts: pl.Series, rows: pl.Series, where: pl.Series) -> tuple[str, str] | None:
    at = where.arg_true()
    return (str(texts[at[0]]), str(rows[at[0]])) if len(at) else None


def _iso(_matches: list[re.Match[str]], texts: pl.Series, _rows: pl.Series, _now: datetime) -> Found:
    fits = texts.str.contains(f"(?i)^(?:{ISO.pattern.replace('(?P<zone>', '(?:')})$")
    zoned = texts.str.contains(r"(?i)[0-9] ?(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$") & texts.str.contains(":")
    clock = texts.str.contains(":")
    # Seen as a date: what chrono would refuse is no time.
    day = texts.str.head(10).str.to_date("%Y-%m-%d", strict=False).is_not_null()
    fine = fits & day
    moment = Moment(
        None, int(fine.sum()), len(texts), zoned=bool((zoned | ~fine).all()), clock=bool((clock & fine).any())
    )
    return moment, fine


def _numeric(matches: list[re.Match[str]], texts: pl.Series, rows: pl.Series, now: datetime) -> Found | None:
    mark = str(_most(match["mark"] for match in matches))
    year = "%Y" if _most(len(match["year"]) for match in matches) == 4 else "%y"
    tail, zoned, clock = _tail(matches)
    days_first, months_first = f"%d{mark}%m{mark}{year}{tail}", f"%m{mark}%d{mark}{year}{tail}"
    parts = texts.str.extract_groups(r"^(\d{1,2})[/.-](\d{1,2})[/.-]\d")
    first, second = (parts.struct.field(name).cast(pl.Int32, strict=False) for name in ("1", "2"))
    early, late = (_is_day(day, month) for day, month in ((first, second), (second, first)))
    by_day = _parsed(texts, days_first)
    by_month = _parsed(texts, months_first)
    common = {"given": len(texts), "zoned": zoned, "clock": clock}
    if early.any() or late.any():
        # What has a day over 12 in either place: the one that more have.
        counts = int(early.sum()), int(late.sum())
        days = counts[0] >= counts[1]
        form, fits, over, under = (days_first, by_day, early, late) if days else (months_first, by_month, late, early)
        few = min(counts)
        is_slip = few <= SLIPS * sum(counts) or (few == 1 and max(counts) >= SLIP)
        proof, against = (_first(texts, rows, one) for one in (over, under))
        mixed = None if is_slip else against
        fine = fits.is_not_null()
        moment = Moment(form, int(fine.sum()), proof=proof, mixed=mixed, months_first=not days, **common)  # type: ignore[arg-type]
        return moment, fine
    days, reason = _likelier(mark, by_day, by_month, now, half="%p" in tail)
    form, other = (days_first, months_first) if days else (months_first, days_first)
    fine = (by_day if days else by_month).is_not_null()
    moment = Moment(form, int(fine.sum()), other=other, reason=reason, months_first=not days, **common)  # type: ignore[arg-type]
    return moment, fine


def _is_day(day: pl.Series, month: pl.Series) -> pl.Series:
    """Where it is a day over 12 of that month: 31.2. tells nothing."""
    most = month.replace_strict(DAYS, default=0, return_dtype=pl.Int32)
    return ((day > MAX_DAY) & (day <= most)).fill_null(value=False)


def _likelier(mark: str, by_day: pl.Series, by_month: pl.Series, now: datetime, *, half: bool) -> tuple[bool, str]:
    """Whether the day comes first in dates that don't tell, and why that is likelier."""
    ahead = [int((one.dt.date() > (now + timedelta(days=1)).date()).sum()) for one in (by_day, by_month)]
    if bool(ahead[0]) != bool(ahead[1]):
        return ahead[1] > 0, "the other way some would be in the future"
    ordered = [_order(one) for one in (by_day, by_month)]
    if abs(ordered[0] - ordered[1]) > 0.2:
        return ordered[0] > ordered[1], "so the rows are in the order of time"
    if mark == ".":
        return True, "usual where dates are written with points"
    if half:
        return False, "usual where hours are written with AM and PM"
    return (True, "usual in most countries") if mark == "-" else (False, "usual in the United States")


def _order(times: pl.Series) -> float:
    """How much the times only rise, or only fall: 1 is always."""
    steps = times.drop_nulls().diff().drop_nulls().dt.total_seconds()
    steps = steps.filter(steps != 0)
    if len(steps) < 2:
        return 0.0
    rising = float((steps > 0).sum()) / len(steps)
    return max(rising, 1 - rising)


def _plain(matches: list[re.Match[str]], texts: pl.Series, _rows: pl.Series, _now: datetime) -> Found | None:
    """The other forms, in which nothing is in doubt."""
    groups = matches[0].re.groupindex
    if "rest" in groups:
        rests = Counter((match["gap"], bool(match["hm"]), bool(match["s"])) for match in matches)
        gap, minutes, seconds = rests.most_common(1)[0][0]
        form = "%Y%m%d" + (f"{gap or ''}%H%M" + "%S" * seconds if minutes else "")
        zoned, clock = False, minutes
    else:
        tail, zoned, clock = _tail(matches)
        if "week" in groups:
            mark = _most(match["mark"] for match in matches)
            year = "%Y" if _most(len(match["year"]) for match in matches) == 4 else "%y"
            week = "%a, " * bool(_most(bool(match["week"]) for match in matches))
            form = f"{week}%d{mark}{_month(matches)}{mark}{year}{tail}"
        elif "comma" in groups:
            form = f"{_month(matches)} %d{_most(match['comma'] for match in matches)} %Y{tail}"
        else:
            mark = _most(match["mark"] for match in matches)
            form = f"%Y{mark}%m{mark}%d{tail}"
    times = _parsed(texts, form)
    fine = times.is_not_null()
    return (Moment(form, int(fine.sum()), len(texts), zoned, clock), fine) if fine.any() else None


def _month(matches: list[re.Match[str]]) -> str:
    return "%B" if any(len(match["month"]) > 3 for match in matches) else "%b"


def _tail(matches: list[re.Match[str]]) -> tuple[str, bool, bool]:
    """The clock's part of the format that most have, whether it says the zone, and whether there is one."""
    shapes = Counter(
        (
            match["gap"] or "", bool(match["clock"]), bool(match["seconds"]), bool(match["fraction"]),
            match["space"] or "" if match["half"] else "", bool(match["half"]),
            ((match["apart"] or "") if match["half"] else (match["space"] or "")) if match["zone"] else "",
            bool(match["zone"]),
        )
        for match in matches
    )  # fmt: skip
    gap, clock, seconds, fraction, space, half, apart, zone = shapes.most_common(1)[0][0]
    if not clock:
        return "", False, False
    hours = ("%I" if half else "%H") + ":%M" + ":%S" * seconds + "%.f" * (fraction and seconds)
    return gap + hours + (f"{space}%p" if half else "") + (f"{apart}%z" if zone else ""), zone, True


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """The texts of this format as Datetime; else null."""
    if "%H" not in form and "%I" not in form:
        return texts.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    read = texts.str.to_datetime(form.replace("%z", "%#z"), strict=False, time_unit="us")
    return read.dt.replace_time_zone(None) if "%z" in form else read


def _most(values: object) -> str | int | bool:
    found: str | int | bool = Counter(values).most_common(1)[0][0]  # type: ignore[call-overload]
    return found


def swapped(moment: Moment) -> Moment:
    """The same with day and month the other way round."""
    return replace(moment, format=moment.other, other=moment.format, months_first=not moment.months_first)
