"""What an answer means, when to try again, and when to give up: pure decisions."""

from __future__ import annotations

import gzip
import json
import random
import ssl
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill import retry
from backfill.retry import Answer, Breaker, Budget, Gate, Kind, Problem, backoff, item_results, problem, shown

WALL = 1_700_000_000.0


def answer(status: int, body: object = b"", **headers: str) -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), text)


def verdict(outcome: Answer | Exception, *, events: int = 100, bulk: bool = True) -> retry.Verdict:
    return retry.verdict(outcome, events=events, bulk=bulk, wall_now=WALL, redact="canary")


@pytest.mark.parametrize(
    "status,several,one",
    [
        (202, Kind.ACCEPTED, Kind.ACCEPTED),
        (400, Kind.SPLIT, Kind.REFUSED),
        (422, Kind.SPLIT, Kind.REFUSED),
        (401, Kind.ACCESS, Kind.ACCESS),
        (403, Kind.ACCESS, Kind.ACCESS),
        (404, Kind.NOT_FOUND, Kind.NOT_FOUND),
        (408, Kind.RETRY, Kind.RETRY),
        (413, Kind.TOO_LARGE, Kind.TOO_LARGE),
        (425, Kind.RETRY, Kind.RETRY),
        (429, Kind.RATE_LIMITED, Kind.RATE_LIMITED),
        *((status, Kind.RETRY, Kind.RETRY) for status in (500, 501, 502, 503, 504, 520, 599)),
        *(
            (status, Kind.UNEXPECTED, Kind.UNEXPECTED)
            for status in (
                100,
                200,
                201,
                203,
                204,
                206,
                301,
                302,
                303,
                304,
                307,
                308,
                402,
                405,
                406,
                410,
                418,
                451,
            )
        ),
    ],
)
def test_the_matrix_of_statuses(status: int, several: Kind, one: Kind) -> None:
    assert verdict(answer(status)).kind is several
    assert verdict(answer(status), events=1, bulk=False).kind is one
    assert verdict(answer(status), events=1, bulk=True).kind is one


@pytest.mark.parametrize(
    "error,kind,strained",
    [
        (httpx.ConnectError("refused"), Kind.RETRY, False),
        (httpx.ConnectTimeout("slow"), Kind.RETRY, True),
        (httpx.ReadTimeout("slow"), Kind.RETRY, True),
        (httpx.PoolTimeout("slow"), Kind.RETRY, True),
        (httpx.ReadError("reset"), Kind.RETRY, False),
        (httpx.RemoteProtocolError("closed"), Kind.RETRY, False),
        (httpx.WriteError("closed"), Kind.CUT_OFF, False),
        (httpx.ProxyError("no"), Kind.RETRY, False),
        (OSError(5, "input/output"), Kind.RETRY, False),
    ],
)
def test_the_matrix_of_errors(error: Exception, kind: Kind, strained: bool) -> None:
    found = verdict(error)
    assert (found.kind, found.strained) == (kind, strained)


def test_a_reused_connection_that_was_closed_is_no_failure() -> None:
    for error in (httpx.ReadError("reset"), httpx.WriteError("closed"), httpx.RemoteProtocolError("closed")):
        error.request = httpx.Request("POST", "https://x", extensions={"reused_connection": True})
        assert verdict(error).kind is Kind.RECONNECT


def test_a_certificate_is_found_wherever_it_is_in_the_chain() -> None:
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    inner.verify_message = "certificate has expired"
    middle = OSError("connect")
    middle.__cause__ = inner
    outer = httpx.ConnectError("failed")
    outer.__context__ = middle
    found = verdict(outer)
    assert (found.kind, found.seen) == (Kind.CERTIFICATE, "certificate has expired")
    ring = httpx.ConnectError("ring")
    ring.__cause__ = ring
    assert verdict(ring).kind is Kind.RETRY


