"""A folder to which a file is added each night, beside one that grows: ten nights, some of which go wrong.

`tests/faults/test_nights.py` counts requests and files that stay away; here it is what is read.
"""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from backfill import run as runs
from backfill.observer import Observer
from backfill.sandbox import SandboxThread
from backfill.settings import Flags
from tests.end_to_end.conftest import Start
from tests.end_to_end.support import SECRET, STORE, Shop, balanced, eventually, finish, kill
from tests.end_to_end.test_unchanged import settle

PER_NIGHT = 40
# Nobody ran it, and there was no file; its file came with the next.
MISSED = 3
# The file came twice, under two names, and the command ran twice.
TWICE = 5
TERMINATED, KILLED = 6, 8
FIRST = datetime(2024, 3, 1, tzinfo=UTC)


def rows(night: int, start: int = 0) -> pl.DataFrame:
    """The orders of a night; its last five change a day before it, as some come late."""
    numbers = [start + night * PER_NIGHT + i for i in range(PER_NIGHT)]
    changed = [FIRST + timedelta(days=night - (i >= PER_NIGHT - 5), minutes=i) for i in range(PER_NIGHT)]
    return pl.DataFrame({"order_id": [str(one) for one in numbers], "updated": changed}).with_columns(
        at=pl.lit("2024-01-01T00:00:00Z"),
        email=pl.lit("c") + pl.col("order_id") + pl.lit("@example.com"),
        total=pl.lit("5.50"),
        note=pl.lit("n"),
    )


@dataclass
class Nights:
    """The folder `exports`, the ids that are in it, and how often its files were read."""

    shop: Shop
    box: SandboxThread
    typed: bool
    since: bool
    ids: set[str] = field(default_factory=set)

    def add(self, night: int, name: str = "") -> None:
        """That night's file, and the one that grows (its orders are numbered from 10,000 on)."""
        self._write(name or f"orders_{night:02}", rows(night))
        self._write("a_growing", pl.concat(rows(one, 10_000) for one in range(night + 1)))

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        self.ids |= {f"order:{one}" for one in frame["order_id"]}
        path = self.shop.folder / "exports" / (name + (".parquet" if self.typed else ".csv"))
        if self.typed:
            frame.write_parquet(path, row_group_size=PER_NIGHT, statistics=True)
        else:
            frame.with_columns(pl.col("updated").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(path)
        settle(path)

    def run(self, fresh: int | None = None) -> dict[str, Any]:
        """A night's run in this process: it ends as it should, and sends what is new."""
        said = Flags(yes=True, rate=5000.0, endpoint="bulk")
        result = runs.run(self.shop.folder / "orders.yaml", said, Observer())
        assert result.status == 0, result.error
        summary = balanced(result.summary)
        assert fresh in (None, summary["events"]["accepted"])
        assert self.box.ids(STORE) == self.ids
        return summary

    def interrupted(self, number: int) -> int:
        """A night's run that a signal ends while it sends; how many events had arrived."""
        self.box.set_faults(type(self.box.faults).parse("latency=40"))
        known = self.box.summary().stored
        words = ("run", "orders.yaml", "--endpoint", "single", "--concurrency", "2", "--rate", "5000")
        process = self.shop.start(*words, stderr=subprocess.PIPE)
        eventually(lambda: self.box.summary().stored > known + 10, "some events", process)
        if number == signal.SIGKILL:
            assert kill(process)
        else:
            process.send_signal(number)
            finish(process, 128 + number)
        self.box.set_faults(type(self.box.faults)())
        return self.box.summary().stored - known


def expected_rows(nights: Nights, files: int, night: int, before: int) -> dict[str, int]:
    """What a run reads: so many new files, and the growing one, of which with `since` only what the mark leaves.

    `before` is the night up to which all is delivered.
    """
    whole = (night + 1) * PER_NIGHT
    if not nights.since or before < 0:
        return {"read": files * PER_NIGHT + whole, "unreadable": 0, "filtered": 0, "mapped": files * PER_NIGHT + whole}
    # The mark is the last minute but five of the night before; a day is looked back.
    start = FIRST + timedelta(days=before - 1, minutes=PER_NIGHT - 6)
    kept = int(pl.concat(rows(one) for one in range(night + 1)).select((pl.col("updated") >= start).sum()).item())
    groups = sum(int((rows(one)["updated"] >= start).any()) for one in range(night + 1)) if nights.typed else night + 1
    read = files * PER_NIGHT + groups * PER_NIGHT
    return {
        "read": read,
        "unreadable": 0,
        "filtered": read - kept - files * PER_NIGHT,
        "mapped": kept + files * PER_NIGHT,
    }


@pytest.mark.slow
@pytest.mark.parametrize("typed, since", [(False, False), (True, True)], ids=["csv", "parquet-since"])
def test_ten_nights(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch, *, typed: bool, since: bool) -> None:
    box = start()
    for name, value in {"REDO_BASE_URL": box.base_url, "REDO_API_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
        shop.env[name] = value
    exports = shop.folder / "exports"
    exports.mkdir()
    said = {"since": {"column": "updated", "lookback": "1d"}} if since else {}
    shop.mapping(files="exports", source=said)
    nights = Nights(shop, box, typed, since)
    delivered, resent = -1, 0
    for night in range(10):
        fresh, files = 2 * PER_NIGHT, 1
        if night == MISSED:
            continue
        if night == MISSED + 1:
            nights.add(MISSED)
            fresh, files = 4 * PER_NIGHT, 2
        nights.add(night)
        if night == TWICE:
            nights.add(night, f"orders_{night:02} (1)")
            files = 2
        if night in (TERMINATED, KILLED):
            number = signal.SIGTERM if night == TERMINATED else signal.SIGKILL
            arrived = nights.interrupted(number)
            assert 10 < arrived < 2 * PER_NIGHT
            # The same files again; what was recorded is not sent twice.
            summary = nights.run()
            twice = box.summary().duplicates
            assert summary["events"]["accepted"] == fresh - arrived + twice - resent
            # After SIGTERM nothing goes twice, after kill -9 at most what was under way.
            assert twice - resent <= (0 if night == TERMINATED else 4)
            resent = twice
        else:
            summary = nights.run(fresh)
            assert summary["rows"] == expected_rows(nights, files, night, delivered)
        # They are told again each night, for as long as the file lies there.
        assert summary["events"]["duplicate"] == (PER_NIGHT if night >= TWICE else 0)
        # Of the nights before only the file that grows is read.
        read = {one["name"] for one in summary["files"] if not one["unchanged"]}
        assert len(read) == 1 + files, read
        if since:
            assert (summary["since"]["from"] is None) == (delivered < 0)
            assert bool(summary["since"]["skipped_row_groups"]) == (typed and delivered > 1)
        delivered = night
        if night == TWICE:
            idle = nights.run(0)
            assert idle["rows"]["read"] == 0
            assert all(one["unchanged"] for one in idle["files"])
    assert nights.ids == {f"order:{i + j}" for i in range(10 * PER_NIGHT) for j in (0, 10_000)}
    assert box.summary().stored == len(nights.ids)
    assert (box.summary().duplicates, box.summary().differing) == (resent, 0)
    # Everything once more: there is nothing to send.
    again = runs.run(shop.folder / "orders.yaml", Flags(yes=True, reread=True), Observer())
    assert (again.status, again.summary["requests"]) == (0, 0)
    assert again.summary["events"]["already_delivered"] == len(nights.ids)
