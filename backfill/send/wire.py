"""One attempt on the wire: bytes out, at most 64 KiB back, within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx

from backfill.retry import Answer
from backfill.send.target import Target
from backfill.transport import FRESH, Whole

__all__ = ["Wire"]

MOST_ANSWER_BYTES = 65_536


class Wire:
    """Posts bodies to one target. `deadline`: seconds for one attempt, connecting and answer included."""

    def __init__(self, target: Target, transport: httpx.AsyncBaseTransport, deadline: float) -> None:
        self._transport = transport
        self._deadline = deadline
        self._loop: asyncio.AbstractEventLoop | None = None
        self._url = httpx.URL(target.url)
        self._headers = [
            (b"Host", self._url.netloc),
            (b"Authorization", b"Bearer " + target.secret.encode("ascii")),
            (b"Content-Type", b"application/json"),
            (b"Accept", b"application/json, application/problem+json"),
            # An answer that has to be unpacked could be a bomb; ours are short anyway.
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"backfill"),
        ]

    async def post(self, body: bytes, *, fresh: bool = False) -> Answer | Exception:
        """The answer, or what came in its place. `fresh`: over a connection that has not served before."""
        # asyncio.timeout in short: that one asks three times which loop runs, each time a system call (6 us of 70).
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # a coroutine runs in one
        cancelling, late = task.cancelling(), False

        def expire() -> None:
            nonlocal late
            late = task.cancel()

        timer = loop.call_later(self._deadline, expire)
        try:
            return await self._exchange(body, fresh)
        except asyncio.CancelledError:
            if not late or task.uncancel() > cancelling:  # somebody else's
                raise
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            if not late:
                return error
            task.uncancel()
        finally:
            timer.cancel()
        return httpx.ReadTimeout(f"no whole answer within {self._deadline:g} s")

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _exchange(self, body: bytes, fresh: bool) -> Answer:
        # With a stream of our own httpx adds no headers: 1 us instead of 9. The URL is put back because httpx
        # copies it, and the transport knows it by identity.
        headers = httpx.Headers([*self._headers, (b"Content-Length", b"%d" % len(body))])
        request = httpx.Request("POST", self._url, headers=headers, stream=httpx.ByteStream(body))
        request.url = self._url
        request.extensions[FRESH] = fresh
        response = await self._transport.handle_async_request(request)
        stream = response.stream
        if isinstance(stream, Whole) and len(stream.content) <= MOST_ANSWER_BYTES:
            return Answer(response.status_code, response.headers, stream.content)
        assert isinstance(stream, httpx.AsyncByteStream)  # an async transport's promise
        text = b""
        chunks = aiter(stream)
        try:
            async for chunk in chunks:
                text += chunk
                if len(text) > MOST_ANSWER_BYTES:
                    break
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            await stream.aclose()
        cut = len(text) > MOST_ANSWER_BYTES
        return Answer(response.status_code, response.headers, text[:MOST_ANSWER_BYTES], cut)
