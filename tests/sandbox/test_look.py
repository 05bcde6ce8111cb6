"""What the page's scripts ask for: counts, customers, timelines, duplicates, refusals, and how little it costs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backfill.sandbox import Options, SandboxThread
from backfill.sandbox.index import Index
from backfill.sandbox.judge import judge
from backfill.sandbox.kept import Batch
from backfill.sandbox.store import Store

SINGLE = "/stores/s1/events"
Look = Callable[..., Any]


@pytest.fixture
def box(start) -> SandboxThread:
    return start()


@pytest.fixture
def send(box, connect) -> Callable[..., httpx.Response]:
    """`send(event, …)`: one by one, to the store s1 or another; the last answer."""
    client = connect(box)

    def post(*events: Any, store: str = "s1") -> httpx.Response:
        return [client.post(f"/stores/{store}/events", json=event) for event in events][-1]

    return post


@pytest.fixture
def look(box, connect) -> Look:
    """`look("customers", q="ada")`: the JSON there, once the index is up to date."""
    client = connect(box)

    def get(path: str, status: int = 200, **query: Any) -> Any:
        for _ in range(100):
            overview = client.get(box.page_url + "_sandbox/look/overview").json()
            if overview["indexed"] == overview["newest"]:
                break
        answer = client.get(f"{box.page_url}_sandbox/look/{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    return get


def person(name: str, **more: Any) -> dict[str, Any]:
    return {"email": f"{name.lower()}@example.com", "firstName": name, **more}


def test_counts_by_store_and_name(send, look, event):
    send(
        event(uniqueId="a"),
        event(uniqueId="a"),
        event(uniqueId="a", value=1),
        event(eventName="Other"),
        event(value=""),
    )
    send(event(uniqueId="a", data={"x": 0, "y": False, "z": ""}), store="s2")
    everything = look("overview")
    assert (everything["stored"], everything["duplicates"], everything["differing"]) == (3, 2, 1)
    assert (everything["customers"], everything["refused"], everything["requests"]) == (2, 1, 6)
    assert everything["unset"] == 2
    assert everything["stores"] == ["s1", "s2"]
    assert everything["names"] == [{"name": "Order Placed", "events": 2}, {"name": "Other", "events": 1}]
    assert everything["reasons"] == {"value: is not a number": 1}
    assert look("overview", store="s2")["stored"] == 1
    only = look("overview", name="Other")
    assert (only["stored"], only["duplicates"], len(only["names"])) == (1, 0, 2)
    assert look("overview", store="s3")["stored"] == 0


@pytest.mark.parametrize(
    "stamps, unit, bars",
    [
        (["2024-01-31T23:59:59Z", "2024-02-01T00:00:00Z"], "day", ["2024-01-31", "2024-02-01"]),
        (["2024-01-31T23:59:59-05:00"], "day", ["2024-02-01"]),
        (["2024-01-07T12:00:00Z", "2024-01-08T12:00:00Z", "2024-09-01T00:00:00Z"], "week", ["2024-01-01", "2024-01-08", "2024-08-26"]),
        (["1969-12-28T00:00:00Z", "1969-12-29T00:00:00Z", "1970-06-01T00:00:00Z"], "week", ["1969-12-22", "1969-12-29", "1970-06-01"]),
        (["2020-02-29T00:00:00Z", "2024-03-31T00:00:00Z"], "month", ["2020-02-01", "2024-03-01"]),
        (["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"], "year", ["0001-01-01", "9999-01-01"]),
        (["2016-12-31t23:59:60z"], "day", ["2016-12-31"]),
        ([], "day", []),
    ],
)  # fmt: skip
def test_bars_by_days_weeks_months_or_years(send, look, event, stamps, unit, bars):
    for stamp in stamps:
        assert send(event(eventTimestamp=stamp)).status_code == 202
    chart = look("overview")["chart"]
    assert chart == {"unit": unit, "bars": [[bar, "Order Placed", 1] for bar in bars]}


def test_a_customer_is_found_by_id_then_email_then_phone(send, look, event):
    phone = "+12025550123"
    send(
        event(customer={"email": "ada@example.com", "phoneNumber": phone}),
        event(customer={"phoneNumber": phone}),
        event(customer={"id": "64e5", "email": "ada@example.com"}),
        event(customer={"id": "64e5", "email": "new@example.com"}),
        event(customer={"id": "other", "email": "ada@example.com", "phoneNumber": phone}),
        event(customer={"email": "grace@example.com", "phoneNumber": phone}),
    )
    send(event(customer={"email": "ada@example.com"}), store="s2")
    found = look("customers")["customers"]
    # The id "other" is unknown, so the email decides; Grace's email is unknown, so the phone number does.
    assert [(one["store"], one["events"]) for one in sorted(found, key=lambda one: one["who"])] == [
        ("s1", 6),
        ("s2", 1),
    ]


def test_a_profile_is_patched_in_order_of_arrival(send, look, event):
    send(
        event(
            eventTimestamp="2024-05-01T00:00:00Z",
            customer=person("Ada", lastName="King", location={"city": "London"}, customFields={"Tier": "Gold", "Age": 36}),
        ),
        event(
            eventTimestamp="2020-05-01T00:00:00Z",
            customer={"email": "ada@example.com", "lastName": "Lovelace", "location": {"countryCode": "GB"}, "customFields": {"Tier": "Silver"}},
        ),
        event(uniqueId="x", customer={"email": "ada@example.com"}),
        event(uniqueId="x", customer={"email": "ada@example.com", "firstName": "Dropped"}),
    )  # fmt: skip
    found = look("customers/1")
    assert found["profile"] == {
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "location": {"city": "London", "countryCode": "GB"},
        "customFields": {"Tier": "Silver", "Age": 36},
    }
    assert (found["customer"]["first"], found["customer"]["last"], found["customer"]["events"]) == (
        "Ada",
        "Lovelace",
        3,
    )
    assert found["dropped"] == 1


def test_a_timeline_is_paged_the_newest_first_by_the_events_own_time(send, look, event):
    # Two at a time, so that a page ends between two of the same second.
    for i in range(120):
        send(event(uniqueId=str(i), eventTimestamp=f"2024-01-{1 + i * 7 % 60 // 2:02}T00:00:00+02:00"))
    seen: list[Any] = []
    before = {}
    while True:
        page = look("customers/1", **before)
        seen += page["events"]
        if not page["before"]:
            break
        before = {"before": page["before"]}
    assert len({one["uniqueId"] for one in seen}) == len(seen) == 120
    order = [(one["timestamp"], one["seq"]) for one in seen]
    assert order == sorted(order, reverse=True)


def test_search(send, look, event):
    people = [
        person("Jörg", lastName="Müller", phoneNumber="+12025550123"),
        person("Grace", lastName="Hopper"),
        {"id": "64e5_a%b"},
        {"email": "under_score@example.com"},
    ]
    people[0]["email"] = "jm@example.com"
    send(*(event(customer=one) for one in people))

    def found(words: str) -> list[int]:
        return [one["who"] for one in look("customers", q=words)["customers"]]

    assert found("JÖRG") == found("müll jm@") == found("(202) 555-0123") == found("+1 202") == [1]
    assert found("gRaCe") == [2]
    assert found("a%b") == found("64E5_a") == [3]
    assert found("r_s") == [4]
    assert found("nobody") == []
    assert len(found("example.com")) == 3
    assert look("customers", q="grace")["total"] == 1


def test_pages_of_customers_and_events(send, look, event):
    for i in range(60):
        send(event(customer={"email": f"c{i}@example.com"}, eventTimestamp=f"2024-01-01T00:00:{i:02}Z"))
    first, second = look("customers"), look("customers", page=2)
    assert [one["email"] for one in first["customers"]] == [f"c{i}@example.com" for i in range(59, 9, -1)]
    assert len(second["customers"]) == 10
    assert (second["total"], second["pages"]) == (60, 2)
    newest = look("events")
    older = look("events", before=newest["before"])
    assert [one["seq"] for one in newest["events"] + older["events"]] == list(range(60, 0, -1))
    assert older["before"] is None
    assert look("events", name="Other")["events"] == []
    look("customers", page="x", status=400)
    look("events", before="x", status=400)


def test_an_event_with_all_that_is_known_of_it(box, send, look, connect, event):
    bulk = {"events": [event(uniqueId=f"b{i}") for i in range(3)]}
    assert connect(box).post(SINGLE + "/bulk", json=bulk).status_code == 202
    sent = event(uniqueId="b1", value=0, data={"a": 0, "b": "x", "$extra": {"c": 0}})
    send(sent)
    bulked, late = look("events/2"), look("events/4")
    assert bulked["request"] == {"first": 1, "events": 3}
    assert [(one["seq"], one["differs"]) for one in bulked["later"]] == [(4, True)]
    assert late["request"] == {"first": 4, "events": 1}
    assert (late["kind"], late["original"]["seq"]) == ("differs", 2)
    assert late["event"] == sent
    assert late["unset"] == ["a"]
    assert late["customer"] == "ada@example.com"
    dropped = look("events", dropped="differing")["events"]
    assert [(one["seq"], one["first"]) for one in dropped] == [(4, 2)]
    look("events/5", status=404)
    look("customers/2", status=404)


def test_values_that_count_as_unset(send, look, event):
    for _ in range(2):
        send(event(data={"zero": 0, "text": "", "nothing": None, "no": False, "$extra": {"zero": 0}}))
    found = look("unset")["unset"]
    assert {(one["key"], one["value"], one["events"], one["example"]) for one in found} == {
        ("zero", "0", 2, 1),
        ("text", '""', 2, 1),
        ("nothing", "null", 2, 1),
    }
    assert look("unset", name="Other")["unset"] == []


def test_examples_of_what_was_refused(tmp_path, connect, event):
    options = Options(rate=None, database=tmp_path / "events.db")
    with SandboxThread(options) as box:
        client = connect(box)
        for i in range(30):
            client.post(SINGLE, json=event(value=f"{i}"))
        client.post(SINGLE + "/bulk", json={"events": [event(), event(customer={}), event(customer={}, value="x")]})
        client.post(SINGLE, content=b'{"eventName": "cut \xff')
        client.post(SINGLE, content='{"eventName": "lone \\ud800", "customer": {"email": "a@example.com"}}')
        found = client.get(box.page_url + "_sandbox/look/refused").json()
        assert found["reasons"]["value: is not a number"] == 31
        single = [one for one in found["refused"] if not one["bulk"] and "value: is not a number" in one["reasons"]]
        assert [one["body"] for one in single][
            -1
        ] == '{"eventName":"Order Placed","customer":{"email":"ada@example.com"},"value":"0"}'
        assert len(single) == 10
        assert next(one["reasons"] for one in found["refused"] if one["bulk"])[-1] == "value: is not a number"
        assert any("not UTF-8" in one["reasons"][0] and one["name"] is None for one in found["refused"])
    with SandboxThread(options) as box:
        client = connect(box)
        later = client.get(box.page_url + "_sandbox/look/refused").json()
        assert later["refused"] == found["refused"]
        assert later["reasons"] == {}
        client.post(SINGLE, json=event(value="again"))
        assert len(client.get(box.page_url + "_sandbox/look/refused").json()["refused"]) == len(found["refused"])
        client.post(box.page_url + "_sandbox/reset")
        assert client.get(box.page_url + "_sandbox/look/refused").json() == {"reasons": {}, "refused": []}


def test_a_database_of_an_earlier_release(tmp_path, connect, event):
    path = tmp_path / "events.db"
    with SandboxThread(Options(database=path)) as box:
        connect(box).post(SINGLE, json=event(uniqueId="a"))
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE refused")
    db.close()
    with SandboxThread(Options(database=path)) as box:
        client = connect(box)
        overview = client.get(box.page_url + "_sandbox/look/overview").json()
        assert (overview["stored"], overview["customers"], overview["requests"]) == (1, 1, 0)
        assert client.post(SINGLE, json=event(value="x")).status_code == 400


def test_after_a_reset_all_begins_anew(box, send, look, connect, event):
    send(event(customer=person("Ada")), event(customer=person("Grace")))
    assert look("customers")["total"] == 2
    connect(box).post(box.page_url + "_sandbox/reset")
    send(event(eventName="After", customer=person("Linus")))
    assert [one["first"] for one in look("customers")["customers"]] == ["Linus"]
    assert look("overview")["names"] == [{"name": "After", "events": 1}]


def test_a_nul_ends_no_text(send, look, event):
    send(event(eventName="a\0b", customer={"id": "1", "firstName": "x\0y \\u0000"}))
    assert look("overview")["names"][0]["name"] == "a␀b"
    assert look("customers")["customers"][0]["first"] == "x␀y \\u0000"
    assert look("events", name="a␀b")["events"][0]["name"] == "a\0b"


def test_an_answer_that_the_page_has_is_not_given_again(box, send, connect, event):
    client = connect(box)
    send(event())
    url = box.page_url + "_sandbox/look/overview"
    client.get(url)
    first = client.get(url)
    same = {"If-None-Match": first.headers["etag"]}
    assert client.get(url, headers=same).status_code == 304
    assert client.get(url + "?store=s1", headers=same).status_code == 200
    send(event(value="x"))
    changed = client.get(url, headers=same)
    assert (changed.status_code, changed.json()["refused"]) == (200, 1)
    client.post(box.page_url + "_sandbox/faults", content="503=1%")
    assert client.get(url, headers={"If-None-Match": changed.headers["etag"]}).json()["faults"] == "503=0.01"


def test_files(box, connect):
    client = connect(box)
    for name, kind in [("app.js", "text/javascript"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")]:
        answer = client.get(f"{box.page_url}_sandbox/web/{name}")
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        again = client.get(f"{box.page_url}_sandbox/web/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert "Plot" in client.get(f"{box.page_url}_sandbox/web/charts.js").text
    for name in ("..%2Fpage.py", "none.js", "%2e%2e/%2e%2e/pyproject.toml", "__init__.py"):
        assert client.get(f"{box.page_url}_sandbox/web/{name}").status_code == 404


def test_nothing_is_indexed_before_somebody_looks(box, send, event):
    send(*(event() for _ in range(3)))
    assert box._sandbox._manage.index.seq == 0


def test_the_same_events_in_other_steps_give_the_same_index(event):
    """Whoever opens the page sees the same, whether it was followed from the start or read in one go."""
    store = Store(None)
    slow, quick = Index(store), Index(store)
    for i in range(40):
        one = judge(
            event(
                uniqueId=str(i % 30), customer={"email": f"{i % 7}@example.com", "firstName": f"{i}"}, data={"n": i % 2}
            )
        )
        store.add([Batch("s1" if i % 3 else "s2", 1_700_000_000.0 + i, [one])])
        slow.step()
    assert not quick.step()
    assert not slow.step()
    for table in ("seen", "dropped", "known", "customer", "days", "totals"):
        assert slow.ask(f"SELECT * FROM {table}") == quick.ask(f"SELECT * FROM {table}")
    assert slow.unset == quick.unset
    slow.close()
    quick.close()
    store.close()


def test_sums_of_value(send, look, event):
    """To the cent, each id once, by event name and currency."""
    orders = [event(value=0.1 * i, valueCurrency="USD", uniqueId=f"{i}") for i in (1, 2, 7)]
    send(*orders, *orders, event(value=1e308), event(value=1e308), event(value=3, valueCurrency="JPY"))
    send(event(eventName="Other", value=1.125, valueCurrency="USD"), event(eventName="Other"))
    send(event(value=5.5, valueCurrency="USD"), store="s2")
    assert look("overview", store="s1", name="Order Placed")["worth"] == [
        {"name": "Order Placed", "currency": "USD", "sum": "1.00", "events": 3},
        {"name": "Order Placed", "currency": None, "sum": f"2{'0' * 308}.00", "events": 2},
        {"name": "Order Placed", "currency": "JPY", "sum": "3.00", "events": 1},
    ]
    assert look("overview", name="Other")["worth"] == [
        {"name": "Other", "currency": "USD", "sum": "1.125", "events": 1}
    ]
    assert look("overview")["worth"][0] == {"name": "Order Placed", "currency": "USD", "sum": "6.50", "events": 4}


def test_which_endpoint_an_event_came_by(send, look, box, connect, event):
    send(event(), event())
    send(event())
    connect(box).post("/stores/s1/events/bulk", json={"events": [event()]})
    assert [look(f"events/{seq}")["bulk"] for seq in (1, 2, 3, 4)] == [False, False, False, True]


def test_an_endpoint_that_an_earlier_release_did_not_note(tmp_path, connect, event):
    path = tmp_path / "events.db"
    with SandboxThread(Options(database=path)) as box:
        connect(box).post(SINGLE, json=event(uniqueId="a"))
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE events DROP COLUMN bulk")
    db.close()
    with SandboxThread(Options(database=path)) as box:
        client = connect(box)
        client.post(SINGLE, json=event(uniqueId="b"))
        found = [client.get(f"{box.page_url}_sandbox/look/events/{seq}").json()["bulk"] for seq in (1, 2)]
        assert found == [None, False]
