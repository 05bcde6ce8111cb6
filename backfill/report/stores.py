"""Many stores: one summary, one page and one promise over all of them, made of those of each store."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from backfill.chosen import Sends
from backfill.printable import plural, printable, short
from backfill.read import Export
from backfill.report.data import run_page
from backfill.report.ending import describe
from backfill.report.folder import STORES
from backfill.report.summary import stamp
from backfill.report.text import duration, flows_lines, new_names_lines, promise_text
from backfill.settings import Settings
from backfill.shape import advice
from backfill.tally import Survey

__all__ = [
    "longest",
    "stores_check_text",
    "stores_page",
    "stores_text",
    "whole_check",
    "whole_problems",
    "whole_summary",
]

MOST_SHOWN = 20
MOST_ROWS = 500
MOST_EXAMPLES = 5
SUMS = (
    *("rows", "events", "requests", "retries", "rate_limited", "statuses"),
    *("by_event_name", "problems", "held", "kept_back", "sends"),
)
SAME = ("mapping", "base_url", "endpoint", "limit", "limit_each", "not_newer_than")
COUNTS = ("total", "accepted", "already_delivered", "invalid", "refused", "pending")


def whole_summary(
    rest: dict[str, Any],
    stores: Mapping[str, dict[str, Any]],
    *,
    started: datetime,
    finished: datetime,
    status: int,
    stopped_by: str | None,
) -> dict[str, Any]:
    """summary.json of many stores: all that a store's has, summed, and under `stores` those of each.

    `rest` is the summary of what is of none of them: rows that can't be read, or that name no store.
    """
    each = [rest, *stores.values()]
    names: dict[str, dict[str, Any]] = {}
    for one in each:
        for new in one["new_names"] or ():
            names.setdefault(new["name"], new)
    files: dict[str, dict[str, Any]] = {one["name"]: dict(one) for one in rest["files"]}
    for one in stores.values():
        for file in one["files"]:
            if file["unchanged"]:
                files[file["name"]] = dict(file)
    summed = {key: _sum(each, key) for key in SUMS}
    return {
        **{key: rest[key] for key in rest if key in SAME},
        "store": None,
        **summed,
        "started": stamp(started),
        "finished": stamp(finished),
        "exit": status,
        "stopped_by": stopped_by,
        "notices": _notices(each),
        "files": list(files.values()),
        "unread": list({one["name"]: one for part in each for one in part["unread"]}.values()),
        "canaries": {},
        "new_names": list(names.values()) if any(one["new_names"] is not None for one in each) else None,
        "since": None,
        "notes": rest["notes"],
        "without_store": {key: rest[key] for key in ("rows", "events", "problems")},
        "stores": dict(stores),
    }


def _sum(parts: Sequence[Any], key: str) -> Any:
    """The sum of numbers, or of what objects hold of them, by their keys."""
    found = [part[key] for part in parts if key in part]
    if found and isinstance(found[0], dict):
        return {inner: _sum(found, inner) for inner in dict.fromkeys(name for one in found for name in one)}
    if found and isinstance(found[0], str):  # an amount of money, as decimal text
        return str(sum(map(Decimal, found)))
    return sum(found)


def _notices(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], int] = {}
    for part in parts:
        for one in part["notices"]:
            counts[one["code"], one["field"]] = counts.get((one["code"], one["field"]), 0) + one["count"]
    return [{"code": code, "field": field, "count": count} for (code, field), count in counts.items()]


def whole_problems(parts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The problems of all, most frequent first."""
    found: dict[str, dict[str, Any]] = {}
    for one in (problem for part in parts for problem in part):
        code = one["code"]
        mine = found.setdefault(
            code, {"code": code, "count": 0, "title": advice(code).title, "fix": advice(code).fix, "examples": []}
        )
        mine["count"] += one["count"]
        mine["examples"] = [*mine["examples"], *one["examples"]][:MOST_EXAMPLES]
    return sorted(found.values(), key=lambda one: -one["count"])


def stores_page(
    summary: dict[str, Any], problems: Sequence[dict[str, Any]], folders: Mapping[str, str]
) -> dict[str, Any]:
    """The page over all stores; `folders` tells where each has its own."""
    page = run_page(summary, problems, *describe(summary["exit"], summary))
    order = sorted(summary["stores"].items(), key=lambda item: (item[1]["exit"] == 0, item[1]["exit"] == 3))
    rows = [_row(one, folders[store]) for store, one in order]
    return {**page, "stores": rows[:MOST_ROWS], "more_stores": max(0, len(rows) - MOST_ROWS)}


def _row(summary: dict[str, Any], folder: str) -> dict[str, Any]:
    status = summary["exit"]
    outcome, todo = describe(status, summary)
    return {
        "name": short(summary["name"]),
        "page": str(PurePosixPath(STORES, folder, "report.html")),
        "status": status,
        "mood": {0: "good", 3: "mixed"}.get(status, "bad"),
        "counts": {name: summary["events"][name] for name in COUNTS},
        "outcome": short(outcome, 240),
        "next": short(todo, 480),
    }


def longest(totals: Sequence[int], settings: Settings, at_once: int) -> float:
    """Seconds until the last of many stores has its events, the largest first, each at its limit."""
    places = [0.0] * max(1, min(at_once, len(totals)))
    for total in sorted(totals, reverse=True):
        heapq.heappush(places, heapq.heappop(places) + settings.requests(total) / settings.rate)
    return max(places)


def stores_text(ready: Sequence[tuple[str, Survey, int]], settings: Settings, at_once: int) -> str:
    """What is about to be sent to each store (its name, what was found of it, how many events), and for how long."""
    return printable("\n".join(_stores_lines(ready, settings, at_once)))


