"""What the ledger and the last run know, without disturbing a run that goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from backfill.errors import UsageError
from backfill.ledger import Ledger, RunRecord, Target
from backfill.printable import plural, printable
from backfill.report import last_run
from backfill.settings import Flags, state_folder
from backfill.since import shown

__all__ = ["last_report", "status", "without_report"]


def status(mapping: Path | None, flags: Flags, *, as_json: bool = False) -> str:
    """What the ledger beside the mapping (or in this folder) knows, by store: events by name, the last runs."""
    folder = _folder(mapping, flags)
    with Ledger.read(folder) as ledger:
        stores = [_store(ledger, target) for target in ledger.targets()]
        runs = list(islice(_runs(ledger.runs(-1)), 5))
    if as_json:
        return json.dumps({"state": str(folder), "stores": stores, "runs": runs}, indent=2, ensure_ascii=False)
    if not stores:
        return f"nothing was sent yet: no ledger in {folder}"
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
    lines += [f"  {run['started']} {run['mapping']}: {run['state']}, {run['accepted']:,} accepted" for run in runs]
    return printable("\n".join(lines))


def last_report(mapping: Path | None, flags: Flags) -> Path:
    """Where the last finished run's report.html is. Raises UsageError when there is none."""
    folder = _folder(mapping, flags)
    found = last_run(folder)
    if found is None and not flags.sandbox:
        found = last_run(folder / "sandbox")
    if found is None:
        raise UsageError(f"no run has a report in {folder}", hint="`backfill run` writes one")
    return found / "report.html"


def without_report(mapping: Path | None, flags: Flags, found: Path) -> str:
    """What is to be said when the report that was found is not the last run's; "" when it is."""
    if found.parent.parent.parent != (folder := _folder(mapping, flags)):
        return ""
    with Ledger.read(folder) as ledger:
        last = next((_run(record) for record in ledger.runs(1)), None)
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


def _runs(records: Sequence[RunRecord]) -> Iterator[dict[str, Any]]:
    """The runs, newest first; what one did to many stores is one."""
    for folder, together in groupby(records, key=lambda record: record.info.folder):
        each = list(together)
        runs = [_run(record) for record in each]
        if len(each) == 1:
            yield runs[0]
            continue
        states = Counter(run["state"] for run in runs)
        words = [state if count == len(each) else f"{state} ({count:,})" for state, count in states.most_common()]
        yield {
            **runs[-1],
            "folder": folder,
            "state": f"{plural(len(each), 'store')}: {', '.join(words)}",
            "accepted": sum(run["accepted"] for run in runs),
            "refused": sum(run["refused"] for run in runs),
        }


def _run(record: RunRecord) -> dict[str, Any]:
    if record.running:
        state = f"running as process {record.pid} on {record.host}"
    elif record.finished is None:
        state = "killed; run it again"
    else:
        state = f"exit {record.exit_status}"
    return {
        "started": _stamp(record.started),
        "mapping": record.info.mapping,
        "folder": record.info.folder,
        "state": state,
        "accepted": record.accepted,
        "refused": record.refused,
    }


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
