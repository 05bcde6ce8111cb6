"""How each fault is played on the socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import time
from email.utils import formatdate
from functools import cache

import orjson
from aiohttp import web

from backfill.sandbox.answers import PROBLEM_TYPE, Answer, accepted, problem
from backfill.sandbox.faults import Faults, Kind

# These answer in the API's place: the events are not looked at.
INSTEAD = frozenset(
    {
        Kind.TOO_MANY,
        Kind.TOO_MANY_ABSENT,
        Kind.TOO_MANY_DATE,
        Kind.UNAVAILABLE,
        Kind.BROKEN,
        Kind.HTML,
        Kind.NO_CONTENT,
        Kind.REDIRECT,
        Kind.HUGE,
        Kind.BOMB,
        Kind.GARBLED,
    }
)
_HUGE_BYTES = 5_000_000


def instead(kind: Kind, faults: Faults, path: str) -> Answer:
    """The answer of a fault in `INSTEAD`."""
    match kind:
        case Kind.TOO_MANY | Kind.TOO_MANY_ABSENT | Kind.TOO_MANY_DATE:
            return problem(429, "Rate limit exceeded.", path, _retry_after(kind, faults.retry_after))
        case Kind.BROKEN:
            return problem(500, "Something went wrong.", path)
        case Kind.HTML:
            page = b"<!doctype html><title>Welcome</title><h1>Please sign in</h1>"
            return Answer(200, page, {"Content-Type": "text/html; charset=utf-8"})
        case Kind.NO_CONTENT:
            return Answer(204)
        case Kind.REDIRECT:
            return Answer(302, headers={"Location": "/_sandbox/redirected"})
        case Kind.HUGE:
            return problem_of(_huge())
        case Kind.BOMB:
            return Answer(503, _bomb(), {"Content-Type": PROBLEM_TYPE, "Content-Encoding": "gzip"})
        case Kind.GARBLED:
            return problem_of(b'{"title": "\x1b]0;owned\x07\x1b[2J\x1b[31mService Unavailable", "detail": \xff')
        case _:
            return problem(503, "The service is unavailable.", path)


def problem_of(body: bytes) -> Answer:
    """A 503 that claims to carry problem details."""
    return Answer(503, body, {"Content-Type": PROBLEM_TYPE})


def reset(request: web.Request) -> web.Response:
    """Reset the connection; the response returned is written to a closed transport, that is to nobody."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # Without this a close with nothing left to read is an orderly FIN, not a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def cut(request: web.Request, answer: Answer) -> web.Response:
    """Send half of the body that Content-Length announces, then close."""
    whole = _with_body(answer)
    half = Answer(whole.status, whole.body[: len(whole.body) // 2], whole.headers)
    return _write_and_close(request, half.raw(length=len(whole.body)))


def lie(request: web.Request, answer: Answer) -> web.Response:
    """Announce half of the body, send all of it, then close."""
    whole = _with_body(answer)
    return _write_and_close(request, whole.raw(length=len(whole.body) // 2))


async def trickle(request: web.Request, answer: Answer, seconds: float, closing: asyncio.Event) -> web.Response:
    """Send the answer byte by byte, `seconds` apart, until it is out, or the client or the sandbox ends."""
    for byte in answer.raw():
        transport = request.transport
        if transport is None or transport.is_closing():
            return web.Response()
        transport.write(bytes((byte,)))
        if await pause(seconds, closing):
            break
    return _write_and_close(request, b"")


async def close_after(request: web.Request, answer: Answer) -> web.Response:
    """Answer as if the connection stayed open, then close it."""
    response = answer.response()
    await response.prepare(request)
    await response.write_eof()
    if request.transport is not None:
        request.transport.close()
    return response


async def pause(seconds: float, closing: asyncio.Event) -> bool:
    """Wait, but no longer than until `closing` is set; whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return False
    return True


def gone(request: web.Request) -> bool:
    """Whether the client has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def _write_and_close(request: web.Request, raw: bytes) -> web.Response:
    if request.transport is not None:
        request.transport.write(raw)
        request.transport.close()
    return web.Response()


def _with_body(answer: Answer) -> Answer:
    """The answer if it has a body, else a 202 that has one: an empty body can be neither cut nor belied."""
    return answer if answer.body else accepted({"total": 1, "accepted": 1, "rejected": 0, "events": []})


def _retry_after(kind: Kind, seconds: float) -> dict[str, str]:
    if kind is Kind.TOO_MANY_ABSENT:
        return {}
    if kind is Kind.TOO_MANY_DATE or seconds < 0:
        return {"Retry-After": formatdate(time.time() + seconds, usegmt=True)}
    return {"Retry-After": str(round(seconds))}


@cache
def _huge() -> bytes:
    return orjson.dumps(
        {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "x" * _HUGE_BYTES}
    )


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"detail": "' + b"x" * (4 * _HUGE_BYTES) + b'"}', mtime=0)
