"""What an export's events are worth: the sum of `value` by event name and currency, which a merchant compares with the
shop's own reports.

Sums are of decimals, not of doubles: 0.1 + 0.2 is 0.30. A double stands for the shortest decimal that it is read from,
and that decimal is what is added up, as long as it has four places or less and is below 3.5 thousand million, as money
is. The rest (a third of something, say) is added up as doubles without rounding in between, to the last digit or so of
a double; a sum is then told to four places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import reduce

import numpy as np
import numpy.typing as npt
import polars as pl

from backfill import api
from backfill.index import Index, State

__all__ = ["NO_CURRENCY", "Amounts", "Sums", "Worth", "amount_words", "grouped"]

# Names beyond them are counted as one, as in the chart. There are some 180 currencies: so much memory, and no more.
MOST_NAMES = 100
NO_CURRENCY = "none"
PLACES = 4
UNITS = 10**PLACES
KNOWN = [*sorted(api.CURRENCIES), NO_CURRENCY]
# A chunk of 100,000 events and more of them is still an Int64.
MOST_UNITS = 2**45
CENTS, TEN_THOUSANDTH = Decimal("0.01"), Decimal("0.0001")
# As wide as doubles are: the value of some export is 1e300.
WIDE = Context(prec=400)
# What the API has of an event, or what only stands in for another, is not what will be sent.
NOT_COUNTED = (State.DUPLICATE, State.INVALID)

Numbers = npt.NDArray[np.int64]
Names = int | npt.NDArray[np.uint16]
States = npt.NDArray[np.uint8]
Amounts = dict[str, str]
"""A sum for each currency (ISO 4217, or `none`) as decimal text: `{"USD": "1234.50"}`."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What events are worth: `every` valid one, each id once, and those of them that are `ready` to be sent."""

    every: Amounts = field(default_factory=dict)
    ready: Amounts = field(default_factory=dict)


@dataclass(slots=True)
class _Sum:
    """A sum of decimals: of so many ten-thousandths, and of what has more places."""

    units: int = 0
    rest: Decimal = Decimal(0)
    events: int = 0

    def add(self, units: int, rest: Decimal, events: int, sign: int = 1) -> None:
        self.units += sign * units
        self.rest = WIDE.fma(rest, sign, self.rest)
        self.events += sign * events

    def __str__(self) -> str:
        whole = WIDE.quantize(WIDE.add(Decimal(self.units) / UNITS, self.rest), TEN_THOUSANDTH)
        # Two places at least; `normalize` would write 1E+2.
        cents = WIDE.quantize(whole, CENTS)
        return f"{cents if whole == cents else whole.normalize(WIDE):f}"


