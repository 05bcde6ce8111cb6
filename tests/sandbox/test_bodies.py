"""Bodies that are no JSON, or lose data on the way, and how large they may be."""

from __future__ import annotations

import gzip
import json

import pytest

SINGLE = "/stores/s1/events"
BULK = "/stores/s1/events/bulk"

HEAD = '{"eventName": "Order Placed", "customer": {"email": "ada@example.com"}, '

MALFORMED = {
    "nothing": (b"", "is not JSON"),
    "cut": (b'{"eventName": "Order', "is not JSON"),
    "more after it": (HEAD.encode() + b'"value": 1} x', "is not JSON"),
    "single quotes": (b"{'eventName': 'x'}", "is not JSON"),
    "trailing comma": (HEAD.encode() + b"}", "is not JSON"),
    "NaN": (HEAD.encode() + b'"value": NaN}', "NaN is no JSON value"),
    "Infinity": (HEAD.encode() + b'"value": -Infinity}', "-Infinity is no JSON value"),
    "1e400": (HEAD.encode() + b'"value": 1e400}', "too large for a double"),
    "5000 digits": (HEAD.encode() + b'"value": ' + b"9" * 5000 + b"}", "too large for a double"),
    "leading zero": (HEAD.encode() + b'"value": 01}', "is not JSON"),
    "raw control character": (HEAD.encode() + b'"uniqueId": "a\nb"}', "is not JSON"),
    "the same key twice": (HEAD.encode() + b'"value": 1, "value": 1}', "the key 'value' twice"),
    "the same key twice, escaped": (HEAD.encode() + rb'"a": 1, "\u0061": 1}', "the key 'a' twice"),
    "the same key twice, inside": (
        HEAD.encode() + b'"data": {"$extra": {"k": 1, "k": 2}}}',
        "the key 'k' twice",
    ),
    "Latin-1": (HEAD.encode() + b'"uniqueId": "caf\xe9"}', "is not UTF-8"),
    "surrogate bytes": (HEAD.encode() + b'"uniqueId": "\xed\xa0\x80"}', "is not UTF-8"),
    "UTF-16": ((HEAD + '"value": 1}').encode("utf-16"), "is not UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf" + HEAD.encode() + b'"value": 1}', "is not JSON"),
    "100,000 brackets": (b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("path", [SINGLE, BULK])
@pytest.mark.parametrize("body, reason", MALFORMED.values(), ids=MALFORMED)
def test_refuses_what_is_no_json(client, shared, path, body, reason):
    before = shared.summary()
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
    assert shared.summary().stored == before.stored


def test_takes_escapes_and_blanks(client):
    body = ' \r\n\t{"eventName": "Order \\u0050laced", "customer": {"email": "ada@example.com"}} \n'
    assert client.post(SINGLE, content=body).status_code == 202


def padded(size: int) -> bytes:
    """An event of exactly `size` bytes, of texts within their limit."""
    texts = {f"t{i}": "x" * 99_000 for i in range(min(50, size // 100_000))}
    event = {
        "eventName": "Large",
        "customer": {"email": "ada@example.com"},
        "data": {"$extra": texts},
        "pad": "",
    }
    event["pad"] = "x" * (size - len(json.dumps(event)))
    body = json.dumps(event).encode()
    assert len(body) == size
    return body


def test_event_of_5_000_000_bytes_and_one_more(client):
    assert client.post(SINGLE, content=padded(5_000_000)).status_code == 202
    answer = client.post(SINGLE, content=padded(5_000_001))
    assert answer.status_code == 400
    assert "is 5000001 bytes, over 5000000" in answer.json()["detail"]


def test_size_is_that_of_each_event_in_a_bulk(client, shared):
    before = shared.summary().stored
    assert client.post(BULK, content=b'{"events": [%b , %b]}' % (padded(5_000_000), padded(300))).status_code == 202
    assert shared.summary().stored == before + 2
    body = b'{ "events" : [ %b ,\n%b ] }' % (padded(300), padded(5_000_001))
    answer = client.post(BULK, content=body)
    assert answer.status_code == 400
    assert "events[1]: the event is 5000001 bytes" in answer.json()["detail"]


@pytest.mark.parametrize(
    "document, reason",
    [
        ([], 'not an object with the key "events"'),
        ({}, "events: is required"),
        ({"events": None}, "events: is required"),
        ({"events": {}}, "events: is required"),
        ({"events": []}, "has 0 events, not 1 to 100"),
        ({"events": [{}] * 101}, "has 101 events, not 1 to 100"),
        ({"events": [{}], "dryRun": True}, "keys that are not allowed: dryRun"),
    ],
)
def test_bulk_is_one_to_100_events_and_no_other_key(client, document, reason):
    answer = client.post(BULK, json=document)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]


def test_bulk_of_1_and_of_100(client, event, shared):
    before = shared.summary().stored
    for count in (1, 100):
        assert client.post(BULK, json={"events": [event()] * count}).status_code == 202
    assert shared.summary().stored == before + 101


def test_numbers_are_what_javascript_reads(client, shared):
    body = (
        HEAD
        + '"uniqueId": "numbers", "value": 9007199254740993, "data": {"big": 123456789012345678901234, "one": 1.0}}'
    )
    assert client.post(SINGLE, content=body).status_code == 202
    (kept,) = [e for e in shared.events() if e.unique_id == "numbers"]
    assert kept.event["value"] == 9007199254740992
    assert kept.event["data"] == {"big": float(123456789012345678901234), "one": 1}


def test_unset_values_are_not_stored_but_in_extra_they_are(client, event, shared):
    extra = {"zero": 0, "empty": "", "null": None}
    sent = event(uniqueId="unset", data={"zero": 0, "empty": "", "null": None, "no": False, "$extra": extra})
    before = shared.summary().dropped_values
    assert client.post(SINGLE, json=sent).status_code == 202
    (kept,) = [e for e in shared.events() if e.unique_id == "unset"]
    assert kept.event["data"] == {"no": False, "$extra": extra}
    assert kept.dropped == {"zero": 0, "empty": "", "null": None}
    assert shared.summary().dropped_values == before + 3


def test_a_compressed_body_is_not_documented(client, event):
    body = gzip.compress(json.dumps(event()).encode())
    assert client.post(SINGLE, content=body, headers={"Content-Encoding": "gzip"}).status_code == 415
    assert client.post(SINGLE, content=b"no gzip", headers={"Content-Encoding": "gzip"}).status_code in {
        400,
        415,
    }
