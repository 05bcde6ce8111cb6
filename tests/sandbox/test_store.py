"""What is kept, what counts as a duplicate, how it is listed, and that it survives."""

from __future__ import annotations

import json
import sqlite3
import stat
import time

import pytest

from backfill.sandbox import Options, SandboxThread, StoreError
from backfill.sandbox.judge import Taken, judge
from backfill.sandbox.kept import Batch
from backfill.sandbox.store import Store

SINGLE = "/stores/s1/events"


def test_the_later_is_dropped_without_a_word(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    same = event(uniqueId="a", value=1)
    reordered = dict(reversed(event(uniqueId="a", value=1.0).items()))
    for sent in (same, reordered, event(uniqueId="a", value=2)):
        answer = client.post(SINGLE, json=sent)
        assert (answer.status_code, answer.content) == (202, b"")
    assert [(e.duplicate, e.differs) for e in sandbox.events()] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert [e.seq for e in sandbox.events(duplicates=False)] == [1]
    assert [e.seq for e in sandbox.events(duplicates=True)] == [2, 3]
    summary = sandbox.summary()
    assert (summary.stored, summary.duplicates, summary.differing, summary.ids) == (1, 2, 1, 1)
    assert summary.names == {"Order Placed": 1}


def test_duplicates_within_a_bulk(start, connect, event):
    sandbox = start()
    events = [event(uniqueId="a"), event(uniqueId="b"), event(uniqueId="a")]
    assert connect(sandbox).post(SINGLE + "/bulk", json={"events": events}).status_code == 202
    assert [e.duplicate for e in sandbox.events()] == [False, False, True]


def test_ids_belong_to_a_store_and_events_without_one_are_no_duplicates(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    for store in ("s1", "s2"):
        client.post(f"/stores/{store}/events", json=event(uniqueId="a"))
        client.post(f"/stores/{store}/events", json=event())
    client.post(SINGLE, json=event(uniqueId="b"))
    assert sandbox.summary().duplicates == 0
    assert sandbox.ids() == sandbox.ids("s1") == {"a", "b"}
    assert sandbox.ids("s2") == {"a"}
    assert sandbox.summary().ids == 3


def test_times(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    before = time.time()
    client.post(SINGLE, json=event(eventTimestamp="2020-01-01T00:00:00+02:00"))
    client.post(SINGLE, json=event())
    past, now = sandbox.events()
    assert past.timestamp == "2020-01-01T00:00:00+02:00"
    assert before <= now.at <= time.time()
    assert now.timestamp == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now.at)) + now.timestamp[19:]
    assert now.timestamp.endswith("Z")


def test_listing_over_http(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    for i in range(5):
        client.post(SINGLE, json=event(uniqueId=f"id-{i}", eventName="Even" if i % 2 == 0 else "Odd"))

    def listed(query: str) -> list[str]:
        answer = client.get(sandbox.page_url + "_sandbox/events?" + query)
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line)["unique_id"] for line in answer.text.splitlines()]

    assert listed("") == ["id-0", "id-1", "id-2", "id-3", "id-4"]
    assert listed("limit=2") == ["id-0", "id-1"]
    assert listed("limit=2&after=2") == ["id-2", "id-3"]
    assert listed("event_name=Odd&after=2") == ["id-3"]
    assert listed("store=s2") == []
    for wrong in ("limit=0", "limit=x", "after=x", "limit=10001"):
        assert client.get(sandbox.page_url + "_sandbox/events?" + wrong).status_code == 400
    summary = client.get(sandbox.page_url + "_sandbox/summary").json()
    assert summary == sandbox.summary().as_dict()
    assert summary["names"] == {"Even": 3, "Odd": 2}
    assert summary["statuses"] == {"202": 5}


