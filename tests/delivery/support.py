"""Simulated time, events to send, an API that follows a script, and real servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import httpx

from backfill.records import Events, Outcome, Request
from backfill.send import Sender, Target

T = TypeVar("T")
SECRET = "canary-0f3c91"
STORE = "64e5a8a1af49a89df37e4ee7"
BASE = "https://api.example/v2.2"


class _Jump(selectors.DefaultSelector):
    """Never waits: where it would, the loop's clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            self.now += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once: sleeping an hour takes microseconds."""

    def __init__(self) -> None:
        self.jump = _Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


class LoopClock:
    """The running loop's time, simulated or not."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_700_000_000.0 + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main())


def real(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def events(count: int, size: int = 0) -> Events:
    """Events whose uniqueId is their index; `size` pads each body to about so many bytes."""
    bodies = [json.dumps({"uniqueId": str(index), "pad": "x" * size}).encode() for index in range(count)]
    return Events(
        bodies,
        [str(index) for index in range(count)],
        [index.to_bytes(16, "big") for index in range(count)],
        [index.to_bytes(16, "little") for index in range(count)],
        ["Order Placed"] * count,
        [0] * count,
        list(range(count)),
    )


def request(count: int = 1, size: int = 0) -> Request:
    return Request(events(count, size), 0, count)


def ids(sent: httpx.Request) -> list[int]:
    content = json.loads(sent.content)
    return [int(event["uniqueId"]) for event in content.get("events", [content])]


Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


@dataclass
class Api:
    """Answers as the script says, then `otherwise`; remembers what it got and when."""

    script: Iterable[Step] = ()
    otherwise: Step = field(default_factory=lambda: httpx.Response(202))
    seconds: float = 0.0
    got: list[httpx.Request] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self._steps = iter(self.script)

    async def __call__(self, sent: httpx.Request) -> httpx.Response:
        self.got.append(sent)
        self.times.append(now())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.seconds:
                await anyio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        step = next(self._steps, self.otherwise)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            # One response may be given many times; each needs a stream of its own.
            return httpx.Response(step.status_code, headers=step.headers, content=step.content)
        return step(sent)


def sender(api: Api | Callable[..., Any], **options: Any) -> Sender:
    """A Sender on `api`, in the loop's time, fast enough that only what is tested takes time."""
    bulk = options.pop("bulk", True)
    options.setdefault("rate", 100_000)
    return Sender(
        Target(BASE, STORE, SECRET, bulk=bulk),
        httpx.MockTransport(api),
        clock=LoopClock(),
        **{"random": lambda: 0.5, **options},
    )


@dataclass
class Record:
    """What the sender told, checked as it comes: each index once."""

    accepted: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)

    def __call__(self, outcome: Outcome) -> None:
        told = [*outcome.accepted, *(index for index, _ in outcome.refused)]
        assert not outcome.pending
        assert len(told) == len(set(told))
        assert not (self.accepted | self.refused) & set(told)
        self.accepted.update(outcome.accepted)
        self.refused.update(index for index, _ in outcome.refused)


# --------------------------------------------------------------------------------------------- real servers

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request's body; IncompleteReadError at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None, limit: int = 2**16) -> AsyncIterator[int]:
    """A server on this machine, on the port given; its connections end with it."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
