"""What the page says, after a run and after a check: plain data, in the order in which it is read, nothing too long.

Everything is bounded here, so that the page is small whatever the export: names, files, problems and texts are cut, and
what was left out is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from backfill.index import State
from backfill.plan import Plan
from backfill.printable import plural, printable
from backfill.report.course import Course
from backfill.report.ending import describe_check, exit_meaning
from backfill.report.figures import course_figure, times_figure
from backfill.report.summary import problems_of
from backfill.report.text import duration
from backfill.settings import Settings
from backfill.shape import advice
from backfill.tally import Survey
from backfill.timeline import Binned, binned

__all__ = ["checked_page", "run_page", "shown_changes"]

MOST_NAMES = 100
MOST_FILES = 100
MOST_PROBLEMS = 60
MOST_NOTICES = 60
MOST_CHANGED = 20
MOST_OPEN = 5
TEXT = 240

ROWS = {
    "read": "all rows of the export; the sum of the rest",
    "mapped": "made into events",
    "filtered": "left out, as the mapping says",
    "unreadable": "could not be read: see Rejected",
}
EVENTS = {
    "total": "all that the export makes; the sum of the rest",
    "ready": "would be sent now",
    "accepted": "the API answered 202",
    "already_delivered": "accepted in an earlier run: not sent again",
    "duplicate": "the same id and content twice in this export: sent once",
    "invalid": "could not be mapped, or break a limit: not sent",
    "refused": "the API answered 400: see rejected.ndjson",
    "changed": "delivered before with other content: not sent",
    "held": "wait, because their file can't be read to its end",
    "pending": "not sent, or not known to have arrived: the next run's work",
}
LABELS = {"already_delivered": "delivered before", "duplicate": "duplicates", "under_72_hours": "under 72 h old"}
BY_NAME = ("ready", "accepted", "already_delivered", "changed", "duplicate", "invalid", "refused", "held", "pending")
# Nobody looks for them unless there are some.
ONLY_IF_ANY = ("held", "refused", "changed", "pending")


def run_page(
    summary: dict[str, Any],
    problems: Sequence[dict[str, Any]],
    outcome: str,
    todo: str,
    *,
    times: Binned | None = None,
    course: Course | None = None,
    changes: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    """The page of a run: `summary` is summary.json's, `changes` the first events of changed.ndjson."""
    events, status = summary["events"], summary["exit"]
    started, finished = (datetime.fromisoformat(summary[key]) for key in ("started", "finished"))
    return {
        "kind": "run",
        "stores": [],
        "title": summary["mapping"],
        "outcome": _short(outcome, 2 * TEXT),
        "next": _short(todo, 4 * TEXT),
        "status": status,
        "means": exit_meaning(status),
        "mood": _mood(status),
        "facts": [
            ("Mapping", _short(summary["mapping"])),
            ("Store", _short(summary["store"] or plural(len(summary["stores"]), "store"))),
            ("Address", _short(summary["base_url"])),
            ("When", f"{_moment(started)} UTC, took {duration((finished - started).total_seconds())}"),
        ],
        **_counts(summary["rows"], events),
        "names": _names(summary["by_event_name"], [name for name in BY_NAME if name not in ("ready", "held")]),
        "times": times and times_figure(times, _new(events), problems, _on_times(times, events, summary["files"])),
        "course": course and course_figure(course),
        **_problems(problems, "rejected.csv"),
        **_notices(summary["notices"]),
        "changed": {"count": events["changed"], "examples": list(changes), "file": "changed.ndjson"},
        **_files(summary["files"], summary["unread"], summary["notes"]),
        "requests": {
            "sent": summary["requests"],
            "retries": summary["retries"],
            "limited": summary["rate_limited"],
            "endpoint": "up to 100 events a request" if summary["endpoint"] == "bulk" else "one event a request",
            "statuses": list(summary["statuses"].items()),
        },
    }


