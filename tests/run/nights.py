"""Runs in this process, night after night, against an API that remembers what it took."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import yaml

from backfill import check as checks
from backfill import run as runs
from backfill.observer import Observer
from backfill.settings import Flags
from backfill.tally import Survey
from backfill.world import World
from tests.end_to_end.support import STORE, balanced

EVENT = {
    "eventName": "Order Placed",
    "uniqueId": "order:{id}",
    "eventTimestamp": "2024-01-01T00:00:00Z",
    "value": "{total}",
    "valueCurrency": "USD",
    "customer": {"email": "a@example.com"},
}


class Watching(Observer):
    """Keeps notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Folder:
    """A mapping with its exports and its ledger; `taken` counts the ids that the API took, `refuses` are those it does
    not.
    """

    path: Path
    taken: Counter[str] = field(default_factory=Counter)
    refuses: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        os.environ["REDO_API_SECRET"] = "none"

    def mapping(self, since: dict[str, Any] | None, files: Any = "*.csv", **parts: Any) -> None:
        source = {"files": files, "timezone": "UTC", **({"since": since} if since else {}), **parts.get("source", {})}
        tree = {"source": source, "events": [EVENT | parts.get("event", {})], "delivery": {"store": STORE}}
        (self.path / "orders.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    def csv(self, lines: list[str], name: str = "orders.csv", header: str = "id,total,status,upd") -> Path:
        path = self.path / name
        path.write_text("\n".join([header, *lines]) + "\n")
        return settled(path)

    def parquet(self, frame: pl.DataFrame, name: str = "orders.parquet", rows: int = 10) -> Path:
        frame.write_parquet(self.path / name, row_group_size=rows, statistics=True)
        return settled(self.path / name)

    def run(self, status: int = 0, **flags: Any) -> dict[str, Any]:
        """A night's run; its summary."""
        watching = Watching()
        world = World(transport=lambda _: httpx.MockTransport(self._answer))
        said = Flags(**{"yes": True, "endpoint": "bulk", "rate": 1e5, "base_url": "http://127.0.0.1:9", **flags})
        result = runs.run(self.path / "orders.yaml", said, watching, world)
        self.notes = watching.notes
        assert result.status == status, (result.status, result.error, result.summary)
        return balanced(result.summary)

    def check(self) -> Survey:
        said = Flags(base_url="http://127.0.0.1:9")
        return checks.check(self.path / "orders.yaml", said, Watching())[1]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        ids = [event["uniqueId"] for event in body.get("events", [body])]
        if self.refuses.intersection(ids):
            return httpx.Response(400, json={"title": "Bad Request", "detail": "no"})
        self.taken.update(ids)
        return httpx.Response(202)


def settled(path: Path) -> Path:
    """As if it had been written a while ago."""
    past = time.time_ns() - 600 * 10**9
    os.utime(path, ns=(past, past))
    return path
