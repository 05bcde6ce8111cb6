"""Networks and servers that fail, each fault made on a real socket before the real command."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import os
import pty
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path

import anyio
import pytest
import trustme

from backfill.observer import Observer
from backfill.run import run as run_here
from backfill.settings import Flags
from backfill.world import World
from tests.delivery.support import OK, Serve, read_request, reset
from tests.end_to_end.picky import PickyApi
from tests.end_to_end.support import STORE, Run, Shop, balanced, eventually, finish
from tests.faults.wire import answering, first_then, listening

FAST = ("--rate", "5000")


def at(shop: Shop, port: int, scheme: str = "http", host: str = "127.0.0.1") -> None:
    """Send to this port of this machine."""
    shop.env["REDO_BASE_URL"] = f"{scheme}://{host}:{port}/v2.2"


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """An answer's bytes; a header may hold any character up to U+00FF."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ids(body: bytes) -> list[str]:
    content = json.loads(body)
    return [event["uniqueId"] for event in content.get("events", [content])]


# --------------------------------------------------------------------------------- no connection (line 19 of the list)


@pytest.mark.slow
@pytest.mark.parametrize(("host", "reason"), [("api.example.invalid", "unknown"), ("127.0.0.1", "refused")])
def test_a_name_that_nobody_knows_and_a_port_where_nobody_listens_are_retried(lone_shop, host, reason):
    shop = lone_shop
    shop.orders(30)
    shop.mapping()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        at(shop, taken.getsockname()[1], "https", host)
        run = shop.deliver("--limit", "1", status=75)
    assert run.events == {"total": 30, "pending": 30}
    assert (run.summary["requests"], run.summary["retries"]) == (5, 4)
    assert run.summary["statuses"] == {}


@pytest.mark.slow
def test_a_handshake_that_fails_or_hangs_and_a_connection_that_is_reset_are_retried(lone_shop, authority):
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await reader.read()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    def through(port: int) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner, outer = await asyncio.open_connection("127.0.0.1", port)

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while some := await source.read(65_536):
                    sink.write(some)
                    await sink.drain()
                sink.close()

            await asyncio.gather(copy(reader, outer), copy(inner, writer), return_exceptions=True)

        return serve

    shop = lone_shop
    ids_of_all = shop.orders(1)
    shop.mapping()
    bodies: list[bytes] = []
    trust(shop, authority)
    with (
        listening(
            answering(lambda body, *_: bodies.append(body) or OK), server_context(authority, "localhost")
        ) as good,
        listening(first_then(garbage, drop, hang, through(good))) as port,
    ):
        at(shop, port, "https", "localhost")
        began = time.monotonic()
        run = shop.deliver()
    # A handshake has 5 seconds, of the 60 that a whole request may take.
    assert 4 < time.monotonic() - began < 45
    assert run.events == {"total": 1, "accepted": 1}
    assert run.summary["requests"] == 4
    assert {one for body in bodies for one in ids(body)} == ids_of_all


# ----------------------------------------------------------------------------------------------- certificates (also 19)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(issuer: trustme.CA, *names: str, **dates: dt.datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(*names, **dates).configure_cert(context)
    return context


