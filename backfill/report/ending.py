"""How a run ended, and what to do next: the sentences that the terminal and the report show."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from backfill.errors import GRAVEST_FIRST
from backfill.mapping import duration_words
from backfill.printable import named, plural, short
from backfill.settings import SANDBOX_URL
from backfill.tally import Survey

__all__ = ["describe", "describe_check", "exit_meaning", "mended_text", "passed_over_text", "since_text"]

NAMES_SHOWN = 5
MEANINGS = {
    0: "every event is delivered, now or before",
    2: "wrong usage, or nobody agreed to send",
    3: "done, and some rows or events were rejected",
    11: "another run holds the ledger",
    65: "a file of the export can't be read",
    70: "a bug of ours",
    74: "disk or ledger trouble",
    75: "stopped with events left: an outage, or the API asks for a long pause",
    77: "the secret or the store was refused",
    78: "the mapping or the settings are wrong, or delivered events would get other ids",
    130: "interrupted",
    143: "interrupted",
}


def exit_meaning(status: int, *, check: bool = False) -> str:
    """What an exit status says, of a run or of a check."""
    if check and status in (0, 3):
        return "some rows or events would be rejected" if status else "all is ready"
    return MEANINGS.get(status, "stopped")


def describe(status: int, summary: dict[str, Any], *, told: bool = False) -> tuple[str, str]:
    """(how the run ended, what to do next), in a sentence each. `told`: what stopped it is told beside that."""
    if "stores" in summary:
        return _describe_stores(status, summary)
    events = summary["events"]
    rejected = summary["rows"]["unreadable"] + events["invalid"] + events["refused"]
    accepted = plural(events["accepted"], "event") + " accepted"
    kept = summary["kept_back"]
    if status not in (0, 3, 65) or (status == 65 and not summary["unread"]):
        first = {
            2: "Agree, and run",
            65: "See to the export, then run",
            77: "Mend that, then run",
            78: "Mend that, then run",
        }.get(status, "Run")
        why = f"Stopped with exit status {status}: the error says why" if told else f"Stopped: {summary['stopped_by']}"
        return why, (
            f"{first} the same command again: what is recorded as delivered is not sent twice. "
            f"{plural(events['pending'], 'event')} left{f', {kept:,} of them kept back as too new' if kept else ''}."
        )
    parts, todo = [accepted], []
    if summary["unread"]:
        parts.append(plural(len(summary["unread"]), "file") + " can't be read: nothing of that was sent")
        todo.append("Mend or fetch again what can't be read, and run the same command again.")
    if passed := sum(one["unchanged"] for one in summary["files"]):
        parts.append(passed_over_text(passed))
    since = summary.get("since")
    newer = f"{since['column']} from {since['from']} on" if since and since["from"] else ""
    if not events["total"]:
        parts[0] = f"Nothing is new: no row has {newer}" if newer else "The export makes no event"
    elif not summary["requests"] and events["pending"] == kept and (kept or events["already_delivered"]):
        delivered = events["already_delivered"] > 0
        parts[0] = "Nothing to send: what is ready was delivered before" if delivered else "Nothing to send yet"
    if warnings := summary.get("warnings"):
        parts[0] = f"Nothing to send: {', '.join(warnings)}"
        todo.append("Look at what writes the export: it may be broken. --min-rows 1 makes that an error.")
    parts += [mended_text(mended)] if (mended := summary.get("mended")) else []
    parts += [f"{rejected:,} rejected"] if rejected else []
    if unreadable := summary["rows"]["unreadable"]:
        todo.append(f"Mend the {plural(unreadable, 'row')} that can't be read in the export, and run again.")
    todo += _to_mend(events)
    if since:
        todo += _of_since(since)
    if events["changed"]:
        parts.append(f"{events['changed']:,} changed since they were delivered, not sent")
        todo.append("See changed.ndjson: the API keeps the first content that it was sent under an id.")
    for part, then in (*_waiting(summary), *_new(summary)):
        parts.append(part)
        todo.append(then)
    return ", ".join(parts) + ".", " ".join(filter(None, todo)) or "There is nothing to do."


def _describe_stores(status: int, summary: dict[str, Any]) -> tuple[str, str]:
    """The same of a run of many stores."""
    stores, events = summary["stores"], summary["events"]
    failed: dict[int, list[str]] = {}
    for one in stores.values():
        if one["exit"] not in (0, 3):
            failed.setdefault(one["exit"], []).append(one["name"])
    done = len(stores) - sum(map(len, failed.values()))
    parts = [f"{done:,} of {plural(len(stores), 'store')} done: {plural(events['accepted'], 'event')} accepted"]
    todo = []
    if not stores:
        parts = ["No store is in the export"] if status in (0, 3) else [f"Stopped: {summary['stopped_by']}"]
    if rejected := summary["rows"]["unreadable"] + events["invalid"] + events["refused"]:
        parts.append(f"{rejected:,} rejected")
    for code in sorted(failed, key=lambda one: GRAVEST_FIRST.index(one) if one in GRAVEST_FIRST else -1):
        parts.append(f"{named(failed[code])} not ({code}: {exit_meaning(code)})")
    if summary["unread"]:
        todo.append("Mend or fetch again what can't be read.")
    if set(failed) == {2}:
        todo.append(f"Agree, and run the same command again. {plural(events['pending'], 'event')} left.")
    elif failed or (status not in (0, 3) and not stores):
        todo.append(
            "See what each store says, and run the same command again when it is mended: what is recorded as delivered "
            f"is not sent twice. {plural(events['pending'], 'event')} left."
        )
    elif events["pending"]:
        todo.append(f"{plural(events['pending'], 'event')} left for a later run.")
    if unreadable := summary["rows"]["unreadable"]:
        todo.append(f"Mend the {plural(unreadable, 'row')} that can't be read in the export, and run again.")
    todo += _to_mend(events)
    if events["changed"]:
        parts.append(f"{events['changed']:,} changed since they were delivered, not sent")
        todo.append("See changed.ndjson: the API keeps the first content that it was sent under an id.")
    return ", ".join(parts) + ".", " ".join(todo) or "There is nothing to do."


def _to_mend(events: dict[str, int]) -> Iterator[str]:
    if events["invalid"]:
        yield (
            "Mend the rejected rows in rejected.csv and import that file (the same command with --files), "
            "or mend the export or the mapping and run again."
        )
    if events["refused"]:
        yield (
            "See rejected.ndjson for what the API said of the events that it refused: mend the export or the mapping "
            "and run again, or send them as they are with --retry-rejected."
        )


def _of_since(since: dict[str, Any]) -> Iterator[str]:
    """What to do about that which keeps `source.since` back."""
    if since["stuck"]:
        yield (
            f"A rejected row has no {since['column']} that can be read: until it is mended, each run reads from where "
            "this one did."
        )
    if since["stands_out"] is not None:
        yield (
            f"{since['column']} {since['stands_out']} stands far beyond {since['stands_behind']}, which is as far as "
            "source.since goes: mend the number if it is mistyped; if it is right, more such numbers will have it go "
            "on by itself, and a lookback as long as such a step at once."
        )


def since_text(since: dict[str, Any]) -> str:
    """What is said of `source.since`: from where on is read, and what was left out."""
    if since["from"] is None:
        return f"source.since: every row is read: up to which {since['column']} all is delivered is not known yet"
    older, groups = since["older_rows"], since["skipped_row_groups"]
    left_out = [plural(older, "older row")] * bool(older) + [plural(groups, "row group")] * bool(groups)
    return (
        f"source.since: rows are read whose {since['column']} is {since['from']} or later "
        f"(all is delivered up to {since['mark']}; lookback {since['lookback']})"
        + (f"; left out: {' and '.join(left_out)}" if left_out else "")
    )


def describe_check(status: int, found: Survey, mapping: str) -> tuple[str, str]:
    """(what a check found, what to do next), in a sentence each. `mapping`: the file's name."""
    events = found.events()
    if status == 78 and found.moved:
        return f"Stopped: {found.moved.problems[0].message}", (
            "Give the mapping back what it had, or say by --new-ids that the events are wanted in the store once more."
        )
    parts, todo = [f"{plural(events['ready'], 'event')} ready to be sent"], []
    if not events["total"]:
        parts[0] = "The export makes no event"
    elif not events["ready"] and events["already_delivered"]:
        parts[0] = "Nothing to send: what is ready was delivered before"
    if found.mended_earlier:
        parts.append(mended_text(found.mended_earlier))
    if found.rejected:
        parts.append(f"{found.rejected:,} rejected")
        todo.append(
            "Mend the rejected rows in the export, or let the mapping say what they mean, and check again; a run sends "
            "the rest, and gives them back to you as rejected.csv."
        )
    if found.unread:
        parts.append(plural(len(found.unread), "file") + " can't be read")
        todo.append("Mend or fetch again what can't be read: nothing of that would be sent.")
    if events["changed"]:
        parts.append(f"{events['changed']:,} changed since they were delivered")
        todo.append("What has changed stays as it is: the API keeps the first content that it was sent under an id.")
    if events["ready"]:
        command = f"backfill run {shlex.quote(mapping)}"
        todo.append(
            "Look below at when the events happened: a wrong year or zone shows there. "
            f"Then rehearse with `{command} --sandbox`, and send with `{command}`."
        )
    return ", ".join(parts) + ".", " ".join(todo) or "There is nothing to do."