def test_what_was_seen_names_media_type_and_redirect_but_no_query() -> None:
    page = verdict(answer(200, b"<html><title>Log in</title>", content_type="text/html; charset=utf-8"))
    assert page.seen == "200 OK, text/html"
    assert page.problem.detail == "a web page: Log in"
    found = verdict(answer(302, location="https://evil.example/login?token=abc"))
    assert found.seen == "302 Found, to https://evil.example/login"


# --------------------------------------------------------------------------------------------- per-event answers


def results(*states: object, **changes: object) -> bytes:
    items = []
    for index, state in enumerate(states):
        item: dict[str, object] = {
            "index": index,
            "status": "queued",
            "eventId": f"e{index}",
            "eventName": None,
        }
        if state is not None:
            item = {"index": index, "status": "rejected", "error": state}
        items.append(item)
    refused = sum(1 for state in states if state is not None)
    content = {"total": len(states), "accepted": len(states) - refused, "rejected": refused, "events": items}
    return json.dumps({**content, **changes}).encode()


def test_answers_for_each_event_are_obeyed() -> None:
    found = verdict(answer(202, results(None, "no customer", None)), events=3)
    assert found.kind is Kind.RESULTS
    assert list(found.results) == [None, Problem("rejected", "no customer"), None]
    assert verdict(answer(202, results(None, None)), events=2).kind is Kind.ACCEPTED


def test_answers_in_another_order_are_put_by_their_index() -> None:
    content = json.loads(results(None, "bad"))
    content["events"].reverse()
    assert item_results(json.dumps(content).encode(), 2) == [None, Problem("rejected", "bad")]


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"{}", b"null"])
def test_a_202_that_says_nothing_accepts_all(body: bytes) -> None:
    assert verdict(answer(202, body)).kind is Kind.ACCEPTED


@pytest.mark.parametrize(
    "body",
    [
        results(None, None)[:-5],
        results(None, None) + b"x",
        b"<html>ok</html>",
        b"\xff\xfe",
        b"[" * 60_000,
        b"1" * 6_000,
        b'"ok"',
        b"[]",
        b'{"ok": true}',
        results(None),
        results(None, None, None),
        results(None, None, total=3),
        results(None, None, total=True),
        results(None, None, accepted=1),
        results(None, "x", rejected=0),
        results(None, None, total="2"),
        results(None, None, events={}),
        results(None, None, events=[1, 2]),
        results(None, None, events=[{"index": 0, "status": "queued"}] * 2),
        results(None, None, events=[{"index": index, "status": "queued"} for index in (0, 1, 1)]),
        results(None, None, events=[{"index": 0, "status": "queued"}, {"index": 2, "status": "queued"}]),
        results(None, None, events=[{"index": 0, "status": "queued"}, {"index": -1, "status": "queued"}]),
        results(None, None, events=[{"index": 0, "status": "queued"}, {"index": True, "status": "queued"}]),
        results(None, None, events=[{"index": 0, "status": "queued"}, {"index": 1, "status": "maybe"}]),
        results(None, None, events=[{"index": 0, "status": "queued"}, {"index": 1}]),
        gzip.compress(results(None, None)),
    ],
)
def test_a_202_that_does_not_add_up_is_unknown(body: bytes) -> None:
    found = verdict(answer(202, body), events=2)
    assert found.kind is Kind.RETRY
    assert found.seen


@pytest.mark.parametrize(
    "body,kind",
    [
        (b"", Kind.ACCEPTED),
        (b"Accepted", Kind.ACCEPTED),
        (b"{}", Kind.ACCEPTED),
        (b"null", Kind.ACCEPTED),
        (b'{"eventId": "64e5a8a1af49a89df37e4ee7"}', Kind.ACCEPTED),
        (results(None), Kind.ACCEPTED),
        (results("no customer"), Kind.RESULTS),
        (results(None, None), Kind.RETRY),
        (results(None)[:-3], Kind.RETRY),
        (b"queued!", Kind.RETRY),
        (b"<html>Please sign in</html>", Kind.RETRY),
        (b"\xff", Kind.RETRY),
    ],
)
def test_a_202_for_one_event_needs_no_body_and_one_that_comes_has_to_be_json(body: bytes, kind: Kind) -> None:
    assert verdict(answer(202, body), events=1, bulk=False).kind is kind


