"""Events → requests: as many to a body as the limits allow, in order, none twice, none left out.

A request names its events and holds no bytes: the body is joined when it is sent, so what waits costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from backfill import api
from backfill.records import Events, Request

__all__ = ["body", "halves", "pack"]

_OPEN = b'{"events":['
_COMMA = b","
_CLOSE = b"]}"
_WRAPPING = len(_OPEN) + len(_CLOSE)


def pack(events: Events, *, bulk: bool) -> Iterator[Request]:
    """The requests that carry `events`, in their order.

    `bulk`: up to api.BULK_EVENTS events and api.BULK_BYTES bytes each, wrapping and commas counted; an event
    that is over BULK_BYTES by itself goes alone. Otherwise one event each.
    """
    if not bulk:
        for index in range(len(events)):
            yield Request(events, index, index + 1)
        return
    start = 0
    size = _WRAPPING
    for index, text in enumerate(events.bodies):
        grown = size + len(text) + (index > start)
        if index > start and (grown > api.BULK_BYTES or index - start == api.BULK_EVENTS):
            yield Request(events, start, index)
            start = index
            grown = _WRAPPING + len(text)
        size = grown
    if start < len(events):
        yield Request(events, start, len(events))


def body(request: Request, bulk: bool) -> bytes:
    """The bytes to post: `{"events":[…]}`, or the one event as it is. The same request gives the same bytes.

    Raises ValueError when a request of several events is to go to the call that takes one.
    """
    texts = request.events.bodies[request.start : request.stop]
    if bulk:
        return b"".join((_OPEN, _COMMA.join(texts), _CLOSE))
    if len(texts) != 1:
        raise ValueError(f"{len(texts)} events for the call that takes one")
    return texts[0]


def halves(request: Request) -> tuple[Request, Request]:
    """The request in two, neither of them empty; ValueError for a request of one event."""
    if len(request) < 2:
        raise ValueError("one event can't be halved")
    middle = (request.start + request.stop) // 2
    return Request(request.events, request.start, middle), Request(request.events, middle, request.stop)
