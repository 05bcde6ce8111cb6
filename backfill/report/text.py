"""What `check` and `run` print: plain text that tells a terminal nothing but letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from backfill.mapping import duration_words
from backfill.names import NewName
from backfill.plan import Plan
from backfill.printable import named, plural, printable, short
from backfill.read import Export
from backfill.report.ending import since_text
from backfill.settings import Settings
from backfill.shape import advice
from backfill.tally import Survey

__all__ = [
    "check_text",
    "duration",
    "flows_lines",
    "new_names_lines",
    "promise_text",
    "ready_text",
    "result_text",
    "slips_text",
]

NEW_NAMES_SHOWN = 5
STORES_SHOWN = 20


def check_text(planned: Plan, found: Survey, settings: Settings | None) -> str:
    """What the check found: ready, rejected by problem, suspicious, and how long sending takes."""
    return printable("\n".join(_check_lines(planned, found, settings)))


def _check_lines(planned: Plan, found: Survey, settings: Settings | None) -> Iterator[str]:
    export, events, rows = planned.export, found.events(), found.rows
    yield from _source_lines(export, found)
    yield ""
    yield "rows: " + _rows_words(asdict(rows))
    yield (
        f"{events['total']:,} events: {events['ready']:,} ready, {events['invalid']:,} invalid, "
        f"{events['duplicate']:,} duplicates, {events['already_delivered']:,} delivered before, "
        f"{events['changed']:,} changed, {events['refused']:,} refused before"
        + (f", {events['held']:,} held back with the files that can't be read" if events["held"] else "")
        + (f", {events['kept_back']:,} kept back" if events["kept_back"] else "")
    )
    yield ""
    yield from promise_text(found)
    yield from new_names_lines(found)
    if not rows.read and not (found.since and found.since["from"]):
        yield "No rows: the files have a header, or nothing but blank lines."
    if found.problems:
        yield ""
        yield "Rejected:"
        for group in sorted(found.problems.values(), key=lambda one: -one.count):
            yield f"  {group.count:,} x {advice(group.code).title} ({group.code})"
            for example in group.examples[:2]:
                yield f"      {export.name(example.file)}:{example.row}: {_one_line(example.detail)}"
            yield f"      to mend: {advice(group.code).fix}"
    if found.notices:
        yield ""
        yield "Suspicious:"
        for notice in sorted(found.notices.values(), key=lambda one: -one.count):
            such = f', such as "{notice.value}" at {export.name(notice.file)}:{notice.row}' if notice.row else ""
            what = "left out: " if notice.severity == "omit" else ""
            title = f"{what}{notice.field}: {advice(notice.code).title}"
            yield f"  {notice.count:,} x {title} ({notice.code}){_one_line(such)}"
            yield f"      {advice(notice.code).fix}"
    yield ""
    yield from _time_lines(events["ready"], settings)


def _source_lines(export: Export, found: Survey) -> Iterator[str]:
    """What is read, how, and what of it can't be."""
    for opened in export.files[:10]:
        yield f"{opened.file.name}: {opened.dialect or opened.file.format}"
    if len(export.files) > 10:
        yield f"and {len(export.files) - 10} more files"
    for note in export.notes:
        yield f"note: {note}"
    if found.since:
        yield since_text(found.since)
    for unread in found.unread[:10]:
        yield f"not read: {unread.why}"
    if len(found.unread) > 10:
        yield f"and {len(found.unread) - 10} more files that can't be read"


def promise_text(found: Survey) -> Iterator[str]:
    """Ready events by name, with their oldest and newest."""
    names = {name: stats for name, stats in found.names.items() if stats.count}
    for name, stats in sorted(names.items(), key=lambda item: (-item[1].count, item[0]))[:20]:
        span = f"{stats.oldest:%Y-%m-%d} to {stats.newest:%Y-%m-%d}" if stats.oldest and stats.newest else ""
        recent = f", {stats.recent:,} of them under 72 hours old" if stats.recent else ""
        yield f"  {name}: {plural(stats.count, 'event')}, {span}{recent}"
    if len(names) > 20:
        yield f"  and {len(names) - 20:,} more names"
    if kept := found.events()["kept_back"]:
        yield f"  kept back: {plural(kept, 'event')} under {duration_words(found.not_newer_than)} old (not_newer_than)"


def new_names_lines(found: Survey) -> Iterator[str]:
    """Names that were never sent to the store."""
    if found.new_names:
        shown = [_new_name(one) for one in found.new_names[:NEW_NAMES_SHOWN]]
        if left := len(found.new_names) - len(shown):
            shown.append(f"{left:,} more")
        yield f"Never sent to this store before, as far as the ledger knows: {', '.join(shown)}."
        yield "Redo makes a new event type, for good, of each name that it does not know."


