"""Columns → what they are to an event: its name, id, time and worth, its customer, and what is left for data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePath

import polars as pl

from backfill import api
from backfill.draft.amounts import PLAIN, common_style, currency_of
from backfill.draft.columns import Column, harmless, look_at
from backfill.draft.events import EventName, guess_event
from backfill.draft.keys import DEED, Key, Repeats, find_keys, find_repeats, first_of_groups, hash_columns
from backfill.draft.names import time_rank, value_rank
from backfill.draft.places import CURRENCY, ZONE, code_of, region_of, without_plus
from backfill.draft.sample import Sample
from backfill.draft.unwanted import TEST, Unwanted, unwanted
from backfill.shape import Columns
from backfill.shape.convert import Numerals

__all__ = ["Findings", "Guess", "is_number", "look"]

MOST = 0.9
ENOUGH = 0.5
NEARLY_ALL = 0.98
# Constant columns of fewer rows than this say nothing.
FEW_ROWS = 3
# So much worse a day is than a time of the same name.
DAY_ONLY = 15
PHONES_TRIED = 150


@dataclass(frozen=True, slots=True)
class Guess:
    """Something that the data make likely, and why; `sure` when they leave no doubt."""

    value: str
    reason: str
    sure: bool = False


@dataclass(frozen=True)
class Findings:
    """All that is known of an export before anybody is asked.

    `roles` are columns by the field of the event that they are for; `steady` the same, of those that
    don't vary among rows that belong together; `own` are all columns as they are in such groups. `left` are columns
    that are left out, with the reason. `tests` are conditions that leave out rows which look like tests or were
    cancelled, each with why. `nulls` are texts that mean nothing, with how often they are there, and
    `null_columns` where.
    """

    sample: Sample
    columns: Sequence[Column]
    style: Numerals
    doubtful_style: bool
    nulls: dict[str, int]
    null_columns: dict[str, list[str]]
    event: EventName
    keys: Sequence[Key]
    repeats: Repeats | None
    hashed: Sequence[Column]
    roles: dict[str, Column]
    steady: dict[str, Column]
    own: Sequence[Column]
    times: Sequence[Column]
    zone: Guess
    currency: Guess | None
    region: Guess | None
    left: Sequence[tuple[Column, str]]
    tests: Sequence[Unwanted] = ()
    notes: Sequence[str] = field(default=())

    @property
    def rows(self) -> int:
        return self.sample.rows

    def without(self, unfit: Collection[str]) -> Findings:
        """The same where these columns are left out, as a mapping can make nothing of them."""

        def fits(columns: Iterable[Column]) -> list[Column]:
            return [column for column in columns if column.reference not in unfit]

        gone = [(column, "unfit") for column in self.columns if column.reference in unfit]
        return replace(
            self,
            columns=fits(self.columns),
            own=fits(self.own),
            hashed=fits(self.hashed),
            times=fits(self.times),
            keys=[key for key in self.keys if key.column.reference not in unfit],
            repeats=None if self.repeats and self.repeats.column.reference in unfit else self.repeats,
            roles={role: column for role, column in self.roles.items() if column.reference not in unfit},
            steady={role: column for role, column in self.steady.items() if column.reference not in unfit},
            left=[*self.left, *gone],
            tests=[one for one in self.tests if one.column.reference not in unfit],
        )

    @property
    def time(self) -> Column | None:
        return self.roles.get("time")


def look(sample: Sample, now: datetime) -> Findings:
    """Everything that a draft needs to know."""
    frame = sample.frame()
    files = {opened.file.position: opened.file.name for opened in sample.files}
    columns = look_at(frame, sample.schema, now, files) if frame.width else []
    null_columns = _nulls(columns) if sample.files[0].dialect else {}
    counts = [(word, count) for column in columns for word, count in column.nulls]
    nulls = {word: sum(count for one, count in counts if one == word) for word in null_columns}
    if nulls:
        sample = sample.with_nulls(list(nulls))
        frame = sample.frame()
        columns = look_at(frame, sample.schema, now, files)
    style, doubtful = _style(columns)
    roles = _roles(columns, style)
    event = guess_event([PurePath(opened.file.name).name for opened in sample.files], columns)
    repeats = find_repeats(columns, frame) if frame.height else None
    varying = repeats.varying if repeats else frozenset[str]()
    own = look_at(first_of_groups(frame, repeats.column.reference), sample.schema, now, files) if repeats else []
    steady = _roles([column for column in own if column.reference not in varying], style)
    first = [roles[role] for role in ("time", "email", "phone", "value") if role in roles]
    keys = find_keys(columns)
    country = _country(roles)
    return Findings(
        sample=sample,
        columns=columns,
        style=style,
        doubtful_style=doubtful,
        nulls=nulls,
        null_columns=null_columns,
        event=event,
        keys=keys,
        repeats=repeats,
        hashed=[] if any(key.rank <= DEED for key in keys) else hash_columns(columns, frame, first),
        roles=roles,
        steady=steady,
        own=own,
        times=[one for one in columns if one.kind == "time"],
        zone=_zone(country),
        currency=_currency(roles, country),
        region=_region(roles, frame, country),
        left=_left(columns, roles, sample.rows),
        tests=unwanted(columns, event),
    )


def _nulls(columns: Sequence[Column]) -> dict[str, list[str]]:
    """Words for null that stand where else numbers, times and addresses do, or in several columns; and these columns.

    A word that is a country in this export, as NA is Namibia, means nothing else in it: it would be emptied there too.
    """
    where: dict[str, list[str]] = {}
    typed: dict[str, list[str]] = {}
    countries = {text for column in columns for text, _ in column.countries}
    for column in columns:
        for word, _ in column.nulls:
            where.setdefault(word, []).append(column.reference)
            if column.kind in ("integer", "number", "time", "email", "phone", "boolean"):
                typed.setdefault(word, []).append(column.reference)
    sure = ("NULL", "\\N", "#N/A", "(null)")
    found = {word: typed.get(word) or names for word, names in where.items() if word not in countries}
    return {word: names for word, names in found.items() if word in typed or (word in sure and len(names) > 1)}


def _style(columns: Sequence[Column]) -> tuple[Numerals, bool]:
    numbers = [
        column.number for column in columns if column.number is not None and column.kind in ("integer", "number")
    ]
    if all(one.fit(PLAIN) >= one.best for one in numbers):
        return PLAIN, False
    style = common_style(numbers)
    other = Numerals(style.thousands, None) if style.thousands in (",", ".") else None
    doubtful = other is not None and other != PLAIN and all(one.fit(other) == one.fit(style) for one in numbers)
    return style, doubtful


def is_number(column: Column, style: Numerals) -> bool:
    """Whether the column is one of numbers, as they are written in this export."""
    if column.kind not in ("integer", "number"):
        return False
    return column.number is None or column.number.fit(style) >= ENOUGH * column.number.given


def _roles(columns: Sequence[Column], style: Numerals) -> dict[str, Column]:
    found: dict[str, tuple[float, Column]] = {}
    for at, column in enumerate(columns):
        if column.secret or column.kind in ("empty", "nested", "bytes", "json"):
            continue
        for role, rank in _suits(column, style):
            # Fuller columns first among those that are named alike; the first of them else.
            score = rank * 10 - 5 * column.filled / max(1, column.rows) + at / 100_000
            if role not in found or score < found[role][0]:
                found[role] = (score, column)
    roles = {role: column for role, (_, column) in found.items()}
    if "first_name" in roles or "last_name" in roles:
        roles.pop("full_name", None)
    return roles


def _suits(column: Column, style: Numerals) -> list[tuple[str, float]]:
    """The fields that a column may be for, and how well it suits; 0 is best."""
    name, kind = column.name, column.kind
    if kind == "email":
        return [("email", name.rank if name.role == "email" else 20)]
    if kind == "phone":
        return [("phone", name.rank if name.role == "phone" else 20)]
    if kind == "time":
        rank = time_rank(name)
        moment = column.moment
        late = 0 if moment is None or moment.share >= MOST else 50
        day = 0 if moment is None or moment.clock else DAY_ONLY
        return [] if rank is None else [("time", rank + late + day)]
    if column.clock is not None:
        return [("clock", 0)] if {"time", "uhrzeit", "zeit", "hora", "heure", "clock"} & set(name.words) else []
    if is_number(column, style) and not name.role and column.name.slug != "id":
        rank = value_rank(name)
        return [] if rank is None else [("value", rank)]
    return _of_place(column)


def _of_place(column: Column) -> list[tuple[str, float]]:
    name, texts = column.name, [value for value, _ in column.values]
    role = name.role
    if role in ("latitude", "longitude"):
        return [(role, name.rank)] if column.kind in ("number", "integer") else []
    if role == "postal_code":
        return [(role, name.rank)]
    if column.kind in ("integer", "number"):
        return []
    if role == "currency" or (not role and texts and all(text in api.CURRENCIES for text in texts)):
        fits = sum(count for text, count in column.values if text.strip().upper() in api.CURRENCIES)
        few = column.distinct <= 3 and not column.values
        return [("currency", 0 if role else 10)] if fits >= MOST * column.filled or (role and few) else []
    if role in ("first_name", "last_name", "street1", "street2", "city"):
        return [(role, name.rank)]
    if role in ("state", "state_code"):
        coded = texts and all(len(text) <= 3 and text.isupper() for text in texts)
        return [("state_code" if coded or "code" in name.words else "state", name.rank)]
    if role == "country":
        coded = column.coded >= MOST * column.filled > 0
        named = "code" in name.words or "iso" in name.words
        return [("country_code" if coded or (named and not column.known) else "country", name.rank)]
    if role == "full_name":
        return [(role, name.rank)] if column.words >= ENOUGH * column.filled else []
    if role == "time_zone":
        from zoneinfo import available_timezones

        known = available_timezones()
        return [(role, name.rank)] if texts and all(text in known for text in texts) else []
    return []


def _country(roles: dict[str, Column]) -> Guess | None:
    """The country of most customers."""
    column = roles.get("country_code") or roles.get("country")
    codes: dict[str, int] = {}
    for value, count in column.values if column else ():
        if code := code_of(value):
            codes[code] = codes.get(code, 0) + count
    if column is None or not codes:
        return None
    most = max(codes, key=lambda code: codes[code])
    share = codes[most] / max(1, column.filled)
    if share < ENOUGH:
        return None
    return Guess(most, f'{percent_of(share)} of column "{column.reference}"', share >= NEARLY_ALL)


def percent_of(share: float) -> str:
    return f"{int(100 * share)} %"


def _zone(country: Guess | None) -> Guess:
    if country is not None and country.value in ZONE:
        return Guess(ZONE[country.value], f"likely, as {country.reason} is {country.value}")
    return Guess("UTC", "a guess")


def _currency(roles: dict[str, Column], country: Guess | None) -> Guess | None:
    """What a worth is in, where no column says it."""
    value = roles.get("value")
    if value is None or "currency" in roles:
        return None
    if value.number is not None and currency_of(value.number.sign):
        code = currency_of(value.number.sign)
        sure = code == value.number.sign or value.number.sign in ("€", "£")
        return Guess(code, f'by the sign {value.number.sign} in column "{value.reference}"', sure)
    for word in value.name.words:
        if word.upper() in api.CURRENCIES:
            return Guess(word.upper(), f'by the name of column "{value.reference}"', sure=True)
        if word in ("dollars", "dollar"):
            return Guess("USD", f'by the name of column "{value.reference}"')
    if country is not None and country.value in CURRENCY:
        return Guess(CURRENCY[country.value], f"as {country.reason} is {country.value}")
    return Guess("USD", "a guess")


def _region(roles: dict[str, Column], frame: pl.DataFrame, country: Guess | None) -> Guess | None:
    """The country of phone numbers that carry no country code; None where all do, or there are none."""
    column = roles.get("phone")
    found = Columns(frame.schema).find(column.reference) if column else None
    if found is None:
        return None
    expression = found[0]
    texts = frame.select(expression.cast(pl.String).alias("x")).to_series().drop_nulls().str.strip_chars()
    bare = texts.filter((texts != "") & ~texts.str.starts_with("+"))
    if not len(bare):
        return None
    likely = [country.value] if country else []
    tried = bare.unique(maintain_order=True).head(PHONES_TRIED).to_list()
    code, share = region_of(tried, likely)
    if torn := without_plus(tried, code):
        digits, count = torn
        return Guess(
            code,
            f"{percent_of(share)} of them are valid there, but {percent_of(count / len(tried))} begin with {digits}, "
            f"as if a + had been lost, and would be read as another number; with the column for x, "
            f"{{sql: \"CASE WHEN x LIKE '{digits}%' THEN '+' || x ELSE x END\"}} puts it back",
        )
    if country is not None and code == country.value and share >= MOST:
        return Guess(
            code, f"{country.reason} is {code}; {percent_of(share)} of the numbers without + are valid there", sure=True
        )
    return Guess(code, f"{percent_of(share)} of them are valid there")


def _left(columns: Sequence[Column], roles: dict[str, Column], rows: int) -> list[tuple[Column, str]]:
    used = {column.reference for column in roles.values()}
    found = []
    for column in columns:
        if column.secret:
            found.append((column, "secret"))
        elif column.kind in ("empty", "bytes") and rows:
            found.append((column, column.kind))
        elif (
            column.constant and rows >= FEW_ROWS and column.reference not in used and not TEST.search(column.name.slug)
        ):
            value = column.values[0][0] if column.values else ""
            shown = f" {value}" if value and not column.private and harmless(value) else ""
            found.append((column, f"constant{shown}"))
    return found
