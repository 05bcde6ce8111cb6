"""Recent events wait, canaries go ahead, and in the end all was sent once: runs in this process, with a clock of ours."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.check import check
from backfill.observer import Observer
from backfill.progress import JsonLines, Plain
from backfill.report import check_data, describe
from backfill.report.text import check_text, ready_text, result_text
from backfill.run import Result, run
from backfill.settings import Flags
from backfill.world import World
from tests.end_to_end.support import balanced

START = datetime(2024, 6, 1, tzinfo=UTC)
STORE = "64e5a8a1af49a89df37e4ee7"
HOUR = timedelta(hours=1)


class Api(httpx.AsyncBaseTransport):
    """Takes all but the ids that it is told to refuse, and remembers in what order."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refused: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        event = json.loads(await request.aread())
        if event["uniqueId"] in self.refused:
            return httpx.Response(400, json={"title": "no"})
        self.taken.append(event)
        return httpx.Response(202)

    def ids(self) -> list[str]:
        return [event["uniqueId"] for event in self.taken]


class Clock:
    """The wall's time is ours."""

    def __init__(self) -> None:
        self.now = START

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return self.now.timestamp()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Watching(Observer):
    """Keeps what a user would read before being asked."""

    def __init__(self) -> None:
        self.text = ""

    def ready(self, found, settings, total) -> None:
        self.text = ready_text(found, settings, total)


class Shop:
    """A folder with exports of (id, hours before START, name), and runs over it."""

    def __init__(self, folder: Path, *, unique_id: object = "o:{id}") -> None:
        self.folder, self.api, self.clock = folder, Api(), Clock()
        self.mapping(unique_id=unique_id)

    def mapping(self, **parts: Any) -> None:
        event = {
            "eventName": "{name}", "uniqueId": parts.pop("unique_id", "o:{id}"), "eventTimestamp": "{at}",
            "customer": {"email": "{id}@example.com"}, "data": {"Row": "{row}"},
        }  # fmt: skip
        tree = {"source": {"files": "*.csv", "timezone": "UTC"}, "events": [event],
                "delivery": {"store": STORE, "flows": "acknowledged", **parts}}  # fmt: skip
        (self.folder / "m.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    def export(self, name: str, rows: Sequence[tuple[object, float, str]], first: int | None = None) -> None:
        """`first`: each row is told apart by its number, from there on; else by its id."""
        path = self.folder / name
        lines = ["id,row,at,name"]
        for i, (one, hours, kind) in enumerate(rows):
            at = (START - hours * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
            lines.append(f"{one},{one if first is None else first + i},{at},{kind}")
        path.write_text("\n".join(lines) + "\n")
        past = (START - HOUR).timestamp()
        os.utime(path, (past, past))

    def flags(self, **flags: Any) -> Flags:
        return Flags(**{"base_url": "http://127.0.0.1:9", "rate": 1e5, "concurrency": 4, **flags})

    def run(self, watching: Observer | None = None, **flags: Any) -> Result:
        world = World(clock=self.clock, transport=lambda connections: self.api)
        result = run(self.folder / "m.yaml", self.flags(**flags), watching or Observer(), world)
        assert result.summary["exit"] == result.status
        balanced(result.summary)
        return result

    def events(self, **flags: Any) -> dict[str, int]:
        """A run's counts that are not 0."""
        return {name: count for name, count in self.run(**flags).summary["events"].items() if count}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDO_API_SECRET", "a-secret")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    return Shop(tmp_path)


NAMES = st.sampled_from(["Order Placed", "Order Refunded", "Points Earned"])
NIGHTS = st.tuples(
    st.integers(0, 80), st.none() | st.integers(1, 5), st.none() | st.integers(1, 3), st.sampled_from(["", "24h", "3d"])
)


@settings(max_examples=15)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), NAMES), min_size=1, max_size=14),
    ages=st.lists(st.integers(0, 120), min_size=14, max_size=14),
    cut=st.integers(0, 14),
    nights=st.lists(NIGHTS, max_size=4),
    twins=st.booleans(),
)
def test_in_the_end_all_was_sent_and_nothing_twice(rows, ages, cut, nights, twins):
    names = dict(rows)
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), unique_id={"hash": ["id"], "occurrence": True} if twins else "o:{id}")
        # Of one id there is one content, unless twins are events of their own.
        whole = [(one, ages[i if twins else one], names[one]) for i, (one, _) in enumerate(rows)]
        for name, start, part in (("a.csv", 0, whole[:cut]), ("b.csv", cut, whole[cut:])):
            shop.export(name, part, start if twins else None)
        age_of = {str(i if twins else one): hours for i, (one, hours, _) in enumerate(whole)}
        for hours, limit, each, kept in [*nights, (500, None, None, "3d")]:
            shop.clock.now += hours * HOUR
            passed, least = (shop.clock.now - START) / HOUR, {"": 0, "24h": 24, "3d": 72}[kept]
            before = len(shop.api.taken)
            unsent = set(age_of) - {event["data"]["Row"] for event in shop.api.taken}
            wait = {one for one in unsent if age_of[one] + passed < least}
            result = shop.run(limit=limit, limit_each=each, not_newer_than=kept or None)
            sent = shop.api.taken[before:]
            events = result.summary["events"]
            assert result.status == 0
            assert (events["accepted"], events["pending"]) == (len(sent), len(unsent) - len(sent))
            assert events["total"] == len(rows)
            assert result.summary["kept_back"] == len(wait)
            assert not wait & {event["data"]["Row"] for event in sent}
            by_name = result.summary["by_event_name"].values()
            for key in ("pending", "kept_back"):
                total = events["pending"] if key == "pending" else len(wait)
                assert sum(counts.get(key, 0) for counts in by_name) == total
            if limit is None and each is None:
                assert events["pending"] == len(wait)
            else:
                assert len(sent) <= min(limit or 99, 3 * (each or 99))
        assert sorted(event["data"]["Row"] for event in shop.api.taken) == sorted(age_of)
        assert len(set(shop.api.ids())) == len(age_of)


