"""Writes the sample exports, the same bytes every time: python sample_data/make.py [FOLDER]

The people are invented: their addresses are at example.com, .net and .org, their phones in ranges kept for
fiction. Each export has some rows that are broken on purpose: BROKEN_ORDERS, BROKEN_ENTRIES, BROKEN_EVENTS.
README.md says what should happen to them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

SEED = 20_240_229

# ---------------------------------------------------------------------------------------- people and products


@dataclass(frozen=True)
class City:
    """`phone` leaves room for two digits; `tax` is in hundredths of a percent."""

    name: str
    state: str
    state_name: str
    postal: str
    country: str
    country_name: str
    zone: str
    phone: str
    latitude: float
    longitude: float
    tax: int


CITIES = (
    City("Brooklyn", "NY", "New York", "11215", "US", "United States", "America/New_York", "(718) 555-01{}", 40.67, -73.99, 888),
    City("Albany", "NY", "New York", "12207", "US", "United States", "America/New_York", "518-555-01{}", 42.65, -73.75, 800),
    City("Portland", "ME", "Maine", "04101", "US", "United States", "America/New_York", "207.555.01{}", 43.66, -70.26, 550),
    City("Chicago", "IL", "Illinois", "60614", "US", "United States", "America/Chicago", "(312) 555-01{}", 41.92, -87.65, 1025),
    City("Austin", "TX", "Texas", "78704", "US", "United States", "America/Chicago", "+1 512 555 01{}", 30.24, -97.77, 825),
    City("Denver", "CO", "Colorado", "80205", "US", "United States", "America/Denver", "303-555-01{}", 39.76, -104.97, 881),
    City("Oakland", "CA", "California", "94609", "US", "United States", "America/Los_Angeles", "(510) 555-01{}", 37.83, -122.26, 1025),
    City("Seattle", "WA", "Washington", "98103", "US", "United States", "America/Los_Angeles", "1-206-555-01{}", 47.67, -122.34, 1025),
    City("Boston", "MA", "Massachusetts", "02118", "US", "United States", "America/New_York", "617 555 01{}", 42.34, -71.07, 625),
    City("Toronto", "ON", "Ontario", "M5V 2T6", "CA", "Canada", "America/Toronto", "+1 416-555-01{}", 43.64, -79.39, 1300),
    City("Vancouver", "BC", "British Columbia", "V5T 3J1", "CA", "Canada", "America/Vancouver", "+1 604-555-01{}", 49.26, -123.1, 1200),
    City("London", "ENG", "England", "E8 3PN", "GB", "United Kingdom", "Europe/London", "+44 20 7946 00{}", 51.54, -0.06, 0),
    City("Berlin", "BE", "Berlin", "10437", "DE", "Germany", "Europe/Berlin", "+49 30 23125 0{}", 52.54, 13.41, 0),
)  # fmt: skip
CITY_WEIGHTS = (14, 5, 4, 10, 8, 6, 9, 8, 8, 6, 4, 4, 3)

FIRST_NAMES = (
    "Ada", "Amélie", "Ananya", "Björn", "Carlos", "Chloë", "Dara", "Đorđe", "Elif", "Emeka", "Fatima", "Grace", "Hana",
    "Henrik", "Imani", "Jürgen", "José", "Kofi", "Lena", "Liam", "Łukasz", "Mai", "Marek", "Mia", "Noor", "Oona", "Priya",
    "Quentin", "Renée", "Rosa", "Sam", "Siobhán", "Sofía", "Tomás", "Uma", "Vera", "Wei", "Yara", "Zoë", "美咲",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Andersson", "Bauer", "Castillo", "Chen", "Dąbrowski", "de la Cruz", "Diaz", "Eriksen", "Farrell", "Fournier",
    "García Ruiz", "Haddad", "Ito", "Jansen", "Kaya", "Kowalczyk", "Lindqvist", "Marchetti", "Mbeki", "Müller", "Nakamura",
    "Ní Bhriain", "Novák", "O'Connor", "Okafor", "Østergaard", "Patel", "Quispe", "Rossi", "Şahin", "Silva", "Tanaka",
    "Tran", "Ueda", "van den Berg", "Walsh", "Yılmaz", "Zhang", "Smith-Lowe",
)  # fmt: skip
STREETS = (
    "Alder St",
    "Birch Ave",
    "Canal Row",
    "Dovecote Ln",
    "Elm Ct",
    "Fern Rd",
    "Granary Sq",
    "Harbor Way",
)
# What Unicode's decomposition leaves as it is.
ASCII = str.maketrans("ĐđŁłØøıß美咲", "DdLlOoisMi")


@dataclass(frozen=True)
class Person:
    """One invented customer."""

    number: int
    first: str
    last: str
    email: str
    phone: str
    street: str
    flat: str
    city: City
    subscribed: bool


def people(random: Random, count: int) -> list[Person]:
    """Customers; some leave no phone."""
    found = []
    for number in range(count):
        first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
        plain = unicodedata.normalize("NFKD", f"{first}.{last}".translate(ASCII)).encode("ascii", "ignore").decode()
        name = "".join(c for c in plain.lower() if c.isalnum() or c in ".-")
        domain = random.choices(("example.com", "example.org", "example.net"), (8, 1, 1))[0]
        (city,) = random.choices(CITIES, CITY_WEIGHTS)
        phone = city.phone.format(f"{random.randrange(100):02}") if random.random() < 0.7 else ""
        street = f"{random.randrange(1, 400)} {random.choice(STREETS)}"
        flat = random.choice(("", "", "", "Apt 4B", "Unit 12", "Floor 2, left"))
        subscribed = random.random() < 0.55
        found.append(Person(number, first, last, f"{name}{number}@{domain}", phone, street, flat, city, subscribed))
    return found


@dataclass(frozen=True)
class Product:
    """`price` and `was` in cents."""

    name: str
    sku: str
    price: int
    was: int | None
    category: str


PRODUCTS = (
    Product("Wool Throw - Moss / 50 x 70", "THR-MOS-57", 8900, 11000, "Textiles"),
    Product("Wool Throw - Oat / 50 x 70", "THR-OAT-57", 8900, None, "Textiles"),
    Product('Picture Frame 8" x 10" - Walnut', "FRM-810-WAL", 3400, None, "Decor"),
    Product('Picture Frame 5" x 7" - Walnut', "FRM-57-WAL", 2600, None, "Decor"),
    Product("Café Mug, 12 oz", "MUG-12", 1800, None, "Kitchen"),
    Product("Café Mug, 12 oz (set of 4)", "MUG-12-4", 6200, 7200, "Kitchen"),
    Product('Cast Iron "Everyday" Skillet', "SKL-10", 5400, None, "Kitchen"),
    Product("Beeswax Candle - Fig & Cedar", "CND-FIG", 2200, None, "Decor"),
    Product("Beeswax Candle - Unscented", "CND-UNS", 2000, None, "Decor"),
    Product("Linen Napkins (set of 6)", "NAP-6", 4200, None, "Textiles"),
    Product("Olive Wood Spoon", "SPN-OLV", 1600, None, "Kitchen"),
    Product("Gift Card - $50", "007050", 5000, None, "Gift Cards"),
)
PRODUCT_WEIGHTS = (4, 4, 6, 5, 12, 5, 5, 10, 8, 6, 9, 2)

# -------------------------------------------------------------------------------------- Shopify orders as CSV

SHOPIFY_COLUMNS = (
    "Name", "Email", "Financial Status", "Paid at", "Fulfillment Status", "Fulfilled at", "Accepts Marketing", "Currency",
    "Subtotal", "Shipping", "Taxes", "Total", "Discount Code", "Discount Amount", "Shipping Method", "Created at",
    "Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem compare at price", "Lineitem sku",
    "Lineitem requires shipping", "Lineitem taxable", "Lineitem fulfillment status", "Billing Name", "Billing Street",
    "Billing Address1", "Billing Address2", "Billing Company", "Billing City", "Billing Zip", "Billing Province",
    "Billing Country", "Billing Phone", "Shipping Name", "Shipping Street", "Shipping Address1", "Shipping Address2",
    "Shipping Company", "Shipping City", "Shipping Zip", "Shipping Province", "Shipping Country", "Shipping Phone", "Notes",
    "Note Attributes", "Cancelled at", "Payment Method", "Payment Reference", "Refunded Amount", "Vendor",
    "Outstanding Balance", "Employee", "Location", "Device ID", "Id", "Tags", "Risk Level", "Source", "Lineitem discount",
    "Tax 1 Name", "Tax 1 Value", "Tax 2 Name", "Tax 2 Value", "Tax 3 Name", "Tax 3 Value", "Tax 4 Name", "Tax 4 Value",
    "Tax 5 Name", "Tax 5 Value", "Phone", "Receipt Number", "Duties", "Billing Province Name", "Shipping Province Name",
    "Payment ID", "Payment Terms Name", "Next Payment Due At", "Payment References",
)  # fmt: skip
SHOPIFY_ZONE = ZoneInfo("America/New_York")

NOTES = (
    "Please leave it at the side door.\nThe bell doesn't work.",
    'Gift message: "Happy birthday, Zoë!"',
    "Call before delivery, please; the dog is friendly",
    "Danke schön 🙂",
    "Two boxes if possible.\n\nFragile!",
)

Row = dict[str, str]


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def order(random: Random, number: int, person: Person, created: datetime, *, plain: bool) -> list[Row]:
    """One order as Shopify writes it: a row per line item, of which the first alone has the order's own columns.

    A plain order is paid, comes from the web, has one line item and no note.
    """
    city = person.city
    count = 1 if plain else random.choices((1, 2, 3, 4, 5, 6), (32, 28, 20, 11, 6, 3))[0]
    products: list[Product] = []
    while len(products) < count:
        (product,) = random.choices(PRODUCTS, PRODUCT_WEIGHTS)
        if product not in products:
            products.append(product)
    quantities = [random.choices((1, 2, 3, 6), (78, 15, 5, 2))[0] for _ in products]
    subtotal = sum(p.price * q for p, q in zip(products, quantities, strict=True))
    code = "" if plain else random.choices(("", "WELCOME10", "MOSS15", "vip-friends"), (72, 14, 9, 5))[0]
    discount = subtotal * {"": 0, "WELCOME10": 10, "MOSS15": 15, "vip-friends": 25}[code] // 100
    source = "web" if plain else random.choices(("web", "pos", "shopify_draft_order", "3890849"), (78, 9, 5, 8))[0]
    method, shipping = ("", 0)
    if source != "pos":
        abroad = city.country != "US"
        method, shipping = ("International", 2400) if abroad else random.choice((("Standard", 695), ("Express", 1495)))
        if not abroad and subtotal - discount > 10_000:
            method, shipping = "Free shipping", 0
    taxes = (subtotal - discount) * city.tax // 10_000
    total = subtotal - discount + shipping + taxes
    fate = (
        "paid"
        if plain
        else random.choices(("paid", "refunded", "partially_refunded", "cancelled", "pending"), (86, 3, 4, 5, 2))[0]
    )
    paid = created + timedelta(seconds=random.randrange(2, 90))
    shipped = created + timedelta(hours=random.randrange(6, 90), minutes=random.randrange(60))
    cancelled = created + timedelta(hours=random.randrange(1, 30), minutes=random.randrange(60))
    note = "" if plain or random.random() > 0.12 else random.choice(NOTES)
    payment = "c" + str(random.randrange(10**13, 10**14)) + ".1"
    name, postal = f"{person.first} {person.last}", "'" + city.postal
    email = "" if source == "pos" and person.phone and random.random() < 0.2 else person.email

    def written(time: datetime) -> str:
        # The instant in the shop's zone, whatever the clocks did in between.
        return datetime.fromtimestamp(time.timestamp(), SHOPIFY_ZONE).strftime("%Y-%m-%d %H:%M:%S %z")

    rows = []
    for i, (product, quantity) in enumerate(zip(products, quantities, strict=True)):
        row = dict.fromkeys(SHOPIFY_COLUMNS, "")
        row |= {
            "Name": f"#{number}",
            "Lineitem quantity": str(quantity),
            "Lineitem name": product.name,
            "Lineitem price": money(product.price),
            "Lineitem compare at price": money(product.was) if product.was else "",
            "Lineitem sku": product.sku,
            "Lineitem requires shipping": "false" if product.category == "Gift Cards" else "true",
            "Lineitem taxable": "false" if product.category == "Gift Cards" else "true",
            "Lineitem fulfillment status": "pending" if fate in ("cancelled", "pending") else "fulfilled",
            "Vendor": "Juniper & Pine",
            "Lineitem discount": "0.00",
        }
        if i == 0:
            refunded = {"refunded": total, "cancelled": total, "partially_refunded": product.price}.get(fate, 0)
            row |= {
                "Email": email,
                "Financial Status": "refunded" if fate == "cancelled" else fate,
                "Paid at": "" if fate == "pending" else written(paid),
                "Fulfillment Status": "unfulfilled" if fate in ("cancelled", "pending") else "fulfilled",
                "Fulfilled at": "" if fate in ("cancelled", "pending") else written(shipped),
                "Accepts Marketing": "yes" if person.subscribed else "no",
                "Currency": "USD",
                "Subtotal": money(subtotal - discount),
                "Shipping": money(shipping),
                "Taxes": money(taxes),
                "Total": money(total),
                "Discount Code": code,
                "Discount Amount": money(discount),
                "Shipping Method": method,
                "Created at": written(created),
                "Notes": note,
                "Note Attributes": "gift: true\nwrap: kraft" if note.startswith("Gift") else "",
                "Cancelled at": written(cancelled) if fate == "cancelled" else "",
                "Payment Method": "Cash" if source == "pos" and random.random() < 0.2 else "Shopify Payments",
                "Payment Reference": payment,
                "Refunded Amount": money(refunded),
                "Outstanding Balance": money(total if fate == "pending" else 0),
                "Employee": "Till 1" if source == "pos" else "",
                "Location": "Brooklyn Store" if source == "pos" else "",
                "Id": str(4_100_000_000_000 + number * 1_009_003),
                "Tags": random.choice(("", "", "", "", "wholesale", "VIP, repeat")),
                "Risk Level": "Low",
                "Source": source,
                "Tax 1 Name": f"{city.state} Tax {city.tax / 100:g}%" if taxes else "",
                "Tax 1 Value": money(taxes) if taxes else "",
                "Phone": person.phone,
                "Payment ID": payment,
                "Payment References": payment,
            }
            for side in ("Billing", "Shipping") if method else ("Billing",):
                row |= {
                    f"{side} Name": name,
                    f"{side} Street": ", ".join(filter(None, (person.street, person.flat))),
                    f"{side} Address1": person.street,
                    f"{side} Address2": person.flat,
                    f"{side} City": city.name,
                    f"{side} Zip": postal,
                    f"{side} Province": city.state,
                    f"{side} Country": city.country,
                    f"{side} Phone": person.phone,
                    f"{side} Province Name": city.state_name,
                }
        rows.append(row)
    return rows


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, SHOPIFY_COLUMNS, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def change(**cells: str) -> Callable[[Row], bytes]:
    """The row with other cells; a keyword's `_` stands for the space in the column's name."""
    return lambda row: as_csv([row | {key.replace("_", " "): value for key, value in cells.items()}])


def not_utf8(row: Row) -> bytes:
    return as_csv([row | {"Billing Name": "Jose@ Silva"}]).replace(b"Jose@", "José".encode("latin-1"))


def extra_field(row: Row) -> bytes:
    return as_csv([row | {"Notes": "@"}]).replace(b",@,", b",Ring twice, then wait,")


def cut_short(row: Row) -> bytes:
    return as_csv([row]).partition(b"," + row["Lineitem sku"].encode())[0] + b"\n"


# By order number; all of them are plain orders. Order 1455 comes a second time, far from its first.
BROKEN_ORDERS: dict[int, Callable[[Row], bytes]] = {
    1042: change(Created_at="2021-02-30 10:22:14 -0500"),
    1088: change(Email="", Phone="", Billing_Phone="", Source="pos"),
    1131: extra_field,
    1177: cut_short,
    1203: not_utf8,
    1260: change(Total="N/A"),
    1309: change(Email="lena.walsh(at)example.com", Phone="(212) 555-0134"),
    1342: change(Email="noor.haddad@example", Phone=""),
    1398: change(Source="6167201"),
    1517: change(Email="sam.tran@example.com", Phone="call the shop"),
}
RETURNING_ORDER = 1455


def shopify_orders() -> bytes:
    """600 orders, newest first."""
    random = Random(SEED)
    customers = people(random, 340)
    start, numbers = datetime(2021, 2, 1, 9, tzinfo=SHOPIFY_ZONE), range(1001, 1601)
    orders: list[bytes] = []
    again = b""
    for number in numbers:
        created = start + timedelta(hours=(number - 1001) * 55 + random.randrange(40), seconds=random.randrange(3600))
        broken = BROKEN_ORDERS.get(number)
        plain = broken is not None or number == RETURNING_ORDER
        rows = order(random, number, random.choice(customers), created, plain=plain)
        orders.append(broken(rows[0]) if broken else as_csv(rows))
        if number == RETURNING_ORDER:
            again = change(Total="19.99", Tags="edited")(rows[0])
    orders.insert(RETURNING_ORDER - 1001 - 180, again)
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(SHOPIFY_COLUMNS)
    return header.getvalue().encode() + b"".join(reversed(orders))


# --------------------------------------------------------------------------------- a points ledger as Parquet

LOYALTY_SCHEMA = pl.Schema(
    {
        "member_no": pl.String(),
        "member": pl.Struct(
            {
                "email": pl.String(),
                "phone": pl.String(),
                "name": pl.Struct({"first": pl.String(), "last": pl.String()}),
                "home": pl.Struct({"city": pl.String(), "state": pl.String(), "country": pl.String()}),
            }
        ),
        "posted_at": pl.Datetime("us"),  # the shops' local time, without zone
        "kind": pl.String(),
        "points": pl.Int64(),
        "balance": pl.Int64(),
        "spend": pl.Decimal(10, 2),
        "currency": pl.String(),
        "tier": pl.String(),
        "store_no": pl.Int32(),
        "opted_in": pl.Boolean(),
        "is_test": pl.Boolean(),
        "note": pl.String(),
    }
)

# By the row's number, from 0; `member.` reaches into the nested column.
BROKEN_ENTRIES: dict[int, dict[str, Any]] = {
    57: {"posted_at": None},
    141: {"posted_at": datetime(2024, 3, 10, 2, 30)},  # noqa: DTZ001 (the clocks skipped it)
    222: {"posted_at": datetime(2023, 11, 5, 1, 30)},  # noqa: DTZ001 (the clocks passed it twice)
    318: {"member.email": None, "member.phone": None},
    407: {"member": None},
    498: {"member.email": "uma.ito@", "member.phone": "(312) 555-0177"},
    560: {"member.email": "kofi.mbeki example.com", "member.phone": None},
    655: {"kind": "Q"},
    731: {"kind": None},
    802: {"spend": Decimal("12.50"), "currency": "US$"},
}
# These rows come twice, alike in every column: two true entries in the same minute.
TWIN_ENTRIES = (300, 900)
TEST_ENTRIES = (100, 350, 600, 850, 1100)


def loyalty() -> pl.DataFrame:
    """1,200 entries of a points ledger, oldest first, of a chain in Chicago's zone."""
    random = Random(SEED + 1)
    members = people(random, 260)
    tiers = random.choices(("g", "s", "b", None), (10, 25, 60, 5), k=len(members))
    balances = [0] * len(members)
    first = datetime(2022, 1, 3)  # noqa: DTZ001 (this export has no zone; the mapping names it)
    # Shops are open from 9 to 21: no time of the night, which the clocks change.
    times = sorted(
        first + timedelta(days=random.randrange(1100), hours=9 + random.randrange(12), minutes=random.randrange(60))
        for _ in range(1200)
    )
    rows: list[dict[str, Any]] = []
    for number, posted in enumerate(times):
        person = random.choice(members)
        kind = random.choices("ERBX", (62, 20, 12, 6) if balances[person.number] else (75, 0, 25, 0))[0]
        spend = random.randrange(800, 24_000) if kind == "E" else None
        if spend:
            points = spend // 100
        elif kind == "B":
            points = random.choice((50, 100, 250))
        else:
            points = -min(balances[person.number], random.choice((100, 200, 500)))
        balances[person.number] += points
        row = {
            "member_no": f"{person.number + 7:06}",
            "member": {
                "email": person.email,
                "phone": person.phone or None,
                "name": {"first": person.first, "last": person.last},
                "home": {
                    "city": person.city.name,
                    "state": person.city.state,
                    "country": person.city.country,
                },
            },
            "posted_at": posted,
            "kind": kind,
            "points": points,
            "balance": balances[person.number],
            "spend": Decimal(spend) / 100 if spend else None,
            "currency": "USD" if spend else None,
            "tier": tiers[person.number],
            "store_no": random.randrange(1, 9) if kind in "ER" else None,
            "opted_in": random.choice((True, False, None)),
            "is_test": number in TEST_ENTRIES,
            "note": random.choice(("Birthday bonus", "Sorry for the wait", 'The "double points" week'))
            if kind == "B"
            else None,
        }
        for key, value in BROKEN_ENTRIES.get(number, {}).items():
            outer, _, inner = key.partition(".")
            if inner:
                row[outer] = {**row["member"], inner: value}  # type: ignore[dict-item]
            else:
                row[outer] = value
        rows += [row, row] if number in TWIN_ENTRIES else [row]
    return pl.DataFrame(rows, schema=LOYALTY_SCHEMA)