def checked_page(
    planned: Plan, found: Survey, settings: Settings | None, *, status: int, now: datetime
) -> dict[str, Any]:
    """The page of a check: nothing was sent, so that it tells of no requests."""
    events, problems = found.events(), problems_of(found, planned.export)
    outcome, todo = describe_check(status, found, planned.mapping.path.name)
    where = [("Store", _short(settings.store)), ("Address", _short(settings.base_url))] if settings else []
    times = binned(found.timeline, found.index.names)
    return {
        "kind": "check",
        "stores": [],
        "title": planned.mapping.path.name,
        "outcome": _short(outcome, 2 * TEXT),
        "next": _short(todo, 4 * TEXT),
        "status": status,
        "means": exit_meaning(status, check=True),
        "mood": _mood(status),
        "facts": [
            ("Mapping", _short(planned.mapping.path.name)),
            *where,
            ("When", f"{_moment(now)} UTC"),
            ("To send them", _sending(events["ready"], settings)),
        ],
        **_counts(asdict(found.rows), events),
        "names": _names(_by_name(found), [name for name in BY_NAME if name not in ("accepted", "pending")]),
        "times": times and times_figure(times, "new", problems, _on_times(times, events)),
        "course": None,
        **_problems(problems, ""),
        **_notices([{"code": one.code, "field": one.field, "count": one.count} for one in found.notices.values()]),
        "changed": {"count": events["changed"], "examples": shown_changes(planned, found), "file": ""},
        **_files(
            [
                {"name": one.file.name, "read_as": str(one.dialect or one.file.format), "unchanged": False}
                for one in planned.export.files[:MOST_FILES]
            ],
            [{"name": one.name, "why": one.why} for one in found.unread],
            planned.export.notes,
            all_files=len(planned.export.files),
        ),
        "requests": None,
    }


def _new(events: Mapping[str, int]) -> str:
    """What those events are that no earlier run knew."""
    return "new in this export" if events["pending"] or events["refused"] else "accepted in this run"