def test_a_file_with_recent_events_is_read_again(shop):
    """Also one that holds nothing but their duplicates: the other may be gone when they are old enough."""
    rows = [(1, 100, "Order Placed"), (2, 5, "Order Placed")]
    shop.export("a.csv", rows)
    shop.export("b.csv", rows[1:])
    shop.mapping(not_newer_than="72h")
    assert shop.events() == {"total": 3, "duplicate": 1, "accepted": 1, "pending": 1}
    (shop.folder / "a.csv").unlink()
    shop.clock.now += 100 * HOUR
    assert shop.events() == {"total": 1, "accepted": 1}
    assert shop.api.ids() == ["o:1", "o:2"]
    assert shop.run().summary["files"][0]["unchanged"]


def test_duplicates_of_what_was_left_out_are_read_again(shop):
    rows = [(1, 100, "Order Placed"), (2, 100, "Order Placed")]
    shop.export("a.csv", rows)
    shop.export("b.csv", rows[1:])
    assert shop.events(limit=1) == {"total": 3, "duplicate": 1, "accepted": 1, "pending": 1}
    (shop.folder / "a.csv").unlink()
    assert shop.events() == {"total": 1, "accepted": 1}


def test_recent_events_that_would_get_other_ids_are_noticed(shop):
    shop.export("a.csv", [(1, 5, "Order Placed"), (2, 100, "Order Placed")])
    assert shop.events() == {"total": 2, "accepted": 2}
    shop.mapping(unique_id="other:{id}", not_newer_than="72h")
    stopped = shop.run()
    assert stopped.status == 78
    assert "2 events that this mapping delivered would be sent again" in stopped.summary["stopped_by"]
    assert len(shop.api.taken) == 2


def test_what_was_refused_waits_too_before_it_is_tried_again(shop):
    shop.export("a.csv", [(1, 5, "Order Placed")])
    shop.api.refused = {"o:1"}
    assert shop.events() == {"total": 1, "refused": 1}
    shop.api.refused = set()
    shop.mapping(not_newer_than="72h")
    # It is still told of, unless it is to be tried again.
    assert shop.events() == {"total": 1, "refused": 1}
    waits = shop.run(retry_rejected=True)
    assert (waits.status, waits.summary["events"]["pending"], waits.summary["kept_back"]) == (0, 1, 1)
    shop.clock.now += 100 * HOUR
    assert shop.events(retry_rejected=True) == {"total": 1, "accepted": 1}


