"""What a mapping says, once it is read: the keys, their types, and the words that describe them.

The field descriptions and examples are the reference: `schema` and `reference` render them.
"""

# ruff: noqa: N815  the keys are the API's own

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from backfill.mapping.leaf import Model, Node, Path, Value

__all__ = [
    "STORE",
    "CsvOptions",
    "Customer",
    "Delivery",
    "Event",
    "GroupBy",
    "HashId",
    "Location",
    "Mapping",
    "Numbers",
    "Secrets",
    "Since",
    "Source",
    "StoreColumn",
    "TemplateId",
    "UniqueId",
]


# The column that `{store}` in a file's path gives.
STORE = "store"


class TemplateId(Model):
    """A uniqueId that is a template with at least one column."""

    template: str


class HashId(Model):
    """A uniqueId that is SHA-256 over columns, as 32 hex digits."""

    hash: list[str] | Literal["*"] = Field(
        description='The columns that make the id, or `"*"` for all of them.',
        examples=[["date", "amount"], "*"],
    )
    prefix: str = Field("", description="A plain text before the digits.", examples=["cdnow:"])
    occurrence: bool = Field(
        False,
        description="Whether rows alike in every column are events of their own, told apart by their order.",
        examples=[True],
    )


UniqueId = TemplateId | HashId


class Location(Model):
    """`customer.location`, with the API's keys."""

    street1: Value | None = Field(None, description="Street and number.", examples=["{address1}"])
    street2: Value | None = Field(None, description="Flat, floor, building.", examples=["{address2}"])
    city: Value | None = Field(None, description="City.", examples=["{city}"])
    state: Value | None = Field(None, description="State or province, by name.", examples=["{state}"])
    stateCode: Value | None = Field(None, description="State or province, by code.", examples=["{state_code}"])
    postalCode: Value | None = Field(None, description="Postal code, as text.", examples=["{zip}"])
    country: Value | None = Field(None, description="Country, by name.", examples=["{country}"])
    countryCode: Value | None = Field(
        None, description="Country, ISO 3166-1 alpha-2.", examples=["{country_code}", "US"]
    )
    ianaTimeZoneName: Value | None = Field(None, description="The customer's time zone.", examples=["America/New_York"])
    latitude: Value | None = Field(None, description="Degrees, -90 to 90.", examples=["{lat}"])
    longitude: Value | None = Field(None, description="Degrees, -180 to 180.", examples=["{lon}"])


class Customer(Model):
    """Whom the event is about: at least one of id, email and phoneNumber."""

    id: Value | None = Field(None, description="Redo's id of the customer; wins over the others.")
    email: Value | None = Field(
        None, description="Left out and counted when not valid, as long as another identifier remains.",
        examples=["{email}"],
    )  # fmt: skip
    phoneNumber: Value | None = Field(
        None, description="Written as E.164.", examples=[{"column": "phone", "region": "US"}]
    )
    firstName: Value | None = Field(None, description="First name.", examples=["{first_name}"])
    lastName: Value | None = Field(None, description="Last name.", examples=["{last_name}"])
    location: Location = Field(default_factory=Location, description="Where the customer lives.")
    customFields: dict[str, Value] = Field(
        default_factory=dict,
        description="The store's own fields, by name; each a text, number or boolean.",
        examples=[{"Loyalty Tier": {"column": "tier", "map": {"g": "Gold", "s": "Silver"}}}],
    )


class Event(Model):
    """One event of each row (or group of rows), shaped like the event that the API takes."""

    eventName: Value = Field(
        description="The event's type. A name never seen before is created on the spot.",
        examples=["Order Placed"],
    )
    uniqueId: UniqueId = Field(
        description="The event's identity for ever, up to 255 characters: a template, or a hash of columns.",
        examples=["order:{order_id}", {"hash": "*", "prefix": "cdnow:", "occurrence": True}],
    )
    eventTimestamp: Value = Field(
        description="When it happened. Left out, the API would stamp history with today.",
        examples=["{created_at}"],
    )
    value: Value | None = Field(None, description="The event's worth, a number.", examples=["{total}"])
    valueCurrency: Value | None = Field(None, description="ISO 4217.", examples=["{currency}", "USD"])
    customer: Customer = Field(description="Whom the event is about.", examples=[{"email": "{email}"}])
    data: dict[str, Value] = Field(
        default_factory=dict,
        description="Up to 400 facts by name: texts, numbers, booleans. `$extra` takes anything, nested too.",
        examples=[{"Order ID": "{order_id}", "Item Count": {"column": "items", "type": "integer"}}],
    )
    extra: dict[str, Node] = Field(default_factory=dict, description="What the file has under `data.$extra`.")
    where: str | None = Field(
        None,
        description="SQL: this event is made of the rows for which it holds.",
        examples=["status = 'paid'"],
    )

    @property
    def has_twins(self) -> bool:
        """Whether rows alike in what makes the id are events of their own: their ids hang on the whole export."""
        return isinstance(self.uniqueId, HashId) and self.uniqueId.occurrence


