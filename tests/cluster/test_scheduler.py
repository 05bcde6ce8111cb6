"""What runs next, and where."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.cluster.dispatch import Dispatch
from backfill.cluster.scheduler import ATTEMPTS, Phase, Scheduler, Split, Start


def splits(store: str, phase: Phase, count: int, events: int = 100) -> list[Split]:
    return [Split(store, phase, str(index), events) for index in range(count)]


def scheduler(places: dict[str, int], place_rate: float = 9_500, **stores: tuple[int, int]) -> Scheduler:
    """`stores`: how many splits to send, and of how many events."""
    made = Scheduler(place_rate=place_rate)
    for worker, count in places.items():
        made.join(worker, count)
    for store, (count, events) in stores.items():
        made.add(store, splits(store, Phase.SEND, count, events), limit=9_500)
    return made


def start_all(one: Scheduler) -> list[Start]:
    started = []
    while start := one.next():
        one.started(start)
        started.append(start)
    return started


def stores_of(started: list[Start]) -> list[str]:
    return [start.split.store for start in started]


def test_the_store_with_the_longest_time_left_goes_first() -> None:
    one = scheduler({"w": 2}, a=(3, 100), b=(5, 100), c=(1, 1000))
    assert stores_of(start_all(one)) == ["c", "b"]


def test_time_left_is_at_the_stores_own_limit() -> None:
    one = scheduler({"w": 1}, a=(10, 100))
    one.add("slow", splits("slow", Phase.SEND, 1, 500), limit=95)
    assert stores_of(start_all(one)) == ["slow"]


def test_each_store_gets_its_first_place_before_any_gets_a_second() -> None:
    one = scheduler({"w": 5}, place_rate=2_000, big=(20, 1000), small=(20, 1), least=(2, 1))
    assert stores_of(start_all(one)) == ["big", "small", "least", "big", "small"]


def test_a_store_takes_no_more_places_than_its_limit_needs() -> None:
    one = scheduler({"w": 10}, place_rate=4_750, a=(20, 100))
    assert len(start_all(one)) == 2
    assert one.free() == 8
    assert scheduler({"w": 10}, place_rate=50_000, a=(20, 100)).next() is not None


def test_checks_take_all_places_and_sends_wait_for_the_last_of_them() -> None:
    one = scheduler({"w": 3})
    one.add("a", [*splits("a", Phase.CHECK, 4), *splits("a", Phase.SEND, 2)], limit=9_500)
    first = start_all(one)
    assert [start.split.phase for start in first] == ["check"] * 3
    for start in first[:2]:
        one.done(start.split)
    (last,) = start_all(one)
    one.done(first[2].split)
    assert one.next() is None
    one.done(last.split)
    assert [start.split.phase for start in start_all(one)] == ["send"]


def test_sends_may_be_added_when_the_checks_are_done() -> None:
    one = scheduler({"w": 1})
    one.add("a", splits("a", Phase.CHECK, 1), limit=9_500)
    (check,) = start_all(one)
    one.done(check.split)
    assert one.finished()
    one.add("a", splits("a", Phase.SEND, 1), limit=9_500)
    assert [start.split.phase for start in start_all(one)] == ["send"]


def test_a_store_that_can_send_is_not_kept_waiting_by_the_checks_of_a_smaller_one() -> None:
    one = scheduler({"w": 1}, big=(2, 1000))
    one.add("small", splits("small", Phase.CHECK, 5), limit=9_500)
    assert stores_of(start_all(one)) == ["big"]


def test_the_splits_of_a_lost_worker_run_first_and_elsewhere() -> None:
    one = scheduler({"w1": 1, "w2": 1, "w3": 1}, a=(3, 100), b=(3, 100))
    first = start_all(one)
    gone = first[0]
    assert one.lost(gone.worker) == [gone.split]
    one.done(first[1].split)
    again = start_all(one)[0]
    assert again.split == gone.split
    assert again.worker != gone.worker


def test_what_a_lost_worker_says_late_changes_nothing() -> None:
    one = scheduler({"w1": 1}, a=(1, 100))
    (start,) = start_all(one)
    one.lost("w1")
    one.done(start.split)
    assert not one.finished()
    one.join("w2", 1)
    assert [again.split for again in start_all(one)] == [start.split]


def test_a_split_that_fails_on_many_workers_is_given_up_and_the_others_go_on() -> None:
    one = scheduler({f"w{index}": 1 for index in range(ATTEMPTS + 1)}, a=(3, 100))
    where = []
    for attempt in range(ATTEMPTS):
        (start,) = start_all(one)
        where.append(start.worker)
        assert one.broke(start.split) == (attempt == ATTEMPTS - 1)
    assert len(set(where)) == ATTEMPTS
    assert [split.name for split in one.given_up] == ["0"]
    assert [start.split.name for start in start_all(one)] == ["1"]


def test_a_split_that_takes_its_worker_with_it_is_given_up_too() -> None:
    one = scheduler({"w0": 1}, a=(1, 100))
    for index in range(ATTEMPTS):
        assert start_all(one)
        one.lost(f"w{index}")
        one.join(f"w{index + 1}", 1)
    assert one.next() is None
    assert one.finished()
    assert len(one.given_up) == 1


def test_with_one_worker_a_split_fails_there_three_times() -> None:
    one = scheduler({"w": 2}, a=(1, 100))
    for _ in range(ATTEMPTS):
        (start,) = start_all(one)
        one.broke(start.split)
    assert one.finished()


def test_a_check_that_is_given_up_ends_its_store() -> None:
    one = scheduler({"w": 1})
    one.add("a", [*splits("a", Phase.CHECK, 2), *splits("a", Phase.SEND, 2)], limit=9_500)
    for _ in range(ATTEMPTS):
        (start,) = start_all(one)
        one.broke(start.split)
    assert one.finished()
    assert len(one.given_up) == 4


def test_a_store_that_failed_is_dropped_and_the_others_go_on() -> None:
    one = scheduler({"w": 2}, a=(5, 1000), b=(2, 1))
    first = start_all(one)
    assert len(one.failed("a")) == 4
    one.broke(first[0].split)
    assert len(one.given_up) == 5
    one.done(first[1].split)
    assert stores_of(start_all(one)) == ["b"]
    one.add("a", splits("a", Phase.SEND, 1), limit=9_500)
    assert len(one.given_up) == 6


def test_work_goes_to_the_worker_with_the_most_free_places() -> None:
    one = scheduler({"w1": 1, "w2": 3}, a=(1, 9), b=(1, 9), c=(1, 9), d=(1, 9))
    assert [start.worker for start in start_all(one)] == ["w2", "w2", "w1", "w2"]


steps = st.lists(st.tuples(st.sampled_from(["done", "done", "broke", "lost", "join", "failed"]), st.integers(0, 999)))
sizes = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(1, 9)), min_size=1
)


def play(sizes: dict[str, tuple[int, int, int]], steps: list[tuple[str, int]]) -> list[Start]:
    one = Scheduler(place_rate=5_000)
    expected = set()
    for store, (checks, sends, events) in sizes.items():
        mine = [*splits(store, Phase.CHECK, checks, events), *splits(store, Phase.SEND, sends, events)]
        expected.update(mine)
        one.add(store, mine, limit=9_500)
    one.join("w0", 3)
    workers, history, running, done = {"w0"}, [], {}, set()
    moves = iter(steps)
    while True:
        for start in start_all(one):
            history.append(start)
            assert start.split not in running
            running[start.split] = start.worker
        sending = Counter(split.store for split in running if split.phase is Phase.SEND)
        assert max(sending.values(), default=0) <= 2
        assert not (one.free() and one.idle())
        assert one.free() + len(running) == 3 * len(workers)
        what, which = next(moves, ("done", 0))
        if one.finished():
            break
        if not workers or what == "join":
            name = f"w{len(history) + which + 1}"
            if name not in workers:
                workers.add(name)
                one.join(name, 3)
        elif what == "lost":
            name = sorted(workers)[which % len(workers)]
            workers.remove(name)
            assert set(one.lost(name)) == {split for split, where in running.items() if where == name}
            running = {split: where for split, where in running.items() if where != name}
        elif what == "failed":
            one.failed(sorted(sizes)[which % len(sizes)])
        elif running:
            split = list(running)[which % len(running)]
            del running[split]
            if what == "done":
                done.add(split)
                one.done(split)
            else:
                one.broke(split)
    assert done | set(one.given_up) == expected
    assert len(done) + len(one.given_up) == len(expected)
    return history


@given(sizes, steps)
def test_each_split_ends_once_whatever_happens(
    sizes: dict[str, tuple[int, int, int]], steps: list[tuple[str, int]]
) -> None:
    assert play(sizes, steps) == play(sizes, steps)


@pytest.mark.parametrize("phase", list(Phase))
def test_an_empty_scheduler_starts_nothing(phase: Phase) -> None:
    assert scheduler({}).next() is None
    one = scheduler({"w": 1})
    assert one.finished()
    one.add("a", splits("a", phase, 1), limit=1)
    assert not one.finished()


def test_a_store_sends_from_two_workers_where_there_are_two() -> None:
    one = Scheduler(place_rate=1)
    one.join("w0", 10)
    one.join("w1", 3)
    one.add("a", [Split("a", Phase.SEND, str(number), 100) for number in range(4)], limit=3)
    starts = []
    while start := one.next():
        one.started(start)
        starts.append(start.worker)
    assert starts == ["w0", "w1", "w0"]


def test_dispatch_tells_what_was_lost_too_often() -> None:
    one = Dispatch(place_rate=1)
    one.machines({"w0": 1})
    (split,) = one.add("a", Phase.SEND, [100], limit=1)
    for index in range(ATTEMPTS):
        ((start, again),) = one.starts("a")
        assert (start.worker, again) == (f"w{index}", index > 0)
        assert one.given_up("a") == []
        one.machines({f"w{index + 1}": 1})
    assert one.starts("a") == []
    assert one.given_up("a") == [split]
    assert one.given_up("a") == []
