"""The export that everything is measured on: made-up orders of 14 columns.

Orders are made in pieces, and a piece is the same in every export that holds the whole of it: so a larger export begins
as a smaller one does, as a shop's does from week to week.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["COLUMNS", "MAPPING", "PIECE", "make_files", "make_grown", "make_orders", "write_mapping"]

SEED = 20_240_229
COLUMNS = 14
PIECE = 10_000

# Quotes, commas, line breaks and letters of many alphabets, in the shares of a real export.
FIRST_NAMES = ["Stewart", "José", 'Mary "Mae"', "李", "O'Neil", "Zoë", ""]
LAST_NAMES = ["Thompson", "Ng, Jr.", "Müller", "Sánchez", "Øvergård", ""]
CITIES = ["Seattle", "New York", "Köln", "Kraków", "東京", ""]
NOTES = ["", "", "", "leave at door", 'gift: "happy birthday"', "ring twice,\nthen call", "fragile 🍷"]
AREA_CODES = [206, 212, 303, 312, 415, 503, 617, 713]

MAPPING = """\
source:
  files: {files}
  timezone: America/New_York
events:
  - eventName: Order Placed
    uniqueId: "order:{{order_id}}"
    eventTimestamp: "{{created_at}}"
    value: "{{total}}"
    valueCurrency: "{{currency}}"
    customer:
      email: "{{email}}"
      phoneNumber: {{column: phone, region: US}}
      firstName: "{{first_name}}"
      lastName: "{{last_name}}"
      location: {{city: "{{city}}", countryCode: "{{country_code}}"}}
      customFields:
        Loyalty Tier: {{column: tier, map: {{g: Gold, s: Silver}}}}
        Accepts Marketing: {{column: accepts_marketing, map: {{"yes": true, "no": false}}}}
    data:
      Order ID: "{{order_id}}"
      Item Count: {{column: items, type: integer}}
      Large: {{sql: "CAST(total AS DOUBLE) > 100"}}
      $extra:
        Note: "{{note}}"
"""


def make_orders(folder: Path, rows: int) -> Path:
    """`orders_ROWS.csv` in the folder, made when it is not there. Every row is valid."""
    return _make(folder / f"orders_{rows}.csv", [range(rows)])


def make_grown(folder: Path, old: int, new: int, *, after: int) -> Path:
    """The first `old` rows of every larger export, then `new` ones that no export of `after` rows has.

    All three are multiples of PIECE.
    """
    return _make(folder / f"grown_{old}_{new}.csv", [range(old), range(after, after + new)])


def make_files(folder: Path, files: int, rows: int) -> Path:
    """A folder with so many files of so many rows each: together the rows of `make_orders`, in their order."""
    place = folder / f"orders_{files}x{rows}"
    if place.exists():
        return place
    place.mkdir()
    whole = pl.concat(_orders(part) for part in _pieces(range(files * rows)))
    for number, part in enumerate(whole.iter_slices(rows)):
        part.write_csv(place / f"orders_{number:06}.csv")
    return place


def write_mapping(folder: Path, export: Path) -> Path:
    """The mapping of an export, beside it."""
    path = folder / f"{export.stem}.yaml"
    path.write_text(MAPPING.format(files=json.dumps(str(export))), encoding="utf-8")
    return path


def _make(path: Path, parts: Sequence[range]) -> Path:
    if not path.exists():
        with path.open("wb") as file:
            for part in parts:
                for piece in _pieces(part):
                    _orders(piece).write_csv(file, include_header=file.tell() == 0)
    return path


def _pieces(numbers: range) -> Sequence[range]:
    return [numbers[at : at + PIECE] for at in range(0, len(numbers), PIECE)]


def _orders(numbers: range) -> pl.DataFrame:
    """The orders of these numbers, of a shop that has won a customer with every fourth order."""
    count = len(numbers)
    random = np.random.default_rng([SEED, numbers.start])
    customer = pl.Series("customer", random.integers(0, max(numbers.stop // 4, 1), count))
    area = pl.Series("area", np.array(AREA_CODES)[customer.to_numpy() % len(AREA_CODES)])
    # By day only, and past breakfast: no time that a change of clocks skips or repeats.
    days = random.integers(0, 1_700, count)
    seconds = random.integers(8 * 3600, 22 * 3600, count)
    placed = pl.Series("placed", 1_577_836_800 + days * 86_400 + seconds).cast(pl.Int64)
    return pl.DataFrame(
        {"number": np.arange(numbers.start, numbers.stop), "customer": customer, "area": area, "placed": placed}
    ).select(
        (pl.col("number") + 100_000).cast(pl.String).alias("order_id"),
        pl.format("customer{}@example.com", "customer").alias("email"),
        pl.format(
            "({}) {}-{}",
            "area",
            200 + pl.col("customer") // 10_000 % 700,
            (pl.col("customer") % 10_000).cast(pl.String).str.zfill(4),
        ).alias("phone"),
        _some(random, "first_name", FIRST_NAMES, count),
        _some(random, "last_name", LAST_NAMES, count),
        _some(random, "city", CITIES, count),
        _some(random, "country_code", ["US", "DE", "GB", "PL"], count),
        pl.from_epoch("placed").dt.strftime("%Y-%m-%d %H:%M:%S").alias("created_at"),
        pl.Series("total", np.round(random.gamma(2, 40, count) + 0.01, 2)),
        _some(random, "currency", ["USD", "EUR", "GBP"], count),
        pl.Series("items", random.integers(1, 9, count)),
        _some(random, "tier", ["g", "s", ""], count),
        _some(random, "accepts_marketing", ["yes", "no"], count),
        _some(random, "note", NOTES, count),
    )


def _some(random: np.random.Generator, name: str, texts: list[str], count: int) -> pl.Series:
    # An empty text would be written as "": a real export leaves the field empty.
    known = pl.Series(texts, dtype=pl.String).replace("", None)
    return known.gather(pl.Series(random.integers(0, len(texts), count))).alias(name)
