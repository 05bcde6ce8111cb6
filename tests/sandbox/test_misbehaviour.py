"""Each fault, as a client on a real socket meets it, and what of the events is stored after it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import pytest

from backfill.sandbox import Faults, Kind

SINGLE = "/stores/s1/events"
IMPATIENT = httpx.Timeout(20, read=0.2)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true within 20 s: a busy machine is slow, not wrong."""
    deadline = time.monotonic() + 20
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return true


@pytest.fixture
def meet(start, connect, event):
    """`meet("reset=1")`: the answer or the error of one request to a sandbox with these faults, and the sandbox."""

    def send(faults: str, **options):
        sandbox = start(faults=Faults.parse(faults))
        client = connect(sandbox, **options)
        try:
            return client.post(SINGLE, json=event(uniqueId="a")), sandbox
        except httpx.HTTPError as error:
            return error, sandbox

    return send


@pytest.mark.parametrize(
    "word, status, headers",
    [
        ("429", 429, {"retry-after": "1"}),
        ("429_absent", 429, {}),
        ("503", 503, {}),
        ("500", 500, {}),
        ("204", 204, {}),
        ("302", 302, {"location": "/_sandbox/redirected"}),
        ("html", 200, {"content-type": "text/html; charset=utf-8"}),
        ("huge", 503, {"content-type": "application/problem+json"}),
        ("bomb", 503, {"content-type": "application/problem+json", "content-encoding": "gzip"}),
        ("garbled", 503, {"content-type": "application/problem+json"}),
    ],
)
def test_another_answer_and_nothing_stored(meet, word, status, headers):
    answer, sandbox = meet(f"{word}=100%")
    assert answer.status_code == status
    assert answer.headers.items() >= headers.items()
    assert ("retry-after" in answer.headers) == (word == "429")
    assert sandbox.ids() == set()
    summary = sandbox.summary()
    assert summary.statuses == {str(status): 1}
    assert summary.faults == {word: 1}
    if word in {"429", "429_absent", "500", "503"}:
        assert answer.json()["instance"] == "/v2.2" + SINGLE
    if word in {"huge", "bomb"}:
        assert len(answer.content) >= 5_000_000
        assert (int(answer.headers["content-length"]) < 100_000) == (word == "bomb")
    if word == "garbled":
        assert b"\x1b" in answer.content
        with pytest.raises(ValueError):
            json.loads(answer.content)


def test_retry_after_as_a_date_in_the_future_and_in_the_past(meet):
    for seconds in (3600, -3600):
        answer, _ = meet(f"429_date=1,retry_after={seconds}")
        at = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
        assert at - time.time() == pytest.approx(seconds, abs=60)
    answer, _ = meet("429=1,retry_after=86400000")
    assert answer.headers["retry-after"] == "86400000"


@pytest.mark.parametrize("word, stored", [("reset", set()), ("reset_unstored", set()), ("reset_stored", {"a"})])
def test_resets(meet, word, stored):
    error, sandbox = meet(f"{word}=1")
    # The reset may hit the client while it still writes; then httpx finds no answer rather than a reset.
    assert isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
    assert sandbox.ids() == stored
    assert sandbox.summary().statuses == {"reset": 1}