def _new_name(one: NewName) -> str:
    return named([one.name]) + (f" (did you mean {named([one.like])}?)" if one.like else "")


def slips_text(found: Survey) -> str:
    """Names that were never sent and look like slips of others that were; "" when there are none."""
    slips = [_new_name(one) for one in found.new_names or () if one.like]
    return f"never sent to this store before: {', '.join(slips[:NEW_NAMES_SHOWN])}" if slips else ""


def ready_text(found: Survey, settings: Settings, total: int) -> str:
    """What is about to be sent, where, for how long, and what that may set off."""
    requests = settings.requests(total)
    where = "the sandbox" if settings.sandbox else f"store {settings.store} at {settings.base_url}"
    lines = [f"To {where}:", *promise_text(found)]
    events = found.events()
    if settings.retry_rejected and events["refused"]:
        lines.append(f"  refused by the API before: {plural(events['refused'], 'event')}")
    if settings.is_part:
        lines += _limit_lines(found, settings, total)
    took = duration(requests / settings.rate)
    lines.append(f"{plural(total, 'event')} in {plural(requests, 'request')}, {took}.")
    if not settings.sandbox:
        lines += [*new_names_lines(found), *flows_lines(found)]
    return printable("\n".join(lines))


def _limit_lines(found: Survey, settings: Settings, total: int) -> Iterator[str]:
    events = found.events()
    if total == events["ready"] + (events["refused"] if settings.retry_rejected else 0):
        return
    if settings.limit_each is None:
        yield f"only the first {'event' if total == 1 else plural(total, 'event')} of these, as --limit says:"
        return
    first = "event" if settings.limit_each == 1 else plural(settings.limit_each, "event")
    says = "--limit-each and --limit say" if total == settings.limit else "--limit-each says"
    yield f"only the first {first} of each name, {total:,} in all, as {says}:"


def flows_lines(found: Survey) -> Iterator[str]:
    """What the API's reference says of flows, and what it does not."""
    count = sum(one.count for one in found.sends.values())
    recent = sum(one.recent for one in found.sends.values())
    if not count:
        return
    # Those that flows may be expected to act on stand first.
    names = sorted(found.sends, key=lambda name: (-found.sends[name].recent, -found.sends[name].count, name))
    what = plural(count, "event")
    if recent == count:
        what += " less than 72 hours old"
    elif recent:
        what += f", {recent:,} of them less than 72 hours old,"
    else:
        what += ", more than 72 hours old," if count == 1 else ", all more than 72 hours old,"
    whom = "that customer" if count == 1 else "those customers"
    yield f"Flows that listen to {named(names, last='or')} will see {what} and may email or text {whom}."
    if recent < count:
        yield "The API has no flag for history, and does not say whether flows pass over old events."


def _time_lines(ready: int, settings: Settings | None) -> Iterator[str]:
    from backfill import api

    rate = settings.rate if settings else 95.0
    single, bulk = ready / rate, -(-ready // api.BULK_EVENTS) / rate
    took = f"{duration(single)} one by one, {duration(bulk)} in bulk"
    yield f"To send {plural(ready, 'event')} at {rate:g} requests/s: {took}"


def result_text(summary: dict[str, Any], outcome: str, todo: str, places: list[str]) -> str:
    """How a run ended: its numbers, where its files are, and what to do next."""
    events, rows = summary["events"], summary["rows"]
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in events.items())
    lines = [outcome, *_store_lines(summary.get("stores", {})), f"rows: {_rows_words(rows)}", f"events: {counts}"]
    lines += places
    lines.append(f"next: {todo}")
    return printable("\n".join(lines))


def _store_lines(stores: dict[str, Any]) -> Iterator[str]:
    """A line for each of many stores, those that are not done first."""
    order = sorted(stores.values(), key=lambda one: (one["exit"] == 0, one["exit"] == 3))
    for one in order[:STORES_SHOWN]:
        counts = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in one["events"].items() if count and name != "total"
        )
        yield f"  {short(one['name'])}: exit {one['exit']}, {counts or 'no events'}"
    if len(order) > STORES_SHOWN:
        yield f"  and {plural(len(order) - STORES_SHOWN, 'more store')}"


def _rows_words(rows: dict[str, int]) -> str:
    return ", ".join(f"{rows[name]:,} {name}" for name in ("read", "mapped", "filtered", "unreadable"))


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 240 else text[:240] + "…"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2 h 47 min`."""
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
