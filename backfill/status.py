"""What the ledger and the last run know, without disturbing a run that goes on."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from backfill.errors import UsageError
from backfill.ledger import Ledger, RunRecord, Target
from backfill.printable import plural, printable, short
from backfill.report import last_run, waiting_in
from backfill.settings import Flags, ledger_url, state_folder
from backfill.since import shown

__all__ = ["copy_of", "last_report", "status", "without_report"]

RUNNING = "running"
MOST_LETTERS = 200
MOST_STORES = 10


def status(mapping: Path | None, flags: Flags, *, as_json: bool = False) -> str:
    """What the ledger beside the mapping (or in this folder) knows, by store: events by name, the last runs."""
    folder, url = _folder(mapping, flags), ledger_url(flags)
    with Ledger.read(folder, url=url) as ledger:
        place = ledger.place
        stores = [_store(ledger, target) for target in ledger.targets()]
        runs = list(islice(_runs(ledger.runs(-1), folder), 5))
    if as_json:
        told = {"state": str(folder), **({"ledger": place} if url else {}), "stores": stores, "runs": runs}
        return json.dumps(told, indent=2, ensure_ascii=False)
    if not stores:
        return printable(f"nothing was sent yet: no ledger in {place}")
    lines = []
    for store in stores:
        lines.append(f"store {store['store']} at {store['base_url']}")
        lines += [f"  {count:,} {name}" for name, count in store["accepted"].items()]
        lines.append(f"  {store['refused']:,} refused; last accepted {store['last_accepted'] or 'never'}")
        for name, mark in store["marks"].items():
            lines.append(
                f"  {name}: all is delivered up to {mark['column']} {mark['mark']}; lookback {mark['lookback']}"
            )
    lines.append("runs, newest first:")
    for run in runs:
        lines.append(f"  {run['started']} {run['mapping']}: {run['state']}, {run['accepted']:,} accepted")
        lines += [f"      {more}" for more in _more(run, datetime.now(UTC))]
    return printable("\n".join(lines))


def last_report(mapping: Path | None, flags: Flags) -> Path:
    """Where the last finished run's report.html is. Raises UsageError when there is none."""
    folder = _folder(mapping, flags)
    found = last_run(folder)
    if found is None and not flags.sandbox:
        found = last_run(folder / "sandbox")
    if found is None:
        copy = _last_copy(folder, ledger_url(flags))
        hint = f"the last run's is at {copy}/report.html" if copy else "`backfill run` writes one"
        raise UsageError(f"no run has a report in {folder}", hint=hint)
    return found / "report.html"


def copy_of(report: Path) -> str:
    """Where the report of a run was copied; "" when it was not."""
    with suppress(OSError, ValueError):
        summary = json.loads(report.with_name("summary.json").read_text(encoding="utf-8"))
        if summary.get("runs_to"):
            return f"{summary['runs_to']}/{report.name}"
    return ""


def _last_copy(folder: Path, url: str | None) -> str:
    with Ledger.read(folder, url=url) as ledger:
        return next((record.summary["runs_to"] for record in ledger.runs(5)
                     if record.summary and "runs_to" in record.summary), "")  # fmt: skip


def without_report(mapping: Path | None, flags: Flags, found: Path) -> str:
    """What is to be said when the report that was found is not the last run's; "" when it is."""
    if found.parent.parent.parent != (folder := _folder(mapping, flags)):
        return ""
    with Ledger.read(folder, url=ledger_url(flags)) as ledger:
        # A server's ledger knows other machines' runs too, whose reports are there.
        mine = (record for record in ledger.runs(20) if record.host == socket.gethostname() or ledger.is_local)
        last = next((_run(record, folder) for record in mine), None)
    if last is None or last["folder"] == found.parent.name:
        return ""
    return f"the last run ({last['started']}, {last['state']}) has no report; this is that of the run before it"


def _folder(mapping: Path | None, flags: Flags) -> Path:
    return state_folder(mapping or Path.cwd() / "mapping.yaml", flags)