def _stores_lines(ready: Sequence[tuple[str, Survey, int]], settings: Settings, at_once: int) -> Iterator[str]:
    where = "the sandbox" if settings.sandbox else settings.base_url
    yield f"To {plural(len(ready), 'store')} at {where}:"
    for name, found, total in sorted(ready, key=lambda one: -one[2])[:MOST_SHOWN]:
        took = duration(settings.requests(total) / settings.rate)
        yield f"  {short(name)}: {plural(total, 'event')}, {took}"
        if len(ready) <= 5:
            yield from (f"  {line}" for line in promise_text(found))
    if len(ready) > MOST_SHOWN:
        yield f"  and {len(ready) - MOST_SHOWN:,} more stores"
    if settings.is_part:
        yield "  (of each store only the first, as --limit or --limit-each says)"
    events = sum(total for _, _, total in ready)
    requests = sum(settings.requests(total) for _, _, total in ready)
    took = duration(longest([total for _, _, total in ready], settings, at_once))
    beside = f", {at_once} stores at a time" if at_once < len(ready) else ""
    yield f"{plural(events, 'event')} in {plural(requests, 'request')}, {took} at {settings.rate:g}/s a store{beside}."
    if not settings.sandbox:
        for name, found, _ in ready[:MOST_SHOWN]:
            if found.new_names:
                yield f"{short(name)}: " + " ".join(new_names_lines(found))
        yield from flows_lines(_all_sends(ready))


def _all_sends(ready: Sequence[tuple[str, Survey, int]]) -> Survey:
    whole = Survey()
    for _, found, _ in ready:
        for name, one in found.sends.items():
            before = whole.sends.get(name)
            whole.sends[name] = Sends(one.count + before.count, one.recent + before.recent) if before else one
    return whole


def whole_check(rest: dict[str, Any], stores: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What `check` found of many stores, summed; `rest` is of none of them, and `stores` has each one's."""
    each = [rest, *stores.values()]
    names: dict[str, dict[str, Any]] = {}
    for name, one in ((name, one) for part in each for name, one in part["names"].items()):
        before = names.get(name)
        names[name] = _both(before, one) if before else one
    new = {one["name"]: one for part in each for one in part["new_names"] or ()}
    return {
        **rest,
        "rows": _sum(each, "rows"),
        "events": _sum(each, "events"),
        "names": names,
        "new_names": list(new.values()) if any(one["new_names"] is not None for one in each) else None,
        "problems": whole_problems([one["problems"] for one in each]),
        "notices": [notice for one in each for notice in one["notices"]],
        "unread": list({one["name"]: one for part in each for one in part["unread"]}.values()),
        "since": None,
        # Side by side: as long as the longest takes.
        "seconds": {key: max(one["seconds"][key] for one in each) for key in rest["seconds"]},
        "stores": dict(stores),
    }


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What is ready of one name in two stores; times are RFC 3339 in UTC, which sort as they are."""
    return {
        "ready": one["ready"] + other["ready"],
        "oldest": min(filter(None, (one["oldest"], other["oldest"])), default=None),
        "newest": max(filter(None, (one["newest"], other["newest"])), default=None),
        "under_72_hours": one["under_72_hours"] + other["under_72_hours"],
    }


def stores_check_text(export: Export, data: dict[str, Any], settings: Settings | None, wrong: Mapping[str, str]) -> str:
    """What `check` prints of many stores; `wrong` says of some, by name, what makes them unfit."""
    return printable("\n".join(_check_lines(export, data, settings, wrong)))


def _check_lines(
    export: Export, data: dict[str, Any], settings: Settings | None, wrong: Mapping[str, str]
) -> Iterator[str]:
    yield f"{plural(len(export.files), 'file')}, {plural(len(data['stores']), 'store')}"
    for note in data["notes"]:
        yield f"note: {note}"
    for one in data["unread"][:MOST_SHOWN]:
        yield f"not read: {one['why']}"
    yield ""
    for one in list(data["stores"].values())[:MOST_SHOWN]:
        counts = _counts({name: count for name, count in one["events"].items() if count})
        yield f"  {short(one['name'])}: {plural(one['events']['total'], 'event')}: {counts or 'none'}"
    if len(data["stores"]) > MOST_SHOWN:
        yield f"  and {len(data['stores']) - MOST_SHOWN:,} more stores"
    for name, why in wrong.items():
        yield f"  {short(name)}: can't be sent to: {short(why, 240)}"
    yield ""
    rows, events = data["rows"], data["events"]
    yield "rows: " + ", ".join(f"{rows[name]:,} {name}" for name in ("read", "mapped", "filtered", "unreadable"))
    yield f"{events['total']:,} events: {_counts(events)}"
    if data["problems"]:
        yield ""
        yield "Rejected:"
        for problem in data["problems"]:
            yield f"  {problem['count']:,} x {problem['title']} ({problem['code']})"
            for example in problem["examples"][:2]:
                yield f"      {example['place']}: {short(example['detail'], 240)}"
            yield f"      to mend: {problem['fix']}"
    if data["notices"]:
        yield ""
        yield "Suspicious:"
        for notice in data["notices"][:MOST_SHOWN]:
            yield f"  {notice['count']:,} x {notice['field']}: {advice(notice['code']).title} ({notice['code']})"
            yield f"      {notice['fix']}"
    yield ""
    seconds = data["seconds"]
    at = f" at {settings.rate:g} requests/s each" if settings else ""
    took = f"{duration(seconds['single'])} one by one, {duration(seconds['bulk'])} in bulk"
    yield f"To send {plural(events['ready'], 'event')} to all stores side by side{at}: {took} for the largest"


def _counts(events: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in events.items() if name != "total")