def self_signed(root: trustme.CA, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = folder / "root.pem"
    pem.write_bytes(root.private_key_pem.bytes() + root.cert_pem.bytes())
    context.load_cert_chain(pem)
    return context


def trust(shop: Shop, issuer: trustme.CA) -> None:
    path = shop.folder / "authority.pem"
    issuer.cert_pem.write_to_path(str(path))
    shop.env["SSL_CERT_FILE"] = str(path)


@pytest.mark.parametrize(
    ("case", "reason"),
    [("wrong host", "match"), ("expired", "expired"), ("unknown", "issuer"), ("self-signed", "self")],
)
def test_a_certificate_that_is_not_valid_stops_the_run_before_anything_is_sent(lone_shop, authority, case, reason):
    day = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    context = {
        "wrong host": lambda: server_context(authority, "api.example.com"),
        "expired": lambda: server_context(authority, "localhost", not_before=day, not_after=day.replace(year=2021)),
        "unknown": lambda: server_context(trustme.CA(), "localhost"),
        "self-signed": lambda: self_signed(trustme.CA(), lone_shop.folder),
    }[case]()
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(10))

    shop = lone_shop
    trust(shop, authority)
    # What turns checking off elsewhere.
    shop.env |= {"PYTHONHTTPSVERIFY": "0", "CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "", "SSL_NO_VERIFY": "1"}
    shop.orders(40)
    shop.mapping()
    with listening(serve, context) as port:
        at(shop, port, "https", "localhost")
        run = shop.deliver("--concurrency", "4", status=78)
    assert b"".join(got) == b""
    assert run.events == {"total": 40, "pending": 40}
    assert run.summary["requests"] <= 4
    assert run.summary["retries"] == 0
    assert "certificate" in run.done.err
    assert reason in run.done.err
    assert "no switch" in run.done.err


def test_a_valid_certificate_is_taken_and_no_option_turns_the_check_off(lone_shop, authority):
    shop = lone_shop
    trust(shop, authority)
    shop.orders(40)
    shop.mapping()
    with listening(answering(), server_context(authority, "localhost")) as port:
        at(shop, port, "https", "localhost")
        assert shop.deliver(*FAST).events == {"total": 40, "accepted": 40}
    assert not re.search(r"insecure|verify|certif|tls|ssl", shop.do("run", "--help").out, re.IGNORECASE)


# ------------------------------------------------------------------------------------------------ connections (20, 21)


@pytest.mark.parametrize(("endpoint", "events"), [("single", 20), ("bulk", 450)])
def test_a_reset_after_the_body_went_out_brings_the_same_bytes_again(lone_shop, endpoint, events):
    shop = lone_shop
    expected = shop.orders(events)
    shop.mapping(delivery={"endpoint": endpoint})
    bodies: Counter[bytes] = Counter()

    def answer(body: bytes, *_: object) -> bytes | None:
        bodies[body] += 1
        return OK if bodies[body] == 2 else None

    with listening(answering(answer)) as port:
        at(shop, port)
        run = shop.deliver(*FAST)
    assert run.events == {"total": events, "accepted": events}
    assert set(bodies.values()) == {2}
    assert sorted(one for body in bodies for one in ids(body)) == sorted(expected)
    assert run.summary["retries"] == len(bodies)


@pytest.mark.slow
def test_kept_alive_connections_that_were_just_closed_cost_no_attempt(lone_shop):
    """Every connection serves one request, and is reset when the next one comes over it."""
    shop = lone_shop
    expected = shop.orders(120)
    shop.mapping()
    taken: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.update(ids(await read_request(reader)))
        writer.write(OK)
        await writer.drain()
        await reader.readexactly(1)
        reset(writer)

    with listening(serve) as port:
        at(shop, port)
        began = time.monotonic()
        run = shop.deliver(*FAST)
    # Were they counted, 35 of them would empty the retry budget, and the run would stand still for 30 s at a time.
    assert time.monotonic() - began < 25
    assert run.events == {"total": 120, "accepted": 120}
    assert run.summary["retries"] > 40
    assert set(taken) == expected
    assert set(taken.values()) == {1}


# ---------------------------------------------------------------------------------------------------- odd answers (23)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "seen", "before"),
    [
        (http("200 OK", b"<html><title>Sign in</title>", "Content-Type: text/html"), "200 OK, text/html", 0),
        (http("204 No Content"), "204 No Content", 3),
        (http("302 Found", b"", "Location: http://localhost:OTHER/in?next=1"), "302 Found, to http://localhost/in", 0),
        (http("307 Temporary Redirect", b"", "Location: http://localhost:OTHER/v3"), "307 Temporary Redirect, to", 3),
        (http("202 Accepted", b"", "x-amzn-waf-action: challenge"), "202 from a firewall", 0),
    ],
    ids=["html", "204", "302", "307", "challenge"],
)
def test_the_second_answer_in_a_row_that_is_no_answer_stops_the_run(lone_shop, answer, seen, before):
    """78 where nothing was ever accepted, for then it is the base URL that is wrong; else 75."""
    shop = lone_shop
    expected = shop.orders(30)
    shop.mapping()
    elsewhere: list[bytes] = []
    taken: list[str] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()

    with listening(other) as second:
        odd = answer.replace(b"OTHER", str(second).encode())

        def some(body: bytes, turn: int, _now: float) -> bytes:
            if turn <= before:
                taken.extend(ids(body))
            return OK if turn <= before else odd

        with listening(answering(some)) as port:
            at(shop, port)
            run = shop.deliver("--concurrency", "1", status=75 if before else 78)
    assert run.events == {"total": 30, "pending": 30 - before} | ({"accepted": before} if before else {})
    assert run.summary["requests"] == before + 2
    assert len(set(taken)) == before
    assert set(taken) <= expected
    assert seen in run.done.err
    assert "2 times in a row" in run.done.err
    assert elsewhere == [], "the secret went to another host"


