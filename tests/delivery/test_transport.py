"""Real faults on real sockets: what the network does to a request, and what the Sender makes of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import os
import socket
import ssl
import time
import warnings
from collections import Counter

import anyio
import httpx
import pytest
import trustme

from backfill.errors import SettingsError, StoppedError
from backfill.pack import pack
from backfill.records import Outcome, Request
from backfill.send import Sender, Target
from backfill.transport import FRESH, REUSED, make_transport
from tests.delivery.support import (
    OK,
    SECRET,
    STORE,
    Record,
    Serve,
    events,
    read_request,
    real,
    request,
    reset,
    serving,
)

NOT_MUCH = 0.01


def local(port: int, *, bulk: bool = True, scheme: str = "http", host: str = "127.0.0.1", **options) -> Sender:
    transport = options.pop("transport", None) or make_transport(
        connect_seconds=options.pop("connect_seconds", 5.0), ssl_context=options.pop("ssl_context", None)
    )
    options = {"rate": 10_000, "random": lambda: NOT_MUCH, **options}
    return Sender(Target(f"{scheme}://{host}:{port}/v2.2", STORE, SECRET, bulk=bulk), transport, **options)


def answering(*parts: bytes, pause: float = 0.0) -> Serve:
    """Reads requests for ever and answers each with these parts, then closes unless the parts keep it alive."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            if b"close" in parts[0]:
                return

    return serve


def first_then(*serves: Serve) -> Serve:
    """The first connection is served by the first, and so on; the last serves all that follow."""
    turn = iter(serves)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(turn, serves[-1])(reader, writer)

    return serve


good = answering(OK)


def deliver(serve: Serve, sent: Request | None = None, **options) -> tuple[Outcome, Sender]:
    async def main() -> tuple[Outcome, Sender]:
        record = Record()
        async with serving(serve) as port, local(port, record=record, **options) as one:
            outcome = await one.deliver(sent or request(3))
            assert record.accepted == set(outcome.accepted)
            assert one.snapshot().in_flight == 0
            return outcome, one

    return real(main)


# ---------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("bulk", [True, False])
def test_a_request_as_it_is_on_the_wire(bulk: bool) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.read(1000))
        writer.write(OK)
        await writer.drain()

    sent = request(1)
    outcome, _ = deliver(serve, sent, bulk=bulk)
    assert outcome.accepted == [0]
    first, *lines = seen[0].decode().strip().split("\r\n")
    assert first == f"POST /v2.2/stores/{STORE}/events{'/bulk' if bulk else ''} HTTP/1.1"
    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines}
    assert len(headers) == len(lines)
    assert headers.pop("host").startswith("127.0.0.1:")
    assert headers == {
        "authorization": f"Bearer {SECRET}",
        "content-type": "application/json",
        "accept": "application/json, application/problem+json",
        "accept-encoding": "identity",
        "user-agent": "backfill",
        "content-length": str(len(seen[1])),
    }


def test_a_refused_connection_is_retried() -> None:
    async def main() -> None:
        with socket.socket() as taken:  # a port that nobody listens on
            taken.bind(("127.0.0.1", 0))
            async with local(taken.getsockname()[1]) as one:
                assert (await one.deliver(request(1))).pending == [0]
                assert one.snapshot().requests == 5
                assert "Connection refused" in one._last_trouble

    real(main)


def test_a_name_that_nobody_knows_is_retried() -> None:
    async def main() -> None:
        async with Sender(
            Target("https://nowhere.invalid", STORE, SECRET),
            make_transport(connect_seconds=1.0),
            rate=1000,
            random=lambda: NOT_MUCH,
        ) as one:
            assert (await one.deliver(request(1))).pending == [0]
            # Some networks answer such a name with silence.
            assert one._last_trouble.startswith(("can't connect: ", "no connection in time"))

    real(main)


def test_a_connection_that_never_comes_about_has_a_deadline_of_its_own() -> None:
    async def main() -> None:
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # the queue of a listener that accepts nobody
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            began = time.monotonic()
            async with local(full.getsockname()[1], connect_seconds=0.1) as one:
                assert (await one.deliver(request(1))).pending == [0]
                assert one._last_trouble == "no connection in time"
                assert one.snapshot().concurrency < 8
            assert time.monotonic() - began < 5
        finally:
            for each in (full, *fillers):
                each.close()

    real(main)


