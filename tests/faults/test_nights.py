"""Ten nights over one ledger, as a schedule has them: what is delivered is never asked for again."""

from __future__ import annotations

import gzip

import pytest

from backfill.sandbox import SandboxThread
from tests.end_to_end.conftest import Start
from tests.end_to_end.support import STORE, Shop, eventually, kill

PER_NIGHT = 60
KILLED_NIGHT = 7


def export(shop: Shop, night: int, name: str | None = None) -> set[str]:
    """One night's export: its own orders, and the last ten of the night before, as exports overlap."""
    first = max(0, night * PER_NIGHT - 10)
    return shop.orders((night + 1) * PER_NIGHT - first, f"exports/{name or f'orders_{night:02}.csv'}", first)


def run(shop: Shop, box: SandboxThread, fresh: int) -> None:
    """A night's run: it sends what is new, in as few requests as that takes."""
    before = box.summary()
    night = shop.deliver()
    assert night.events.get("accepted", 0) == fresh
    assert night.summary["requests"] == -(-fresh // 100) == box.summary().requests - before.requests
    assert box.summary().duplicates == before.duplicates


@pytest.mark.slow
def test_ten_nights(shop: Shop, start: Start) -> None:
    box = start()
    shop.env["REDO_BASE_URL"] = box.base_url
    exports = shop.folder / "exports"
    exports.mkdir()
    shop.mapping(files="exports/orders_*", delivery={"endpoint": "bulk"})
    expected: set[str] = set()
    resent = 0
    for night in range(10):
        match night:
            case 2:
                continue  # nobody ran it, and there was no export
            case 3:
                # Both come now, and no file of the nights before is there any more.
                for old in exports.iterdir():
                    old.unlink()
                ids = export(shop, 2) | export(shop, 3)
                fresh = 2 * PER_NIGHT
            case 4:
                # Delivered twice: under two names, one of them compressed, while last night's lie there still.
                ids, fresh = export(shop, 4), PER_NIGHT
                again = exports / "orders_04 (1).csv.gz"
                again.write_bytes(gzip.compress((exports / "orders_04.csv").read_bytes()))
            case 5:
                # The same file again, and nothing else.
                ids, fresh = set(), 0
            case 6:
                # Of the night that was missed and of its own.
                ids, fresh = export(shop, 5) | export(shop, 6), 2 * PER_NIGHT
            case _:
                ids, fresh = export(shop, night), PER_NIGHT
        expected |= ids
        if night == KILLED_NIGHT:
            box.set_faults(type(box.faults).parse("latency=40"))
            known = box.summary().stored
            process = shop.start("run", "orders.yaml", "--endpoint", "single", "--concurrency", "2", "--rate", "5000")
            eventually(lambda known=known: box.summary().stored > known + 15, "some events", process)
            assert kill(process)
            box.set_faults(type(box.faults)())
            arrived = box.summary().stored - known
            mended = shop.deliver()
            # Two requests at a time, and as many that wait to be recorded.
            resent = box.summary().duplicates
            assert resent <= 4
            assert mended.events["accepted"] == fresh - arrived + resent
            assert mended.summary["requests"] == 1
        else:
            run(shop, box, fresh)
        assert box.ids(STORE) == expected
    assert expected == {f"order:{i}" for i in range(10 * PER_NIGHT)}
    # With every file of every night in the folder once more: not one request.
    for night in range(10):
        export(shop, night)
    run(shop, box, 0)
    assert box.summary().stored == len(expected)
    assert (box.summary().duplicates, box.summary().differing) == (resent, 0)
    told = shop.do("status", "orders.yaml").out
    assert (told.count("exit 0"), told.count("killed")) == (4, 1)