# ----------------------------------------------------------------------------------------- refusals and sizes (24 to 27)


@pytest.mark.slow
def test_a_bulk_400_is_split_until_the_bad_ones_stand_alone(lone_shop):
    """1, 2, 5 and 100 bad events of 100: all of these are refused, the others are accepted once."""
    shop = lone_shop
    expected = shop.orders(500)
    shop.mapping(delivery={"endpoint": "bulk"})
    bad = [{0}, {137, 138}, {200, 219, 250, 251, 299}, set(range(300, 400)), set()]
    requests: Counter[int] = Counter()

    def answer(events):
        numbers = {int(event["uniqueId"].removeprefix("order:")) for event in events}
        (hundred,) = {number // 100 for number in numbers}
        requests[hundred] += 1
        return (400, {"title": "Bad Request", "detail": "no"}) if numbers & bad[hundred] else (202, None)

    with PickyApi(answer=answer) as api:
        shop.env["REDO_BASE_URL"] = api.base_url
        run = shop.deliver(*FAST, status=3)
    refused = {f"order:{number}" for numbers in bad for number in numbers}
    assert run.events == {"total": 500, "accepted": 392, "refused": 108}
    assert {line["event"]["uniqueId"] for line in run.lines("rejected.ndjson")} == refused
    assert api.taken == Counter(expected - refused)
    print({len(numbers): requests[hundred] - 1 for hundred, numbers in enumerate(bad)}, "bad events: extra requests")
    for hundred, numbers in enumerate(bad):
        assert requests[hundred] - 1 <= 15 * len(numbers)


def results(**changes: object) -> bytes:
    items = [{"index": index, "status": "queued"} for index in range(100)]
    return json.dumps({"total": 100, "accepted": 100, "rejected": 0, "events": items, **changes}).encode()


def indexes(numbers: Iterable[object], word: str = "queued") -> list[dict[str, object]]:
    return [{"index": number, "status": word} for number in numbers]


ODD_RESULTS = {
    "out of range": results(events=indexes(range(1, 101))),
    "one twice": results(events=indexes([*range(99), 98])),
    "too few": results(events=indexes(range(99))),
    "texts for numbers": results(events=indexes(map(str, range(100)))),
    "a lying total": results(total=99),
    "a lying sum": results(accepted=99, rejected=1),
    "an unknown word": results(events=indexes(range(100), "stored")),
    "cut JSON": results()[:-2],
    "no JSON": b"<html>queued</html>",
    "over 64 KiB": results(more="x" * 70_000),
    "gzip": gzip.compress(results()),
}


@pytest.mark.slow
def test_results_that_do_not_add_up_are_no_acceptance(lone_shop):
    """Each of them answers one request, and that comes again with the same bytes."""
    shop = lone_shop
    events = 100 * len(ODD_RESULTS)
    shop.orders(events)
    shop.mapping(delivery={"endpoint": "bulk"})
    bodies: Counter[bytes] = Counter()
    odd = iter(ODD_RESULTS.values())

    def answer(body: bytes, *_: object) -> bytes:
        bodies[body] += 1
        return http("202 Accepted", next(odd)) if bodies[body] == 1 else OK

    with listening(answering(answer)) as port:
        at(shop, port)
        run = shop.deliver()
    assert {len(ids(body)) for body in bodies} == {100}
    assert set(bodies.values()) == {2}
    assert next(odd, None) is None
    assert run.events == {"total": events, "accepted": events}
    assert run.summary["retries"] == len(ODD_RESULTS)


def test_an_answer_that_is_cut_is_no_acceptance(lone_shop):
    """After its status line, in its head, in its body, and in a chunk; with the connection closed or reset."""
    heads = [b"HTTP/1.1 202 Accepted\r\n", b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\n{}"]
    heads += [b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}", b"HTTP/1.1 20"]
    cuts = [(head, how) for head in heads for how in ("close", "reset")]
    seen: Counter[str] = Counter()
    left = iter(cuts)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (one,) = ids(await read_request(reader))
            seen[one] += 1
            if seen[one] == 2:
                writer.write(OK)
                await writer.drain()
                continue
            head, how = next(left)
            writer.write(head)
            await writer.drain()
            if how == "reset":
                reset(writer)
            return

    shop = lone_shop
    shop.orders(len(cuts))
    shop.mapping()
    with listening(serve) as port:
        at(shop, port)
        run = shop.deliver()
    assert run.events == {"total": len(cuts), "accepted": len(cuts)}
    assert set(seen.values()) == {2}


@pytest.mark.slow
def test_a_body_that_is_too_large_is_halved_and_an_event_that_is_too_large_is_refused(shop, start):
    """The server says 413 while the body still goes out, and closes."""
    box = start("max_body=9000")
    shop.env["REDO_BASE_URL"] = box.base_url
    expected = shop.orders(300)
    with (shop.folder / "orders.csv").open("a") as file:
        file.write(f"300,2024-01-01T00:00:00Z,c300@example.com,1,{'x' * 30_000}\n")
    shop.mapping(delivery={"endpoint": "bulk"})
    run = shop.deliver(*FAST, status=3)
    assert run.events == {"total": 301, "accepted": 300, "refused": 1}
    (line,) = run.lines("rejected.ndjson")
    assert (line["event"]["uniqueId"], line["status"]) == ("order:300", 413)
    assert box.ids(STORE) == expected
    assert box.summary().duplicates == 0
    assert run.summary["statuses"].keys() == {"202", "413"}


# ------------------------------------------------------------------------------------------------------ rate limits (28)


@pytest.mark.slow
def test_a_429_pauses_all_workers_in_whatever_form_it_comes(lone_shop):
    """Measured at the server: once what was in flight has arrived, no request begins before the pause is over."""
    shop = lone_shop
    expected = shop.orders(260)
    shop.mapping()
    pauses: list[tuple[float, float]] = []
    starts: list[float] = []
    taken: Counter[str] = Counter()
    forms = {
        40: lambda: "Retry-After: 2",
        100: lambda: f"Retry-After: {formatdate(time.time() + 3, usegmt=True)}",
        140: lambda: f"Retry-After: {formatdate(time.time() - 3600, usegmt=True)}",
        170: lambda: "Retry-After: in a while",
        200: lambda: "Retry-After: -5",
        230: lambda: "X-Nothing: said",
    }

    def answer(body: bytes, turn: int, now: float) -> bytes:
        starts.append(now)
        if turn in forms:
            # A date is in whole seconds: the pause it asks for is 2 to 3 s.
            if turn in (40, 100):
                pauses.append((now, now + 2.0))
            return http("429 Too Many Requests", b"", forms[turn]())
        taken.update(ids(body))
        return OK

    with listening(answering(answer)) as port:
        at(shop, port)
        run = shop.deliver("--rate", "300")
    assert run.events == {"total": 260, "accepted": 260}
    assert run.summary["rate_limited"] == len(forms)
    assert taken == Counter(expected), "a 429 counts against no event, and none went twice"
    for began, ends in pauses:
        in_the_pause = [time - began for time in starts if began + 0.7 < time < ends]
        assert in_the_pause == []


# ----------------------------------------------------------------------------------------------------- outages (29)


class Fast:
    """A clock that runs 2,000 times as fast: half an hour is a second."""

    def monotonic(self) -> float:
        return time.monotonic() * 2000

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / 2000)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["503=100%", "reset_unstored=100%", "429=100%,retry_after=1"])
def test_an_outage_of_a_night_ends_with_75_and_costs_no_event(shop, start, monkeypatch, fault):
    box = start(fault)
    expected = shop.orders(500)
    path = shop.mapping()
    monkeypatch.setenv("REDO_API_SECRET", "a-secret")
    flags = Flags(base_url=box.base_url)
    world = World(clock=Fast())
    notes: list[str] = []
    observer = Observer()
    observer.note = notes.append
    result = run_here(path, flags, observer, world)
    assert result.status == 75
    # Once, whoever listens; and nothing of it stays.
    assert [note.partition(" since ")[0] for note in notes] == ["nothing could be sent"]
    assert not (result.folder / "waiting.json").exists()
    assert "out of reach for 30 minutes" in balanced(result.summary)["stopped_by"]
    assert {name: count for name, count in result.summary["events"].items() if count} == {"total": 500, "pending": 500}
    assert not (result.folder / "rejected.ndjson").exists()
    # The budget pays for 35 retries and no more; then there is one probe in 30 s.
    assert result.summary["requests"] < 500
    box.set_faults(type(box.faults)())
    again = run_here(path, flags, Observer(), world)
    assert again.status == 0
    assert box.ids(STORE) == expected


