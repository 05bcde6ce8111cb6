"""The run over time: what was watched adds up, however long it took, and pauses keep their reasons."""

from __future__ import annotations

from itertools import pairwise

import pytest

from backfill.report.course import FIRST_SECONDS, MOST_PAUSES, MOST_SAMPLES, Course
from backfill.report.figures import course_figure
from tests.report.pages import course, looked


@pytest.mark.parametrize("seconds", [2, 59, 600, 7_000])
def test_nothing_is_lost_when_stretches_are_put_together(seconds):
    watched = course(seconds)
    samples = watched.samples()
    last = looked(seconds * 5)
    assert len(samples) <= MOST_SAMPLES
    assert samples[0].start == 0
    assert samples[-1].end == watched.seconds == seconds
    assert all(one.end == other.start for one, other in pairwise(samples))
    assert sum(one.events for one in samples) == last.accepted
    answers = sum((one.answers for one in samples), start=type(samples[0].answers)())
    assert {int(status): count for status, count in answers.items() if status != "none"} == {
        status: count for status, count in last.snapshot.statuses.items() if count
    }
    assert answers["none"] == last.snapshot.no_answer


def test_pauses_have_a_reason_without_its_countdown():
    found = [(round(one.start), round(one.end), one.why) for one in course(600).pauses]
    assert found == [
        (120, 150, "the API asked for it (429)"),
        (400, 412, "the API is out of reach (connection refused: <b>)"),
    ]


def test_a_thousand_pauses_are_not_kept_one_by_one():
    watched = Course()
    for tick in range(4_000):
        watched.add(looked(tick, waits=f"waiting 1 s: reason {tick}" if tick % 4 == 0 else ""))
    assert len(watched.pauses) == MOST_PAUSES


def test_a_moment_is_told_in_words_only():
    assert course_figure(Course()) is None
    watched = Course()
    for tick in range(3):
        watched.add(looked(tick))
    figure = course_figure(watched)
    assert figure is not None
    assert watched.seconds == pytest.approx(2 * FIRST_SECONDS)
    assert figure["chart"] is None
    assert "3,800 events" in figure["words"]