# ----------------------------------------------------------------------------------- Klaviyo events as NDJSON

METRICS = {
    "Viewed Product": 34,
    "Added to Cart": 17,
    "Started Checkout": 9,
    "Subscribed to Email Marketing": 7,
    "Clicked Email": 12,
    "Opened Email": 11,
    "Submitted Review": 10,
}
TITLES = ("Love it", "Exactly as shown", 'Smaller than 8"', "Schön!", "Gift for my sister", "Would buy again")

Json = dict[str, Any]


def bad_email(email: str, phone: str | None) -> Callable[[Json], bytes]:
    return lambda event: as_line(event | {"profile": event["profile"] | {"email": email, "phone_number": phone}})


def no_number(event: Json) -> bytes:
    return as_line(event | {"event_properties": event["event_properties"] | {"$value": "N/A"}})


# By the event's number, from 0; all of them are "Added to Cart", whose profile has a phone. Event 700 comes twice.
BROKEN_EVENTS: dict[int, Callable[[Json], bytes]] = {
    75: lambda event: as_line(event)[:-120] + b"\n",
    150: lambda event: as_line(event).replace(b'"first_name":"', b'"first_name":"Ren\xe9'),
    225: lambda event: as_line(event | {"datetime": "2024-02-31T09:00:00+00:00"}),
    300: lambda event: as_line(event | {"profile": event["profile"] | {"email": None, "phone_number": None}}),
    375: bad_email("mia.rossi@example,com", "+13125550142"),
    450: bad_email("unknown", None),
    525: no_number,
    600: lambda event: as_line(event | {"metric": {"id": "Zz9Qk1", "name": "Zendesk Ticket Solved"}}),
    700: lambda event: as_line(event) * 2,
    775: lambda event: as_line(event) + no_number(event).replace(b'"N/A"', b"1.00"),
}