# ---------------------------------------------------------------------------------------------------------- its words


def told(result: Result) -> str:
    return result_text(result.summary, *describe(result.status, result.summary), [])


def test_what_is_said_of_flows_names_and_canaries(shop, snapshot):
    shop.export("a.csv", [(i, 100 if i < 5 else 5, "Order Placed") for i in range(8)])
    first = Watching()
    assert told(shop.run(first, limit_each=2)) == snapshot(name="a canary of a first export")
    assert first.text == snapshot(name="asked before it")
    shop.export("b.csv", [(20, 5, "Order placed"), (21, 90, "Order Paid"), (22, 4, "Order\u202e Shipped\n")])
    second = Watching()
    assert told(shop.run(second, not_newer_than="1d")) == snapshot(name="kept back")
    assert second.text == snapshot(name="asked with some kept back")
    third = Watching()
    assert told(shop.run(third)) == snapshot(name="slips")
    assert third.text == snapshot(name="asked with recent events alone")
    assert told(shop.run(third, not_newer_than="1d")) == snapshot(name="nothing left")


def test_nothing_but_recent_events(shop, snapshot):
    shop.export("a.csv", [(1, 5, "Order Placed")])
    assert told(shop.run(not_newer_than="72h")) == snapshot
    assert shop.api.taken == []


def test_check_says_so_too(shop, snapshot):
    shop.export("a.csv", [(1, 100, "Order Placed")])
    shop.run()
    shop.export("a.csv", [(2, 100, "Order placed"), (3, 5, "Order Placed"), (4, 90, "Order Paid")])
    shop.mapping(not_newer_than="72h")
    # Its clock is the machine's, unless a test gives it one.
    world = World(clock=shop.clock)
    assert check_text(*check(shop.folder / "m.yaml", shop.flags(), Observer(), world)) == snapshot


def test_programs_are_told_the_same(shop):
    shop.export("a.csv", [(1, 100, "Order Placed"), (2, 5, "Order Placed")])
    shop.run()
    shop.export("b.csv", [(3, 5, "Order placed"), (4, 100, "Order placed"), (5, 30, "Order Paid")])
    out = io.StringIO()
    summary = shop.run(JsonLines(out), limit=2, not_newer_than="24h").summary
    lines = {line["type"]: line for line in map(json.loads, out.getvalue().splitlines())}
    new = [{"name": "Order Paid", "like": None}, {"name": "Order placed", "like": "Order Placed"}]
    both = {"Order Paid": {"events": 1, "under_72_hours": 1}, "Order placed": {"events": 1, "under_72_hours": 0}}
    told = (lines["ready"]["names"], lines["ready"]["new_names"], lines["ready"]["kept_back"])
    assert told == (both, new, 1)
    assert lines["checked"]["events"]["kept_back"] == 1
    assert (summary["sends"], summary["new_names"], summary["kept_back"]) == told
    assert (summary["not_newer_than"], summary["limit"], summary["limit_each"]) == ("24h", 2, None)
    assert summary["canaries"] == {"Order Paid": ["o:5"], "Order placed": ["o:4"]}
    data = check_data(*check(shop.folder / "m.yaml", shop.flags(), Observer(), World(clock=shop.clock)))
    assert (data["new_names"], data["not_newer_than"], data["events"]["ready"]) == ([], None, 1)


def test_a_slip_is_told_also_where_nobody_is_asked(shop):
    shop.export("a.csv", [(1, 100, "Order Placed")])
    shop.run()
    shop.export("b.csv", [(2, 100, "Order Palced"), (3, 100, "Order Paid")])
    err = io.StringIO()
    shop.run(Plain(err, quiet=True))
    said = err.getvalue().splitlines()[-1]
    assert said == "note: never sent to this store before: “Order Palced” (did you mean “Order Placed”?)"


def test_a_rehearsal_tells_nothing_of_the_store(shop):
    shop.export("a.csv", [(1, 100, "Order Placed")])
    watching = Watching()
    summary = shop.run(watching, sandbox=True, base_url=None, limit_each=1).summary
    assert summary["new_names"] is None
    assert "Never sent" not in watching.text
    assert "Flows" not in watching.text
