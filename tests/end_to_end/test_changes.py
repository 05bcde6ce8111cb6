"""Content that changes under an id, and files that change under a run."""

from __future__ import annotations

import os

import pytest

from tests.end_to_end.support import STORE, Run, eventually, finish


def test_changed_content_is_told_and_not_sent(shop, box):
    shop.orders(50)
    shop.mapping(delivery={"endpoint": "bulk"})
    shop.deliver()
    text = (shop.folder / "orders.csv").read_text()
    shop.write("orders.csv", text.replace(",n7\n", ",other\n").replace(",n30\n", ",another\n"))
    requests = box.summary().requests
    run = shop.deliver()
    assert run.events == {"total": 50, "already_delivered": 48, "changed": 2}
    assert run.lines("changed.ndjson") == [
        {"uniqueId": f"order:{i}", "eventName": "Order Placed", "file": "orders.csv", "row": i + 2} for i in (7, 30)
    ]
    assert "changed.ndjson" in run.done.out
    assert "2 events were delivered before" in " ".join((run.folder / "report.html").read_text().split())
    assert box.summary().requests == requests


def test_an_id_that_turns_out_to_be_two_rows_is_no_change(shop, box):
    """Delivered once, and then there is a second row with its id: that row conflicts; nothing was changed."""
    head = "order_id,at,email,total,note\n1,2024-01-01,a@example.com,1,first\n"
    shop.write("orders.csv", head)
    shop.mapping()
    shop.deliver()
    shop.write("orders.csv", head + "1,2024-01-01,a@example.com,1,second\n")
    run = shop.deliver(status=3)
    assert run.events == {"total": 2, "already_delivered": 1, "invalid": 1}
    assert run.lines("changed.ndjson") == []


# Export.chunks looks at a file before its first chunk and after its last: what was read in between goes out unchecked.


PAD = "." * 1_500


@pytest.mark.slow
@pytest.mark.parametrize("how", ["replaced", "cut", "overwritten"])
def test_a_file_that_changes_while_it_is_sent(shop, start, how):
    box = start("latency=10")
    shop.env["REDO_BASE_URL"] = box.base_url
    # Read a few MB at a time: a file of several such blocks.
    shop.orders(10_000, pad=PAD)
    path = shop.folder / "orders.csv"
    old = path.read_bytes()
    shop.mapping(delivery={"endpoint": "bulk"})
    process = shop.start("run", "orders.yaml", "--rate", "5000", "--concurrency", "2")
    eventually(lambda: box.summary().requests > 5, "some requests", process)
    if how == "replaced":
        shop.write("new.csv", old.replace(b",n", b",N")).replace(path)
    elif how == "overwritten":
        path.write_bytes(old.replace(b",n", b",N"))
    else:
        os.truncate(path, len(old) // 2)
    done = finish(process, 65)
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    assert "orders.csv: changed while it was read" in done.err
    assert run.events["accepted"] == box.summary().stored
    # Nothing went out that had not been checked.
    wrong = [one.event for one in box.events() if one.event.get("data") != {"Note": f"n{str(one.unique_id)[6:]}{PAD}"}]
    assert wrong == []

    path.write_bytes(old)
    box.set_faults(type(box.faults)())
    rest = shop.deliver("--rate", "5000")
    assert rest.events.get("already_delivered", 0) + rest.events.get("accepted", 0) == 10_000
    assert len(box.ids(STORE)) == 10_000
    assert box.summary().duplicates == 0