@dataclass
class Sums:
    """Add chunk after chunk; what stands twice is taken back at the end. `every` is of all valid events, each id once,
    `ready` of those that are to be sent; by the number of the name (as the index has it) and the currency.
    """

    every: dict[tuple[int, str], _Sum] = field(default_factory=dict)
    ready: dict[tuple[int, str], _Sum] = field(default_factory=dict)
    _looked: list[tuple[Numbers, pl.Series, pl.Series]] = field(default_factory=list)

    def add(self, names: Names, values: pl.Series, currencies: pl.Series, states: States) -> None:
        """Events of one chunk: the numbers of their names, their values and currencies, and their states."""
        if values.null_count() == len(values):
            return
        fresh = states == State.NEW
        if not states.any() or fresh.all():
            self._add(names, values, currencies, None)
        else:
            valid = ~np.isin(states, NOT_COUNTED)
            self._add(_some(names, valid), values.filter(pl.Series(valid)), currencies.filter(pl.Series(valid)),
                      fresh[valid])  # fmt: skip

    def look(self, numbers: Numbers, values: pl.Series, currencies: pl.Series) -> None:
        """Events, by number, of which the whole export may show that they don't count."""
        if values.null_count() < len(values):
            self._looked.append((numbers, values, currencies))

    def settle(self, index: Index) -> None:
        """Take back what turned out to be a duplicate or in conflict with another."""
        numbers, before = index.overruled()
        for looked, values, currencies in self._looked:
            mine = np.isin(looked, numbers)
            if mine.any():
                was = before[np.searchsorted(numbers, looked[mine])]
                kept = pl.Series(mine)
                names = index.name_numbers[looked[mine]]
                self._add(names, values.filter(kept), currencies.filter(kept), was == State.NEW, sign=-1)
        self._looked.clear()

    def add_part(self, part: Sums, numbers: Sequence[int]) -> None:
        """What was added up of another part of the export, whose names have these `numbers` here."""
        for mine, theirs in ((self.every, part.every), (self.ready, part.ready)):
            for (name, currency), one in theirs.items():
                number = min(numbers[name], MOST_NAMES) if name < min(len(numbers), MOST_NAMES) else MOST_NAMES
                mine.setdefault((number, currency), _Sum()).add(one.units, one.rest, one.events)

    def add_looked(self, part: Sums, at: int) -> None:
        """What `look` was told of another part, whose events have the numbers from `at` on here."""
        self._looked += [(numbers + at, values, currencies) for numbers, values, currencies in part._looked]

    def by_name(self, names: Sequence[str]) -> dict[str, Worth]:
        """What the events of each name are worth, those of names beyond MOST_NAMES under ""; a name whose events have
        no `value` is left out. `names`: as the index numbers them.
        """
        found: dict[str, Worth] = {}
        for (number, currency), one in sorted(self.every.items()):
            if one.events:
                worth = found.setdefault(names[number] if number < MOST_NAMES else "", Worth())
                worth.every[currency] = str(one)
                ready = self.ready.get((number, currency))
                if ready is not None and ready.events:
                    worth.ready[currency] = str(ready)
        return found

    def _add(
        self, names: Names, values: pl.Series, currencies: pl.Series, fresh: npt.NDArray[np.bool_] | None, sign: int = 1
    ) -> None:
        """Every sum is that of a place: the currency's number, the name's number, and whether it is ready."""
        given = values.is_not_null().to_numpy()
        if not given.all():
            values, currencies = values.drop_nulls(), currencies.filter(pl.Series(given))
            names, fresh = _some(names, given), fresh if fresh is None else fresh[given]
        found = values.to_numpy()
        with np.errstate(over="ignore"):
            units = np.rint(found * UNITS)
        exact = (units / UNITS == found) & (np.abs(units) < MOST_UNITS)
        rest = np.flatnonzero(~exact)
        units[rest] = 0
        places = (_codes(currencies) * (MOST_NAMES + 1) + np.minimum(names, MOST_NAMES)) * 2
        places += 1 if fresh is None else fresh
        counts = np.bincount(places)
        sums = np.zeros(len(counts), np.int64)
        np.add.at(sums, places, units.astype(np.int64))
        rests: dict[int, list[float]] = {}
        for place, value in zip(places[rest].tolist(), found[rest].tolist(), strict=True):
            rests.setdefault(place, []).append(value)
        for place in np.flatnonzero(counts).tolist():
            code, name = divmod(place // 2, MOST_NAMES + 1)
            key = (name, KNOWN[code])
            for table in (self.every, self.ready) if place % 2 else (self.every,):
                one = table.setdefault(key, _Sum())
                one.add(int(sums[place]), _summed(rests.get(place, ())), int(counts[place]), sign)


def _summed(values: Sequence[float]) -> Decimal:
    """Doubles, summed up without rounding in between."""
    try:
        return Decimal(math.fsum(values))
    except OverflowError:
        return reduce(WIDE.add, map(Decimal, values))


def _codes(currencies: pl.Series) -> Numbers:
    """The currencies as positions in KNOWN."""
    numbers = currencies.cast(pl.Enum(KNOWN[:-1]), strict=False).to_physical()
    return numbers.cast(pl.Int64).fill_null(len(KNOWN) - 1).to_numpy()


def grouped(amount: str) -> str:
    """`1,234.50`"""
    return f"{Decimal(amount):,}"


def amount_words(amounts: Amounts) -> str:
    """`99.00 EUR, 1,234.50 USD`: the currencies in order of the alphabet, what has none last."""
    words = []
    for currency in sorted(amounts, key=lambda one: (one == NO_CURRENCY, one)):
        amount = grouped(amounts[currency])
        words.append(f"{amount} without a currency" if currency == NO_CURRENCY else f"{amount} {currency}")
    return ", ".join(words)


def _some(names: Names, wanted: npt.NDArray[np.bool_]) -> Names:
    return names[wanted] if isinstance(names, np.ndarray) else names