def _store(ledger: Ledger, target: Target) -> dict[str, Any]:
    totals = ledger.totals(target)
    return {
        "store": target.store,
        "base_url": target.base_url,
        "accepted": dict(totals.accepted),
        "refused": totals.refused,
        "first_accepted": _stamp(totals.first_accepted),
        "last_accepted": _stamp(totals.last_accepted),
        "marks": {
            name: {
                "column": mark["column"],
                "mark": shown(mark["mark"], mark["is_time"]),
                "lookback": mark["lookback"],
            }
            for name, mark in ledger.marks(target).items()
        },
    }


def _runs(records: Sequence[RunRecord], state_folder: Path) -> Iterator[dict[str, Any]]:
    """The runs, newest first; what one did to many stores is one."""
    # What ended before it began has no folder, and is alone.
    for folder, together in groupby(records, key=lambda record: record.info.folder or record.run):
        each = list(together)
        runs = [_run(record, state_folder) for record in each]
        if len(each) == 1:
            yield runs[0]
            continue
        # One that another store's trouble says nothing of: each that failed tells its own.
        failed = [
            {"store": record.target.store, "state": run["state"], "stopped_by": run["stopped_by"]}
            for record, run in zip(each, runs, strict=True)
            if run["stopped_by"]
        ]
        states = Counter(run["state"] for run in runs)
        words = [state if count == len(each) else f"{state} ({count:,})" for state, count in states.most_common()]
        yield {
            **runs[-1],
            "folder": folder,
            "state": f"{plural(len(each), 'store')}: {', '.join(words)}",
            "accepted": sum(run["accepted"] for run in runs),
            "refused": sum(run["refused"] for run in runs),
            "stopped_by": failed[0]["stopped_by"] if failed else None,
            "stores_stopped": failed,
        }


def _run(record: RunRecord, state_folder: Path) -> dict[str, Any]:
    if record.running:
        state = f"{RUNNING} as process {record.pid} on {record.host}"
    elif record.finished is None:
        # A kill and a disk that takes nothing more both leave no record, and look alike from here.
        state = "ended without a record (killed, or its disk failed); run it again"
    else:
        state = f"exit {record.exit_status}"
    waiting = waiting_in(state_folder, record.info.folder) if record.running else None
    stopped_by = (record.summary or {}).get("stopped_by")
    return {
        "started": _stamp(record.started),
        "mapping": record.info.mapping,
        "folder": record.info.folder,
        "state": state,
        "accepted": record.accepted,
        "refused": record.refused,
        "last_accepted": _stamp(record.last_accepted),
        "waiting": {"since": waiting[0], "why": waiting[1]} if waiting else None,
        "stopped_by": stopped_by,
    }


def _more(run: dict[str, Any], now: datetime) -> Iterator[str]:
    """What is to be said of a run below its line: how it goes, or why it ended."""
    if run["state"].startswith(RUNNING):
        last = run["last_accepted"]
        yield f"last accepted {_ago(now - datetime.fromisoformat(last))} ago" if last else "nothing accepted yet"
        if run["waiting"]:
            yield f"waiting since {run['waiting']['since']}: {run['waiting']['why']}"
    elif stores := run.get("stores_stopped"):
        by_why: dict[tuple[str, str], list[str]] = {}
        for one in stores:
            by_why.setdefault((one["state"], one["stopped_by"].splitlines()[0]), []).append(one["store"])
        # Fifty stores that nobody agreed to send to have one reason, not fifty.
        for (state, why), names in islice(by_why.items(), MOST_STORES):
            shown = ", ".join(sorted(names)[:MOST_STORES]) + (
                f" and {len(names) - MOST_STORES:,} more" * (len(names) > MOST_STORES)
            )
            yield f"{shown}: {state}: {short(why, MOST_LETTERS)}"
        if len(by_why) > MOST_STORES:
            yield f"and {len(by_why) - MOST_STORES:,} more reasons: see the report"
    elif run["stopped_by"]:
        yield short(run["stopped_by"].splitlines()[0], MOST_LETTERS)


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