def test_reset_comes_before_the_body(start):
    sandbox = start(faults=Faults(reset=1))
    url = urlsplit(sandbox.base_url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as sock:
        sock.sendall(b"POST /v2.2/stores/s1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


@pytest.mark.parametrize("word, stored", [("hang", set()), ("hang_stored", {"a"})])
def test_hangs_and_ends_with_the_sandbox(meet, word, stored):
    error, sandbox = meet(f"{word}=1,hang_seconds=3600", timeout=IMPATIENT)
    assert isinstance(error, httpx.ReadTimeout)
    assert eventually(lambda: sandbox.ids() == stored)


def test_a_hang_ends(meet):
    answer, sandbox = meet("hang=1,hang_seconds=0.2")
    assert answer.status_code == 202
    assert sandbox.ids() == {"a"}
    assert answer.elapsed.total_seconds() >= 0.2


def test_a_client_that_left_during_a_hang_has_stored_nothing(start, connect, event):
    sandbox = start(faults=Faults.parse("hang=1,hang_seconds=0.5"))
    with pytest.raises(httpx.ReadTimeout):
        connect(sandbox, timeout=IMPATIENT).post(SINGLE, json=event(uniqueId="a"))
    assert eventually(lambda: sandbox.summary().statuses == {"left": 1})
    assert sandbox.ids() == set()


def test_latency(meet):
    answer, _ = meet("latency=200±10")
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() >= 0.19


def test_trickle(start, event):
    sandbox = start(faults=Faults(trickle=1, trickle_seconds=0.005))
    url = urlsplit(sandbox.base_url)
    body = json.dumps(event(uniqueId="a")).encode()
    head = (
        "POST /v2.2/stores/s1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = b""
    began = time.monotonic()
    with socket.create_connection((url.hostname, url.port), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        while piece := sock.recv(1000):
            answer += piece
    assert answer == b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    assert time.monotonic() - began > 0.9 * 0.005 * len(answer)
    assert sandbox.ids() == {"a"}


def test_a_long_trickle_runs_into_a_deadline(meet):
    error, sandbox = meet("trickle=1,trickle_seconds=60", timeout=IMPATIENT)
    assert isinstance(error, httpx.ReadTimeout)
    assert eventually(lambda: sandbox.ids() == {"a"})


@pytest.mark.parametrize("bulk_body", [False, True])
def test_a_cut_and_a_lying_body(start, connect, event, bulk_body):
    sandbox = start(faults=Faults(cut=1), bulk_body=bulk_body)
    client = connect(sandbox)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.post(SINGLE + "/bulk", json={"events": [event(uniqueId="a")]})
    sandbox.set_faults(Faults(lie=1))
    answer = client.post(SINGLE + "/bulk", json={"events": [event(uniqueId="b")]})
    assert answer.status_code == 202
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert sandbox.ids() == {"a", "b"}


def test_a_kept_connection_closes_unannounced(start, event):
    sandbox = start(faults=Faults(close=1))
    url = urlsplit(sandbox.base_url)
    body = json.dumps(event(uniqueId="a")).encode()
    head = (
        "POST /v2.2/stores/s1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        answer = b""
        while piece := sock.recv(1000):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
    assert b"connection: close" not in answer.lower()
    assert sandbox.ids() == {"a"}


def test_413_while_the_body_is_on_its_way(start, connect, event):
    sandbox = start(faults=Faults(max_body=1000))
    client = connect(sandbox)
    assert client.post(SINGLE, json=event(uniqueId="small")).status_code == 202
    url = urlsplit(sandbox.base_url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as sock:
        sock.sendall(b"POST /v2.2/stores/s1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert sandbox.ids() == {"small"}


def test_the_first_requests_fail(start, connect, event):
    sandbox = start(faults=Faults(fail_first=2, fail_status=401))
    client = connect(sandbox)
    assert [client.post(SINGLE, json=event()).status_code for _ in range(3)] == [401, 401, 202]


def test_an_outage(start, connect, event):
    sandbox = start(faults=Faults(outage_after=1, outage_seconds=3600))
    client = connect(sandbox)
    assert [client.post(SINGLE, json=event()).status_code for _ in range(3)] == [202, 503, 503]
    sandbox.set_faults(Faults())
    assert client.post(SINGLE, json=event()).status_code == 202


def test_faults_change_over_http(start, connect, event):
    sandbox = start()
    client = connect(sandbox)
    url = sandbox.page_url + "_sandbox/faults"
    assert client.post(url, content="503=100%,seed=1").json() == {"faults": "503=1,seed=1"}
    assert client.post(SINGLE, json=event()).status_code == 503
    wrong = client.post(url, content="504=100%")
    assert wrong.status_code == 400
    assert 'no fault "504"' in wrong.json()["detail"]
    assert sandbox.faults == Faults(status_503=1, seed=1)
    assert client.post(url).json() == {"faults": ""}
    assert client.post(SINGLE, json=event()).status_code == 202


def test_a_followed_redirect_is_counted(meet):
    answer, sandbox = meet("302=1", follow_redirects=True)
    assert answer.status_code == 404
    assert sandbox.summary().statuses == {"302": 1, "302 followed": 1}


def test_faults_leave_the_listing_alone(meet, connect):
    _, sandbox = meet("reset=1")
    assert connect(sandbox).get(sandbox.page_url + "_sandbox/summary").json()["faults"] == {"reset": 1}


def test_the_same_seed_gives_the_same_answers(start, connect, event):
    def statuses(seed: int) -> list[int]:
        client = connect(start(faults=Faults(status_503=0.3, status_429=0.3, seed=seed)))
        return [client.post(SINGLE, json=event()).status_code for _ in range(30)]

    assert statuses(1) == statuses(1) != statuses(2)


def test_every_request_has_one_outcome(start, connect, event):
    share = 1 / len(Kind)
    faults = Faults.parse(",".join(f"{kind}={share:.4f}" for kind in Kind if not kind.startswith("hang")))
    sandbox = start(faults=Faults.parse(f"{faults},trickle_seconds=0"))
    client = connect(sandbox)
    for i in range(100):
        try:
            client.post(SINGLE, json=event(uniqueId=str(i)))
        except httpx.HTTPError:
            continue
    summary = sandbox.summary()
    # Some requests meet a connection that has just closed, and never arrive.
    assert 50 < summary.requests == sum(summary.statuses.values())
    assert summary.stored == len(sandbox.ids())