class CsvOptions(Model):
    """How a CSV file is written; each is found by looking when not given."""

    separator: str | None = Field(None, description="One character.", examples=[";"])
    quote: str | None = Field(None, description='One character, or `""` for none.', examples=["'"])
    encoding: str | None = Field(None, description="The name of a text encoding.", examples=["windows-1252"])
    header: bool | None = Field(None, description="Whether the first line names the columns.", examples=[False])
    columns: list[str] | None = Field(
        None, description="The columns' names, when the file has no header.", examples=[["id", "email"]]
    )
    skip_lines: int | None = Field(None, ge=0, description="Lines before the header to leave out.", examples=[2])
    comment: str | None = Field(None, description="Lines that begin so are left out.", examples=["#"])
    null_values: list[str] = Field(
        default_factory=list,
        description="Texts that mean null, besides the empty field.",
        examples=[["NULL", "-"]],
    )


class Numbers(Model):
    """How numbers are written in text columns."""

    decimal: str = Field(".", description="The decimal mark, `.` or `,`.", examples=[","])
    thousands: str | None = Field(None, description="The mark between thousands.", examples=["."])


class GroupBy(Model):
    """Which rows make one event together."""

    columns: list[str] = Field(description="Rows alike in these columns are one group.", examples=[["order_id"]])
    adjacent: bool = Field(
        True,
        description="Whether a group's rows stand together; false gathers them, at the cost of a sort.",
        examples=[False],
    )


class Since(Model):
    """From where on a run reads, when runs before delivered the rest."""

    column: str = Field(
        description="When a row was last changed, or a number that only grows. A row in which it is empty or can't be "
        "read is always read.",
        examples=["updated_at"],
    )
    lookback: str | int = Field(
        "3d",
        description="How far back behind the mark rows are read again, because some come late: `30m`, `12h`, `3d`; "
        "for a column of numbers a number. A row that comes later than that is not read: `--reread` reads all.",
        examples=["12h", 1000],
    )
    format: str | None = Field(
        None, description="How the times are written: strptime, `epoch_s` or `epoch_ms`.", examples=["%d/%m/%Y %H:%M"]
    )
    timezone: str | None = Field(
        None, description="The zone of times that carry none; else `source.timezone`.", examples=["Europe/London"]
    )


class Source(Model):
    """The export: which files, and how they are written."""

    files: list[str] = Field(
        description="Path, glob, folder, s3:// gs:// az:// https:// URL, or a list; relative to this file. `{store}` "
        "stands for a part of a folder's or file's name, as short as fits, which each row gets as its column `store`; "
        'a hash of `"*"` leaves that column out.',
        examples=["exports/orders_*.csv", ["2023.csv.gz", "2024.parquet"], "exports/{store}/orders_*.csv"],
    )
    format: Literal["csv", "parquet", "ndjson", "arrow", "excel"] | None = Field(
        None, description="Else from the suffix; `.gz` and `.zst` are read through.", examples=["csv"]
    )
    csv: CsvOptions = Field(default_factory=CsvOptions, description="How a CSV file is written; else found by looking.")
    numbers: Numbers = Field(default_factory=Numbers, description="How numbers are written in text.")
    timezone: str | None = Field(
        None,
        description="The zone of times that carry none, by its IANA name.",
        examples=["America/New_York"],
    )
    ambiguous: Literal["reject", "earliest", "latest"] = Field(
        "reject",
        description="What to do with times that a clock change repeats or skips.",
        examples=["earliest"],
    )
    where: str | None = Field(
        None,
        description="SQL over the columns; a row that fails it is counted as filtered, not as an error.",
        examples=["status <> 'test'"],
    )
    group_by: GroupBy | None = Field(
        None,
        description="Columns whose equal rows make one event together: a list, or `{columns, adjacent}`.",
        examples=[["order_id"]],
    )
    since: Since | None = Field(
        None,
        description="Read only what is newer than what was delivered. The ledger keeps a mark for each mapping and "
        "store: the greatest value of `column` that was read by a run which ended with every event delivered, now or "
        "before. It never passes a row that is rejected or refused, so that such a row is read until it is mended, "
        "nor one that is kept back. A time later than the run's does not move it, and neither do numbers that leap, "
        "as one that is mistyped does: by more than `lookback` and a hundred times the usual step, until a hundred "
        "different ones stand beyond the leap; the run tells which number it is. A run with events left, one with "
        "`--limit` or `--files`, and one that was interrupted leave it where it is. The next run reads the rows from "
        "the mark less `lookback` on; older ones count as filtered, and whole row groups of Parquet that are older "
        "are not read at all. Another mapping or release, and `--reread`, read everything. Not with `group_by` or "
        "`occurrence`, where an event hangs on all rows.",
        examples=[{"column": "updated_at", "lookback": "3d"}],
    )

    @property
    def names_stores(self) -> bool:
        """Whether the files' paths have a `{store}`."""
        return any("{store}" in entry for entry in self.files)

    def hashed(self, columns: Iterable[str]) -> list[str]:
        """Of the export's columns those that `"*"` means: what a path says is none of the row's own."""
        return sorted(name for name in columns if name != STORE or not self.names_stores)


