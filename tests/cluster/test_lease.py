"""Many workers share one store's rate by leases."""

from __future__ import annotations

import pickle

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.cluster.lease import GRACE, HORIZON, SUCCESSION, Ask, Lease, Leases, Limited
from backfill.cluster.leased import GIVEN_UP_AFTER, LeasedPace
from backfill.errors import StoppedError
from backfill.pace import BURST, Rate
from tests.cluster.support import Gone, Skewed, Worker, holder, together
from tests.delivery.support import Api, LoopClock, now, request, sender, simulate
from tests.delivery.test_pace import most_in

# ------------------------------------------------------------------------------------------------- the holder

asks = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(["ask", "ask", "ask", "ask", "429", "echo"]),
        st.floats(0, 0.5, allow_subnormal=False),
        st.integers(0, 200),
    ),
    max_size=120,
)


@given(st.floats(1, 1500), asks)
def test_slots_keep_to_the_rate_whoever_asks(top: float, asks: list[tuple[int, str, float, int]]) -> None:
    leases, time, slots = Leases(top, 0.0), 0.0, []
    for worker, what, seconds, wanted in asks:
        time += seconds
        if what == "ask":
            lease = leases.lease(str(worker), wanted, time)
            assert len(lease.slots) <= wanted
            assert all(0 <= delay <= HORIZON + 1e-6 for delay in lease.slots)
            assert list(lease.slots) == sorted(lease.slots)
            assert not (lease.slots and time < leases.rate.paused_until)
            assert (lease.again > 0) == (len(lease.slots) < wanted or lease.paused > 0)
            slots += [time + delay for delay in lease.slots]
        else:
            before = leases.generation
            leases.limited(time, seconds, before - (what == "echo"))
            if leases.generation != before:
                # What was handed out under an older one is void.
                slots = [at for at in slots if at <= time]
    slots.sort()
    for seconds in (0.001, 0.01, 0.1, 1.0, 5.0):
        assert most_in(slots, seconds) <= top * seconds + max(BURST, top * 0.005) + 1e-6


@given(st.floats(1, 1500), st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 30)), min_size=1, max_size=30))
def test_the_rate_foretells_its_takes(top: float, steps: list[tuple[float, int]]) -> None:
    rate, time = Rate(top, 0.0), 0.0
    for seconds, count in steps:
        time += seconds
        foretold = [time + rate.until(time, nth) for nth in range(1, count + 1)]
        for at in foretold:
            assert rate.take(at + 1e-9) == 0.0
            assert at <= time + 1e-6 or rate.take(at - 1e-6) > 0
        time = foretold[-1]


def test_one_alone_gets_the_whole_horizon_and_not_more() -> None:
    leases = Leases(100, 0.0)
    first = leases.lease("a", 1000, 0.0)
    assert first.slots == pytest.approx([index / 100 for index in range(26)])
    assert leases.lease("a", 1000, 0.0).slots == ()
    assert leases.lease("a", 1000, 0.1).slots == pytest.approx([0.16 + index / 100 for index in range(10)])


def test_who_lacks_slots_gets_the_next_even_when_another_asks_first() -> None:
    leases = Leases(100, 0.0)
    assert len(leases.lease("greedy", 1000, 0.0).slots) == 26
    newcomer = leases.lease("new", 2, 0.0)
    assert not newcomer.slots
    assert len(leases.lease("greedy", 1000, newcomer.again).slots) <= 2
    assert leases.lease("new", 2, newcomer.again).slots


def test_who_lacks_slots_and_dies_holds_its_turn_for_a_moment_only() -> None:
    leases = Leases(100, 0.0)
    leases.lease("greedy", 1000, 0.0)
    turn = leases.lease("new", 500, 0.0).again
    assert len(leases.lease("greedy", 10, turn).slots) <= 3
    assert len(leases.lease("greedy", 10, turn + 0.3).slots) == 10