# ------------------------------------------------------------------------------------------------ hostile words (30)

OSC = "\x1b]0;owned\x07"
HOSTILE = f"{OSC}\x1b[2J\x9b31m\u202etxt [red]x[/red] [/] <script>alert(1)</script>"
PROBLEM = json.dumps({"title": HOSTILE, "detail": HOSTILE * 3}).encode()
HEADERS = (f"Content-Type: application/problem+json{OSC}", f"Server: {OSC}", f"Retry-After: {OSC}", f"X-{OSC}: {OSC}")


def inert(run: Run, said: str) -> None:
    assert "owned" not in said.replace("\\x1b]0;owned", "")
    files = {path.name: path.read_text(encoding="utf-8") for path in run.folder.iterdir()}
    for text in (said, *files.values()):
        assert not {"\x07", "\x9b", "\u202e"} & set(text)
    for text in files.values():
        assert "\x1b" not in text
    assert "<script>alert" not in files["report.html"]


def on_a_terminal(shop: Shop, status: int, answer: Callable[[bytes, int, float], bytes]) -> Run:
    """A run whose stderr is a terminal, before a server that says `answer`; what it showed and left is looked at."""
    master, slave = pty.openpty()
    with listening(answering(answer)) as port:
        at(shop, port)
        process = shop.start("run", "orders.yaml", stderr=slave)
        os.close(slave)
        heard = b""
        while some := read_some(master):
            heard += some
        done = finish(process, status)
    os.close(master)
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    inert(run, done.out + without_colours(heard))
    assert len(heard) + len(done.out) < 60_000
    return run


