"""Paged at 3 a.m.: what is told of runs that did not begin, that wait, or whose export is empty."""

from __future__ import annotations

import json
import os
import time

import pytest

from backfill.ledger import Ledger, Target
from tests.end_to_end.support import STORE

NO_SECRET = "there is no secret"


def runs_of(shop) -> list[dict]:
    return json.loads(shop.do("status", "orders.yaml", "--json").out)["runs"]


def test_a_run_that_ended_before_it_began_is_in_status(shop, box):
    ids = shop.orders(3)
    path = shop.mapping()
    # There is no ledger yet, and a wrong mapping makes none.
    path.write_text(path.read_text() + "surces: 1\n")
    shop.do("run", "orders.yaml", status=78)
    assert not shop.state.exists()
    shop.mapping()
    shop.deliver()

    secret = shop.env.pop("REDO_API_SECRET")
    shop.do("run", "orders.yaml", status=78)
    shop.env["REDO_API_SECRET"] = secret
    shop.mapping(event={"value": "{totl}"})
    shop.do("run", "orders.yaml", status=78)
    shop.mapping()
    shop.do("run", "orders.yaml", "--ping", "foo", status=78)
    (shop.folder / "orders.csv").rename(shop.folder / "gone.csv")
    shop.do("run", "orders.yaml", status=65)

    found = shop.do("status", "orders.yaml").out
    lines = found[found.index("runs, newest first:") :].splitlines()[1:]
    assert [line.split(": ", 1)[1] for line in lines[0:8:2]] == [
        "exit 65, 0 accepted", "exit 78, 0 accepted", "exit 78, 0 accepted", "exit 78, 0 accepted",
    ]  # fmt: skip
    assert "orders.csv" in lines[1]
    assert lines[3] == "      the address of --ping (or BACKFILL_PING) is not an http or https URL"
    assert 'no column "totl" in orders.csv' in lines[5]
    assert lines[7] == f"      {NO_SECRET}"
    assert lines[8].endswith("orders.yaml: exit 0, 3 accepted")
    assert len(lines) == 9
    # A store that was mistyped makes no store of its own in what is told.
    shop.do("run", "orders.yaml", "--store", "a/b", status=78)
    told = json.loads(shop.do("status", "orders.yaml", "--json").out)
    assert [one["store"] for one in told["stores"]] == [STORE]
    assert "can't be one" in told["runs"][0]["stopped_by"]
    said = shop.do("report", "orders.yaml").err
    assert "exit 78) has no report; this is that of the run before it" in said
    (shop.folder / "gone.csv").rename(shop.folder / "orders.csv")
    assert shop.deliver().events["already_delivered"] == 3
    assert box.ids(STORE) == ids


def test_a_run_that_is_turned_away_leaves_no_trace(shop, box):
    shop.orders(1)
    shop.mapping()
    shop.deliver()
    with Ledger.open(shop.state, Target(box.base_url, STORE)):
        shop.do("run", "orders.yaml", "--metrics-file", "m.prom", status=11)
        # Nor can one that is wrong in itself: the ledger is another's.
        shop.do("run", "orders.yaml", "--rate", "0", status=78)
    assert not (shop.folder / "m.prom").exists()
    assert len(runs_of(shop)) == 1


@pytest.mark.parametrize("words", [(), ("--quiet",), ("--json",)])
def test_an_export_of_a_header_alone_is_told_of(shop, words):
    shop.orders(0)
    shop.mapping()
    run = shop.deliver(*words, "--metrics-file", "m.prom")
    assert run.summary["warnings"] == ["the export holds no rows"]
    assert "warning: the export holds no rows" in run.done.said
    assert ("Nothing to send: the export holds no rows." in run.done.out) == ("--json" not in words)
    assert "\nbackfill_rows_read{" in (shop.folder / "m.prom").read_text()


def test_it_is_told_until_the_export_is_mended(shop, box):
    long_ago = time.time() - 3600
    shop.orders(2, "a.csv")
    shop.orders(0, "b.csv")
    for name in ("a.csv", "b.csv"):
        os.utime(shop.folder / name, (long_ago, long_ago))
    shop.mapping(files=["a.csv"])
    shop.deliver()
    shop.mapping(files=["a.csv", "b.csv"])
    # Of a folder to which a file is added each night, it is the new one that counts: tonight, and until it is mended.
    for _ in range(2):
        run = shop.deliver()
        assert run.summary["warnings"] == ["no file that is new or has changed holds a row"]
        assert run.done.out.startswith("Nothing to send: no file that is new or has changed holds a row")
    assert "holds 0 rows" in shop.deliver("--min-rows", "1", status=65).done.err
    ids = shop.orders(2, "b.csv", 10)
    assert shop.deliver("--min-rows", "1").events == {"total": 4, "already_delivered": 2, "accepted": 2}
    assert ids <= box.ids(STORE)


def test_so_many_rows_at_least(shop, box):
    shop.orders(2)
    shop.mapping()
    run = shop.deliver("--min-rows", "3", status=65)
    assert "the export holds 2 rows, and --min-rows asks for 3 at least: nothing was sent" in run.done.err
    assert "\nnext: See to the export, then run the same command again" in run.done.out
    assert (run.events, run.summary["requests"]) == ({"total": 2, "pending": 2}, 0)
    shop.env["BACKFILL_MIN_ROWS"] = "2"
    assert shop.deliver().events == {"total": 2, "accepted": 2}
    assert shop.deliver("--reread").events == {"total": 2, "already_delivered": 2}
    shop.env["BACKFILL_MIN_ROWS"] = "many"
    assert "BACKFILL_MIN_ROWS: 'many' is not a whole number" in shop.do("run", "orders.yaml", status=78).err
    assert len(box.ids(STORE)) == 2