def test_a_429_pauses_all_and_cuts_once_for_all_that_left_under_older_leases() -> None:
    leases = Leases(100, 0.0)
    before = leases.lease("a", 5, 0.0).generation
    leases.lease("b", 5, 0.0)
    told = leases.ask(Ask("a", 5, limited=Limited(2.0, before)), 0.1)
    assert (told.slots, told.paused, told.rate) == ((), pytest.approx(2.0), 70)
    assert told.generation != before
    echo = leases.ask(Ask("b", 5, limited=Limited(3.0, before)), 0.3)
    assert echo.rate == 70
    assert echo.paused == pytest.approx(3.0)
    assert leases.lease("c", 5, 3.2).slots == ()
    after = leases.lease("c", 3, 3.31)
    assert after.slots == pytest.approx([0.0, 1 / 70 - 0.01, 2 / 70 - 0.01], abs=1e-3)
    assert leases.ask(Ask("c", 0, limited=Limited(0.0, after.generation)), 3.4).rate == pytest.approx(49)


def test_clean_seconds_give_the_rate_back() -> None:
    leases = Leases(100, 0.0)
    leases.limited(0.0, 0.0, 0)
    assert leases.ask(Ask("a", 1, succeeded=40), 0.5).rate == 70
    assert leases.ask(Ask("a", 1, succeeded=40), 1.1).rate == 71
    assert leases.ask(Ask("a", 1), 2.5).rate == 71


def test_a_successor_hands_nothing_out_before_its_predecessors_leases_have_run_out() -> None:
    leases = Leases(100, 50.0, after=1.0)
    early = leases.lease("a", 5, 50.2)
    assert (early.slots, early.paused, early.again) == ((), pytest.approx(0.8), pytest.approx(0.8))
    assert leases.lease("a", 3, 51.0).slots == pytest.approx([0.0, 0.01, 0.02])


# ------------------------------------------------------------------------------------------------ the workers


def keeps(sent: list[float], rate: float, latency: float) -> None:
    for seconds in (0.01, 0.1, 0.5, 1.0, 5.0):
        assert most_in(sent, seconds) <= rate * (seconds + latency + GRACE) + BURST + 1e-6


@pytest.mark.parametrize("count", [1, 2, 7, 50])
@pytest.mark.parametrize("latency", [0.0, 0.002, 0.05])
def test_any_number_of_workers_reach_the_rate_and_share_it(count: int, latency: float) -> None:
    async def main() -> None:
        store = holder(95.0, latency)
        workers = [Worker(f"w{index}", store.ask, ahead=index * 100.0) for index in range(count)]
        sent = await together(workers, 15.0)
        keeps(sent, 95.0, latency)
        assert len(sent) >= 0.98 * 95 * 15
        later = [sum(time > 2 for time in worker.sent) for worker in workers]
        assert min(later) >= 0.7 * sum(later) / count
        assert store.calls / 15 <= 13 * count + 5, "an answer holds many slots"
        assert store.calls / 15 <= 2.2 * 95, "or one, where many share them"

    simulate(main)


