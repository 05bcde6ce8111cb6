"""httpx's requests over aiohttp's connections.

httpx is the interface: its requests, responses and exceptions, so that a test can put a MockTransport or an
ASGITransport in this place. Its own pool is not used: it scans all connections for each request (100 to 1,100
requests/s here, against 13,000 through this module) and leaks places when a request is cancelled
(https://github.com/encode/httpcore/issues/1093).

Why aiohttp, and not pyreqwest, which does 23,000/s in this place: pyreqwest 0.15 raises one ConnectError for
a refused connection, one that is reset after the body went out, and one that is closed by keep-alive, told
apart by words in the message only; and it loses the 413 of a server that answers and closes while the body
still goes out. httpx-aiohttp 0.2 calls a connection that was reset a connect time-out and lets a malformed
answer's error through unmapped.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
import certifi
import httpx
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

__all__ = ["FRESH", "REUSED", "make_transport"]

# In a request's extensions: True when its connection had served before and ended before an answer began. The
# server closed it between two requests (RFC 9112, 9.3.1), which says nothing about this one.
REUSED = "reused_connection"
# Put there by who sends: True takes a connection that has not served before.
FRESH = "fresh_connection"

CONNECTIONS = 64
CONNECT_SECONDS = 5.0
# Servers close idle connections after 5 s (Node), 60 s (AWS) or 75 s (nginx): leave before they do.
KEEP_ALIVE_SECONDS = 4.0
# The kernel takes this much at once: below it there is no telling how much of a body went out.
WATCHED_BYTES = 65_536
ONE_WRITE_BYTES = 2**20


def make_transport(
    *,
    connections: int = CONNECTIONS,
    connect_seconds: float = CONNECT_SECONDS,
    ssl_context: ssl.SSLContext | None = None,
    trust_env: bool = True,
) -> httpx.AsyncBaseTransport:
    """A transport for one event loop, to be closed with `aclose()` (the Sender does).

    `connections`: at least the Sender's concurrency; `connect_seconds`: for look-up, TCP and TLS together.

    Certificates are always checked, against the system's store and certifi's; SSL_CERT_FILE or SSL_CERT_DIR
    replaces both. `trust_env`: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are obeyed, as every tool here
    does; this machine itself is never asked for through a proxy. No redirects, no cookies, no decompression,
    no .netrc.
    """
    return _Transport(connections, connect_seconds, ssl_context, trust_env)


def _ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        # A slim container has no system store; a company's proxy has its certificate there and nowhere else.
        context.load_verify_locations(certifi.where())
    return context


class _Attempt:
    """What the connector is told of one request, and tells of it."""

    __slots__ = ("fresh", "reused")

    def __init__(self, *, fresh: bool) -> None:
        self.fresh = fresh
        self.reused = False


_attempt: ContextVar[_Attempt] = ContextVar("attempt")


class _Connector(aiohttp.TCPConnector):
    """Remembers which connections have served before."""

    def __init__(self, connections: int, context: ssl.SSLContext | bool) -> None:
        super().__init__(limit=connections, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._served: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        attempt = _attempt.get()
        connection = await super().connect(req, traces, timeout)
        while attempt.fresh and connection.protocol in self._served:
            # A server that has closed one idle connection will have closed the others.
            connection.close()
            connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        if protocol is not None:
            if protocol in self._served:
                attempt.reused = True
            else:
                self._served.add(protocol)
        return connection


class _Transport(httpx.AsyncBaseTransport):
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
        self._session: aiohttp.ClientSession | None = None
        self._last: tuple[httpx.URL | None, URL, str | None] = None, URL(), None

    def _open(self, url: httpx.URL) -> aiohttp.ClientSession:
        """Made with the first request: a session belongs to the loop it is made in."""
        if self._session is None:
            # Reading all certificates takes 0.1 s, in vain for a sandbox. True is a context that checks, too.
            context = self._context or (_ssl_context() if url.scheme == "https" else True)
            self._session = aiohttp.ClientSession(
                connector=_Connector(self._connections, context),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=self._timeout,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    def _route(self, url: httpx.URL) -> tuple[URL, str | None]:
        """The URL as aiohttp takes it, and the proxy; found once where all requests share one URL object."""
        if url is not self._last[0]:
            self._last = url, URL(str(url), encoded=True), _proxy(url) if self._trust_env else None
        return self._last[1:]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._open(request.url)
        url, proxy = self._route(request.url)
        content = await request.aread()
        attempt = _Attempt(fresh=bool(request.extensions.get(FRESH)))
        _attempt.set(attempt)
        upload = aiohttp.UploadTracker() if len(content) > WATCHED_BYTES else None
        try:
            answer = await session.request(
                request.method,
                url,
                # aiohttp writes bytes in one go, and warns of it above 1 MiB; a file's it writes bit by bit.
                data=content if len(content) <= ONE_WRITE_BYTES else io.BytesIO(content),
                headers=CIMultiDict(
                    (name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw
                ),
                allow_redirects=False,
                proxy=proxy,
                upload_tracker=upload,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _mapped(error, request, attempt, upload) from error
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Stream(answer, request), request=request
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Stream(httpx.AsyncByteStream):
    """An answer's body, as it comes. Closed before its end it drops the connection: nothing more is read."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise httpx.ReadError("the answer was cut", request=self._request) from error

    async def aclose(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def _mapped(
    error: Exception, request: httpx.Request, attempt: _Attempt, upload: aiohttp.UploadTracker | None
) -> httpx.TransportError:
    """The error as httpx has it. Its words are ours or the system's: no URL, hence no proxy's password."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("no connection in time", request=request)
    if isinstance(error, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)):
        status = f" ({error.status})" if isinstance(error, aiohttp.ClientHttpProxyError) else ""
        return httpx.ProxyError(f"the proxy can't be used{status}", request=request)
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(_reason(error, "can't connect"), request=request)
    if isinstance(error, aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError("the answer is not HTTP", request=request)
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return httpx.UnsupportedProtocol("not a URL that can be posted to", request=request)
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return httpx.ReadTimeout("no answer in time", request=request)
    if attempt.reused:
        request.extensions[REUSED] = True
    if upload is not None and not _went_out(upload):
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


def _went_out(upload: aiohttp.UploadTracker) -> bool:
    """Whether the kernel took the whole body. Not that the server did."""
    done = upload.upload_complete
    return done.done() and not done.cancelled() and done.exception() is None


def _proxy(url: httpx.URL) -> str | None:
    """The environment's proxy for the URL."""
    if url.host in ("localhost", "::1") or url.host.startswith("127."):
        return None
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(url.host):
        return None
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return proxy
