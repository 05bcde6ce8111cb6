"""httpx's requests over aiohttp's connections.

httpx is the interface: its requests, responses and exceptions, so that a test can put a MockTransport or an
ASGITransport in this place. Its own pool is not used: it scans all connections for each request (100 to 1,100
requests/s here, against 30,000 through this module) and leaks places when a request is cancelled
(https://github.com/encode/httpcore/issues/1093).

Of aiohttp it takes the connector (look-up, TLS, proxies, pool) and the parser of answers, and not ClientSession, whose
redirects, cookies, tracing and kinds of payload nobody needs here: 87 us of CPU a request with it, 33 us without. (Over
httptools it would be 27 us, and all guards against answers that are none, too long or unasked for would be ours.)

Why aiohttp, and not pyreqwest: pyreqwest 0.15 raises one ConnectError for a refused connection, one that is reset
after the body went out, and one that is closed by keep-alive, told apart by words in the message only; and it
loses the 413 of a server that answers and closes while the body still goes out. httpx-aiohttp 0.2 calls a
connection that was reset a connect time-out and lets a malformed answer's error through unmapped.
"""

from __future__ import annotations

import ssl

import httpx

__all__ = ["FRESH", "REUSED", "Whole", "make_transport"]

# In a request's extensions: True when its connection had served before and ended before an answer began. The
# server closed it between two requests (RFC 9112, 9.3.1), which says nothing about this one.
REUSED = "reused_connection"
# Put there by who sends: True takes a connection that has not served before.
FRESH = "fresh_connection"

CONNECTIONS = 64
CONNECT_SECONDS = 5.0


class Whole(httpx.ByteStream):
    """An answer's body that came with its head: `content` needs no waiting."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.content = content


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
    # aiohttp takes a tenth of a second to import, which commands that send nothing need not spend.
    from backfill.transport.connections import Transport

    return Transport(connections, connect_seconds, ssl_context, trust_env)
