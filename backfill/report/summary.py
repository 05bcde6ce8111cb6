"""summary.json: what became of every row and every event, in numbers that balance."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import asdict
from datetime import datetime
from typing import Any

from backfill import api
from backfill.index import State
from backfill.pipeline import Delivered
from backfill.plan import Plan
from backfill.read import Export
from backfill.records import Rejection
from backfill.settings import DEFAULT_RATE, Settings
from backfill.shape import advice
from backfill.tally import Survey

__all__ = ["check_data", "new_names_data", "problems_of", "sends_data", "stamp", "summarize"]


def summarize(
    survey: Survey,
    delivered: Delivered,
    settings: Settings,
    export: Export,
    *,
    mapping: str,
    started: datetime,
    finished: datetime,
    status: int,
    unchanged: Container[int] = (),
) -> dict[str, Any]:
    """The summary as JSON data; `unchanged` are the files (by position) that were passed over.

    `rows`: read = unreadable + filtered + mapped. `events`: total = invalid + duplicate + already_delivered + changed
    + accepted + refused + pending. `problems` counts rejections by code. Times are RFC 3339 in UTC.

    Of the pending events `held` wait for their file to be mended, `kept_back` until they are as old as `not_newer_than`
    says, and the rest for the next run, left out by `limit` or `limit_each` or not sent. `sends` are the events that
    the run was about to send, by name; `canaries` the first that were accepted of those that a limit let through, by
    uniqueId. `new_names` were never sent to the store before, as far as the ledger knows.
    """
    snapshot = delivered.snapshot
    return {
        "mapping": mapping,
        "store": settings.store,
        "base_url": settings.base_url,
        "endpoint": "bulk" if settings.bulk else "single",
        "rows": {
            "read": survey.rows.read,
            "unreadable": survey.rows.unreadable,
            "filtered": survey.rows.filtered,
            "mapped": survey.rows.mapped,
        },
        "events": _events(survey, delivered, settings),
        "requests": snapshot.requests,
        "retries": snapshot.retries,
        "rate_limited": snapshot.rate_limited,
        "statuses": {str(code): count for code, count in sorted(snapshot.statuses.items())},
        "started": stamp(started),
        "finished": stamp(finished),
        "exit": status,
        "stopped_by": _stopped_by(delivered),
        "by_event_name": _by_name(survey, delivered, settings),
        "problems": {code: group.count for code, group in sorted(survey.problems.items())},
        "notices": [{"code": n.code, "field": n.field, "count": n.count} for n in survey.notices.values() if n.count],
        "files": [
            {
                "name": opened.file.name,
                "format": opened.file.format,
                "read_as": str(opened.dialect or opened.file.format),
                "unchanged": opened.file.position in unchanged,
            }
            for opened in export.files
        ],
        "unread": [{"name": one.name, "why": one.why} for one in survey.unread],
        "held": survey.events()["held"],
        "kept_back": survey.events()["kept_back"],
        "not_newer_than": survey.not_newer_than or None,
        "limit": settings.limit,
        "limit_each": settings.limit_each,
        "sends": sends_data(survey),
        "canaries": {name: [one[-1] for one in ones] for name, ones in sorted(delivered.canaries.items())},
        "new_names": new_names_data(survey),
        "since": survey.since,
        "notes": export.notes,
    }


def _events(survey: Survey, delivered: Delivered, settings: Settings) -> dict[str, int]:
    before = survey.events()
    retried = before["refused"] if settings.retry_rejected else 0
    attempted = delivered.accepted + delivered.refused + delivered.pending
    left_out = before["ready"] + retried - attempted
    return {
        "total": before["total"],
        "invalid": before["invalid"],
        "duplicate": before["duplicate"],
        "already_delivered": before["already_delivered"],
        "changed": before["changed"],
        "accepted": delivered.accepted,
        "refused": before["refused"] - retried + delivered.refused,
        "pending": delivered.pending + left_out + before["held"] + before["kept_back"],
    }


def new_names_data(found: Survey) -> list[dict[str, str | None]] | None:
    """Event names that the store was never sent, each with the name sent before that it is `like`; None: not known."""
    if found.new_names is None:
        return None
    return [{"name": one.name, "like": one.like or None} for one in found.new_names]


def sends_data(found: Survey) -> dict[str, dict[str, int]]:
    """What a run is about to send, by name: how many events, and how many of them are under 72 hours old."""
    return {name: {"events": one.count, "under_72_hours": one.recent} for name, one in sorted(found.sends.items())}


def check_data(planned: Plan, found: Survey, settings: Settings | None) -> dict[str, Any]:
    """What `check` found, as JSON data: rows, events, names with their times, problems, notices, seconds to send."""
    ready = found.events()["ready"]
    rate = settings.rate if settings else DEFAULT_RATE
    return {
        "rows": asdict(found.rows),
        "events": found.events(),
        "names": {
            name: {
                "ready": stats.count,
                "oldest": stamp(stats.oldest) if stats.oldest else None,
                "newest": stamp(stats.newest) if stats.newest else None,
                "under_72_hours": stats.recent,
            }
            for name, stats in found.names.items()
        },
        "not_newer_than": found.not_newer_than or None,
        "new_names": new_names_data(found),
        "problems": problems_of(found, planned.export),
        "notices": [
            {
                "code": notice.code,
                "field": notice.field,
                "count": notice.count,
                "left_out": notice.severity == "omit",
                "example": f"{planned.export.name(notice.file)}:{notice.row}" if notice.row else None,
                "value": notice.value,
                "fix": advice(notice.code).fix,
            }
            for notice in found.notices.values()
        ],
        "unread": [{"name": one.name, "why": one.why} for one in found.unread],
        "notes": planned.export.notes,
        "since": found.since,
        "seconds": {"single": ready / rate, "bulk": -(-ready // api.BULK_EVENTS) / rate},
    }


def problems_of(survey: Survey, export: Export) -> list[dict[str, Any]]:
    """The problems, most frequent first, each with its title, its fix and examples with file:row."""
    groups = sorted(survey.problems.values(), key=lambda group: -group.count)
    return [
        {
            "code": group.code,
            "count": group.count,
            "title": advice(group.code).title,
            "fix": advice(group.code).fix,
            "examples": [_example(rejection, export) for rejection in group.examples],
        }
        for group in groups
    ]


def _example(rejection: Rejection, export: Export) -> dict[str, Any]:
    return {
        "place": f"{export.name(rejection.file)}:{rejection.row}",
        "column": rejection.column,
        "value": rejection.value,
        "detail": rejection.detail,
    }


def _stopped_by(delivered: Delivered) -> str | None:
    return delivered.error.message if delivered.error is not None else None


def _by_name(survey: Survey, delivered: Delivered, settings: Settings) -> dict[str, dict[str, int]]:
    names: dict[str, dict[str, int]] = {}
    columns = {
        State.DELIVERED: "already_delivered",
        State.CHANGED: "changed",
        State.DUPLICATE: "duplicate",
        State.INVALID: "invalid",
        State.REFUSED: "refused_before",
        State.NEW: "ready",
        State.HELD: "held",
        State.KEPT: "kept_back",
    }
    for state, column in columns.items():
        for name, count in survey.by_name(state).items():
            names.setdefault(name, {})[column] = count
    for name, count in delivered.sent_names.items():
        names.setdefault(name, {})["accepted"] = count
    for name, counts in names.items():
        before = counts.pop("refused_before", 0)
        retried = before if settings.retry_rejected else 0
        left = counts.pop("ready", 0) + retried - counts.get("accepted", 0) - delivered.refused_names.get(name, 0)
        left += counts.pop("held", 0) + counts.get("kept_back", 0)
        refused = before - retried + delivered.refused_names.get(name, 0)
        counts.update({key: count for key, count in (("refused", refused), ("pending", left)) if count > 0})
    return dict(sorted(names.items()))


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
