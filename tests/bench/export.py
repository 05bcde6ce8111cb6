"""The export that everything is measured on: made-up orders of 14 columns, the same for the same number of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["COLUMNS", "MAPPING", "make_orders", "write_mapping"]

SEED = 20_240_229
COLUMNS = 14
MADE_AT_ONCE = 500_000

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
    path = folder / f"orders_{rows}.csv"
    if path.exists():
        return path
    random = np.random.default_rng(SEED)
    with path.open("wb") as file:
        for start in range(0, rows, MADE_AT_ONCE):
            stop = min(start + MADE_AT_ONCE, rows)
            _orders(random, start, stop, customers=max(rows // 4, 1)).write_csv(file, include_header=start == 0)
    return path


def write_mapping(folder: Path, export: Path) -> Path:
    """The mapping of an export, beside it."""
    path = folder / f"{export.stem}.yaml"
    path.write_text(MAPPING.format(files=json.dumps(str(export))), encoding="utf-8")
    return path


def _orders(random: np.random.Generator, start: int, stop: int, customers: int) -> pl.DataFrame:
    count = stop - start
    customer = pl.Series("customer", random.integers(0, customers, count))
    area = pl.Series("area", np.array(AREA_CODES)[customer.to_numpy() % len(AREA_CODES)])
    # By day only, and past breakfast: no time that a change of clocks skips or repeats.
    days = random.integers(0, 1_700, count)
    seconds = random.integers(8 * 3600, 22 * 3600, count)
    placed = pl.Series("placed", 1_577_836_800 + days * 86_400 + seconds).cast(pl.Int64)
    return pl.DataFrame(
        {"number": np.arange(start, stop), "customer": customer, "area": area, "placed": placed}
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