lives = st.lists(
    st.tuples(
        st.floats(0, 6),  # joins
        st.floats(0.01, 8),  # lives
        st.sampled_from([1, 3, 10, 64]),  # tasks: how greedy
        st.floats(0.001, 0.3),  # seconds from request to request
        st.floats(-1e6, 1e6),  # its clock
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(lives, st.floats(0, 0.05), st.sampled_from([7.0, 95.0, 400.0]))
def test_workers_that_join_and_die_keep_the_rate(
    lives: list[tuple[float, float, int, float, float]], latency: float, rate: float
) -> None:
    async def main() -> None:
        store = holder(rate, latency)
        workers = [
            Worker(f"w{index}", store.ask, tasks=tasks, seconds=seconds, ahead=ahead)
            for index, (_, _, tasks, seconds, ahead) in enumerate(lives)
        ]
        sent = await together(workers, 10.0, [(joins, joins + stays) for joins, stays, *_ in lives])
        keeps(sent, rate, latency)
        for worker, (_, stays, *_) in zip(workers, lives, strict=True):
            # All are greedy at worst: each gets its turn within a round, or within what the dead held.
            assert worker.sent or stays < 2 * len(lives) / rate + 1.0

    simulate(main)


def test_one_who_asks_for_little_is_served_beside_greedy_ones() -> None:
    async def main() -> None:
        store = holder(95.0, 0.005)
        modest = Worker("modest", store.ask, tasks=1, seconds=0.2)
        greedy = [Worker(f"greedy{index}", store.ask, tasks=64, seconds=0.001) for index in range(3)]
        sent = await together([modest, *greedy], 20.0)
        assert len(sent) >= 0.98 * 95 * 20
        assert len(modest.sent) >= 20 * 2.5
        assert max(len(one.sent) for one in greedy) <= 1.05 * min(len(one.sent) for one in greedy)

    simulate(main)


@pytest.mark.parametrize("latency", [0.0, 0.05])
def test_a_429_seen_by_one_pauses_all(latency: float) -> None:
    async def main() -> None:
        store = holder(95.0, latency)
        seen: list[float] = []

        def answer(worker: Worker, sent_at: float, pace: LeasedPace) -> None:
            if now() > 5 and not seen:
                seen.append(now())
                assert pace.state.limited(worker.ahead + now(), 3.0, sent_at)
            else:
                pace.state.succeeded(sent_at)

        workers = [Worker(f"w{index}", store.ask, answer=answer, ahead=index * 7.0) for index in range(8)]
        sent = await together(workers, 30.0)
        told = seen[0] + latency
        assert not [time for time in sent if told + latency + HORIZON + GRACE < time < seen[0] + 3.0 - 1e-6]
        assert [time for time in sent if seen[0] + 2.9 <= time < seen[0] + 3.5 + 3 * latency]
        assert store.leases.rate.rate > 85, "each clean second gave 1/s back, and what was under way cut no more"
        keeps(sent, 95.0, latency)

    simulate(main)


def test_what_was_handed_out_when_the_429_came_cuts_no_more() -> None:
    async def main() -> None:
        store = holder(95.0, 0.02)
        until: list[float] = []

        def answer(worker: Worker, sent_at: float, pace: LeasedPace) -> None:
            # All that left before the pause was known is answered 429, as a full bucket does.
            if now() > 5 and (not until or sent_at - worker.ahead < until[0]):
                until or until.append(now() + 0.3)
                pace.state.limited(worker.ahead + now(), 1.0, sent_at)

        workers = [Worker(f"w{index}", store.ask, answer=answer, seconds=0.2, ahead=3.0 * index) for index in range(6)]
        await together(workers, 7.0)
        assert store.leases.rate.rate == pytest.approx(95 * 0.7)

    simulate(main)


def test_a_holder_that_is_gone_stops_all_until_another_takes_over() -> None:
    async def main() -> None:
        store = holder(95.0, 0.01)
        workers = [Worker(f"w{index}", store.ask) for index in range(5)]

        async def falls() -> None:
            await anyio.sleep(5)
            store.gone = True
            await anyio.sleep(4)
            assert {one.pace.trouble for one in workers if one.pace} == {"Gone: "}
            store.leases = Leases(95.0, store.clock.monotonic(), after=1.0)
            store.gone = False

        async with anyio.create_task_group() as group:
            group.start_soon(falls)
            sent = await together(workers, 30.0)
        assert not [time for time in sent if 5 + HORIZON + 0.01 + GRACE < time < 10]
        assert [time for time in sent if 10 <= time < 15]
        assert sum(time >= 15 for time in sent) >= 0.98 * 95 * 15
        keeps(sent, 95.0, 0.01)

    simulate(main)


@pytest.mark.parametrize("after", [0.0, SUCCESSION])
def test_a_successor_hears_of_the_pause_that_its_predecessor_knew(after: float) -> None:
    async def main() -> None:
        store = holder(95.0)

        def answer(worker: Worker, sent_at: float, pace: LeasedPace) -> None:
            if 2 < now() < 2.1:
                pace.state.limited(now(), 20.0, sent_at)

        async def falls() -> None:
            await anyio.sleep(5)
            store.leases = Leases(95.0, store.clock.monotonic(), after)

        async with anyio.create_task_group() as group:
            group.start_soon(falls)
            workers = [Worker("a", store.ask, answer=answer), Worker("b", store.ask)]
            sent = await together(workers, 25.0)
        assert not [time for time in sent if 2.5 < time < 22]
        assert [time for time in sent if time > 22]

    simulate(main)


def test_a_holder_that_never_answers_is_asked_again() -> None:
    async def main() -> None:
        store = holder(95.0)
        silent = True

        async def ask(ask: Ask) -> Lease:
            if silent:
                await anyio.sleep_forever()
            return await store.ask(ask)

        async with LeasedPace("a", ask, rate=95.0, clock=Skewed()) as pace:
            with anyio.move_on_after(10) as scope:
                await pace.wait()
            assert scope.cancelled_caught
            assert pace.unanswered_since == 0.0
            assert pace.trouble == "no answer within 2 s"
            silent = False
            with anyio.fail_after(10):
                await pace.wait()
            assert pace.unanswered_since is None
            assert not pace.trouble

    simulate(main)


def test_a_holder_that_stays_silent_is_given_up() -> None:
    async def main() -> None:
        async def ask(_: Ask) -> Lease:
            raise Gone("not there")

        async with LeasedPace("a", ask, rate=95.0, clock=Skewed()) as pace:
            with pytest.raises(StoppedError, match=r"not answered for 30\d s \(Gone: not there\)"):
                await pace.wait()
            assert GIVEN_UP_AFTER <= now() <= GIVEN_UP_AFTER + 10
            # Whoever else waits learns of it, too.
            with pytest.raises(StoppedError):
                await pace.wait()

    simulate(main)


def test_cancelled_waiters_leave_no_trace() -> None:
    async def main() -> None:
        store = holder(10.0)
        async with LeasedPace("a", store.ask, rate=10.0, clock=Skewed()) as pace:
            for _ in range(20):
                with anyio.move_on_after(0.013):
                    while True:
                        await pace.wait()
            assert not pace.busy()
            calls = store.calls
            await anyio.sleep(10)
            assert store.calls <= calls + 1, "nobody waits: nothing is asked for"
            with anyio.fail_after(0.2):
                await pace.wait()

    simulate(main)


def test_what_crosses_the_wire_is_plain() -> None:
    asked = Ask("a", 3, 7, Limited(1.5, 2))
    told = Leases(95, 0.0).ask(asked, 0.0)
    assert pickle.loads(pickle.dumps((asked, told))) == (asked, told)


def test_slots_that_ran_out_while_the_loop_was_busy_are_asked_for_anew() -> None:
    class Stalls(Skewed):
        extra = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.extra

    async def main() -> None:
        store = holder(95.0)
        clock = Stalls()
        async with LeasedPace("a", store.ask, rate=95.0, clock=clock) as pace:
            await pace.wait()
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(pace.wait)
                await anyio.sleep(0)
                clock.extra = 5.0
                with anyio.fail_after(2):
                    while pace.busy():
                        await anyio.sleep(0.01)

    simulate(main)


def test_an_error_within_goes_on_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(Gone):
            async with LeasedPace("a", holder().ask, rate=95.0, clock=Skewed()):
                raise Gone

    simulate(main)


def test_senders_of_many_workers_keep_one_stores_rate_and_its_pauses() -> None:
    async def main() -> None:
        store = holder(50.0, 0.005)
        limited = httpx.Response(429, headers={"Retry-After": "3"})
        api = Api(script=[httpx.Response(202)] * 200 + [limited])

        async def work(name: str) -> None:
            async with (
                LeasedPace(name, store.ask, rate=50.0, clock=LoopClock()) as pace,
                sender(api, pace=pace, rate=50.0) as one,
                anyio.create_task_group() as group,
            ):
                for _ in range(100):
                    group.start_soon(one.deliver, request())
                await anyio.sleep(2)
                assert one.snapshot().rate == 50
                assert one.snapshot().in_flight <= 64

        async with anyio.create_task_group() as group:
            for index in range(4):
                group.start_soon(work, f"w{index}")
        assert len(api.times) == 401
        keeps(api.times, 50.0, 0.005)
        paused = api.times[200]
        assert not [time for time in api.times if paused + HORIZON + GRACE + 0.01 < time < paused + 2.999]

    simulate(main)