def as_line(event: Json) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def klaviyo_event(random: Random, person: Person, time: datetime, metric: str) -> Json:
    """One event, its profile and properties nested; properties that a metric does not have are absent."""
    (product,) = random.choices(PRODUCTS, PRODUCT_WEIGHTS)
    properties: Json = {}
    match metric:
        case "Viewed Product" | "Added to Cart" | "Started Checkout":
            quantity = random.choice((1, 1, 1, 2, 3)) if metric != "Viewed Product" else 1
            properties = {
                "$value": product.price * quantity / 100,
                "$currency_code": "USD",
                "ProductName": product.name,
                "SKU": product.sku,
                "Quantity": quantity,
                "Categories": ["Home", product.category],
            }
        case "Submitted Review":
            properties = {
                "ProductName": product.name,
                "SKU": product.sku,
                "Rating": random.choices((5, 4, 3, 2, 1), (55, 25, 10, 6, 4))[0],
                "Title": random.choice(TITLES),
            }
        case "Clicked Email" | "Opened Email":
            campaign = f"Newsletter {time:%Y-%m}"
            properties = {"Campaign Name": campaign, "Subject": f"{random.choice(FIRST_NAMES)}'s picks"}
            if metric == "Clicked Email":
                properties["URL"] = f"https://shop.example.com/products/{product.sku.lower()}?utm_campaign={time:%Y%m}"
        case _:
            properties = {"List": "Newsletter", "Method": random.choice(("Form", "Checkout"))}
    city = person.city
    return {
        "id": f"{random.getrandbits(60):015x}",
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        "timestamp": int(time.timestamp()),
        "metric": {"id": f"M{sorted(METRICS).index(metric):05}", "name": metric},
        "profile": {
            "id": f"01H{person.number:023}",
            "email": person.email,
            "phone_number": "+1312555" + f"{100 + person.number % 100:04}" if person.phone else None,
            "first_name": person.first,
            "last_name": person.last,
            "location": {
                "city": city.name,
                "region": city.state_name,
                "country": city.country_name,
                "zip": city.postal,
                "latitude": city.latitude,
                "longitude": city.longitude,
                "timezone": city.zone,
            },
            "subscribed": person.subscribed,
            "created": 1_577_836_800 + person.number * 86_111,
        },
        "event_properties": properties,
    }