def test_reset(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    client.post(SINGLE, json=event(uniqueId="a"))
    assert client.post(sandbox.page_url + "_sandbox/reset").status_code == 204
    assert sandbox.ids() == set()
    assert sandbox.summary().requests == 0
    client.post(SINGLE, json=event(uniqueId="a", value=2))
    assert sandbox.summary().duplicates == 0


@pytest.mark.parametrize("headers", [{"Host": "evil.example.com"}, {"Origin": "http://evil.example.com"}])
@pytest.mark.parametrize(
    "path",
    [
        *("", "_sandbox/events", "_sandbox/summary", "_sandbox/web/app.js", "_sandbox/web/charts.js"),
        *(f"_sandbox/look/{what}" for what in ("overview", "events", "customers", "refused", "unset")),
    ],
)
def test_other_sites_cannot_read_it_through_a_browser(shared, client, headers, path):
    assert client.get(shared.page_url + path, headers=headers).status_code == 403
    assert client.post(shared.page_url + "_sandbox/reset", headers=headers).status_code == 403
    assert client.get(shared.page_url + path, headers={"Host": "localhost:1"}).status_code == 200


def test_restart_keeps_events(tmp_path, connect, event):
    options = Options(database=tmp_path / "events.db")
    with SandboxThread(options) as first:
        connect(first).post(SINGLE, json=event(uniqueId="a", data={"unset": 0}))
        connect(first).post(SINGLE, json=event(uniqueId="a", value=1))
        before = first.summary()
    with SandboxThread(options) as second:
        assert [e.unique_id for e in second.events()] == ["a", "a"]
        after = second.summary()
        for field in ("stored", "duplicates", "differing", "ids", "names", "dropped_values"):
            assert getattr(after, field) == getattr(before, field)
        assert after.requests == 0
        connect(second).post(SINGLE, json=event(uniqueId="a"))
        assert second.summary().duplicates == 2


def test_the_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "events.db"
    with SandboxThread(Options(database=path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_refuses_what_is_not_its_database(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be taken for one\n" * 100)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    newer = tmp_path / "newer.db"
    Store(newer).close()
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    for path, reason in [
        (text, "not a database"),
        (other, "another program"),
        (newer, "another release"),
        (tmp_path / "none" / "events.db", "cannot create"),
    ]:
        with pytest.raises(StoreError, match=reason) as raised, SandboxThread(Options(database=path)):
            pass
        assert str(path) in str(raised.value)
    assert text.read_text().startswith("not a database")


def test_a_full_disk_is_a_500_and_keeps_nothing(start, connect, event, tmp_path):
    sandbox = start(database=tmp_path / "events.db")
    client = connect(sandbox)
    client.post(SINGLE, json=event(uniqueId="a"))
    sandbox._sandbox._store._db.execute("PRAGMA max_page_count = 1")
    bulk = {"events": [event(uniqueId=f"b{i}", data={"text": "x" * 90_000}) for i in range(3)]}
    answer = client.post(SINGLE + "/bulk", json=bulk)
    assert answer.status_code == 500
    assert "full" in answer.json()["detail"]
    assert sandbox.ids() == {"a"}
    assert sandbox.summary().stored == 1
    sandbox._sandbox._store._db.execute("PRAGMA max_page_count = 1000000")
    assert client.post(SINGLE + "/bulk", json=bulk).status_code == 202
    assert sandbox.summary().stored == 4


def test_pages_of_events(tmp_path, event):
    store = Store(None)
    try:
        taken = [judge(event(uniqueId=str(i))) for i in range(2500)]
        assert all(isinstance(verdict, Taken) for verdict in taken)
        assert store.add([Batch("s1", 0.0, taken[:1]), Batch("s1", 0.0, taken[1:])])[1][-1] == 2500
        assert [e.unique_id for e in store.events()] == [str(i) for i in range(2500)]
        assert [e.seq for e in store.events(after=990, limit=1020)] == list(range(991, 2011))
        assert [e.seq for e in store.last(3)] == [2500, 2499, 2498]
    finally:
        store.close()
