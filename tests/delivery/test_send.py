"""A request's life against an API that follows a script, in simulated time."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.errors import AccessError, BackfillError, SettingsError, StoppedError
from backfill.pack import pack
from backfill.records import Outcome, Refusal, Request
from backfill.send import Sender, Target, check_base_url
from tests.delivery.support import (
    BASE,
    SECRET,
    STORE,
    Api,
    LoopClock,
    Record,
    events,
    ids,
    now,
    request,
    sender,
    simulate,
)


def deliver(api: Api, sent: Request, **options: object) -> Outcome:
    """One request's outcome, and a check that nothing of it is lost or told twice."""

    async def main() -> Outcome:
        record = Record()
        async with sender(api, record=record, **options) as one:
            outcome = await one.deliver(sent)
        told = {index for index, _ in outcome.refused}
        assert record.accepted == set(outcome.accepted)
        assert record.refused == told
        assert sorted([*outcome.accepted, *told, *outcome.pending]) == list(range(sent.start, sent.stop))
        return outcome

    return simulate(main)


def problem(status: int, title: str = "", detail: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"title": title, "detail": detail}, headers=headers)


def status(code: int, **headers: str) -> httpx.Response:
    return httpx.Response(code, headers={name.replace("_", "-"): value for name, value in headers.items()})


# ---------------------------------------------------------------------------------------------------- acceptance


@pytest.mark.parametrize("bulk", [True, False])
def test_a_202_accepts(bulk: bool) -> None:
    api = Api()
    assert deliver(api, request(1), bulk=bulk).accepted == [0]
    (sent,) = api.got
    assert sent.method == "POST"
    assert str(sent.url) == f"{BASE}/stores/{STORE}/events" + ("/bulk" if bulk else "")
    assert sent.headers["authorization"] == f"Bearer {SECRET}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["accept-encoding"] == "identity"
    assert sent.headers["host"] == "api.example"
    assert int(sent.headers["content-length"]) == len(sent.content)
    assert "cookie" not in sent.headers


def test_a_part_of_the_events_is_what_is_sent() -> None:
    api = Api()
    assert deliver(api, Request(events(10), 3, 6)).accepted == [3, 4, 5]
    assert ids(api.got[0]) == [3, 4, 5]


def test_answers_for_each_event_are_obeyed() -> None:
    body = {
        "total": 3,
        "accepted": 2,
        "rejected": 1,
        "events": [
            {"index": 0, "status": "queued"},
            {"index": 1, "status": "rejected", "error": "no customer\x1b[1m"},
            {"index": 2, "status": "queued"},
        ],
    }
    outcome = deliver(Api([httpx.Response(202, json=body)]), Request(events(9), 4, 7))
    assert outcome.accepted == [4, 6]
    assert outcome.refused == [(5, Refusal(202, "rejected", "no customer\\x1b[1m"))]


@pytest.mark.parametrize(
    "body", [b'{"total": 3, "acc', b"<html>", b'{"total": 3, "accepted": 3, "rejected": 0, "events": []}']
)
def test_a_202_that_can_not_be_read_is_unknown_and_the_same_bytes_go_again(body: bytes) -> None:
    api = Api([httpx.Response(202, content=body)])
    assert deliver(api, request(3)).accepted == [0, 1, 2]
    assert len({sent.content for sent in api.got}) == 1
    assert len(api.got) == 2


