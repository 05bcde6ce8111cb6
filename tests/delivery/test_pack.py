"""Events become requests: within the limits, in order, none twice, none left out."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill import api
from backfill.pack import body, halves, pack
from backfill.records import Events, Request
from tests.delivery.support import events


def of(sizes: list[int]) -> Events:
    """Events with bodies of exactly these many bytes."""
    bodies = [b'"' + b"x" * (size - 2) + b'"' for size in sizes]
    rest = [""] * len(sizes)
    return Events(bodies, rest, [b""] * len(sizes), [b""] * len(sizes), rest, [0] * len(sizes), range(len(sizes)))


sizes = st.lists(
    st.one_of(
        st.integers(2, 300),
        st.integers(2, 20_000),
        st.sampled_from([api.BULK_BYTES // 2, api.BULK_BYTES - 13, api.BULK_BYTES - 12, api.BULK_BYTES + 5]),
    ),
    max_size=250,
)


@given(sizes)
def test_bulk_keeps_within_the_limits_and_loses_nothing(sizes: list[int]) -> None:
    found = of(sizes)
    requests = list(pack(found, bulk=True))
    assert [index for request in requests for index in range(request.start, request.stop)] == list(range(len(sizes)))
    for request in requests:
        text = body(request, bulk=True)
        assert 1 <= len(request) <= api.BULK_EVENTS
        assert len(text) <= api.BULK_BYTES or len(request) == 1
        assert json.loads(text)["events"] == [json.loads(text) for text in found.bodies[request.start : request.stop]]


@given(sizes)
def test_bulk_requests_are_as_full_as_they_may_be(sizes: list[int]) -> None:
    requests = list(pack(of(sizes), bulk=True))
    for request, after in pairwise(requests):
        more = Request(request.events, request.start, request.stop + 1)
        assert after.start == request.stop
        assert len(more) > api.BULK_EVENTS or len(body(more, bulk=True)) > api.BULK_BYTES


def test_one_event_a_request_goes_as_it_is() -> None:
    found = events(3)
    requests = list(pack(found, bulk=False))
    assert [body(request, bulk=False) for request in requests] == list(found.bodies)
    assert body(requests[0], bulk=True) == b'{"events":[' + found.bodies[0] + b"]}"


def test_no_events_make_no_request() -> None:
    assert list(pack(events(0), bulk=True)) == []
    assert list(pack(events(0), bulk=False)) == []


@given(st.integers(2, 200), st.integers(0, 50))
def test_halves_are_the_whole(count: int, start: int) -> None:
    request = Request(events(count + start), start, start + count)
    left, right = halves(request)
    assert (left.start, right.stop) == (request.start, request.stop)
    assert left.stop == right.start
    assert abs(len(left) - len(right)) <= 1


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="one event"):
        halves(Request(events(1), 0, 1))
    with pytest.raises(ValueError, match="2 events"):
        body(Request(events(2), 0, 2), bulk=False)
