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
from itertools import islice
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


def event(row: dict[str, Any], placed: str, phone: str) -> dict[str, Any]:
    """An order as the API takes it; `placed` in UTC, `phone` with its country code."""
    customer: dict[str, Any] = {"email": row["email"], "phoneNumber": phone}
    if row["first_name"]:
        customer["firstName"] = row["first_name"]
    if row["last_name"]:
        customer["lastName"] = row["last_name"]
    location = {"countryCode": row["country_code"]}
    if row["city"]:
        location["city"] = row["city"]
    customer["location"] = location
    fields: dict[str, Any] = {"Accepts Marketing": row["accepts_marketing"] == "yes"}
    if row["tier"]:
        fields["Loyalty Tier"] = TIERS[row["tier"]]
    customer["customFields"] = fields
    value = float(row["total"])
    data: dict[str, Any] = {"Order ID": row["order_id"], "Item Count": int(row["items"]), "Large": value > 100}
    if row["note"]:
        data["$extra"] = {"Note": row["note"]}
    return {
        "eventName": "Order Placed",
        "uniqueId": f"order:{row['order_id']}",
        "eventTimestamp": placed,
        "value": value,
        "valueCurrency": row["currency"],
        "customer": customer,
        "data": data,
    }


def events(path: Path, rows: int) -> Iterator[dict[str, Any]]:
    """The first events of an export, with the standard library alone."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), rows):
            placed = datetime.strptime(row["created_at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).astimezone(UTC)
            yield event(row, placed.strftime("%Y-%m-%dT%H:%M:%SZ"), "+1" + row["phone"].translate(NOT_DIGITS))


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

    queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(256)
    accepted = 0
    columns = (
        pl.col("created_at").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.replace_time_zone(ZONE.key)
        .dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "+1" + pl.col("phone").str.replace_all("[() -]", ""),
    )  # fmt: skip

    def events_of(part: pl.DataFrame) -> list[dict[str, Any]]:
        return [event(row, row["created_at"], row["phone"]) for row in part.iter_rows(named=True)]

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal accepted
        while (taken := await queue.get()) is not None:
            async with session.post(url, data=taken[1]) as answer:
                await answer.read()
                accepted += taken[0] * (answer.status == 202)

    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=WORKERS)) as session:
        workers = [asyncio.create_task(work(session)) for _ in range(WORKERS)]
        frame = pl.read_csv(path, infer_schema=False, n_rows=rows)
        for part in frame.iter_slices(10_000):
            made = events_of(part.with_columns(columns))
            if batch == 1:
                for one in made:
                    await queue.put((1, orjson.dumps(one)))
            else:
                for start in range(0, len(made), batch):
                    some = made[start : start + batch]
                    await queue.put((len(some), orjson.dumps({"events": some})))
        for _ in workers:
            await queue.put(None)
        await asyncio.gather(*workers)
    return accepted


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