class Trickle(httpx.AsyncByteStream):
    """So many bytes, one a second."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            await anyio.sleep(1.0)
            yield b" "


def test_an_answer_that_trickles_a_byte_a_second_has_60_seconds() -> None:
    api = Api()
    answers = iter(
        [*[lambda: httpx.Response(202, stream=Trickle(61))] * 2, lambda: httpx.Response(202, stream=Trickle(59))]
    )

    async def trickling(sent: httpx.Request) -> httpx.Response:
        await api(sent)
        return next(answers)()

    async def main() -> None:
        async with sender(trickling) as one:
            assert (await one.deliver(request(1))).accepted == [0]
            assert one.snapshot().no_answer == 2
        assert api.times == pytest.approx([0.0, 60.125, 120.375], abs=0.01)
        assert now() == pytest.approx(179.375, abs=0.01)
        assert len({sent.content for sent in api.got}) == 1

    simulate(main)


def test_a_cancelling_is_not_taken_for_the_deadline() -> None:
    """Also when both come at once; and afterwards nothing of the deadline is left on the task."""

    async def main(after: float) -> None:
        async with sender(Api(seconds=1000)) as one:
            with anyio.move_on_after(after) as scope:
                await one.deliver(request(1))
            assert scope.cancelled_caught
            assert now() == after
            assert one.snapshot().in_flight == 0
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    for after in (30.0, 60.0):
        simulate(functools.partial(main, after))


def test_a_timeout_of_the_system_is_not_the_deadlines() -> None:
    api = Api([TimeoutError(110, "Connection timed out")])
    assert deliver(api, request(1)).accepted == [0]
    assert api.times == pytest.approx([0.0, 0.125])


# --------------------------------------------------------------------------------------------------------- refusal


def test_a_refused_event_carries_the_apis_words() -> None:
    outcome = deliver(Api([problem(400, "Bad Request", "no customer identifier")]), request(1), bulk=False)
    assert outcome.refused == [(0, Refusal(400, "Bad Request", "no customer identifier"))]


def test_422_and_413_refuse_one_event_too() -> None:
    for code in (413, 422):
        outcome = deliver(Api([status(code)]), request(1))
        assert [refusal.status for _, refusal in outcome.refused] == [code]


def judge(bad: set[int], code: int = 400):
    def answer(sent: httpx.Request) -> httpx.Response:
        return problem(code, "Bad", "bad") if bad & set(ids(sent)) else status(202)

    return answer


@given(st.integers(1, 100).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)))))
def test_exactly_the_bad_events_are_refused_with_few_more_requests(case: tuple[int, set[int]]) -> None:
    count, bad = case
    api = Api(otherwise=judge(bad))
    outcome = deliver(api, request(count))
    assert {index for index, _ in outcome.refused} == bad
    assert set(outcome.accepted) == set(range(count)) - bad
    assert len(api.got) - 1 <= 15 * len(bad)
    took = Counter(index for sent in api.got if not bad & set(ids(sent)) for index in ids(sent))
    assert all(took[index] == 1 for index in outcome.accepted), "no good event is accepted twice"


def test_a_bulk_400_for_no_event_at_all_accepts_every_event() -> None:
    """The API minds the request, not an event: whatever the smaller ones answer counts."""
    api = Api(otherwise=lambda sent: status(202) if len(ids(sent)) <= 50 else status(400))
    assert len(deliver(api, request(100)).accepted) == 100
    assert len(api.got) == 3


def test_413_halves_until_it_fits() -> None:
    api = Api(otherwise=lambda sent: status(413) if len(sent.content) > 30_000 else status(202))
    outcome = deliver(api, request(100, size=1000))
    assert len(outcome.accepted) == 100
    assert max(len(sent.content) for sent in api.got[3:]) < 60_000


def test_one_event_that_is_too_large_is_refused_and_the_others_are_not() -> None:
    api = Api(otherwise=judge({42}, 413))
    outcome = deliver(api, request(100))
    assert [(index, refusal.status) for index, refusal in outcome.refused] == [(42, 413)]
    assert len(outcome.accepted) == 99


# ------------------------------------------------------------------------------------------------- unknown: again


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("closed"),
        OSError(113, "no route"),
        status(500),
        status(502),
        status(503),
        status(504),
        status(408),
        status(425),
        status(200),
        status(204),
    ],
)
def test_what_is_unknown_goes_again_with_the_same_bytes(trouble: httpx.Response | Exception) -> None:
    api = Api([trouble])
    assert deliver(api, request(1)).accepted == [0]
    assert [sent.content for sent in api.got] == [api.got[0].content] * 2
    assert api.times == pytest.approx([0.0, 0.125])


def test_five_attempts_then_pending_with_growing_pauses() -> None:
    api = Api(otherwise=status(500))
    assert deliver(api, request(3)).pending == [0, 1, 2]
    waits = [after - before for before, after in pairwise(api.times)]
    assert waits == pytest.approx([0.125, 0.25, 0.5, 1.0], abs=1e-3)


def test_retry_after_of_a_503_is_a_floor() -> None:
    api = Api([status(503, retry_after="9")])
    assert deliver(api, request(1)).accepted == [0]
    assert api.times[1] == pytest.approx(9.0)


def test_a_reused_connection_that_was_closed_is_resent_without_counting() -> None:
    def closed(sent: httpx.Request) -> httpx.Response:
        sent.extensions["reused_connection"] = True
        raise httpx.RemoteProtocolError("closed", request=sent)

    api = Api([closed, *[status(500)] * 4])
    assert deliver(api, request(1)).accepted == [0]
    assert api.times[1] == pytest.approx(0.0, abs=0.01), "at once"
    assert [sent.extensions["fresh_connection"] for sent in api.got] == [False] + [True] * 5
    api = Api(otherwise=closed)
    assert deliver(api, request(1)).pending == [0], "not for ever"
    assert len(api.got) == 6


def test_a_body_that_is_cut_off_is_halved() -> None:
    def cut(sent: httpx.Request) -> httpx.Response:
        if len(sent.content) > 30_000:
            raise httpx.WriteError("closed while the body went out", request=sent)
        return status(202)

    api = Api(otherwise=cut)
    assert len(deliver(api, request(100, size=1000)).accepted) == 100
    assert [len(ids(sent)) for sent in api.got] == [100, 50, 25, 25, 50, 25, 25]


def test_a_large_body_whose_connection_is_lost_twice_is_halved() -> None:
    def lost(sent: httpx.Request) -> httpx.Response:
        if len(sent.content) > 300_000:
            raise httpx.ReadError("reset", request=sent)
        return status(202)

    api = Api(otherwise=lost)
    assert len(deliver(api, request(100, size=5000)).accepted) == 100
    assert [len(ids(sent)) for sent in api.got] == [100, 100, 50, 50]


def test_one_event_that_is_always_cut_off_is_refused_when_others_pass_meanwhile() -> None:
    def cut(sent: httpx.Request) -> httpx.Response:
        if ids(sent) == [7]:
            raise httpx.WriteError("closed while the body went out", request=sent)
        return status(202)

    async def main(others: bool) -> Outcome:
        async with sender(Api(otherwise=cut), bulk=False) as one, anyio.create_task_group() as group:
            if others:
                await one.deliver(Request(events(8), 0, 1))
                group.start_soon(one.deliver, Request(events(8), 1, 2))
            return await one.deliver(Request(events(8), 7, 8))

    assert simulate(lambda: main(others=False)).pending == [7]
    ((index, refusal),) = simulate(lambda: main(others=True)).refused
    assert (index, refusal.status, refusal.title) == (7, 413, "too large")


# ------------------------------------------------------------------------------------------------------------- 429


def test_a_429_pauses_all_workers_and_counts_against_nobody() -> None:
    async def main() -> None:
        limited = status(429, retry_after="7")
        api = Api([limited] * 8, seconds=0.05)
        async with sender(api, bulk=False, rate=1000) as one, anyio.create_task_group() as group:
            for index in range(30):
                group.start_soon(one.deliver, Request(events(30), index, index + 1))
            await anyio.sleep(0.07)
            seen = one.snapshot()
            assert seen.reason == "waiting 7 s: the API asked for it (429)"
            assert seen.pause == pytest.approx(7.0, abs=0.1)
            assert seen.rate == pytest.approx(700)
        assert max(api.times[:8]) < 0.05
        assert min(api.times[8:]) >= 7.05
        assert len(api.got) == 38
        assert one.snapshot().rate_limited == 8

    simulate(main)


def test_any_number_of_429s_is_no_failure() -> None:
    api = Api([status(429, retry_after="1")] * 30)
    assert deliver(api, request(1)).accepted == [0]


@pytest.mark.parametrize(
    "value,seconds",
    [("3", 3.0), ("0", 0.5), ("Wed, 01 Jan 2020 00:00:00 GMT", 0.5), ("soon", 0.5), ("-4", 0.5), ("", 0.5)],
)
def test_retry_after_is_a_floor_and_nonsense_is_none(value: str, seconds: float) -> None:
    api = Api([status(429, retry_after=value) if value else status(429)])
    assert deliver(api, request(1)).accepted == [0]
    assert api.times[1] == pytest.approx(seconds, abs=0.01)


def test_429s_without_retry_after_back_off_further_each_time() -> None:
    api = Api([status(429)] * 4)
    deliver(api, request(1))
    waits = [after - before for before, after in pairwise(api.times)]
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0], abs=0.01)


@pytest.mark.parametrize("value", ["301", "86400", "9" * 400, "Wed, 01 Jan 2098 00:00:00 GMT"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_retry_after_of_over_five_minutes_stops_the_run(value: str, code: int) -> None:
    with pytest.raises(StoppedError, match="asks to wait") as caught:
        deliver(Api([status(code, retry_after=value)]), request(1))
    assert caught.value.status == 75
    assert caught.value.hint.startswith("run again after " if len(value) < 300 else "run again later")


def test_429s_for_ever_end_with_75() -> None:
    with pytest.raises(StoppedError, match="429"):
        deliver(Api(otherwise=status(429, retry_after="1")), request(1))


# ---------------------------------------------------------------------------------------------- what ends a run


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("before", [0, 3])
def test_a_refused_secret_ends_the_run_and_refuses_no_event(code: int, before: int) -> None:
    async def main() -> None:
        record = Record()
        api = Api([status(202)] * before, otherwise=problem(code, "No", f"not {SECRET}"))
        async with sender(api, record=record, bulk=False) as one:
            for index in range(before):
                await one.deliver(Request(events(9), index, index + 1))
            with pytest.raises(AccessError) as caught:
                await one.deliver(Request(events(9), 8, 9))
            assert caught.value.status == 77
            assert SECRET not in str(caught.value)
            assert "[secret]" in str(caught.value)
            rotated = "the secret was accepted until " in caught.value.hint and "rotated" in caught.value.hint
            assert rotated == bool(before)
            assert ("its scope" in caught.value.hint) != rotated
            assert (await one.deliver(Request(events(9), 8, 9))).pending == [8], "and no attempt follows"
        assert record.refused == set()
        assert len(api.got) == before + 1

    simulate(main)


def test_a_404_on_the_first_answer_is_a_wrong_store() -> None:
    with pytest.raises(AccessError, match="404") as caught:
        deliver(Api([status(503)], otherwise=status(404)), request(2))
    assert STORE in caught.value.hint


def test_a_later_404_is_not_retried_and_the_second_in_a_row_ends_the_run() -> None:
    async def main() -> None:
        record = Record()
        api = Api([status(code) for code in (202, 404, 202, 404, 404)])
        async with sender(api, record=record) as one:
            for index, accepted in enumerate((True, False, True, False)):
                outcome = await one.deliver(Request(events(9), index, index + 1))
                assert (outcome.accepted, outcome.pending) == (([index], []) if accepted else ([], [index]))
            with pytest.raises(StoppedError, match="404 Not Found, 2 times in a row"):
                await one.deliver(Request(events(9), 4, 5))
        assert len(api.got) == 5
        assert record.refused == set()

    simulate(main)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 422])
def test_these_are_never_retried(code: int) -> None:
    """Neither at first, nor when the store has accepted events before."""

    async def main(before: int) -> None:
        api = Api([status(202)] * before, otherwise=status(code))
        async with sender(api, bulk=False) as one:
            for index in range(before):
                await one.deliver(Request(events(9), index, index + 1))
            try:
                outcome = await one.deliver(Request(events(9), 8, 9))
                assert not outcome.accepted
            except AccessError:
                pass
        assert [ids(sent) for sent in api.got[before:]] == [[8]]
        assert one.snapshot().retries == 0

    for before in (0, 1):
        simulate(lambda before=before: main(before))


@pytest.mark.parametrize(
    "answer,seen",
    [
        (httpx.Response(200, html="<html><title>Sign in</title>"), "200 OK, text/html.*Sign in"),
        (status(204), "204 No Content"),
        (status(302, location="https://other.example/x?key=1"), "302 Found, to https://other.example/x "),
        (status(307, location="/v3"), "307 Temporary Redirect, to /v3"),
        (status(405), "405"),
    ],
)
def test_the_second_answer_in_a_row_that_makes_no_sense_ends_the_run(answer: httpx.Response, seen: str) -> None:
    with pytest.raises(SettingsError) as caught:
        deliver(api := Api(otherwise=answer), request(1))
    assert caught.match(seen.strip())
    assert "base URL" in caught.value.hint
    assert len(api.got) == 2
    assert {sent.url.host for sent in api.got} == {"api.example"}, "no redirect is followed"

    async def after_a_success() -> None:
        async with sender(Api([status(202)], otherwise=answer)) as one:
            await one.deliver(request(1))
            with pytest.raises(StoppedError):
                await one.deliver(request(1))

    simulate(after_a_success)


def test_answers_that_make_no_sense_now_and_then_end_nothing() -> None:
    async def main() -> None:
        api = Api([status(200), status(202)] * 20)
        async with sender(api) as one:
            for _ in range(20):
                assert (await one.deliver(request(1))).accepted == [0]

    simulate(main)


def test_an_outage_ends_with_75_after_probes_and_costs_no_event() -> None:
    async def main() -> None:
        record = Record()
        api = Api(otherwise=problem(503, "down"), seconds=0.1)
        pending: list[int] = []
        async with sender(api, record=record, bulk=False, rate=95) as one:

            async def worker(first: int) -> None:
                for index in range(first, first + 20):
                    pending.extend((await one.deliver(Request(events(200), index, index + 1))).pending)

            async def all_workers() -> None:
                async with anyio.create_task_group() as group:
                    for name in range(10):
                        group.start_soon(worker, name * 20)
                    await anyio.sleep(100)
                    seen = one.snapshot()
                    assert seen.reason.startswith("waiting")
                    assert "one try: the API is out of reach (503 down)" in seen.reason
                    assert 0 < seen.pause <= 30

            with pytest.raises(BaseExceptionGroup) as caught:
                await all_workers()
            assert all(isinstance(error, StoppedError) for error in caught.value.exceptions)
        assert 1800 < now() < 1830
        assert record.refused == record.accepted == set()
        probes = [time for time in api.times if time > 10]
        assert len(probes) == 59
        assert min(after - before for before, after in pairwise(probes)) >= 30
        assert len(api.times) - len(probes) < 60, "retries are a small share"

    simulate(main)


@pytest.mark.parametrize("seconds", [1, 60, 600])
def test_an_outage_that_ends_costs_nothing_but_time(seconds: int) -> None:
    async def main() -> None:
        api = Api(seconds=0.1)
        api.otherwise = lambda _: status(503 if now() < seconds else 202)
        ends: Counter[str] = Counter()
        async with sender(api, bulk=False, rate=95) as one:

            async def worker(first: int) -> None:
                for index in range(first, first + 30):
                    outcome = await one.deliver(Request(events(300), index, index + 1))
                    assert not outcome.refused
                    ends.update(accepted=len(outcome.accepted), pending=len(outcome.pending))

            async with anyio.create_task_group() as group:
                for name in range(10):
                    group.start_soon(worker, name * 30)
        assert ends.total() == 300
        assert ends["pending"] <= 10, "those whose five attempts fell into the first seconds"
        assert now() < seconds + 45

    simulate(main)


def test_failures_cut_the_concurrency_and_429s_do_not() -> None:
    async def main() -> None:
        api = Api([status(429), *[status(503)] * 3])
        async with sender(api) as one:
            await one.deliver(request(1))
            assert one.snapshot().concurrency == 5  # 8 x 0.9 x 0.9 x 0.9

    simulate(main)


def test_concurrency_grows_to_rate_times_latency() -> None:
    async def main() -> None:
        api = Api(seconds=0.3)
        found = events(3000)
        async with sender(api, bulk=False, rate=95) as one:
            rest = iter(pack(found, bulk=False))

            async def worker() -> None:
                for each in rest:
                    await one.deliver(each)

            async with anyio.create_task_group() as group:
                for _ in range(64):
                    group.start_soon(worker)
            assert 28 <= one.snapshot().concurrency <= 40
        assert api.most_in_flight <= 40
        assert now() < 3000 / 95 * 1.25

    simulate(main)


# ------------------------------------------------------------------------------------------ stopping, cancelling


def test_stop_lets_what_is_in_flight_finish_and_starts_nothing() -> None:
    async def main() -> None:
        record = Record()
        api = Api(seconds=5.0)
        found = events(40)
        outcomes: list[Outcome] = []
        async with sender(api, record=record, bulk=False, rate=10) as one:

            async def worker(index: int) -> None:
                outcomes.append(await one.deliver(Request(found, index, index + 1)))

            async with anyio.create_task_group() as group:
                for index in range(40):
                    group.start_soon(worker, index)
                await anyio.sleep(0.35)
                one.stop()
                await anyio.sleep(0)
                await anyio.sleep(0)
                assert len([outcome for outcome in outcomes if outcome.pending]) == 36, "at once"
            assert len(record.accepted) == len(api.got) == 4
        assert now() == pytest.approx(5.3, abs=0.01)

    simulate(main)


@pytest.mark.parametrize("step", [status(503, retry_after="200"), status(429, retry_after="200"), httpx.ReadError("x")])
def test_stop_ends_every_kind_of_waiting(step: httpx.Response | Exception) -> None:
    async def main() -> None:
        api = Api([status(202)], otherwise=step, seconds=0.01)
        async with sender(api, random=lambda: 0.99) as one, anyio.create_task_group() as group:
            await one.deliver(request(1))
            outcomes: list[Outcome] = []

            async def worker() -> None:
                outcomes.append(await one.deliver(request(2)))

            for _ in range(20):
                group.start_soon(worker)
            await anyio.sleep(0.1)
            one.stop()
            stopped = now()
            while len(outcomes) < 20:
                await anyio.sleep(0.001)
            assert now() - stopped < 0.02
            assert all(outcome.pending == [0, 1] for outcome in outcomes)

    simulate(main)


def test_stop_while_an_attempt_fails_starts_no_back_off() -> None:
    async def main() -> None:
        api = Api(otherwise=status(503, retry_after="250"), seconds=1.0)
        async with sender(api) as one, anyio.create_task_group() as group:
            group.start_soon(one.deliver, request(1))
            await anyio.sleep(0.5)
            one.stop()
        assert now() == pytest.approx(1.0)

    simulate(main)


def test_stop_ends_the_wait_for_the_breaker() -> None:
    async def main() -> None:
        async with sender(Api(otherwise=status(503)), bulk=False) as one, anyio.create_task_group() as group:
            for index in range(60):
                group.start_soon(one.deliver, Request(events(60), index, index + 1))
            await anyio.sleep(20)
            assert "out of reach" in one.snapshot().reason
            one.stop()
        assert now() == pytest.approx(20)

    simulate(main)


def test_a_half_accepted_request_is_known_when_the_run_ends() -> None:
    """A split, then 401: what the first half achieved was told; nothing else was."""

    async def main() -> None:
        record = Record()
        api = Api([status(400), status(202), status(401)])
        async with sender(api, record=record) as one:
            with pytest.raises(AccessError):
                await one.deliver(request(10))
        assert record.accepted == set(range(5))
        assert record.refused == set()

    simulate(main)


def test_a_half_accepted_request_is_known_when_it_is_cancelled() -> None:
    async def main() -> None:
        record = Record()
        api = Api([status(400), status(202)], otherwise=status(503))
        async with sender(api, record=record) as one:
            with anyio.move_on_after(0.01):
                await one.deliver(request(10))
        assert record.accepted == set(range(5))
        assert one.snapshot().in_flight == 0

    simulate(main)


steps = st.one_of(
    st.sampled_from([202, 202, 202, 202, 400, 413, 422, 429, 500, 503, 200]),
    st.sampled_from([401, 404]),
    st.sampled_from([httpx.ReadError, httpx.WriteError, httpx.ConnectError, httpx.ReadTimeout]),
    st.lists(st.booleans(), max_size=12),
)


@settings(max_examples=150)
@given(
    st.lists(steps, max_size=60),
    st.integers(1, 5),
    st.integers(1, 12),
    st.one_of(st.none(), st.floats(0, 20)),
    st.one_of(st.none(), st.floats(0, 20)),
    st.randoms(use_true_random=False),
)
def test_every_event_ends_exactly_once_whatever_happens(script, workers, size, stop_at, cancel_at, die) -> None:
    """Random answers, stop() and cancelling at random times: told once or pending, and accepted only what the API took."""
    took: set[tuple[int, ...]] = set()
    taken: set[int] = set()

    def play(step):
        def answer(sent: httpx.Request) -> httpx.Response:
            mine = ids(sent)
            if isinstance(step, list):
                flags = (step + [True] * len(mine))[: len(mine)]
                taken.update(index for index, flag in zip(mine, flags, strict=True) if flag)
                items = [
                    {"index": place, "status": "queued" if flag else "rejected"} for place, flag in enumerate(flags)
                ]
                content = {"total": len(mine), "accepted": sum(flags), "rejected": len(mine) - sum(flags)}
                return httpx.Response(202, json={**content, "events": items})
            if not isinstance(step, int):
                raise step("trouble", request=sent)
            if step == 202:
                taken.update(mine)
                took.add(tuple(mine))
            return httpx.Response(step)

        return answer

    async def main() -> None:
        record = Record()
        api = Api([play(step) for step in script], otherwise=play(202), seconds=0.2)
        found = events(workers * 20)
        outcomes: list[Outcome] = []
        started: set[int] = set()
        async with sender(api, record=record, rate=20, random=die.random) as one:

            async def worker(first: int) -> None:
                for start in range(first, first + 20, size):
                    part = Request(found, start, min(start + size, first + 20))
                    started.update(range(part.start, part.stop))
                    outcomes.append(await one.deliver(part))

            async def stopper() -> None:
                await anyio.sleep(stop_at or 0)
                one.stop()

            try:
                with anyio.move_on_after(cancel_at if cancel_at is not None else 10**9):
                    async with anyio.create_task_group() as group:
                        for name in range(workers):
                            group.start_soon(worker, name * 20)
                        if stop_at is not None:
                            group.start_soon(stopper)
            except* BackfillError:
                pass
            assert one.snapshot().in_flight == 0
        ended: list[int] = []
        for outcome in outcomes:
            refused = [index for index, _ in outcome.refused]
            ended += [*outcome.accepted, *refused, *outcome.pending]
            assert set(outcome.accepted) <= record.accepted
            assert set(refused) <= record.refused
            assert not set(outcome.pending) & (record.accepted | record.refused)
        assert len(ended) == len(set(ended))
        assert record.accepted | record.refused <= started
        assert record.accepted <= taken, "accepted means that the API said so"

    simulate(main)


# ------------------------------------------------------------------------------------------------------ statistics


def test_the_snapshot_counts() -> None:
    async def main() -> None:
        api = Api([status(503), status(429, retry_after="1"), httpx.ReadError("x")], seconds=0.25)
        async with sender(api, bulk=False, rate=50) as one:
            sent = request(1)
            await one.deliver(sent)
            seen = one.snapshot()
        assert (seen.requests, seen.retries, seen.rate_limited, seen.no_answer) == (4, 3, 1, 1)
        assert seen.statuses == {503: 1, 429: 1, 202: 1}
        assert seen.bytes_sent == 4 * len(sent.events.bodies[0])
        assert seen.latency.median == seen.latency.longest == pytest.approx(0.25)
        assert seen.rate == pytest.approx(35)
        assert (seen.pause, seen.reason) == (0.0, "")
        assert json.dumps(seen.statuses)

    simulate(main)


def test_the_rate_holds_for_retries_too() -> None:
    async def main() -> None:
        def flaky(sent: httpx.Request) -> httpx.Response:
            return status(500 if len(api.times) % 25 == 0 else 202)

        api = Api(otherwise=flaky, seconds=0.1)
        found = events(600)
        async with sender(api, bulk=False, rate=100) as one:
            rest = iter(pack(found, bulk=False))

            async def worker() -> None:
                for each in rest:
                    assert (await one.deliver(each)).accepted

            async with anyio.create_task_group() as group:
                for _ in range(32):
                    group.start_soon(worker)
        for start, time in enumerate(api.times):
            inside = sum(1 for other in api.times[start:] if other - time <= 1.0)
            assert inside <= 100 + 11

    simulate(main)


# ------------------------------------------------------------------------------------------------- where it goes


@pytest.mark.parametrize(
    "url",
    [
        "https://api.getredo.com/v2.2",
        "https://api.getredo.com/v2.2/",
        "http://localhost:8787",
        "http://127.0.0.1:8787/v2.2",
        "http://127.9.9.9",
        "http://[::1]:8787/",
    ],
)
def test_base_urls_that_are_taken(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.getredo.com/v2.2",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1@evil.example",
        "http://0x7f000001/",
        "https://user:hunter2@api.getredo.com",
        "https://user@api.getredo.com",
        "http://user:hunter2@localhost",
        "https://api.getredo.com/?key=hunter2",
        "https://api.getredo.com/#x",
        "https://api.getredo.com/?",
        "ftp://api.getredo.com",
        "api.getredo.com",
        "https://",
        "",
        "https://[::1",
        "https://x\n.example/",
        "https://hunter2:99999999/",
    ],
)
def test_base_urls_that_are_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_base_url(url)
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}" or "99999999" in url
    with pytest.raises(SettingsError):
        Target(url, STORE, SECRET)


@pytest.mark.parametrize("store", ["", "a/b", "..", ".", "a?b", "a#b", "a%2fb", "a b", "ä", "x" * 101, "a\n"])
def test_a_store_is_one_path_segment(store: str) -> None:
    with pytest.raises(SettingsError, match="store"):
        Target(BASE, store, SECRET)


@pytest.mark.parametrize("secret", ["", "a b", "a\nb", "ä", "a\x00"])
def test_a_secret_fits_a_header_and_is_never_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Target(BASE, STORE, secret)
    assert not secret or secret not in str(caught.value)


def test_the_secret_is_in_no_text_of_ours() -> None:
    target = Target(BASE, STORE, SECRET)
    one = Sender(target, httpx.MockTransport(Api()), rate=1, clock=LoopClockAtZero())
    for text in (repr(target), repr(one), repr(one.snapshot())):
        assert SECRET not in text


class LoopClockAtZero(LoopClock):
    def monotonic(self) -> float:
        return 0.0


def test_the_clock_may_jump() -> None:
    """A wall clock that is set back or forth changes neither back-off nor pace."""

    class Jumping(LoopClock):
        turn = 0

        def wall(self) -> float:
            self.turn += 1
            return 1e9 * (-1) ** self.turn

    async def main() -> None:
        api = Api([status(503), status(429, retry_after="2"), status(503)])
        target = Target(BASE, STORE, SECRET, bulk=True)
        async with Sender(target, httpx.MockTransport(api), rate=50, clock=Jumping(), random=lambda: 0.5) as one:
            await one.deliver(request(1))
        assert api.times == pytest.approx([0, 0.125, 2.125, 2.375], abs=0.05)

    simulate(main)


def test_an_asgi_application_may_stand_in_for_the_network() -> None:
    async def application(scope, receive, send) -> None:
        message = await receive()
        good = json.loads(message["body"])["uniqueId"] == "0"
        await send({"type": "http.response.start", "status": 202 if good else 400, "headers": []})
        await send({"type": "http.response.body", "body": b"" if good else b'{"detail": "no"}'})

    async def main() -> None:
        transport = httpx.ASGITransport(application)
        async with Sender(Target(BASE, STORE, SECRET), transport, rate=1000, clock=LoopClock()) as one:
            assert (await one.deliver(Request(events(2), 0, 1))).accepted == [0]
            assert (await one.deliver(Request(events(2), 1, 2))).refused[0][1].detail == "no"

    simulate(main)


def test_the_default_clock_is_the_machines() -> None:
    async def main() -> None:
        async with Sender(Target(BASE, STORE, SECRET), httpx.MockTransport(Api()), rate=1000) as one:
            assert (await one.deliver(request(1))).accepted == [0]

    asyncio.run(main())