def test_a_202_of_a_firewall_is_no_acceptance() -> None:
    """AWS WAF challenges what may be a bot with a 202 that has no body: the API never saw the events."""
    found = verdict(answer(202, x_amzn_waf_action="challenge"))
    assert found.kind is Kind.UNEXPECTED
    assert "firewall" in found.seen


# ------------------------------------------------------------------------------- any answer that can be thought of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 130) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
odd = st.sampled_from(["queued", "rejected", "accepted", "Queued", "0", "1", -1, True, None, 0, 1, 2, 3, 1.0, [], {}])
items = st.fixed_dictionaries({}, optional={"index": odd, "status": odd, "error": json_values, "eventId": json_values})
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {}, optional={"total": odd, "accepted": odd, "rejected": odd, "events": odd | st.lists(items | odd, max_size=4)}
    ).map(lambda value: json.dumps(value).encode()),
    # Right but for one thing, or for nothing.
    st.builds(
        lambda states, changes, cut: results(*states, **changes)[: None if cut is None else -cut],
        st.lists(st.sampled_from([None, None, "no customer"]), min_size=1, max_size=4),
        st.dictionaries(st.sampled_from(["total", "accepted", "rejected", "more"]), odd, max_size=1),
        st.none() | st.integers(1, 20),
    ),
)
header_names = ["content-type", "content-length", "content-encoding", "retry-after", "location", "date", "x-other"]
answers = st.builds(
    Answer,
    st.sampled_from([202, 202, 202, *range(100, 600, 7), 200, 201, 204, 302, 400, 401, 403, 404, 413, 422, 429, 503])
    | st.integers(0, 999),
    st.dictionaries(st.sampled_from(header_names), st.binary(max_size=40), max_size=4).map(
        lambda headers: httpx.Headers([(name.encode(), value) for name, value in headers.items()])
    ),
    bodies,
    st.booleans(),
)


def told(body: bytes, events: int) -> list[bool] | None:
    """Which events the older bulk body says are queued, read another way than the product does; None for unknown."""
    try:
        content = json.loads(body)
        by_index = {item["index"]: item["status"] for item in content["events"]}
        states = [by_index[index] for index in range(events)]
        counts = [content[name] for name in ("total", "accepted", "rejected")]
    except (ValueError, TypeError, KeyError):
        return None
    whole = len(content["events"]) == len(by_index) == events and {*map(type, [*by_index, *counts])} == {int}
    right = {*states} <= {"queued", "rejected"}
    right = right and counts == [events, states.count("queued"), states.count("rejected")]
    return [state == "queued" for state in states] if whole and right else None


@settings(max_examples=300)
@given(answers, st.integers(1, 4), st.booleans())
def test_only_a_definite_202_accepts_and_only_a_definite_no_refuses(answer: Answer, events: int, bulk: bool) -> None:
    events = events if bulk else 1
    found = verdict(answer, events=events, bulk=bulk)
    text = answer.body.strip()
    says_nothing = text in (b"", b"null", b"Accepted") or (not answer.cut and retry.words.loaded(text) == {})
    each = None if answer.cut else told(answer.body, events)
    if found.kind is Kind.ACCEPTED:
        assert answer.status == 202
        plain_json = not bulk and not answer.cut and retry.words.loaded(text) is not None and b'"events"' not in text
        assert says_nothing or plain_json or (each is not None and all(each))
    elif found.kind is Kind.RESULTS:
        assert answer.status == 202
        assert each is not None
        assert [words is None for words in found.results] == each
        assert not all(each)
    elif answer.status == 202:
        assert found.kind is Kind.RETRY
        assert each is None
        assert not says_nothing
    assert (found.kind is Kind.REFUSED) == (answer.status in (400, 422) and events == 1)
    assert (found.kind is Kind.TOO_LARGE) == (answer.status == 413)
    assert (found.kind is Kind.SPLIT) == (answer.status in (400, 422) and events > 1)
    for words in (found.seen, found.problem.title, found.problem.detail):
        assert words == shown(words)


