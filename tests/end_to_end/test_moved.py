"""A mapping that changed so that delivered events would get other ids stops, and says how many they are."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.end_to_end.support import STORE

OTHER_IDS = {
    "another template": {"event": {"uniqueId": "o:{order_id}"}},
    "a hash": {"event": {"uniqueId": {"hash": ["order_id", "at"]}}},
    "twins": {"event": {"uniqueId": {"hash": ["note"], "occurrence": True}}},
}
SAME_IDS = {
    "another value": {"event": {"data": {"Note": "{note}!"}}},
    "another name": {"event": {"eventName": "Ordered"}},
    "another filter": {"source": {"where": "order_id <> '3'"}},
    "a filter of the event": {"event": {"where": "order_id <> '3'"}},
    "one event more": {
        "events": [
            {
                "eventName": name,
                "uniqueId": unique_id,
                "eventTimestamp": "{at}",
                "customer": {"email": "{email}"},
            }
            for name, unique_id in (("Order Placed", "order:{order_id}"), ("Signed Up", "up:{order_id}"))
        ]
    },
}


@pytest.fixture
def delivered(shop, box):
    shop.orders(20)
    shop.mapping()
    shop.deliver("--limit", "12", "--rate", "1000")
    return box.ids(STORE)


@pytest.mark.parametrize("what", OTHER_IDS)
def test_other_ids_stop_the_run(shop, box, delivered, what):
    shop.mapping(**OTHER_IDS[what])
    done = shop.do("check", "orders.yaml", "--store", STORE, status=78)
    assert "12 events that this mapping delivered" in done.err
    assert " ready but for their ids, " in done.out
    assert "`run` would stop with exit status 78 and send nothing" in done.out
    run = shop.deliver(status=78)
    # Once, on stderr.
    assert run.done.said.count("12 events that this mapping delivered") == 1
    assert "Stopped with exit status 78: the error says why" in run.done.out.splitlines()[0]
    assert "next: Mend that" in run.done.out
    place = "6:13" if isinstance(OTHER_IDS[what]["event"]["uniqueId"], str) else "7:5"
    assert f"orders.yaml:{place}: 12 events" in run.done.err
    assert 'was "order:{order_id}"' in run.done.err
    assert "--new-ids" in run.done.err
    assert run.events == {"total": 20, "pending": 20}
    assert run.summary["requests"] == 0
    assert box.ids(STORE) == delivered


def test_as_told(shop, box, delivered):
    shop.mapping(event={"uniqueId": "o:{order_id}"})
    # Another name of the files, or a canary, is no consent for the rest.
    assert "12 events that" in shop.deliver("--files", "orders.csv", status=78).done.err
    assert "ready, 0 invalid" in shop.do("check", "orders.yaml", "--new-ids").out
    canary = shop.deliver("--new-ids", "--limit", "2")
    assert canary.events == {"total": 20, "accepted": 2, "pending": 18}
    assert "as --new-ids says: 12 events" in canary.done.err
    assert "10 events that" in shop.deliver(status=78).done.err
    assert shop.deliver("--new-ids").events == {"total": 20, "already_delivered": 2, "accepted": 18}
    # That is how it is from now on: it is asked once, and the way back would be the next change.
    assert shop.deliver().events == {"total": 20, "already_delivered": 20}
    shop.mapping()
    assert "8 events that" in shop.deliver(status=78).done.err
    assert len(box.ids(STORE)) == 32


@pytest.mark.parametrize("what", SAME_IDS)
def test_the_same_ids_do_not(shop, delivered, what):
    shop.mapping(**SAME_IDS[what])
    events = shop.deliver().events
    assert events.get("already_delivered", 0) + events.get("changed", 0) >= 11
    shop.do("check", "orders.yaml", "--store", STORE)


def test_a_null_value_that_ids_have(shop, delivered):
    """The row is rejected now, and not sent under another id."""
    shop.mapping(source={"csv": {"null_values": ["3"]}})
    assert shop.deliver(status=3).events == {"total": 20, "invalid": 1, "accepted": 8, "already_delivered": 11}


def test_a_column_that_is_no_more(shop, box, delivered):
    text = (shop.folder / "orders.csv").read_text()
    shop.write("orders.csv", text.replace("order_id,", "number,", 1))
    shop.mapping(event={"uniqueId": "order:{number}"})
    run = shop.deliver(status=78)
    assert "nobody can tell how many" in run.done.err
    assert shop.deliver("--new-ids").events == {"total": 20, "accepted": 8, "already_delivered": 12}


def test_another_column_in_the_export_changes_a_hash_over_all(shop, box):
    shop.orders(5)
    shop.mapping(event={"uniqueId": {"hash": "*"}})
    shop.deliver()
    lines = (shop.folder / "orders.csv").read_text().splitlines()
    shop.write("orders.csv", "\n".join([lines[0] + ",gift", *(line + ",no" for line in lines[1:])]) + "\n")
    assert "5 events that this mapping delivered" in shop.deliver(status=78).done.err
    assert len(box.ids(STORE)) == 5


def test_a_second_mapping_of_the_store_has_ids_of_its_own(shop, delivered):
    shop.mapping("loyalty.yaml", event={"eventName": "Points Earned", "uniqueId": "points:{order_id}"})
    assert shop.deliver(mapping="loyalty.yaml").events == {"total": 20, "accepted": 20}


def test_a_file_that_could_not_be_read_meanwhile(shop, box):
    """Its events are asked about when it can be read again."""
    shop.folder.joinpath("in").mkdir()
    shop.orders(3, "in/b.csv")
    shop.mapping(files="in")
    shop.deliver()
    good = (shop.folder / "in/b.csv").read_text()
    shop.write("in/b.csv", good + '9,"open\n')
    shop.orders(2, "in/a.csv", start=20)
    shop.mapping(files="in", event={"uniqueId": "o:{order_id}"})
    assert shop.deliver(status=65).events["accepted"] == 2
    shop.write("in/b.csv", good)
    run = shop.deliver(status=78)
    assert "3 events that this mapping delivered" in run.done.err
    assert box.ids(STORE) == {"order:0", "order:1", "order:2", "o:20", "o:21"}


def test_mending_how_a_file_is_read_is_no_dead_end(shop, box):
    shop.write("orders.csv", "order_id,at,email,total,note\n1,2024-01-01T00:00:00Z,a@example.com,1,n\n")
    shop.mapping()
    shop.deliver()
    with (shop.folder / "orders.csv").open("a") as file:
        file.write('2,2024-01-01T00:00:00Z,b@example.com,1,6" pipe\n3,2024-01-01T00:00:00Z,c@example.com,1,"x\n')
    shop.do("check", "orders.yaml", status=65)
    shop.mapping(source={"csv": {"quote": ""}})
    assert shop.deliver().events == {"total": 3, "already_delivered": 1, "accepted": 2}


def test_a_filter_that_goes_with_its_column(shop, box):
    shop.orders(3)
    shop.mapping(source={"where": "note <> 'n1'"})
    shop.deliver()
    text = (shop.folder / "orders.csv").read_text()
    shop.write("orders.csv", text.replace(",note", ",remark").replace("\n2,", "\n7,"))
    shop.mapping(event={"data": ...})
    assert shop.deliver().events == {"total": 3, "changed": 1, "accepted": 2}


def test_two_mappings_of_one_name_over_one_ledger(shop, box):
    shop.env["BACKFILL_STATE"] = str(shop.folder / "state")
    for name, prefix in (("orders", "order"), ("returns", "return")):
        shop.folder.joinpath(name).mkdir()
        shop.orders(2, f"{name}/orders.csv")
        shop.mapping(f"{name}/mapping.yaml", event={"uniqueId": prefix + ":{order_id}", "eventName": f"In {name}"})
    for _ in range(2):
        for name in ("orders", "returns"):
            shop.do("run", f"{name}/mapping.yaml")
    assert len(box.ids(STORE)) == 4
    assert box.summary().duplicates == 0


def test_ids_that_changed_in_a_night_of_new_rows_alone_are_noticed_when_the_old_rows_come_again(shop, box):
    def night(first, count, unique_id, **kinds):
        shop.orders(count, start=first)
        shop.mapping(event={"uniqueId": unique_id})
        return shop.deliver("--rate", "1000", **kinds)

    night(1, 20, "order:{order_id}")
    # A colleague's edit. Tonight's export holds three new rows: nothing of it was delivered before.
    night(21, 3, "shop:{order_id}")
    delivered = box.ids(STORE)
    night(21, 5, "shop:{order_id}")  # what is known goes on
    run = night(1, 25, "shop:{order_id}", status=78)
    assert "20 events that this mapping delivered would be sent again" in run.done.err
    assert 'was "order:{order_id}"' in run.done.err
    assert len(box.ids(STORE)) == len(delivered) + 2
    shop.deliver("--rate", "1000", "--new-ids")
    assert len(box.ids(STORE)) == len(delivered) + 2 + 20
    # It was agreed to once: nobody is asked again.
    night(1, 26, "shop:{order_id}")


def test_a_renamed_or_copied_mapping_with_other_ids_stops(shop, box, delivered):
    shop.mapping("orders2.yaml", event={"uniqueId": "o:{order_id}"})
    done = shop.do("check", "orders2.yaml", "--store", STORE, status=78)
    assert "12 of the first 20 events would be sent again under other ids" in done.err
    run = shop.deliver("--limit", "3", mapping="orders2.yaml", status=78)
    assert "orders2.yaml:6:13: 12 of the first" in run.done.err
    assert 'orders.yaml delivered them, with the uniqueId "order:{order_id}"' in run.done.err
    assert "--new-ids" in run.done.err
    assert box.ids(STORE) == delivered
    # As it is, it is the old mapping in another place.
    shop.mapping("orders2.yaml", event={"data": {"Note": "{note}!"}})
    assert shop.deliver("--limit", "3", mapping="orders2.yaml").events["accepted"] == 3


def test_a_copy_that_is_meant(shop, box, delivered):
    shop.mapping("copy.yaml", event={"uniqueId": {"hash": ["order_id", "at"]}})
    assert shop.deliver("--new-ids", "--limit", "2", mapping="copy.yaml").events["accepted"] == 2
    # A canary is no consent for the rest.
    assert "10 of the first 20 events" in shop.deliver(mapping="copy.yaml", status=78).done.err
    assert shop.deliver("--new-ids", mapping="copy.yaml").events["accepted"] == 18
    assert shop.deliver(mapping="copy.yaml").events == {"total": 20, "already_delivered": 20}


def test_what_another_mapping_was_before_counts_too(shop, box, delivered):
    shop.mapping(event={"uniqueId": "o:{order_id}"})
    shop.orders(3, start=30)
    shop.deliver()
    shop.orders(20)
    shop.mapping("orders2.yaml", event={"uniqueId": "shop:{order_id}"})
    assert "12 of the first 20 events" in shop.deliver(mapping="orders2.yaml", status=78).done.err


NAMED = {"column": "note", "map": {f"n{i}": "Order Placed" if i % 2 else "Order Refunded" for i in range(20)}}


@pytest.mark.parametrize(
    ("name", "count"), [("Order Placed", 10), ("Order Refunded", 10), ("Points Earned", 0), (NAMED, 20)]
)
def test_names_that_the_rows_say(shop, box, name, count):
    """Only an event of the same name is the same event."""
    shop.orders(20)
    shop.mapping(event={"eventName": NAMED})
    shop.deliver("--rate", "1000")
    shop.mapping("other.yaml", event={"eventName": name, "uniqueId": "o:{order_id}"})
    run = shop.deliver("--rate", "1000", mapping="other.yaml", status=78 if count else 0)
    assert (f"{count} of the first 20 events" in run.done.err) == bool(count)


def test_mappings_that_share_an_export(shop, box):
    """Parts of it by `where`, and other events of the same rows."""
    shop.orders(20)
    shop.mapping("odd.yaml", source={"where": "CAST(order_id AS INT) % 2 = 1"}, event={"uniqueId": "odd:{order_id}"})
    shop.mapping("even.yaml", source={"where": "CAST(order_id AS INT) % 2 = 0"}, event={"uniqueId": "even:{order_id}"})
    shop.mapping("refunds.yaml", event={"eventName": "Order Refunded", "uniqueId": "refund:{order_id}"})
    for name in ("odd.yaml", "even.yaml", "refunds.yaml"):
        shop.deliver("--rate", "1000", mapping=name)
    assert len(box.ids(STORE)) == 40


def test_a_copy_over_groups(shop, box):
    rows = [f"{i // 3},2024-01-01T00:00:00Z,c{i // 3}@example.com,1.5,n{i}" for i in range(30)]
    shop.write("orders.csv", "\n".join(["order_id,at,email,total,note", *rows]) + "\n")
    grouped = {"group_by": ["order_id"]}
    shop.mapping(source=grouped)
    shop.deliver()
    shop.mapping("lines.yaml", source=grouped, event={"uniqueId": "o:{order_id}"})
    assert "10 of the first 10 events" in shop.deliver(mapping="lines.yaml", status=78).done.err
    anywhere = {"group_by": {"columns": ["order_id"], "adjacent": False}}
    shop.mapping("lines.yaml", source=anywhere, event={"uniqueId": "o:{order_id}"})
    assert "10 of the first 10 events" in shop.deliver(mapping="lines.yaml", status=78).done.err
    # Also where it makes an event of each line.
    shop.mapping("lines.yaml", event={"uniqueId": "line:{note}"})
    assert "10 of the first 30 events" in shop.deliver(mapping="lines.yaml", status=78).done.err


def test_a_copy_where_names_were_not_kept(shop, box, delivered):
    """By a ledger of an older release: the same content tells."""
    with sqlite3.connect(shop.state / "ledger.db") as ledger:
        ((text,),) = ledger.execute("SELECT fingerprint FROM identities").fetchall()
        fingerprint = json.loads(text)
        del fingerprint["names"]
        ledger.execute("UPDATE identities SET fingerprint = ?", (json.dumps(fingerprint),))
    ledger.close()
    shop.mapping("refunds.yaml", event={"eventName": "Order Refunded", "uniqueId": "refund:{order_id}"})
    shop.do("check", "refunds.yaml", "--store", STORE)
    shop.mapping("orders2.yaml", event={"uniqueId": "o:{order_id}"})
    assert "12 of the first 20" in shop.do("check", "orders2.yaml", "--store", STORE, status=78).err
