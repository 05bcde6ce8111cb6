"""How little work a ledger is; the bounds are a quarter of what was measured, in time of the processor.

A machine that does other things at the same time, or whose disk is slow, makes it no slower. `make bench` measures both.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from backfill.ledger import Ledger, RunInfo, Target, key
from backfill.records import Events, Outcome


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count, batch, least", [(100_000, 10_000, 30_000), (60_000, 100, 14_000)])
def test_many_events(state: Path, target: Target, count: int, batch: int, least: int) -> None:
    keys = [key(f"order:{number}") for number in range(count)]
    taken = 0.0
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("orders"))
        for start in range(0, count, batch):
            part = keys[start : start + batch]
            events = Events([b""] * batch, [""] * batch, part, part, ["Order Placed"] * batch, [0] * batch, [0] * batch)
            outcome = Outcome(events, accepted=range(batch))
            began = time.process_time()
            ledger.record([outcome], run)
            taken += time.process_time() - began
        recorded = count / taken

        def lookups(wanted: list[bytes], known: int) -> float:
            began = time.process_time()
            found = sum(len(ledger.find(wanted[start : start + 10_000])) for start in range(0, len(wanted), 10_000))
            assert found == known
            return len(wanted) / (time.process_time() - began)

        hits = lookups(keys, count)
        misses = lookups([key(f"return:{number}") for number in range(count)], 0)
        began = time.process_time()
        assert ledger.totals().accepted == {"Order Placed": count}
        counted = time.process_time() - began
    size = (state / "ledger.db").stat().st_size / count
    print(
        f"\nbatches of {batch}: {recorded:,.0f} records/s, look-ups {hits:,.0f} hits/s and {misses:,.0f} misses/s, "
        f"totals in {counted:.2f} s, {size:.0f} bytes an event"
    )
    assert recorded > least
    assert min(hits, misses) > 75_000
