"""Files that have not changed since they were delivered are passed over, and nothing is lost by it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tests.end_to_end.picky import PickyApi
from tests.end_to_end.support import STORE

BULK = {"endpoint": "bulk"}


def settle(*files: Path) -> None:
    """Have files look as if they had been written a while ago."""
    for file in files:
        past = time.time_ns() - 600 * 10**9
        os.utime(file, ns=(past, past))


def ruin(file: Path) -> None:
    """Make nonsense of a file below its header, without any sign of it: what reads it all the same will tell."""
    before, text = file.stat(), file.read_bytes()
    header = text[: text.index(b"\n") + 1]
    file.write_bytes(header + b'"' + b"x" * (len(text) - len(header) - 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_it_is_not_read_again(shop, box):
    ids = shop.orders(300)
    shop.mapping(delivery=BULK)
    orders = shop.folder / "orders.csv"
    settle(orders)
    first = shop.deliver()
    assert [one["unchanged"] for one in first.summary["files"]] == [False]
    ruin(orders)
    again = shop.deliver()
    assert again.events == {"total": 300, "already_delivered": 300}
    assert again.summary["by_event_name"] == {"Order Placed": {"already_delivered": 300}}
    assert (again.summary["rows"]["read"], again.summary["requests"]) == (0, 0)
    assert [one["unchanged"] for one in again.summary["files"]] == [True]
    assert "1 file unchanged since all of it was delivered" in again.done.err
    assert box.ids(STORE) == ids
    # It was passed over indeed: asked to, it is read.
    shop.do("run", "orders.yaml", "--reread", status=65)
    shop.do("check", "orders.yaml", status=65)


def test_any_sign_of_a_change_has_it_read(shop, box):
    shop.orders(300)
    shop.mapping(delivery=BULK)
    orders = shop.folder / "orders.csv"
    settle(orders)
    shop.deliver()
    settle(orders)
    assert shop.deliver().summary["rows"]["read"] == 300
    # A copy in its place, with its times.
    shutil.copy2(orders, shop.folder / "copy.csv")
    (shop.folder / "copy.csv").rename(orders)
    assert shop.deliver().summary["rows"]["read"] == 300
    # What an event says, and what its columns mean.
    shop.mapping(delivery=BULK, event={"valueCurrency": "EUR"})
    changed = shop.deliver()
    assert changed.events == {"total": 300, "changed": 300}
    shop.mapping(delivery=BULK)
    assert shop.deliver().summary["rows"]["read"] == 300
    assert shop.deliver().summary["rows"]["read"] == 0
    # Where it is sent does not matter to what is made of it.
    shop.mapping(delivery={"endpoint": "single", "rate": 50})
    assert shop.deliver().summary["rows"]["read"] == 0
    # To another store nothing was delivered yet.
    other = shop.deliver("--store", "b" * 24, "--rate", "5000")
    assert other.events == {"total": 300, "accepted": 300}
    assert box.summary().duplicates == 0


def test_a_file_a_night(shop, box):
    """Each night a file more; only that is read, and the totals are of all."""
    ids = shop.orders(20, "n0.csv")
    shop.mapping(files="n*.csv", delivery=BULK)
    settle(shop.folder / "n0.csv")
    shop.deliver()
    for night in range(1, 4):
        # One event comes again in the next night's file.
        ids |= shop.orders(21, f"n{night}.csv", start=20 * night - 1)
        settle(shop.folder / f"n{night}.csv")
        run = shop.deliver()
        assert run.summary["rows"]["read"] == 21
        assert run.events == {"total": 20 + 21 * night, "already_delivered": 21 * night, "accepted": 20}
        assert [one["unchanged"] for one in run.summary["files"]] == [True] * night + [False]
    read_again = shop.deliver("--reread")
    assert read_again.events == {"total": 83, "already_delivered": 80, "duplicate": 3}
    assert box.ids(STORE) == ids
    # Now the ledger knows of the duplicates too.
    assert shop.deliver().events == {"total": 83, "already_delivered": 80, "duplicate": 3}
    # A file that goes takes its events out of the count.
    (shop.folder / "n0.csv").unlink()
    assert shop.deliver().events["total"] == 63


def test_what_is_not_all_delivered_is_read_again(shop):
    shop.orders(30, "good.csv")
    shop.orders(30, "bad.csv", start=30)
    bad = shop.folder / "bad.csv"
    bad.write_text(bad.read_text() + "60,yesterday,c@example.com,1,n\n61,2024-01-01T00:00:00Z\n")
    settle(shop.folder / "good.csv", bad)
    shop.mapping(files="*.csv", delivery=BULK)
    # A canary: what it leaves is to be read.
    limited = shop.deliver("--limit", "40", status=3)
    assert limited.events == {"total": 61, "invalid": 1, "accepted": 40, "pending": 20}
    for accepted in (20, 0):
        run = shop.deliver(status=3)
        assert run.summary["rows"] == {"read": 62, "unreadable": 1, "filtered": 0, "mapped": 61} if accepted else True
        assert run.events.get("accepted", 0) == accepted
    # Rejected rows are told again each night; the file beside them is done.
    assert run.summary["rows"] == {"read": 32, "unreadable": 1, "filtered": 0, "mapped": 31}
    assert [one["unchanged"] for one in run.summary["files"]] == [False, True]
    assert len(shop.rejected(run.folder)) == 2


def test_what_the_api_refuses_is_read_again(lone_shop):
    shop = lone_shop
    shop.orders(30, "a.csv")
    shop.orders(30, "b.csv", start=30)
    settle(shop.folder / "a.csv", shop.folder / "b.csv")
    shop.mapping(files="*.csv", delivery=BULK)
    with PickyApi({"order:31"}) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        shop.deliver(status=3)
        # After a refusal nothing is taken for delivered that was not asked about again.
        for rows in (60, 30):
            run = shop.deliver(status=3)
            assert (run.summary["rows"]["read"], run.events["refused"]) == (rows, 1)
        assert set(api.taken.values()) == {1}


def test_a_file_that_was_just_written_is_read_once_more(shop):
    """A second change within a tick of the disk's clock would not show."""
    shop.orders(10)
    orders = shop.folder / "orders.csv"
    now = time.time_ns() + 5 * 10**9
    os.utime(orders, ns=(now, now))
    shop.mapping(delivery=BULK)
    shop.deliver()
    assert shop.deliver().summary["rows"]["read"] == 10


