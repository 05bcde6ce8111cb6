"""What becomes of a bulk with bad events, in each of the ways the reference can be read."""

from __future__ import annotations

import pytest

BULK = "/stores/s1/events/bulk"


@pytest.fixture
def mixed(event):
    return [
        event(uniqueId="a"),
        event(uniqueId="b", value="bad"),
        event(uniqueId="c"),
        {"customer": {"email": "ada@example.com"}, "uniqueId": "d"},
    ]


def test_none_goes_in(start, connect, mixed):
    sandbox = start()
    answer = connect(sandbox).post(BULK, json={"events": mixed})
    assert answer.status_code == 400
    detail = answer.json()["detail"]
    assert detail.startswith("2 of 4 events are invalid: events[1]: value: is not a number; events[3]: eventName:")
    summary = sandbox.summary()
    assert (summary.stored, summary.refused, summary.held_back) == (0, 2, 2)
    assert summary.reasons == {"value: is not a number": 1, "eventName: is required": 1}
    # What was held back has not used up its ids.
    assert connect(sandbox).post(BULK, json={"events": [mixed[0], mixed[2]]}).status_code == 202
    assert sandbox.ids() == {"a", "c"}
    assert sandbox.summary().duplicates == 0


def test_the_good_ones_go_in_although_it_says_400(start, connect, mixed):
    sandbox = start(bulk_400_partial=True)
    assert connect(sandbox).post(BULK, json={"events": mixed}).status_code == 400
    assert sandbox.ids() == {"a", "c"}
    assert sandbox.summary().held_back == 0


def test_a_verdict_for_each(start, connect, mixed):
    sandbox = start(bulk_body=True)
    answer = connect(sandbox).post(BULK, json={"events": mixed})
    assert answer.status_code == 202
    body = answer.json()
    assert {key: body[key] for key in ("total", "accepted", "rejected")} == {
        "total": 4,
        "accepted": 2,
        "rejected": 2,
    }
    assert [event["index"] for event in body["events"]] == [0, 1, 2, 3]
    assert [event["status"] for event in body["events"]] == ["queued", "rejected", "queued", "rejected"]
    assert [event["eventName"] for event in body["events"]] == ["Order Placed"] * 3 + [None]
    assert len({event["eventId"] for event in body["events"] if event["status"] == "queued"}) == 2
    assert body["events"][1]["error"] == "value: is not a number"
    assert sandbox.ids() == {"a", "c"}


def test_a_verdict_for_each_of_the_bad(start, connect):
    sandbox = start(bulk_body=True)
    answer = connect(sandbox).post(BULK, content=rb'{"events": [{"eventName": "\ud800"}, 1]}')
    assert answer.status_code == 202
    assert answer.json()["rejected"] == 2
    assert [event["eventName"] for event in answer.json()["events"]] == ["?", None]


def test_a_bulk_that_is_none_is_400_whatever_the_body(start, connect):
    assert connect(start(bulk_body=True)).post(BULK, json={"events": []}).status_code == 400
