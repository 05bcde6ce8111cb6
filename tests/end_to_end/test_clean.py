"""Runs that nothing disturbs: all is sent once, and never again."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.support import STORE

FAST = ("--rate", "5000")


@pytest.mark.parametrize(("endpoint", "requests"), [("single", 250), ("bulk", 3)])
def test_all_is_sent_once(shop, box, endpoint, requests):
    ids = shop.orders(250)
    shop.mapping()
    first = shop.deliver("--endpoint", endpoint, *FAST)
    assert first.events == {"total": 250, "accepted": 250}
    assert first.summary["requests"] == requests
    assert first.summary["rows"] == {"read": 250, "unreadable": 0, "filtered": 0, "mapped": 250}
    assert first.summary["store"] == STORE
    assert "250 events accepted" in first.done.out

    seen = box.summary()
    assert seen.requests == requests
    assert (seen.stored, seen.duplicates, seen.refused) == (250, 0, 0)
    assert box.ids(STORE) == ids

    again = shop.deliver("--endpoint", endpoint, *FAST)
    assert again.events == {"total": 250, "already_delivered": 250}
    assert again.summary["requests"] == 0
    assert box.summary().requests == requests
    assert "Nothing to send" in again.done.out


def test_only_what_is_new_is_sent(shop, box):
    shop.orders(120)
    shop.mapping(delivery={"endpoint": "bulk"})
    shop.deliver()
    ids = shop.orders(130)
    later = shop.deliver()
    assert later.events == {"total": 130, "already_delivered": 120, "accepted": 10}
    assert later.summary["requests"] == 1
    assert box.ids(STORE) == ids
    assert box.summary().duplicates == 0


def test_the_canary_and_the_rest(shop, box):
    ids = shop.orders(230)
    shop.mapping()
    canary = shop.deliver("--limit", "7", *FAST)
    assert canary.events == {"total": 230, "accepted": 7, "pending": 223}
    assert box.summary().requests == 7
    assert box.ids(STORE) == {f"order:{i}" for i in range(7)}
    assert "left out by --limit" in canary.done.out
    rest = shop.deliver("--endpoint", "bulk")
    assert rest.events == {"total": 230, "already_delivered": 7, "accepted": 223}
    assert box.ids(STORE) == ids
    assert box.summary().duplicates == 0


def test_a_canary_of_each_name(shop, box):
    shop.write(
        "orders.csv",
        "order_id,at,email,total,note\n"
        + "".join(f"{i},2024-01-01,c@example.com,1,Order {'Paid' if i % 5 == 4 else 'Placed'}\n" for i in range(20)),
    )
    shop.mapping(event={"eventName": "{note}", "data": ...})
    canary = shop.deliver("--limit-each", "2", *FAST)
    assert canary.events == {"total": 20, "accepted": 4, "pending": 16}
    assert canary.summary["canaries"] == {"Order Paid": ["order:4", "order:9"], "Order Placed": ["order:0", "order:1"]}
    assert box.ids(STORE) == {"order:0", "order:1", "order:4", "order:9"}
    assert "only the first 2 events of each name, 4 in all, as --limit-each says:" in canary.done.err
    assert "16 left out by --limit-each" in canary.done.out
    # They go on from there; with both, of the first of each the first in all.
    more = shop.deliver("--limit-each", "2", "--limit", "3", *FAST)
    assert more.summary["by_event_name"] == {
        "Order Paid": {
            "already_delivered": 2, "accepted": 1, "pending": 1, "value": {"USD": "4.00"}, "value_ready": {"USD": "2.00"},
        },
        "Order Placed": {
            "already_delivered": 2, "accepted": 2, "pending": 12,
            "value": {"USD": "16.00"}, "value_ready": {"USD": "14.00"},
        },
    }  # fmt: skip
    assert shop.deliver(*FAST).events == {"total": 20, "already_delivered": 7, "accepted": 13}
    assert box.summary().duplicates == 0


def test_what_arrives_is_what_the_mapping_says(shop, box):
    shop.write(
        "orders.csv", "order_id,at,email,total,note\n007,2024-03-10 01:30:00,ada@example.com,12.50,Zoë “ok” \\\n"
    )
    shop.mapping(source={"timezone": "America/New_York"})
    shop.deliver()
    (stored,) = box.events()
    assert stored.event == {
        "eventName": "Order Placed",
        "uniqueId": "order:007",
        "eventTimestamp": "2024-03-10T06:30:00Z",
        "value": 12.5,
        "valueCurrency": "USD",
        "customer": {"email": "ada@example.com"},
        "data": {"Note": "Zoë “ok” \\"},
    }


def test_stores_are_told_apart(shop, box):
    ids = shop.orders(3)
    shop.mapping(delivery={"endpoint": "bulk"})
    for store in ("one", "two"):
        assert shop.deliver("--store", store).events == {"total": 3, "accepted": 3}
        assert box.ids(store) == ids
    told = json.loads(shop.do("status", "orders.yaml", "--json").out)
    assert [(store["store"], store["accepted"]) for store in told["stores"]] == [
        ("one", {"Order Placed": 3}),
        ("two", {"Order Placed": 3}),
    ]