def klaviyo_events() -> bytes:
    """1,000 events, oldest first."""
    random = Random(SEED + 2)
    profiles = people(random, 220)
    with_phone = [person for person in profiles if person.phone]
    time = datetime(2022, 5, 2, 13, tzinfo=ZoneInfo("UTC"))
    lines = []
    for number in range(1000):
        time += timedelta(seconds=random.randrange(60, 180_000))
        broken = BROKEN_EVENTS.get(number)
        person = random.choice(with_phone if broken else profiles)
        metric = "Added to Cart" if broken else random.choices(tuple(METRICS), tuple(METRICS.values()))[0]
        event = klaviyo_event(random, person, time, metric)
        lines.append(broken(event) if broken else as_line(event))
    return b"".join(lines)


# ------------------------------------------------------------------------- the cookbook's orders of a database


def database_orders() -> pl.DataFrame:
    """A table of orders as a warehouse gives it: money in cents, a null where something has not happened."""
    oddities: dict[int, Json] = {
        4: {"paid_at": None},
        5: {"refunded_at": datetime.fromisoformat("2024-03-20 07:00"), "refund_cents": 1_500},
        6: {"is_test": True},
        8: {"refunded_at": datetime.fromisoformat("2024-04-02 16:45:30"), "refund_cents": 8_000},
        9: {"customer": {"email": None, "phone": None, "first": "Counter", "last": "Sale", "country": "US"}},
        11: {"currency": None},
        # Paid by a voucher: nothing was paid, and no money came.
        12: {"total_cents": 0},
    }
    people = (
        ("Ada", "Byron", "ada"),
        ("Chloë", "Şahin", "chloe.sahin"),
        ("Grace", "Hopkins", "grace"),
        ("Teo", "de la Cruz", "teo"),
    )
    rows = []
    for number in range(1, 13):
        first, last, mailbox = people[number % len(people)]
        product = PRODUCTS[number % len(PRODUCTS)]
        quantity = 1 + number % 3
        placed = datetime.fromisoformat("2024-03-08 09:30") + timedelta(hours=17 * number, seconds=number)
        row: Json = {
            "order_id": 70_000 + number,
            "is_test": False,
            "customer": {
                "email": f"{mailbox}@example.com",
                "phone": f"21255501{number:02}" if number % 3 else None,
                "first": first,
                "last": last,
                "country": "US",
            },
            "currency": "USD",
            "total_cents": product.price * quantity,
            "items": [{"sku": product.sku, "quantity": quantity, "cents": product.price}],
            "placed_at": placed,
            "paid_at": placed + timedelta(seconds=40),
            "refunded_at": None,
            "refund_cents": None,
        }
        rows.append(row | oddities.get(number, {}))
    text = pl.String()
    return pl.DataFrame(
        rows,
        schema={
            "order_id": pl.Int64(),
            "is_test": pl.Boolean(),
            "customer": pl.Struct(dict.fromkeys(("email", "phone", "first", "last", "country"), text)),
            "currency": text,
            "total_cents": pl.Int64(),
            "items": pl.List(pl.Struct({"sku": text, "quantity": pl.Int64(), "cents": pl.Int64()})),
            "placed_at": pl.Datetime("us"),
            "paid_at": pl.Datetime("us"),
            "refunded_at": pl.Datetime("us"),
            "refund_cents": pl.Int64(),
        },
    )


def main(folder: Path) -> None:
    """Write the exports into the folder."""
    (folder / "shopify_orders.csv").write_bytes(shopify_orders())
    loyalty().write_parquet(folder / "loyalty.parquet", compression="zstd", statistics=False)
    (folder / "klaviyo_events.ndjson").write_bytes(klaviyo_events())
    (folder / "cookbook").mkdir(exist_ok=True)
    orders = folder / "cookbook" / "database-orders.parquet"
    database_orders().write_parquet(orders, compression="zstd", statistics=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
