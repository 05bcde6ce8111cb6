"""A server on a real socket for a command that runs beside the test: each of its connections is served by a coroutine."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tests.delivery.support import OK, Serve, read_request, reset, serving

__all__ = ["answering", "first_then", "listening"]


@contextmanager
def listening(serve: Serve, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that ends with the block; it has a thread and an event loop of its own."""
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def main() -> None:
        # The server's side of a handshake or a connection that was broken on purpose is not worth a line.
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        end = asyncio.Event()
        async with serving(serve, context) as port:
            started.set_result((port, lambda: loop.call_soon_threadsafe(end.set)))
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="wire", daemon=True)
    thread.start()
    port, end = started.result()
    try:
        yield port
    finally:
        end()
        thread.join()


def answering(answer: Callable[[bytes, int, float], bytes | None] = lambda body, turn, now: OK) -> Serve:
    """Gives each request of each connection what `answer` says to its body, its turn (from 1) and the time.

    None resets the connection.
    """
    turn = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        while True:
            body = await read_request(reader)
            turn += 1
            found = answer(body, turn, time.monotonic())
            if found is None:
                return reset(writer)
            writer.write(found)
            await writer.drain()

    return serve


def first_then(*serves: Serve) -> Serve:
    """The first connection is served by the first, and so on; the last serves all that follow."""
    turn = iter(serves)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(turn, serves[-1])(reader, writer)

    return serve
