"""How a run ended, and what to do next: the sentences that the terminal and the report show."""

from __future__ import annotations

import shlex
from typing import Any

from backfill.printable import plural
from backfill.tally import Survey

__all__ = ["describe", "describe_check", "exit_meaning", "passed_over_text"]

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


def describe(status: int, summary: dict[str, Any]) -> tuple[str, str]:
    """(how the run ended, what to do next), in a sentence each."""
    events = summary["events"]
    rejected = summary["rows"]["unreadable"] + events["invalid"] + events["refused"]
    accepted = plural(events["accepted"], "event") + " accepted"
    if status not in (0, 3, 65) or (status == 65 and not summary["unread"]):
        first = {2: "Agree, and run", 77: "Mend that, then run", 78: "Mend that, then run"}.get(status, "Run")
        return f"Stopped: {summary['stopped_by']}", (
            f"{first} the same command again: what is recorded as delivered is not sent twice. "
            f"{plural(events['pending'], 'event')} left."
        )
    parts, todo = [accepted], []
    if summary["unread"]:
        parts.append(plural(len(summary["unread"]), "file") + " can't be read: nothing of that was sent")
        todo.append("Mend or fetch again what can't be read, and run the same command again.")
    if passed := sum(one["unchanged"] for one in summary["files"]):
        parts.append(passed_over_text(passed))
    if not events["total"]:
        parts[0] = "The export makes no event"
    elif not summary["requests"] and events["already_delivered"] and not events["pending"]:
        parts[0] = "Nothing to send: what is ready was delivered before"
    if rejected:
        parts.append(f"{rejected:,} rejected")
    if unreadable := summary["rows"]["unreadable"]:
        todo.append(f"Mend the {plural(unreadable, 'row')} that can't be read in the export, and run again.")
    if rejected - unreadable:
        todo.append(
            "Mend the rejected rows in rejected.csv and import that file (the same command with --files), "
            "or mend the export or the mapping and run again."
        )
    if events["changed"]:
        parts.append(f"{events['changed']:,} changed since they were delivered, not sent")
        todo.append("See changed.ndjson: the API keeps the first content that it was sent under an id.")
    if left_out := events["pending"] - summary["held"]:
        parts.append(f"{left_out:,} left out by --limit")
        todo.append("Look at your store; when all is well, run again without --limit.")
    return ", ".join(parts) + ".", " ".join(todo) or "There is nothing to do."


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


def passed_over_text(files: int) -> str:
    """What is said of files that have not changed since they were delivered."""
    all_of = "all of it was" if files == 1 else "all of them were"
    return f"{plural(files, 'file')} unchanged since {all_of} delivered: not read again"