def without_colours(heard: bytes) -> str:
    """What rich itself tells the terminal is its business: cursor, colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", heard.decode())


def test_hostile_refusals_are_inert_on_a_terminal_and_in_the_report(lone_shop):
    """Escapes in the status line, headers, title and detail; a bomb; no JSON; 5 MB; a header that is none."""
    refusals = [
        http(f"400 Bad{OSC}", PROBLEM, *HEADERS[:3]),
        http("400 Bad", gzip.compress(b"\0" * 20_000_000, 1), "Content-Encoding: gzip"),
        http("400 Bad", PROBLEM[:-9] + b'x": \xff' + OSC.encode()),
        http("400 Bad", b'{"title": "' + HOSTILE.encode() * 60_000 + b'"}'),
    ]
    answers = iter([http(f"400 Bad{OSC}", PROBLEM, *HEADERS), *refusals])
    lone_shop.orders(len(refusals))
    lone_shop.mapping()
    run = on_a_terminal(lone_shop, 3, lambda *_: next(answers))
    assert run.events == {"total": 4, "refused": 4}
    assert run.summary["retries"] == 1, "a header's name that none can have is no HTTP"
    refused = run.lines("rejected.ndjson")
    assert [line["status"] for line in refused] == [400] * 4
    assert max(len(line["title"]) + len(line["detail"]) for line in refused) < 20_000


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (http(f"403 No{OSC}", PROBLEM, *HEADERS[:3]), 77),
        (http("401 No", f"<title>{HOSTILE}</title>".encode(), "Content-Type: text/html"), 77),
        (http(f"200 {OSC}", PROBLEM, *HEADERS[:3]), 78),
        (http(f"302 {OSC}", b"", f"Location: https://api.example.com/{OSC}", *HEADERS[:3]), 78),
    ],
    ids=["403", "page", "200", "302"],
)
def test_hostile_words_that_end_a_run_are_inert(lone_shop, answer, status):
    lone_shop.orders(1)
    lone_shop.mapping()
    run = on_a_terminal(lone_shop, status, lambda *_: answer)
    assert run.events == {"total": 1, "pending": 1}


def read_some(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # the other end has closed
        return b""


def test_hostile_words_are_inert_while_the_run_waits(lone_shop):
    """The progress says why it waits, with what the server said."""
    shop = lone_shop
    shop.orders(200)
    shop.mapping()
    master, slave = pty.openpty()
    with listening(answering(lambda *_: http(f"503 {OSC}", PROBLEM, *HEADERS[:3]))) as port:
        at(shop, port)
        process = shop.start("run", "orders.yaml", *FAST, stderr=slave, env=shop.env | {"COLUMNS": "400"})
        os.close(slave)
        heard: list[bytes] = []

        def waits() -> bool:
            heard.append(read_some(master))
            return b"out of reach (503 \\x1b]0;owned" in b"".join(heard)

        eventually(waits, "a word on the outage", process)
        process.terminate()
        while some := read_some(master):
            heard.append(some)
        done = finish(process, 143)
    os.close(master)
    (folder,) = shop.run_folders()
    inert(Run.read(folder, done), done.out + without_colours(b"".join(heard)))