def _on_times(times: Binned, events: Mapping[str, int], files: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What is to be said of the numbers, so that nobody wonders why they are not those of the tables."""
    notes = []
    if events["duplicate"]:
        notes.append("Duplicates are counted too.")
    if any(one["unchanged"] for one in files):
        notes.append("Files that are unchanged since they were delivered were not read again, and are not counted.")
    elif missing := events["total"] - times.total:
        notes.append(
            f"{plural(missing, 'event')} that could not be made {'is' if missing == 1 else 'are'} not counted."
        )
    return notes


def shown_changes(planned: Plan, found: Survey) -> list[dict[str, str]]:
    """The first of the events that have other content now than was delivered under their id."""
    return [
        {"id": _short(unique_id), "name": _short(name), "place": _short(f"{planned.export.name(file)}:{row}")}
        for unique_id, file, row, name in list(found.changed.values())[:MOST_CHANGED]
    ]


def _counts(rows: Mapping[str, int], events: Mapping[str, int]) -> dict[str, Any]:
    def lines(counts: Mapping[str, int], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "name": LABELS.get(name, name),
                "count": counts[name],
                "meaning": meaning,
                "sum": name in ("total", "read"),
            }
            for name, meaning in meanings.items()
            if counts.get(name) or (name in counts and name not in ONLY_IF_ANY)
        ]

    return {"rows": lines(rows, ROWS), "events": lines(events, EVENTS)}


def _by_name(found: Survey) -> dict[str, dict[str, int]]:
    states = {
        "ready": State.NEW, "already_delivered": State.DELIVERED, "changed": State.CHANGED, "refused": State.REFUSED,
        "duplicate": State.DUPLICATE, "invalid": State.INVALID, "held": State.HELD,
    }  # fmt: skip
    names: dict[str, dict[str, int]] = {}
    for column, state in states.items():
        for name, count in found.by_name(state).items():
            names.setdefault(name, {})[column] = count
    return names


def _names(by_name: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> dict[str, Any]:
    """The names with the most events, a column for each end that any event came to."""
    totals = {name: sum(counts.get(column, 0) for column in columns) for name, counts in by_name.items()}
    order = sorted(by_name, key=lambda name: (-totals[name], name))
    used = [column for column in columns if any(counts.get(column) for counts in by_name.values())]

    def row(label: str, of: Sequence[str]) -> dict[str, Any]:
        cells = [sum(by_name[name].get(column, 0) for name in of) for column in used]
        return {"name": _short(label), "cells": cells, "total": sum(totals[name] for name in of)}

    rest = order[MOST_NAMES:]
    return {
        "columns": [LABELS.get(column, column) for column in used],
        "rows": [row(name, [name]) for name in order[:MOST_NAMES]],
        "rest": row(f"{len(rest):,} more names", rest) if rest else None,
    }


def _problems(problems: Sequence[dict[str, Any]], file: str) -> dict[str, Any]:
    return {
        "rejected_in": file,
        "problems": [
            {
                "code": _short(one["code"]),
                "count": one["count"],
                "title": _short(one["title"]),
                "fix": _short(one["fix"], 2 * TEXT),
                "examples": [{"place": _short(e["place"]), "detail": _short(e["detail"])} for e in one["examples"][:5]],
                "open": number < MOST_OPEN,
            }
            for number, one in enumerate(problems[:MOST_PROBLEMS])
        ],
        "more_problems": max(0, len(problems) - MOST_PROBLEMS),
    }


def _notices(notices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown = sorted(notices, key=lambda one: -one["count"])[:MOST_NOTICES]
    return {
        "notices": [
            {
                "field": _short(one["field"]),
                "count": one["count"],
                "title": advice(one["code"]).title,
                "fix": advice(one["code"]).fix,
            }
            for one in shown
        ],
        "more_notices": len(notices) - len(shown),
    }


def _files(
    files: Sequence[Mapping[str, Any]],
    unread: Sequence[Mapping[str, str]],
    notes: Sequence[str],
    all_files: int | None = None,
) -> dict[str, Any]:
    count = len(files) if all_files is None else all_files
    return {
        "files": [
            {"name": _short(one["name"]), "read_as": _short(one["read_as"]), "unchanged": one.get("unchanged", False)}
            for one in files[:MOST_FILES]
        ],
        "files_told": _files_told(count, sum(one.get("unchanged", False) for one in files), len(unread)),
        "more_files": max(0, count - MOST_FILES),
        "unread": [_short(one["why"], 2 * TEXT) for one in unread[:MOST_FILES]],
        "more_unread": max(0, len(unread) - MOST_FILES),
        "notes": [_short(note, 2 * TEXT) for note in notes[:MOST_FILES]],
        "more_notes": max(0, len(notes) - MOST_FILES),
    }


def _files_told(files: int, unchanged: int, unread: int) -> str:
    words = [plural(files, "file")]
    if unchanged:
        words.append(f"{unchanged:,} unchanged since delivered and not read again")
    if unread:
        words.append(f"{unread:,} that can't be read to the end")
    return ", ".join(words) + "."


def _sending(ready: int, settings: Settings | None) -> str:
    from backfill import api
    from backfill.settings import DEFAULT_RATE

    rate = settings.rate if settings else DEFAULT_RATE
    single, bulk = duration(ready / rate), duration(-(-ready // api.BULK_EVENTS) / rate)
    return f"{single} one by one, {bulk} in bulk, at {rate:g} requests/s" if ready else "nothing to send"


def _mood(status: int) -> str:
    return {0: "good", 3: "mixed"}.get(status, "bad")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _short(text: str, most: int = TEXT) -> str:
    """The text as it can be shown, cut where it is long: written out, a letter may become ten."""
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else shown[:most] + "…"
