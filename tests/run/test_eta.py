"""The estimate of the time left, over runs that are lived through in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.eta import Estimate, roughly

LOOK = 0.2


@dataclass(frozen=True)
class Look:
    """What a run shows at a moment: seconds since its beginning, events done, and the estimate."""

    at: float
    done: float
    left: float | None
    words: str
    waiting: bool


def lived(
    total: int,
    speed: Callable[[float], float],
    *,
    expected: float | None,
    pauses: tuple[tuple[float, float, bool], ...] = (),
) -> list[Look]:
    """A run of `total` events at `speed(t)` a second. Pauses: from when, how long, and whether that is known."""
    estimate, at, done, looks = Estimate(total, expected), 0.0, 0.0, []
    while done < total:
        pause = next(((end - at, known) for start, long, known in pauses if start <= at < (end := start + long)), None)
        estimate.see(at, int(done), pause=pause[0] if pause and pause[1] else 0.0, waiting=pause is not None)
        looks.append(Look(at, done, estimate.left(), estimate.words(), pause is not None))
        at += LOOK
        if pause is None:
            done += speed(at) * LOOK
        assert at < 100_000
    estimate.see(at, total)
    assert estimate.left() is None
    assert estimate.words() == ""
    return looks


def true_left(looks: list[Look], look: Look) -> float:
    return looks[-1].at + LOOK - look.at


def jumps(looks: list[Look]) -> Iterator[float]:
    """By how much the expected end moves between two looks, as a part of the time left."""
    for before, after in pairwise(looks):
        if before.left and after.left and after.left > 10:
            yield abs((after.at + after.left) - (before.at + before.left)) / after.left


def test_steady_from_the_first_look():
    looks = lived(60_000, lambda t: 95.0, expected=95.0)
    assert looks[0].words == "11 min"
    for look in looks:
        assert look.left is not None
        assert look.left == pytest.approx(true_left(looks, look), rel=0.02, abs=2)
    assert max(jumps(looks)) < 0.01


def test_a_slow_start_is_not_believed_for_long():
    """Nothing for two seconds, then half of what was expected."""
    looks = lived(20_000, lambda t: 0.0 if t < 2 else 47.0, expected=95.0)
    assert all(look.left for look in looks)
    assert max(jumps(looks)) < 0.1
    for look in looks:
        if look.at > 60:
            assert look.left == pytest.approx(true_left(looks, look), rel=0.15, abs=2)


@pytest.mark.parametrize(("long", "known"), [(60.0, True), (600.0, False)], ids=["pause of 60 s", "outage of 10 min"])
def test_a_pause_moves_the_end_by_itself_and_no_more(long, known):
    start = 120.0
    looks = lived(60_000, lambda t: 95.0, expected=95.0, pauses=((start, long, known),))
    for look in looks:
        # What nobody can know before is not held against it.
        waits = max(0.0, start + long - max(look.at, start)) if not known or look.at < start else 0.0
        assert look.left == pytest.approx(true_left(looks, look) - waits, rel=0.25, abs=3), look
    within = [look for look in looks if look.waiting]
    assert max(jumps([look for look in looks if not look.waiting and look.at < start])) < 0.01
    if known:
        assert max(jumps(within)) < 0.01
    else:
        # It stands still: nobody knows when it ends, and the work that is left is the same.
        assert within[-1].left == pytest.approx(within[100].left)
        assert len({look.words for look in within[100:]}) == 1
    after = [look for look in looks if look.at > start + long]
    assert max(jumps(after)) < 0.02


def test_slowed_down_by_429():
    """Three cuts to a third, then 1/s more each second; and a pause of a second at each cut."""

    def speed(t: float) -> float:
        return 95.0 if t < 100 else min(95.0, 33.0 + (t - 103) * 1.0)

    pauses = ((100.0, 1.0, True), (101.5, 1.0, True), (103.0, 1.0, True))
    looks = lived(40_000, speed, expected=95.0, pauses=pauses)
    assert max(jumps(looks)) < 0.05
    for look in looks:
        assert 0.7 < (look.left or 0) / true_left(looks, look) < 1.6 or true_left(looks, look) < 5, look


def test_short_pauses_again_and_again_count():
    """Five seconds of every twenty: what is left takes a third longer, and the estimate knows."""
    pauses = tuple((20.0 * n + 15, 5.0, True) for n in range(200))
    looks = lived(60_000, lambda t: 95.0, expected=95.0, pauses=pauses)
    for look in looks:
        if look.at > 180 and true_left(looks, look) > 60:
            assert 0.8 < (look.left or 0) / true_left(looks, look) < 1.25, look


def test_a_fast_finish_never_says_that_nothing_is_left():
    looks = lived(60_000, lambda t: 95.0 if t < 300 else 9_500.0, expected=95.0)
    for look in looks:
        assert look.left is not None
        assert look.left >= 1
        assert look.words not in ("", "0 s")


def test_words_do_not_go_to_and_fro():
    """However uneven the rate is, what is shown falls, but for a slow-down."""
    looks = lived(60_000, lambda t: 95.0 + 60.0 * ((int(t) % 10) - 4.5) / 4.5, expected=95.0)
    looks = [look for look in looks if look.at > 60]
    changes = sum(a.words != b.words for a, b in pairwise(looks))
    assert changes == len({look.words for look in looks}) - 1


def test_nothing_is_known():
    estimate = Estimate(100)
    assert (estimate.left(), estimate.words(), estimate.rate) == (None, "", 0.0)
    estimate.see(5.0, 0)
    assert estimate.left() is None
    estimate.see(6.0, 10)
    assert estimate.left() == pytest.approx(6.0 / 10 * 90, rel=0.1)


def test_a_clock_that_stands_still_or_goes_back_changes_nothing():
    estimate = Estimate(100, 10.0)
    estimate.see(1.0, 10)
    before = estimate.left()
    estimate.see(1.0, 10)
    estimate.see(0.5, 10)
    assert estimate.left() == before


@given(st.floats(0, 8e6))
def test_words_are_as_fine_as_an_estimate_is(seconds):
    words = roughly(seconds)
    assert not words.startswith("0 ")
    number = {"s": 1, "min": 60, "h": 3_600, "days": 86_400}
    parts = words.split()
    said = sum(int(n) * number[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    assert said == pytest.approx(max(1.0, seconds), rel=0.26, abs=0.6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (7.6, "8 s"),
        (43, "45 s"),
        (59.9, "60 s"),
        (97, "100 s"),
        (119.9, "2 min"),
        (724, "12 min"),
        (5_000, "1 h 25 min"),
        (7_190, "2 h"),
        (200_000, "2 days"),
    ],
)
def test_words(seconds, words):
    assert roughly(seconds) == words
