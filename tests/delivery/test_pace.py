"""The rate that all workers share, and how many requests are in flight."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.pace import Concurrency, Pace, Rate, Window
from tests.delivery.support import LoopClock, now, simulate


def most_in(times: list[float], seconds: float) -> int:
    """The most of `times` in any window of `seconds`, both ends included."""
    most = start = 0
    for end, time in enumerate(times):
        while time - times[start] > seconds:
            start += 1
        most = max(most, end - start + 1)
    return most


steps = st.lists(
    st.tuples(st.sampled_from(["idle", "take", "take", "take", "429", "ok"]), st.floats(0, 3, allow_subnormal=False)),
    max_size=150,
)


@given(st.floats(1, 1500), steps)
def test_no_window_holds_more_than_the_rate_and_the_burst(top: float, steps: list[tuple[str, float]]) -> None:
    rate = Rate(top, 0.0)
    time = 0.0
    taken: list[float] = []
    for what, amount in steps:
        if what == "idle":
            time += amount
        elif what == "429":
            rate.limited(time, amount, time - 0.01)
        elif what == "ok":
            rate.succeeded(time)
        else:
            for _ in range(int(amount * 5)):
                while wait := rate.take(time):
                    time += wait
                assert time >= rate.paused_until - 1e-6
                taken.append(time)
        assert min(5.0, top) <= rate.rate <= top
    for seconds in (0.001, 0.01, 0.1, 1.0, 5.0):
        assert most_in(taken, seconds) <= top * seconds + 10 + 1e-6


def test_spacing_is_even_from_the_first_request() -> None:
    rate = Rate(10, 0.0)
    time, taken = 0.0, []
    for _ in range(30):
        while wait := rate.take(time):
            time += wait
        taken.append(time)
    assert taken == pytest.approx([index / 10 for index in range(30)])


def test_an_idle_bucket_holds_ten_and_no_more() -> None:
    rate = Rate(10, 0.0)
    assert [rate.take(100.0) for _ in range(10)] == [0.0] * 10
    assert rate.take(100.0) > 0


def test_a_429_pauses_then_slows_to_the_floor_and_comes_back_by_one_each_clean_second() -> None:
    rate = Rate(100, 0.0)
    assert rate.limited(1.0, 12.0, sent_at=0.9)
    assert rate.take(12.9) == pytest.approx(0.1)
    assert rate.rate == 70
    assert rate.take(13.0) == 0.0
    assert rate.take(13.0) == pytest.approx(1 / 70), "a pause ends with one request, not with ten"
    rate.succeeded(13.5)
    assert rate.rate == 70
    rate.succeeded(14.1)
    assert rate.rate == 71
    rate.succeeded(100.0)
    assert rate.rate == 72, "idle seconds are not clean seconds"
    for index in range(20):
        rate.limited(101.0 + index, 0.0, sent_at=101.0 + index)
    assert rate.rate == 5
    for index in range(200):
        rate.succeeded(200.0 + index * 1.01)
    assert rate.rate == 100


def test_answers_to_one_full_bucket_cut_once() -> None:
    rate = Rate(100, 0.0)
    cuts = [rate.limited(1.0 + index / 100, 2.0, sent_at=0.9) for index in range(64)]
    assert cuts == [True] + [False] * 63
    assert rate.rate == 70
    assert rate.paused_until == pytest.approx(3.63)


def test_a_slow_rate_is_not_raised_to_the_floor() -> None:
    rate = Rate(2, 0.0)
    rate.limited(0.0, 0.0, 0.0)
    assert rate.rate == 2


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="a rate of"):
        Rate(rate, 0.0)


def test_workers_share_the_pace_in_turn() -> None:
    async def main() -> None:
        pace = Pace(50, LoopClock())
        order: list[int] = []

        async def worker(name: int) -> None:
            for _ in range(10):
                if not pace.ready():
                    await pace.wait()
                order.append(name)

        async with anyio.create_task_group() as group:
            for name in range(5):
                group.start_soon(worker, name)
        assert now() == pytest.approx(49 / 50)
        assert all(order.count(name) == 10 for name in range(5))
        assert all(len(set(order[first : first + 5])) == 5 for first in range(1, 42)), "nobody goes twice in a turn"

    simulate(main)


def test_a_cancelled_wait_takes_nothing_and_lets_the_next_pass() -> None:
    async def main() -> None:
        pace = Pace(1, LoopClock())
        assert pace.ready()
        with anyio.move_on_after(0.5):
            await pace.wait()
        await pace.wait()
        assert now() == pytest.approx(1.0)

    simulate(main)


def test_a_pause_that_begins_while_others_wait_holds_them_too() -> None:
    async def main() -> None:
        pace = Pace(1, LoopClock())
        assert pace.ready()
        waiter = asyncio.create_task(pace.wait())
        await anyio.sleep(0.5)
        pace.state.limited(now(), 10.0, now())
        await waiter
        assert now() == pytest.approx(10.5)

    simulate(main)


# ------------------------------------------------------------------------------------------------- concurrency


def test_the_window_grows_only_when_it_is_clean_and_used_up() -> None:
    window = Window()
    assert window.limit == 8
    for _ in range(100):
        window.succeeded()
    assert window.limit == 8, "nobody waited: 8 are enough"
    for _ in range(8):
        window.wanted()
        window.succeeded()
    assert window.limit == 9
    window.failed(1.0, sent_at=0.5)
    assert window.limit == 8
    window.failed(1.1, sent_at=0.6)
    assert window.limit == 8, "sent before the cut: its echo"
    for _ in range(10_000):
        window.wanted()
        window.succeeded()
    assert window.limit == 64
    for index in range(200):
        window.failed(2.0 + index, sent_at=2.0 + index)
    assert window.limit == 1


def test_the_window_is_never_over_64() -> None:
    """Whatever the user asks for."""
    window = Window(512)
    for _ in range(10_000):
        window.wanted()
        window.succeeded()
    assert window.limit == 64


def test_the_limit_is_kept_and_places_go_in_turn() -> None:
    async def main() -> None:
        places = Concurrency(4)
        inside = most = 0
        order: list[int] = []

        async def worker(name: int) -> None:
            nonlocal inside, most
            await places.acquire()
            order.append(name)
            inside += 1
            most = max(most, inside)
            await anyio.sleep(1)
            inside -= 1
            places.release()

        async with anyio.create_task_group() as group:
            for name in range(12):
                group.start_soon(worker, name)
        assert most == 4
        assert order == list(range(12))
        assert places.in_flight == 0

    simulate(main)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(0, 12)), min_size=1, max_size=30))
def test_no_place_is_lost_by_cancelling(lives: list[tuple[int, int, int]]) -> None:
    """(starts after, holds for, is cancelled at) each."""

    async def main() -> None:
        places = Concurrency(2)

        async def worker(starts: int, holds: int, ends: int) -> None:
            await anyio.sleep(starts)
            with anyio.move_on_after(ends):
                await places.acquire()
                try:
                    assert places.in_flight <= 2
                    await anyio.sleep(holds)
                finally:
                    places.release()

        async with anyio.create_task_group() as group:
            for life in lives:
                group.start_soon(worker, *life)
        assert places.in_flight == 0
        assert places.ready()
        assert places.ready()
        assert not places.ready()

    simulate(main)


def test_a_place_given_in_the_moment_of_cancelling_is_passed_on() -> None:
    async def main() -> None:
        places = Concurrency(1)
        assert places.ready()
        waiter = asyncio.create_task(places.acquire())
        await anyio.sleep(0)
        places.release()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert places.ready()

    simulate(main)


def test_who_stands_in_line_is_sent_away_and_takes_no_place() -> None:
    async def main() -> None:
        places = Concurrency(1)
        assert places.ready()
        waiters = [asyncio.create_task(places.acquire()) for _ in range(3)]
        await anyio.sleep(0)
        waiters[1].cancel()
        places.send_away()
        assert [await waiters[0], await waiters[2]] == [False, False]
        places.release()
        assert places.in_flight == 0
        assert await places.acquire()

    simulate(main)