def test_where_events_hang_together_it_is_all_or_none(shop, box):
    lines = {"a": ["1,x", "1,y"], "b": ["2,x"], "c": ["2,y", "3,x"]}
    for name, rows in lines.items():
        text = "order,item,at\n" + "".join(f"{row},2024-01-01T00:00:00Z\n" for row in rows)
        settle(shop.write(f"{name}.csv", text))
    event = {
        "uniqueId": "order:{order}", "value": ..., "valueCurrency": ..., "customer": {"email": {"const": "a@example.com"}},
        "data": {"Items": {"sql": "COUNT(*)"}},
    }  # fmt: skip
    shop.mapping(files=["a.csv", "b.csv"], source={"group_by": ["order"]}, event=event, delivery=BULK)
    assert shop.deliver().events == {"total": 2, "accepted": 2}
    assert shop.deliver().summary["rows"]["read"] == 0
    # The third file goes on with a group of the second: with its first half only, order 2 would be another event.
    shop.mapping(files="*.csv", source={"group_by": ["order"]}, event=event, delivery=BULK)
    more = shop.deliver()
    assert more.summary["rows"]["read"] == 5
    assert more.events == {"total": 3, "already_delivered": 1, "changed": 1, "accepted": 1}

    twins = {
        **event,
        "eventName": "Item Bought",
        "uniqueId": {"hash": ["item"], "prefix": "t:", "occurrence": True},
        "data": ...,
    }
    shop.mapping("twins.yaml", files=["a.csv"], event=twins, delivery=BULK)
    assert shop.deliver(mapping="twins.yaml").events == {"total": 2, "accepted": 2}
    assert shop.deliver(mapping="twins.yaml").summary["rows"]["read"] == 0
    shop.mapping("twins.yaml", files=["a.csv", "b.csv"], event=twins, delivery=BULK)
    grown = shop.deliver(mapping="twins.yaml")
    # Its twin is in the first file: alone it would seem to be that one, delivered already.
    assert grown.events == {"total": 3, "already_delivered": 2, "accepted": 1}


def test_other_ids_are_still_noticed(shop, box):
    """A file that was passed over would hide what only all files show."""
    orders = [shop.folder / name for name in ("a.csv", "b.csv")]
    shop.orders(3, "b.csv")
    shop.mapping(files="*.csv", delivery=BULK)
    settle(orders[1])
    shop.deliver()
    good = orders[1].read_text()
    orders[1].write_text(good + '9,"open\n')
    shop.orders(2, "a.csv", start=20)
    settle(*orders)
    shop.mapping(files="*.csv", event={"uniqueId": "o:{order_id}"}, delivery=BULK)
    assert shop.deliver(status=65).events["accepted"] == 2
    orders[1].write_text(good)
    settle(orders[1])
    assert "3 events that this mapping delivered" in shop.deliver(status=78).done.err
    assert box.ids(STORE) == {"order:0", "order:1", "order:2", "o:20", "o:21"}


def test_ids_of_an_earlier_mapping_are_noticed_beside_a_file_that_is_passed_over(shop, box):
    new, old = (shop.folder / name for name in ("a.csv", "z.csv"))
    shop.orders(3, "z.csv")
    shop.mapping(files="*.csv", delivery=BULK)
    shop.deliver()
    # A night in which the old file is not there tells nothing of its ids.
    good = old.read_text()
    old.unlink()
    shop.orders(2, "a.csv", start=20)
    settle(new)
    shop.mapping(files="*.csv", event={"uniqueId": "o:{order_id}"}, delivery=BULK)
    shop.deliver()
    old.write_text(good)
    run = shop.deliver(status=78)
    assert "3 events that this mapping delivered" in run.done.err
    assert run.events == {"total": 5, "already_delivered": 2, "pending": 3}
    assert box.ids(STORE) == {"order:0", "order:1", "order:2", "o:20", "o:21"}


def test_the_records_go_with_the_ledger(shop, box):
    """A ledger from a backup knows no more files than it knows events."""
    shop.orders(10, "a.csv")
    settle(shop.folder / "a.csv")
    shop.mapping(files="*.csv", delivery=BULK)
    shop.deliver()
    shutil.copytree(shop.state, shop.folder / "backup")
    ids = shop.orders(10, "b.csv", start=10)
    settle(shop.folder / "b.csv")
    shop.deliver()
    shutil.rmtree(shop.state)
    shutil.copytree(shop.folder / "backup", shop.state)
    run = shop.deliver()
    assert (run.summary["rows"]["read"], run.events) == (10, {"total": 20, "already_delivered": 10, "accepted": 10})
    assert box.ids(STORE) >= ids
    assert box.summary().duplicates == 10


def test_a_kill_while_it_sends_leaves_nothing_to_pass_over(shop, start):
    box = start("latency=30")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(400)
    settle(shop.folder / "orders.csv")
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--rate", "400")
    while box.summary().requests < 50:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    run = shop.deliver(*("--rate", "5000"))
    assert run.summary["rows"]["read"] == 400
    assert box.ids(STORE) == ids
    assert shop.deliver().summary["rows"]["read"] == 0