def test_a_202_of_more_than_can_be_read_is_unknown() -> None:
    cut = Answer(202, httpx.Headers(), results(None, None), cut=True)
    assert verdict(cut, events=2).kind is Kind.RETRY


# ------------------------------------------------------------------------------------------------ the API's words


@pytest.mark.parametrize(
    "body,words",
    [
        ({"title": "Bad Request", "detail": "no customer"}, Problem("Bad Request", "no customer")),
        ({"type": "about:blank", "detail": "x"}, Problem("Bad Request", "x")),
        ({"error": {"message": "nested"}}, Problem("nested", "")),
        ({"message": "plain"}, Problem("Bad Request", "plain")),
        ({"errors": [{"path": "a"}]}, Problem("Bad Request", '[{"path": "a"}]')),
        ({"title": 7, "detail": None}, Problem("7", "")),
        ({"foo": 1}, Problem("Bad Request", '{"foo": 1}')),
        ([1], Problem("Bad Request", "[1]")),
        (b"just text", Problem("Bad Request", "just text")),
        (b"", Problem("Bad Request", "")),
        (b"\xff\xfe\x00", Problem("Bad Request", "��\\x00")),
        (b"<html><body>no</body></html>", Problem("Bad Request", "a web page")),
    ],
)
def test_problem_details_or_whatever_comes(body: object, words: Problem) -> None:
    assert problem(answer(400, body)) == words


