"""Two at once: the second run is turned away and told by whom; who only looks is answered."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest

from tests.end_to_end.support import STORE, eventually, finish


@pytest.mark.slow
def test_a_second_run_is_turned_away_and_who_looks_is_answered(shop, start):
    box = start("latency=50")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(2_000)
    shop.mapping()
    shop.orders(3, "few.csv", 5_000)
    shop.mapping("few.yaml", "few.csv", delivery={"endpoint": "bulk"})
    before = shop.deliver(mapping="few.yaml")

    process = shop.start("run", "orders.yaml", "--concurrency", "2", "--rate", "5000")
    eventually(lambda: box.summary().requests > 20, "some requests", process)
    began = time.monotonic()
    second = shop.do("run", "few.yaml", "--metrics-file", "m.prom", status=11)
    # A process takes most of a second to start; it is told at once, and not when the first run ends.
    assert time.monotonic() - began < 10
    assert f"process {process.pid} " in second.err
    assert second.out == ""
    assert not (shop.folder / "m.prom").exists()

    told = json.loads(shop.do("status", "orders.yaml", "--json").out)
    assert told["runs"][0]["state"].startswith(f"running as process {process.pid} on ")
    assert 0 < told["runs"][0]["accepted"] < 2_000
    # Asked for one after the other, while the run goes on.
    assert 3 < told["stores"][0]["accepted"]["Order Placed"] <= told["runs"][0]["accepted"] + 3
    assert [run["mapping"] for run in told["runs"]] == ["orders.yaml", "few.yaml"]
    said = shop.do("status", "orders.yaml").out
    assert f"running as process {process.pid}" in said
    assert re.search(r"\n      last accepted \d+ s ago", said)
    assert shop.do("report", "orders.yaml").out.strip() == str(before.folder / "report.html")
    assert "2,000" in shop.do("check", "orders.yaml").out
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    finish(process, 143)

    assert shop.deliver("--endpoint", "bulk").summary["events"]["pending"] == 0
    assert box.ids(STORE) == ids | {f"order:{i}" for i in range(5_000, 5_003)}
    assert box.summary().duplicates == 0