class StoreColumn(Model):
    """Many stores: each row goes to the one that a column of it names."""

    column: str = Field(
        description="The column that tells a row's store; `store` where the files' paths have a `{store}`.",
        examples=["store", "shop_id"],
    )
    map: dict[str, str] = Field(
        default_factory=dict,
        description="From what the column holds to the stores' ids. Without it the column holds the ids.",
        examples=[{"nord": "64e5a8a1af49a89df37e4ee7", "sued": "64e5a8a1af49a89df37e4ee8"}],
    )


class Secrets(Model):
    """Where each store's secret is; never a secret itself. One of `env` and `file`."""

    env: str | None = Field(
        None,
        description="The name of an environment variable. In it `{store}` is what the column of `delivery.store` "
        "holds, `{id}` the store's id: in capitals, and what is neither letter nor digit as `_`.",
        examples=["REDO_API_SECRET_{store}"],
    )
    file: str | None = Field(
        None,
        description="The path of a file, relative to this one, with the same `{store}` and `{id}`, as they are.",
        examples=["secrets/{store}"],
    )


class Delivery(Model):
    """Where the events go, and how fast."""

    store: str | StoreColumn | None = Field(
        None,
        description="The store's id; or REDO_STORE_ID, or --store. For many stores the column that tells a row's: "
        '`"{store}"`, `"{shop_id}"`, or `{column, map}`. They run side by side, each at its own `rate`, and one that '
        "fails stops no other; `--store` picks one of them, by its id or by what the column holds.",
        examples=[
            "64e5a8a1af49a89df37e4ee7",
            "{store}",
            {"column": "shop", "map": {"nord": "64e5a8a1af49a89df37e4ee7", "sued": "64e5a8a1af49a89df37e4ee8"}},
        ],
    )
    secrets: Secrets | None = Field(
        None,
        description="Where the secrets of many stores are; else REDO_API_SECRET is that of all.",
        examples=[{"env": "REDO_API_SECRET_{store}"}, {"file": "secrets/{store}"}],
    )
    stores_at_once: int | None = Field(
        None, ge=1, description="How many stores are sent to side by side; 16 unless given.", examples=[40]
    )
    endpoint: Literal["single", "bulk"] = Field(
        "single", description="One event a request, or up to 100.", examples=["bulk"]
    )
    rate: float | None = Field(
        None, gt=0, description="Requests per second, of the store's 100; more is allowed, with a warning.",
        examples=[95],
    )  # fmt: skip
    concurrency: int | None = Field(None, ge=1, description="Requests under way at once, 64 at most.", examples=[32])
    flows: Literal["acknowledged"] | None = Field(
        None, description="These events may start live flows, and that is wanted.", examples=["acknowledged"]
    )
    not_newer_than: str | None = Field(
        None,
        description="Events under this age are kept back, for a later run: a whole number with s, m, h, d or w.",
        examples=["72h"],
    )


Positions = dict[Path, tuple[int, int]]


class Mapping(Model):
    """A mapping file: how an export's rows become events, and where these go."""

    path: pathlib.Path
    source: Source = Field(description="The export: which files, and how they are written.")
    events: Annotated[list[Event], Field(min_length=1)] = Field(
        description="What each row becomes: one event or several."
    )
    delivery: Delivery = Field(default_factory=Delivery, description="Where the events go, and how fast.")

    _positions: Positions = PrivateAttr(default_factory=dict)

    def with_positions(self, positions: Positions) -> Mapping:
        """The same mapping, which knows where its parts stand in the file."""
        mapping = self.model_copy()
        mapping._positions = positions  # noqa: SLF001  its own class
        return mapping

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of its nearest ancestor in the file."""
        for length in range(len(path), -1, -1):
            found = self._positions.get(path[:length])
            if found is not None:
                return found
        return (1, 1)
