"""Pages of known numbers, made without an export, a store or a clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from backfill.pipeline import Sending
from backfill.report import Course, describe, render, run_page
from backfill.send import Snapshot
from backfill.send.watch import Latency
from backfill.timeline import Binned, Timeline, binned
from tests.run import support

PROBLEMS = [
    {
        "code": "not_a_number", "count": 1_204, "title": "not a number",
        "fix": "mend the cell; for 1.234,50 declare source.numbers {decimal, thousands}",
        "examples": [
            {"place": f"orders.csv:{row}", "column": "total", "value": "N/A", "detail": f'value "{value}" in column "total": not a number'}
            for row, value in ((5, "N/A"), (88, "12,5"), (1_203, "free"))
        ],
    },
    {
        "code": "no_identifier", "count": 3, "title": "no id, email or phone that is valid",
        "fix": "fill one of them: the API needs a customer",
        "examples": [{"place": "orders.csv:17", "column": "", "value": "", "detail": "customer: no id, email or phone that is valid"}],
    },
    {
        "code": "time_in_future", "count": 2, "title": "a time in the future", "fix": "mend the cell, or source.timezone",
        "examples": [{"place": "orders.csv:99", "column": "at", "value": "2031-01-01", "detail": "eventTimestamp 2031-01-01T00:00:00Z: a time in the future"}],
    },
]  # fmt: skip


def times_of(
    events: Sequence[tuple[str, datetime]], zone: str = "UTC", known: Sequence[bool] | None = None
) -> Binned | None:
    """Events of (name, time), as a survey counts them."""
    names = list(dict.fromkeys(name for name, _ in events))
    timeline = Timeline(zone)
    of_name = {name: number for number, name in enumerate(names)}
    numbers = np.array([of_name[name] for name, _ in events], np.uint16)
    times = pl.Series([at for _, at in events], dtype=pl.Datetime("us", "UTC"))
    timeline.add(numbers, times, None if known is None else np.array(known, np.bool_))
    return binned(timeline, names)


START = datetime(2024, 1, 1, tzinfo=UTC)


def years() -> Binned | None:
    """Three names over 30 months, a gap in one of them, and a share that earlier runs knew."""
    start = datetime(2022, 1, 3, 15, 20, tzinfo=UTC)
    events: list[tuple[str, datetime]] = []
    for day in range(900):
        at = start + timedelta(days=day, minutes=(day * 197) % 700)
        events += [("Order Placed", at)] * (3 + (day // 90) % 4)
        if day % 3 == 0:
            events.append(("Order Cancelled", at))
        if not 300 < day < 500:
            events.append(("Review Written <b>&", at))
    return times_of(events, "America/New_York", [at < datetime(2023, 6, 1, tzinfo=UTC) for _, at in events])


def many_names(count: int = 20) -> Binned | None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return times_of(
        [(f"Name {i:05}", start + timedelta(hours=i % 500)) for i in range(count) for _ in range(count - i)]
    )


def looked(tick: int, waits: str = "") -> Sending:
    """Delivery at a look, five of which are a second: it goes, it is slow after five minutes, it waits twice."""
    waited = sum(min(max(tick - 5 * start, 0), 5 * seconds) for start, seconds in ((120, 30), (400, 12)))
    slow = max(0, tick - 1_500 - (waited - min(waited, 150)))
    fast = tick - waited - slow
    statuses = {202: fast * 19 + slow * 12, 429: min(waited, 150) // 20, 503: (tick - waited) // 40}
    latency = Latency(0.08 + 0.03 * (tick > 1_500), 0.2 + 0.15 * (tick > 1_500) + 0.1 * ((tick // 100) % 3), 1.0)
    snapshot = Snapshot(
        requests=sum(statuses.values()), statuses=statuses, no_answer=max(0, waited - 150) // 10, latency=latency,
        pause=1.0 if waits else 0.0, reason=waits,
    )  # fmt: skip
    done = fast * 1_900 + slow * 1_200
    return Sending(10_000_000, done, 0, 10_000_000 - done, tick / 5, snapshot)


def course(seconds: int = 600) -> Course:
    """A run that is asked to wait, and meets an outage, if it lasts that long."""
    made = Course()
    for tick in range(seconds * 5 + 1):
        now, waits = tick / 5, ""
        if 120 <= now < 150:
            waits = f"waiting {150 - now:.0f} s: the API asked for it (429)"
        elif 400 <= now < 412:
            waits = f"waiting {412 - now:.0f} s, then one try: the API is out of reach (connection refused: <b>)"
        made.add(looked(tick, waits))
    return made


def told(**parts: Any) -> dict[str, Any]:
    """The summary of a run with something of everything."""
    plain = {
        "store": "64e5a8a1af49a89df37e4ee7",
        "exit": 3,
        "requests": 45_120,
        "retries": 88,
        "rate_limited": 16,
        "statuses": {"202": 44_980, "429": 16, "503": 75},
        "started": "2024-07-01T02:00:00Z",
        "finished": "2024-07-01T02:10:03Z",
        "events": {"total": 6_209, "invalid": 1_209, "duplicate": 12, "already_delivered": 900, "changed": 3, "accepted": 4_085},
        "rows": {"read": 6_400, "unreadable": 1, "filtered": 190, "mapped": 6_209},
        "by_event_name": {
            "Order Placed": {"accepted": 2_800, "already_delivered": 700, "duplicate": 12, "invalid": 1_000},
            "Order Cancelled": {"accepted": 300, "already_delivered": 100, "invalid": 209},
            "Review Written <b>&": {"accepted": 985, "already_delivered": 100, "changed": 3},
        },
        "notices": [{"code": "unset", "field": "data.Shipping", "count": 262}, {"code": "similar_names", "field": '"order placed"', "count": 2}],
        "files": [{"name": "orders.csv", "format": "csv", "read_as": 'utf-8, comma, quote ", header', "unchanged": False}],
    }  # fmt: skip
    return support.summary(**(plain | parts))


CHANGES = [{"id": f"order:{i}", "name": "Order Placed", "place": f"orders.csv:{i + 2}"} for i in range(3)]


def page(summary: dict[str, Any] | None = None, problems: Sequence[dict[str, Any]] = PROBLEMS, **parts: Any) -> str:
    """The whole page, as report.html holds it."""
    summary = summary or told()
    parts = {"times": years(), "course": course(), "changes": CHANGES} | parts
    return render(run_page(summary, problems, *describe(summary["exit"], summary), **parts))