@given(st.binary(max_size=2000), st.integers(200, 599), st.text(max_size=60))
def test_reading_a_problem_never_raises_and_is_inert(body: bytes, status: int, media: str) -> None:
    found = problem(Answer(status, httpx.Headers({"content-type": media.encode("utf-8")}), body))
    for text in (found.title, found.detail):
        assert text == shown(text)


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.floats(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_reading_json_never_raises(content: object) -> None:
    for name in ("title", "detail", "errors"):
        problem(answer(400, {name: content}))


def test_escapes_bidi_and_length_are_neutralised() -> None:
    hostile = "\x1b[2J\x07red\u202etxt\u2066a\u2028b\u200b\r\n\ud800"
    text = problem(answer(400, {"title": hostile, "detail": hostile * 1000}))
    assert text.title == "\\x1b[2J\\x07red\\u202etxt\\u2066a\\u2028b\\u200b\\x0d\\x0a\\ud800"
    assert len(text.detail) < 20_000
    assert text.detail.isprintable()
    assert shown("naïve 日本 😀 é") == "naïve 日本 😀 é"


def test_the_secret_is_not_carried_on() -> None:
    secret = 'ca"na\\ry'
    for body in (
        {"title": f"x {secret}", "detail": f"Bearer {secret}"},
        f"echo {secret}".encode(),
        {"a": [secret]},
    ):
        found = problem(answer(400, body), secret)
        assert "ry" not in f"{found.title}{found.detail}"
        assert "[secret]" in f"{found.title}{found.detail}"
    item = item_results(results("canary", None), 2, "canary")
    assert item is not None
    assert item[0] == Problem("rejected", "[secret]")
    assert "canary" not in verdict(answer(302, location="https://x/canary")).seen


# ----------------------------------------------------------------------------------------------------- waiting


@pytest.mark.parametrize(
    "value,seconds",
    [
        ("12", 12.0),
        (" 12 ", 12.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("99999999999", 99999999999.0),
        ("9" * 400, float("inf")),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1e3", None),
        ("0x10", None),
        ("NaN", None),
        ("٣", None),
        ("Mon, 99 Foo 2020 00:00:00 GMT", None),
        ("x" * 10_000, None),
        (formatdate(WALL + 30, usegmt=True), 30.0),
        (formatdate(WALL - 3600, usegmt=True), 0.0),
        (formatdate(WALL + 90_000, usegmt=True), 90_000.0),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    headers = httpx.Headers([(b"retry-after", value.encode("utf-8"))])
    assert retry.retry_after(headers, WALL) == seconds


def test_a_date_is_compared_with_the_servers_own() -> None:
    headers = httpx.Headers(
        {
            "retry-after": formatdate(WALL + 9_000 + 7, usegmt=True),
            "date": formatdate(WALL + 9_000, usegmt=True),
        }
    )
    assert retry.retry_after(headers, WALL) == 7.0
    assert retry.retry_after(httpx.Headers(), WALL) is None


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_full_jitter_up_to_20_seconds(attempt: int, die: float) -> None:
    seconds = backoff(attempt, lambda: die)
    assert 0 <= seconds <= min(20.0, 0.25 * 2.0 ** min(attempt, 10))
    assert backoff(attempt, lambda: die, retry.BASE_AFTER_429) >= seconds


def test_backoff_spreads() -> None:
    random.seed(7)
    drawn = [backoff(3, random.random) for _ in range(2000)]
    assert min(drawn) < 0.05
    assert max(drawn) > 1.95
    assert 0.9 < sum(drawn) / len(drawn) < 1.1


def test_the_budget_pays_for_35_retries_and_is_filled_by_successes() -> None:
    budget = Budget()
    assert [budget.spend() for _ in range(40)] == [True] * 35 + [False] * 5
    for _ in range(4):
        budget.succeeded()
    assert budget.spend()
    assert not budget.spend()
    budget.refill()
    assert budget.tokens == 250
    for _ in range(1000):
        budget.succeeded()
    assert budget.tokens == 500


def test_a_budget_bears_five_percent_of_failures_for_ever_and_not_ten() -> None:
    def lasts(every: int) -> bool:
        budget = Budget()
        return all(budget.spend() if turn % every == 0 else budget.succeeded() is None for turn in range(1, 20_000))

    assert lasts(20)
    assert not lasts(10)


def test_the_breaker_probes_once_in_30_seconds_and_gives_up_after_30_minutes() -> None:
    breaker = Breaker()
    assert breaker.gate(0.0) == (Gate.GO, 0.0)
    breaker.open(100.0)
    assert breaker.gate(100.0) == (Gate.WAIT, 30.0)
    time, probes = 100.0, 0
    while True:
        gate, wait = breaker.gate(time)
        if gate is Gate.GIVE_UP:
            break
        if gate is Gate.PROBE:
            probes += 1
            assert breaker.gate(time)[0] is Gate.WAIT, "one probe at a time"
            breaker.open(time)
            breaker.probed(time, alive=False)
        else:
            assert wait > 0
            time += wait
    assert time == 1900.0
    assert probes == 59


def test_the_breaker_closes_with_a_probe_that_is_answered() -> None:
    breaker = Breaker()
    breaker.open(0.0)
    assert breaker.gate(30.0)[0] is Gate.PROBE
    breaker.not_probed()
    assert breaker.gate(30.0)[0] is Gate.PROBE, "a probe that was not sent is given to the next"
    breaker.probed(31.0, alive=False, after=45.0)
    assert breaker.gate(70.0) == (Gate.WAIT, 6.0)
    assert breaker.gate(76.0)[0] is Gate.PROBE
    breaker.probed(77.0, alive=True)
    assert breaker.gate(77.0) == (Gate.GO, 0.0)
    assert not breaker.is_open
    breaker.open(100.0)
    assert breaker.opened_at == 100.0, "the 30 minutes begin anew"