async def reads_then_resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    reset(writer)


async def reads_then_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.close()


async def resets_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


@pytest.mark.parametrize("fault", [reads_then_resets, reads_then_closes, resets_at_once])
def test_a_connection_lost_after_the_body_went_out_is_unknown_and_goes_again(fault: Serve) -> None:
    bodies: list[bytes] = []

    async def noting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    outcome, one = deliver(first_then(fault, fault, noting))
    assert outcome.accepted == [0, 1, 2]
    assert one.snapshot().requests == 3
    assert len(bodies) == 1
    outcome, one = deliver(fault)
    assert outcome.pending == [0, 1, 2]
    assert one.snapshot().requests == 5


def test_a_kept_alive_connection_that_was_closed_is_resent_without_counting() -> None:
    """The server takes one request a connection, says nothing of it, and closes when the second arrives."""
    taken: Counter[bytes] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken[await read_request(reader)] += 1
        writer.write(OK)
        await writer.drain()
        await reader.readexactly(1)  # the second one's first byte
        reset(writer)

    async def main() -> None:
        async with serving(serve) as port, local(port, bulk=False) as one:
            for index in range(20):
                began = time.monotonic()
                assert (await one.deliver(Request(events(20), index, index + 1))).accepted
                assert time.monotonic() - began < 1
            assert 35 <= one.snapshot().requests <= 39
            assert one._turns.budget.tokens == 500, "no retry was paid for"
            assert one.snapshot().concurrency == 8
        assert set(taken.values()) == {1}

    real(main)


def test_a_reused_connection_is_told_in_the_request() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        await read_request(reader)

    async def main() -> None:
        async with serving(serve) as port:
            transport = make_transport()
            sent = [httpx.Request("POST", f"http://127.0.0.1:{port}/", content=b"x") for _ in range(2)]
            response = await transport.handle_async_request(sent[0])
            assert await response.aread() == b""
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await transport.handle_async_request(sent[1])
            assert caught.value.request.extensions == {REUSED: True}
            assert sent[0].extensions == {}
            await transport.aclose()

    real(main)


def test_a_new_connection_is_taken_on_demand_and_the_old_ones_go() -> None:
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        mine = len(connections) - 1
        while True:
            await read_request(reader)
            connections[mine] += 1
            writer.write(OK)
            await writer.drain()

    async def main() -> None:
        async with serving(serve) as port:
            transport = make_transport()

            async def post(*, fresh: bool) -> None:
                sent = httpx.Request("POST", f"http://127.0.0.1:{port}/", content=b"x", extensions={FRESH: fresh})
                await (await transport.handle_async_request(sent)).aread()

            for fresh in (False, False, True, False, True):
                await post(fresh=fresh)
            assert connections == [2, 2, 1]
            await transport.aclose()

    real(main)


# -------------------------------------------------------------------------------------------------- answers


def test_an_answer_that_trickles_has_one_deadline() -> None:
    drip = answering(b"HTTP/1.1 202 Accepted\r\n", *[b"X"] * 1000, pause=0.05)
    began = time.monotonic()
    outcome, one = deliver(drip, deadline=0.3)
    assert outcome.pending == [0, 1, 2]
    assert 1.4 < time.monotonic() - began < 6
    assert one.snapshot().no_answer == 5


