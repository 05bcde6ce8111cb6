"""The plain alternatives: what is written in an afternoon. Each makes the same events; none checks, remembers or resumes.

    python -m tests.bench.plain csv EXPORT ROWS                 csv.DictReader and json.dumps; sends nothing
    python -m tests.bench.plain httpx EXPORT ROWS URL           the same, posted by one httpx.AsyncClient
    python -m tests.bench.plain aiohttp EXPORT ROWS URL BATCH   the best of its kind: polars, orjson, aiohttp, uvloop

Each prints its seconds and CPU seconds, imports left out, as a JSON object.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice, starmap
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
WORKERS = 64
# httpx's pool scans all its connections for each request: with 64 it is slower still.
HTTPX_CONNECTIONS = 32
NOT_DIGITS = str.maketrans("", "", "() -")
TIERS = {"g": "Gold", "s": "Silver"}
IMPORTS = {"csv": (), "httpx": ("httpx",), "aiohttp": ("aiohttp", "orjson", "polars", "uvloop")}
HEADERS = {"Authorization": "Bearer bench", "Content-Type": "application/json"}


def event(
    order_id: str, email: str, phone: str, first_name: str | None, last_name: str | None, city: str | None,
    country_code: str, placed: str, total: float, currency: str, items: int, tier: str | None, accepts_marketing: bool,
    note: str | None,
) -> dict[str, Any]:  # fmt: skip
    """An order as the API takes it, of the export's columns; `placed` in UTC, `phone` with its country code."""
    customer: dict[str, Any] = {"email": email, "phoneNumber": phone}
    if first_name:
        customer["firstName"] = first_name
    if last_name:
        customer["lastName"] = last_name
    customer["location"] = {"city": city, "countryCode": country_code} if city else {"countryCode": country_code}
    fields: dict[str, Any] = {"Accepts Marketing": accepts_marketing}
    if tier:
        fields["Loyalty Tier"] = TIERS[tier]
    customer["customFields"] = fields
    data: dict[str, Any] = {"Order ID": order_id, "Item Count": items, "Large": total > 100}
    if note:
        data["$extra"] = {"Note": note}
    return {
        "eventName": "Order Placed",
        "uniqueId": "order:" + order_id,
        "eventTimestamp": placed,
        "value": total,
        "valueCurrency": currency,
        "customer": customer,
        "data": data,
    }


def events(path: Path, rows: int) -> Iterator[dict[str, Any]]:
    """The first events of an export, with the standard library alone."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), rows):
            placed = datetime.strptime(row["created_at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).astimezone(UTC)
            yield event(
                row["order_id"], row["email"], "+1" + row["phone"].translate(NOT_DIGITS), row["first_name"],
                row["last_name"], row["city"], row["country_code"], placed.strftime("%Y-%m-%dT%H:%M:%SZ"),
                float(row["total"]), row["currency"], int(row["items"]), row["tier"],
                row["accepts_marketing"] == "yes", row["note"],
            )  # fmt: skip


def only_map(path: Path, rows: int) -> int:
    """Map, encode, and throw away; returns how many there were."""
    return sum(1 for one in events(path, rows) if json.dumps(one).encode())


async def by_httpx(path: Path, rows: int, url: str) -> int:
    """One event a request; returns how many were answered 202."""
    import httpx

    places = asyncio.Semaphore(HTTPX_CONNECTIONS)
    limits = httpx.Limits(max_connections=HTTPX_CONNECTIONS)
    async with httpx.AsyncClient(headers=HEADERS, limits=limits, trust_env=False) as client:

        async def send(one: dict[str, Any]) -> bool:
            async with places:
                return (await client.post(url, json=one)).status_code == 202

        return sum(await asyncio.gather(*[send(one) for one in events(path, rows)]))


async def by_aiohttp(path: Path, rows: int, url: str, batch: int) -> int:
    """`batch` events a request; returns how many were answered 202."""
    import aiohttp
    import orjson
    import polars as pl

    # What Polars can do for a whole column, Python need not do for each row.
    columns = {
        "phone": "+1" + pl.col("phone").str.replace_all("[() -]", ""),
        "created_at": pl.col("created_at").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.replace_time_zone(ZONE.key)
        .dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total": pl.col("total").cast(pl.Float64),
        "items": pl.col("items").cast(pl.Int64),
        "accepts_marketing": pl.col("accepts_marketing") == "yes",
    }  # fmt: skip

    def requests() -> Iterator[tuple[int, bytes]]:
        for part in pl.read_csv(path, infer_schema=False, n_rows=rows).iter_slices(10_000):
            made = starmap(event, zip(*map(pl.Series.to_list, part.with_columns(**columns)), strict=True))
            if batch == 1:
                yield from ((1, orjson.dumps(one)) for one in made)
            # No more than a request's events at a time: 10,000 of them keep the garbage collector busy.
            while some := list(islice(made, batch)):
                yield len(some), orjson.dumps({"events": some})

    waiting = requests()

    async def work(session: aiohttp.ClientSession) -> int:
        accepted = 0
        for count, body in waiting:
            async with session.post(url, data=body) as answer:
                await answer.read()
                accepted += count * (answer.status == 202)
        return accepted

    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORKERS)) as session:
        return sum(await asyncio.gather(*[work(session) for _ in range(WORKERS)]))


def main(name: str, path: Path, rows: int, *rest: str) -> int:
    """Run one of them; returns how many events went through."""
    if name == "csv":
        return only_map(path, rows)
    if name == "httpx":
        return asyncio.run(by_httpx(path, rows, rest[0]))
    import uvloop

    return uvloop.run(by_aiohttp(path, rows, rest[0], int(rest[1])))


if __name__ == "__main__":
    for module in IMPORTS[sys.argv[1]]:
        import_module(module)
    began, cpu = time.perf_counter(), time.process_time()
    done = main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    print(
        json.dumps(
            {"events": done, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu},
        )
    )