def mended_text(events: int) -> str:
    """What is said of rejected events that are delivered already."""
    are = "is delivered already under its id" if events == 1 else "are delivered already under their ids"
    return f"{plural(events, 'event')} that could not be mapped {are} (mended earlier)"


def passed_over_text(files: int) -> str:
    """What is said of files that have not changed since they were delivered."""
    all_of = "all of it was" if files == 1 else "all of them were"
    return f"{plural(files, 'file')} unchanged since {all_of} delivered: not read again"


def _waiting(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was not sent because it was to wait, and when it is sent."""
    if kept := summary["kept_back"]:
        age = duration_words(summary["not_newer_than"])
        yield f"{kept:,} kept back, under {age} old", f"What is kept back is sent by a run once it is {age} old."
    if left_out := summary["events"]["pending"] - summary["held"] - kept:
        options = {"limit_each": "--limit-each", "limit": "--limit"}
        limits = " and ".join(option for key, option in options.items() if summary[key] is not None) or "--limit"
        yield f"{left_out:,} left out by {limits}", f"{_look(summary)} run again without {limits}."


def _look(summary: dict[str, Any]) -> str:
    """Where to look for the canaries, and what for."""
    if not summary["canaries"]:
        return "When that is mended,"
    found = [
        f"{named([name])} (uniqueId {', '.join(short(one) for one in ids)})"
        for name, ids in list(summary["canaries"].items())[:NAMES_SHOWN]
    ]
    if left := len(summary["canaries"]) - len(found):
        found.append(f"{plural(left, 'more name')}")
    where = "what the sandbox took" if summary["base_url"] == SANDBOX_URL else "your store"
    return (
        f"Now look at {where}: {', '.join(found)}. When each is there once, with the right customer, time and value, "
        "and no flow did what you do not want,"
    )


def _new(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of accepted events that the store was never sent before, and what to do if they are slips."""
    by_name = summary["by_event_name"]
    new = {one["name"]: one["like"] for one in summary["new_names"] or ()}
    sent = [name for name in new if by_name.get(name, {}).get("accepted")]
    if sent:
        slips = [f"{named([name])} should have been {named([new[name]])}" for name in sent if new[name]][:NAMES_SHOWN]
        mend = f"If {', or '.join(slips)}, mend the eventName before you send more." if slips else ""
        yield f"never sent to this store before: {named(sent)}", mend