def test_a_body_that_trickles_has_the_same_deadline_and_a_cancelled_request_leaks_no_connection() -> None:
    drip = answering(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n", *[b"X"] * 1000, pause=0.05)

    async def main() -> None:
        open_now = 0
        most = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            try:
                await drip(reader, writer)
            finally:
                open_now -= 1

        async with serving(serve) as port, local(port, transport=make_transport(connections=4)) as one:
            for _ in range(3):
                with anyio.move_on_after(0.2):
                    async with anyio.create_task_group() as group:
                        for _ in range(8):
                            group.start_soon(one.deliver, request(1))
                assert one.snapshot().in_flight == 0
            await anyio.sleep(0.2)
            assert open_now == 0
            assert most <= 8

    real(main)


@pytest.mark.parametrize(
    "head,body",
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\nConnection: close\r\n\r\n", b'{"total": 3'),
        (b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"ff\r\nabc"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: nonsense\r\nConnection: close\r\n\r\n", b""),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", b'{"tot'),
        (b"this is not HTTP, close\r\n\r\n", b""),
        (b"SSH-2.0-OpenSSH_9.6 close\r\n", b""),
        (b"HTTP/1.1 202 Accepted close\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", b""),
    ],
    ids=["cut", "cut chunk", "bad length", "cut JSON", "not HTTP", "SSH", "endless header"],
)
def test_a_202_that_is_cut_or_lies_is_unknown(head: bytes, body: bytes) -> None:
    outcome, one = deliver(answering(head, body))
    assert outcome.pending == [0, 1, 2]
    assert one.snapshot().requests == 5
    assert deliver(first_then(answering(head, body), good))[0].accepted == [0, 1, 2]


