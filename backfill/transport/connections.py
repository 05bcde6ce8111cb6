"""The transport itself: aiohttp's connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator
from weakref import WeakSet

import aiohttp
import certifi
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from backfill.transport import FRESH, REUSED, Whole

__all__ = ["Transport"]

# Servers close idle connections after 5 s (Node), 60 s (AWS) or 75 s (nginx): leave before they do.
KEEP_ALIVE_SECONDS = 4.0
# The kernel takes this much at once: below it there is no telling how much of a body went out.
WATCHED_BYTES = 65_536

# What aiohttp raises of a connection, before or in an answer.
_FAULTS = (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError)


def _ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        # A slim container has no system store; a company's proxy has its certificate there and nowhere else.
        context.load_verify_locations(certifi.where())
    return context


class Transport(httpx.AsyncBaseTransport):
    def __init__(
        self, connections: int, connect_seconds: float, context: ssl.SSLContext | None, trust_env: bool
    ) -> None:
        self._connections = connections
        self._context = context
        self._trust_env = trust_env
        # The whole request's deadline is the Sender's; connecting (look-up included) has its own, so that an
        # address which swallows packets is left in time for another attempt.
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_seconds, connect=connect_seconds, ceil_threshold=60
        )
        self._connector: aiohttp.TCPConnector | None = None
        self._served: WeakSet[ResponseHandler] = WeakSet()  # connections that have served before
        self._last: tuple[httpx.URL, aiohttp.ClientRequest] | None = None

    def _open(self, url: httpx.URL) -> aiohttp.TCPConnector:
        """Made with the first request: a connector belongs to the loop it is made in."""
        if self._connector is None:
            # Reading all certificates takes 0.1 s, in vain for a sandbox. True is a context that checks, too.
            context = self._context or (_ssl_context() if url.scheme == "https" else True)
            self._connector = aiohttp.TCPConnector(
                limit=self._connections, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS
            )
        return self._connector

    def _route(self, url: httpx.URL) -> aiohttp.ClientRequest:
        """Where to connect, and by which proxy; made once where all requests share one URL object."""
        if self._last is None or url is not self._last[0]:
            proxy = _proxy(url) if self._trust_env else None
            route = aiohttp.ClientRequest(
                "POST",
                URL(str(url), encoded=True),
                proxy=URL(proxy) if proxy else None,
                loop=asyncio.get_running_loop(),
            )
            self._last = url, route
        return self._last[1]

    async def _connect(self, request: httpx.Request) -> tuple[Connection, ResponseHandler]:
        connector, route = self._open(request.url), self._route(request.url)
        while True:
            connection = await connector.connect(route, [], self._timeout)
            protocol = connection.protocol
            assert protocol is not None  # it has not been released
            # A server that has closed one idle connection will have closed the others: `fresh` takes none of them. And
            # what came over an idle connection, unasked, must not be taken for this request's answer.
            unfit = request.extensions.get(FRESH) or protocol.should_close
            if not unfit or protocol not in self._served:
                return connection, protocol
            connection.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # `aread` takes 2 us.
        body = request.stream
        content = b"".join(body) if isinstance(body, httpx.ByteStream) else await request.aread()
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise httpx.UnsupportedProtocol("not a URL that can be posted to", request=request)
        try:
            connection, protocol = await self._connect(request)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time", request=request) from error
        except _FAULTS as error:
            raise _mapped(error, request) from error
        reused = protocol in self._served
        self._served.add(protocol)
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            if (wire := protocol.transport) is not None:  # lost since: `read` says how
                if len(content) > WATCHED_BYTES:
                    wire.set_write_buffer_limits(0)  # `writing_paused` then says: the kernel has not taken all of it
                wire.write(_head(request) + content)
            message, payload = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # more is to come
                message, payload = await protocol.read()
        except _FAULTS as error:
            if reused and not isinstance(error, HttpProcessingError):
                request.extensions[REUSED] = True
            cut = len(content) > WATCHED_BYTES and protocol.writing_paused
            connection.close()
            raise _mapped(error, request, cut=cut) from error
        except BaseException:
            connection.close()
            raise
        stream: httpx.AsyncByteStream
        if payload.is_eof() and payload.exception() is None:
            stream = Whole(payload.read_nowait())
            _leave(connection, protocol)
        else:
            stream = _Stream(connection, protocol, payload, request)
        return httpx.Response(message.code, headers=message.raw_headers, stream=stream, request=request)

    async def aclose(self) -> None:
        if self._connector is not None:
            await self._connector.close()
            self._connector = None


def _head(request: httpx.Request) -> bytes:
    lines = [b"%b: %b\r\n" % pair for pair in request.headers.raw]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode("ascii"), request.url.raw_path, b"".join(lines))


def _leave(connection: Connection, protocol: ResponseHandler) -> None:
    """After a whole answer: the connection serves again, unless there is still a body in it that nobody reads."""
    if protocol.writing_paused:
        connection.close()
    else:
        connection.release()


class _Stream(httpx.AsyncByteStream):
    """An answer's body, as it comes. Closed before its end it drops the connection: nothing more is read."""

    def __init__(
        self, connection: Connection, protocol: ResponseHandler, payload: aiohttp.StreamReader, request: httpx.Request
    ) -> None:
        self._connection = connection
        self._protocol = protocol
        self._payload = payload
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._payload.readany():
                yield chunk
        except _FAULTS as error:
            raise httpx.ReadError("the answer was cut", request=self._request) from error

    async def aclose(self) -> None:
        if self._payload.at_eof():
            _leave(self._connection, self._protocol)
        else:
            self._connection.close()


def _mapped(error: Exception, request: httpx.Request, *, cut: bool = False) -> httpx.TransportError:
    """The error as httpx has it. Its words are ours or the system's: no URL, hence no proxy's password."""
    if isinstance(error, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)):
        status = f" ({error.status})" if isinstance(error, aiohttp.ClientHttpProxyError) else ""
        return httpx.ProxyError(f"the proxy can't be used{status}", request=request)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(_reason(error, "can't connect"), request=request)
    if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError)):
        return httpx.RemoteProtocolError("the answer is not HTTP", request=request)
    if isinstance(error, aiohttp.InvalidURL):
        return httpx.UnsupportedProtocol("not a URL that can be posted to", request=request)
    if cut:
        return httpx.WriteError("the connection was closed while the body went out", request=request)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("the connection was closed without an answer", request=request)
    return httpx.ReadError(_reason(error, "the connection was lost"), request=request)


def _reason(error: Exception, otherwise: str) -> str:
    """The system's words for it: "Connection refused"."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = inner.errno if isinstance(inner, OSError) else None
    if isinstance(inner, ssl.SSLError):
        return f"{otherwise}: {inner.reason or 'TLS'}"
    if isinstance(inner, socket.gaierror):
        return f"{otherwise}: {inner.strerror}"
    return f"{otherwise}: {os.strerror(number)}" if number else otherwise


def _proxy(url: httpx.URL) -> str | None:
    """The environment's proxy for the URL. (`http://` is for this machine only.)"""
    if url.scheme != "https" or url.host in ("localhost", "::1") or url.host.startswith("127."):
        return None
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(url.host):
        return None
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy
