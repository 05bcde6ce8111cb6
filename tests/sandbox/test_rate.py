"""The rate limit of a store."""

from __future__ import annotations

import pytest

from backfill.sandbox import Options
from backfill.sandbox.limit import Bucket

SINGLE = "/stores/s1/events"


def test_one_seconds_worth_then_evenly():
    bucket = Bucket(100, now=0)
    assert [bucket.take(0) for _ in range(100)] == [0] * 100
    assert bucket.take(0) == pytest.approx(0.01)
    assert bucket.take(0.0101) == 0
    assert bucket.take(0.0101) > 0
    # An idle hour saves up no more than a second's worth.
    assert sum(bucket.take(3600) == 0 for _ in range(300)) == 100


def test_a_refused_request_costs_nothing():
    bucket = Bucket(10, now=0)
    assert sum(bucket.take(0) == 0 for _ in range(1000)) == 10
    assert bucket.take(0.11) == 0


def test_peak_is_the_busiest_second():
    bucket = Bucket(None, now=0)
    for moment in (0, 0.5, 0.9, 1.2, 1.3, 5):
        assert bucket.take(moment) == 0
    assert bucket.peak == 4


def test_slow_rates_let_one_through():
    bucket = Bucket(0.5, now=0)
    assert bucket.take(0) == 0
    assert bucket.take(0) == 2


def test_both_endpoints_of_a_store_share_it_and_stores_do_not(start, connect, event):
    sandbox = start(rate=2)
    client = connect(sandbox)
    bulk = {"events": [event()]}
    assert client.post(SINGLE, json=event()).status_code == 202
    assert client.post(SINGLE + "/bulk", json=bulk).status_code == 202
    # Ten more tokens take 5 s: even on a busy machine some of ten requests find none.
    answers = [client.post(SINGLE, json=event()) for _ in range(10)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert refused[0].json()["title"] == "Too Many Requests"
    assert client.post("/stores/s2/events", json=event()).status_code == 202
    summary = sandbox.summary()
    assert summary.stored == 13 - len(refused)
    assert summary.statuses["429"] == len(refused)
    assert summary.busiest_second["s2"] == 1


def test_a_rate_of_0_is_an_error():
    with pytest.raises(ValueError, match="rate is 0"):
        Options(rate=0)