def test_an_answer_longer_than_it_says_spoils_no_other() -> None:
    """Bytes after the answer are not taken for the next one's."""
    refusal = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"

    async def main() -> None:
        async with serving(answering(OK + refusal)) as port, local(port, bulk=False) as one:
            for index in range(5):
                assert (await one.deliver(Request(events(5), index, index + 1))).accepted == [index]
                await anyio.sleep(0.01)

    real(main)


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones() -> None:
    """It comes over an idle connection, which is then left."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(OK)
            await writer.drain()

    async def main() -> None:
        async with serving(serve) as port, local(port, bulk=False) as one:
            for index in range(3):
                assert (await one.deliver(Request(events(3), index, index + 1))).accepted == []
                await anyio.sleep(0.1)
        assert connections == 3

    real(main)


@pytest.mark.parametrize(
    "kind",
    ["5 MB", "gzip bomb", "endless", "not JSON", "terminal escapes"],
    ids=lambda kind: kind.replace(" ", "-"),
)
def test_a_monstrous_problem_is_read_to_64_kib_and_shown_inert(kind: str) -> None:
    body = {
        "5 MB": b'{"title": "' + b"x" * 5_000_000 + b'"}',
        "gzip bomb": gzip.compress(b"\0" * 50_000_000),
        "endless": b'{"title": "' + b"x" * 200_000,
        "not JSON": b'{"title": ' + b"[" * 50_000,
        "terminal escapes": b'{"title": "\\u001b[2J", "detail": "\\u202ea\x1b]0;b\x07"}',
    }[kind]
    length = b"" if kind == "endless" else b"Content-Length: %d\r\n" % len(body)
    encoding = b"Content-Encoding: gzip\r\n" if kind == "gzip bomb" else b""
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n" + length + encoding + b"\r\n"
    wrote = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal wrote
        await read_request(reader)
        writer.write(head)
        for start in range(0, len(body), 10_000) if kind != "endless" else iter(int, 1):
            writer.write(body[start : start + 10_000])
            await writer.drain()
            wrote += 10_000

    began = time.monotonic()
    outcome, _ = deliver(serve, request(1))
    assert time.monotonic() - began < 3
    ((_, refusal),) = outcome.refused
    assert refusal.status == 400
    assert f"{refusal.title}{refusal.detail}".isprintable() or "�" in refusal.detail
    assert len(refusal.title) + len(refusal.detail) < 15_000
    if kind == "terminal escapes":
        # A raw control character makes it invalid JSON: it is shown as the text that it is.
        assert "\\x1b]0;b\\x07" in refusal.detail


def test_a_server_that_answers_413_and_closes_while_the_body_goes_out() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if length > 2_000_000:
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        await reader.readexactly(length)
        writer.write(OK)
        await writer.drain()

    outcome, one = deliver(serve, Request(events(4, size=2_100_000), 0, 4))
    assert len(outcome.refused) + len(outcome.pending) == 4, "not one goes through"
    outcome, one = deliver(serve, Request(events(4, size=900_000), 0, 4))
    assert outcome.accepted == [0, 1, 2, 3]
    assert one.snapshot().requests <= 2 + 1 + 4


def test_a_server_that_closes_while_the_body_goes_out_gets_half() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if length > 500_000:
            await reader.read(1000)
            reset(writer)
            return
        await reader.readexactly(length)
        writer.write(OK)
        await writer.drain()

    for size in (90_000, 2_000_000 // 8):  # all in the kernel's buffer, or more than it takes
        outcome, one = deliver(serve, Request(events(8, size=size), 0, 8))
        assert outcome.accepted == list(range(8))
        assert one.snapshot().requests <= 2 * 15


# ------------------------------------------------------------------------------------------------------- TLS


def tls(issuer: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    day = dt.datetime.now(dt.UTC)
    certificate = issuer.issue_cert(
        *names,
        **({"not_before": day.replace(year=2019), "not_after": day.replace(year=2020)} if expired else {}),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize(
    "case,reason",
    [("wrong host", "match"), ("expired", "expired"), ("unknown", "issuer"), ("self-signed", "self")],
)
def test_a_certificate_that_is_not_valid_ends_the_run_at_once(case: str, reason: str, authority: trustme.CA) -> None:
    if case == "wrong host":
        context, trusted = tls(authority, "other.example"), trusting(authority)
    elif case == "expired":
        context, trusted = tls(authority, "localhost", expired=True), trusting(authority)
    elif case == "unknown":
        context, trusted = tls(trustme.CA(), "localhost"), trusting(authority)
    else:
        context, trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trusting(authority)
        root = trustme.CA()
        root_pem = root.private_key_pem.bytes() + root.cert_pem.bytes()
        with trustme.Blob(root_pem).tempfile() as path:
            context.load_cert_chain(path)

    async def main() -> None:
        got: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.read(10))

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)  # the server's side of a failed handshake
        async with (
            serving(serve, context) as port,
            local(port, scheme="https", host="localhost", ssl_context=trusted) as one,
        ):
            with pytest.raises(SettingsError, match=reason) as caught:
                await one.deliver(request(1))
            assert caught.value.status == 78
            assert "no switch" in caught.value.hint
            assert one.snapshot().requests == 1
        assert b"".join(got) == b""

    real(main)


def test_a_valid_certificate_is_fine(authority: trustme.CA) -> None:
    async def main() -> None:
        options = {"scheme": "https", "host": "localhost", "ssl_context": trusting(authority)}
        async with serving(good, tls(authority, "localhost")) as port, local(port, **options) as one:
            for _ in range(3):
                assert (await one.deliver(request(1))).accepted == [0]

    real(main)


def test_a_tls_handshake_that_fails_otherwise_is_retried(authority: trustme.CA) -> None:
    async def main() -> None:
        for serve in (good, resets_at_once):  # no TLS at all, and a handshake that is cut
            options = {"ssl_context": trusting(authority), "connect_seconds": 0.1}
            async with (
                serving(serve) as port,
                local(port, scheme="https", host="localhost", **options) as one,
            ):
                assert (await one.deliver(request(1))).pending == [0]

    real(main)


# ----------------------------------------------------------------------------------------------------- proxies


@pytest.fixture
def environment():
    """An environment without proxies, put back afterwards."""
    names = [f"{name}{suffix}" for name in ("HTTP", "HTTPS", "ALL", "NO") for suffix in ("_PROXY", "_proxy")]
    names += [name.lower() for name in names]
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    yield os.environ
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(before)


def test_https_proxy_is_honoured_and_its_password_is_not_shown(environment) -> None:
    async def main() -> None:
        heads: list[bytes] = []

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        async with serving(proxy) as port:
            environment["HTTPS_PROXY"] = f"http://user:hunter2@127.0.0.1:{port}"
            for trust_env, pending in ((True, [0]), (False, [0])):
                target = Target("https://api.example.invalid/v2.2", STORE, SECRET)
                transport = make_transport(trust_env=trust_env)
                async with Sender(target, transport, rate=1000, random=lambda: NOT_MUCH) as one:
                    assert (await one.deliver(request(1))).pending == pending
                    assert "hunter2" not in one._last_trouble
                    assert ("proxy" in one._last_trouble) == trust_env
            assert len(heads) == 5
            assert heads[0].startswith(b"CONNECT api.example.invalid:443")
            assert b"Proxy-Authorization: Basic" in heads[0]
            assert SECRET.encode() not in b"".join(heads)

    real(main)


def test_a_proxy_passes_the_connection_on_and_its_certificate_is_the_servers(environment, authority) -> None:
    async def main() -> None:
        heads: list[bytes] = []
        seen: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(int(seen[-1].lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                writer.write(OK)
                await writer.drain()

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            there, back = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while some := await source.read(65_536):
                    sink.write(some)
                sink.close()

            await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

        async with serving(serve, tls(authority, "api.example.invalid")) as port, serving(proxy) as other:
            environment["HTTPS_PROXY"] = f"http://127.0.0.1:{other}"
            target = Target("https://api.example.invalid/v2.2", STORE, SECRET)
            async with Sender(target, make_transport(ssl_context=trusting(authority)), rate=1000) as one:
                for _ in range(3):
                    assert (await one.deliver(request(1))).accepted == [0]
        assert [head.split(b"\r\n")[0] for head in heads] == [b"CONNECT api.example.invalid:443 HTTP/1.1"]
        assert SECRET.encode() not in b"".join(heads)
        assert len(seen) == 3
        assert seen[0].startswith(f"POST /v2.2/stores/{STORE}/events HTTP/1.1".encode())

    real(main)


def test_this_machine_is_never_asked_for_through_a_proxy(environment) -> None:
    environment["HTTP_PROXY"] = environment["ALL_PROXY"] = "http://127.0.0.1:1"
    assert deliver(good)[0].accepted == [0, 1, 2]


def test_no_proxy_is_honoured(environment) -> None:
    from backfill.transport.connections import _proxy

    environment["HTTPS_PROXY"] = "proxy.example:3128"
    assert _proxy(httpx.URL("https://api.example/")) == "http://proxy.example:3128"
    environment["NO_PROXY"] = "api.example"
    assert _proxy(httpx.URL("https://api.example/")) is None
    assert _proxy(httpx.URL("https://other.example/")) == "http://proxy.example:3128"
    assert _proxy(httpx.URL("https://localhost/")) is None


# ---------------------------------------------------------------------------------------------------- together


def test_a_server_with_faults_gets_everything_in_the_end() -> None:
    """2 % resets, 2 % 503 and some 429: all delivered, each id seen."""

    async def main() -> None:
        turn = 0
        seen: set[bytes] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal turn
            while True:
                body = await read_request(reader)
                turn += 1
                if turn % 50 == 7:
                    reset(writer)
                    return
                if turn % 50 == 19:
                    writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                elif turn in (
                    31,
                    331,
                ):  # each costs 30 % of the rate, and a second gives back 1/s: few of them
                    writer.write(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n")
                else:
                    seen.add(body)
                    writer.write(OK)
                await writer.drain()

        record = Record()
        found = events(1000)
        async with serving(serve) as port, local(port, bulk=False, record=record, rate=3000) as one:
            rest = iter(pack(found, bulk=False))

            async def worker() -> None:
                for each in rest:
                    assert (await one.deliver(each)).accepted

            async with anyio.create_task_group() as group:
                for _ in range(32):
                    group.start_soon(worker)
            assert one.snapshot().rate_limited == 2
        assert len(record.accepted) == 1000
        assert seen == set(found.bodies)

    real(main)


def test_nothing_is_left_open() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deliver(good)
        deliver(reads_then_resets)
    assert [str(each.message) for each in caught] == []


def test_an_outage_on_a_real_socket_opens_the_breaker() -> None:
    """A clock that runs 1,000 times as fast: half an hour is 2 seconds."""

    class Fast:
        def monotonic(self) -> float:
            return time.monotonic() * 1000

        def wall(self) -> float:
            return time.time()

        async def sleep(self, seconds: float) -> None:
            await anyio.sleep(seconds / 1000)

    async def main() -> None:
        async with serving(resets_at_once) as port, local(port, bulk=False, clock=Fast()) as one:

            async def all_workers() -> None:
                async with anyio.create_task_group() as group:
                    for index in range(60):
                        group.start_soon(one.deliver, Request(events(60), index, index + 1))

            with pytest.raises(BaseExceptionGroup) as caught:
                await all_workers()
            assert all(isinstance(error, StoppedError) for error in caught.value.exceptions)

    real(main)
