"""The page's figures: for each its words, the numbers that a chart is drawn from, and the same as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from backfill.printable import plural, printable
from backfill.report.course import Course, Pause, Sample
from backfill.report.text import duration
from backfill.timeline import Binned

__all__ = ["course_figure", "times_figure"]

LABEL = 60
# With fewer stretches there is no course to be seen: words say it all.
FEWEST_SAMPLES = 3
MOST_PAUSES_TOLD = 20
MOST_STATUSES = 8


def times_figure(
    times: Binned, new: str, problems: Sequence[dict[str, Any]], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Events over time. `new`: what those are that no earlier run knew; `notes`: what is to be said of the numbers."""
    series = [{"name": _label(one.name, times.others), "new": one.new, "known": one.known} for one in times.series]
    known = sum(sum(one.known) for one in times.series)
    both = bool(known) and known < times.total
    columns = [str(one["name"]) for one in series]
    rows = [
        {"start": start, "cells": [one.new[i] + one.known[i] for one in times.series]}
        for i, start in enumerate(times.starts[:-1])
    ]
    peak = max(range(24), key=lambda hour: times.hours[hour])
    return {
        "words": _times_words(times, notes),
        "callouts": _callouts(times, problems),
        "hour_words": (
            f"All at midnight in {times.zone}: the export tells days, no times of day."
            if times.midnight == times.total
            else f"The busiest hour begins at {peak:02}:00, {times.zone}. While your customers sleep there should be "
            "few: a peak at night means a wrong zone."
        ),
        "unit": times.unit,
        "zone": times.zone,
        "columns": columns,
        "rows": [row for row in rows if any(row["cells"])],
        "hours": [{"hour": f"{hour:02}:00", "count": count} for hour, count in enumerate(times.hours)],
        "chart": {
            "unit": times.unit,
            "starts": times.starts,
            "series": series,
            "hours": times.hours,
            "zone": times.zone,
            "states": {"new": new, "known": "known from earlier runs"} if both else None,
        },
    }


def _label(name: str, others: int) -> str:
    if not name:
        return f"{others:,} other names"
    shown = printable(name[:LABEL])
    return shown[:LABEL] + ("…" if len(shown) > LABEL or len(name) > LABEL else "")


def _times_words(times: Binned, notes: Sequence[str]) -> str:
    span = f"on {times.first}" if times.first == times.last else f"from {times.first} to {times.last}"
    names = len([one for one in times.series if one.name]) + times.others
    return f"{plural(times.total, 'event')} of {plural(names, 'event name')}, {span} ({times.zone})." + "".join(
        f" {note}" for note in notes
    )


def _callouts(times: Binned, problems: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    if times.before_2000:
        found.append(
            f"{plural(times.before_2000, 'event')} before the year 2000: an empty or zero date often turns into 1970 "
            "or 1900, and a year of two digits into the wrong century."
        )
    future = sum(one["count"] for one in problems if one["code"] == "time_in_future")
    if future:
        found.append(
            f"{plural(future, 'event')} in the future, rejected and not counted here: day and month may be the other "
            "way round, or the zone is wrong."
        )
    if times.first == times.last and times.total > 1:
        found.append(
            "All events are of one day: the column may tell when the export was made, not when things happened."
        )
    return found


def course_figure(course: Course) -> dict[str, Any] | None:
    """The run over time; None when nothing was sent."""
    samples = course.samples()
    events = sum(one.events for one in samples)
    if not samples or course.seconds <= 0 or not events + sum(one.answers.total() for one in samples):
        return None
    statuses, samples = _statuses(samples)
    return {
        "words": _course_words(course, samples, events),
        "pauses": [_pause_words(number, one) for number, one in enumerate(course.pauses[:MOST_PAUSES_TOLD])],
        "more_pauses": max(0, len(course.pauses) - MOST_PAUSES_TOLD),
        "statuses": [_answer(status) for status in statuses],
        "rows": [
            {
                "start": _clock(one.start),
                "rate": round(one.events / (one.end - one.start), 1) if one.end > one.start else 0,
                "median": round(one.median * 1000),
                "p95": round(one.p95 * 1000),
                "answers": [one.answers[status] for status in statuses],
            }
            for one in samples
        ],
        "chart": {
            "seconds": round(course.seconds, 2),
            "statuses": [_answer(status) for status in statuses],
            "samples": [
                [
                    round(one.start, 2), round(one.end, 2), one.events, round(one.median * 1000, 1),
                    round(one.p95 * 1000, 1), [one.answers[status] for status in statuses],
                ]
                for one in samples
            ],
            "pauses": [{**asdict(one), "why": printable(one.why[:LABEL])} for one in course.pauses],
        }
        if len(samples) >= FEWEST_SAMPLES
        else None,
    }  # fmt: skip


def _statuses(samples: Sequence[Sample]) -> tuple[list[str], list[Sample]]:
    """The statuses of the answers, and the samples with what is beyond the most frequent ones as "other"."""
    counted = sum((one.answers for one in samples), Counter[str]())
    kept = [status for status, _ in counted.most_common(MOST_STATUSES)]
    if len(counted) == len(kept):
        return sorted(kept), list(samples)
    told = []
    for one in samples:
        answers = Counter({status: one.answers[status] for status in kept})
        answers["other"] = one.answers.total() - answers.total()
        told.append(replace(one, answers=answers))
    return [*sorted(kept), "other"], told


def _course_words(course: Course, samples: Sequence[Sample], events: int) -> str:
    words = f"{plural(events, 'event')} in {duration(course.seconds)}, {events / course.seconds:,.0f} a second."
    if slowest := max(one.p95 for one in samples):
        median = sorted(one.median for one in samples)[len(samples) // 2]
        words += f" Half of the answers took under {_millis(median)}; in the slowest stretch 95 % took under "
        words += f"{_millis(slowest)}."
    if course.pauses:
        waited = sum(one.end - one.start for one in course.pauses)
        words += f" Sending paused {plural(len(course.pauses), 'time')}, {duration(waited)} together."
    return words


def _pause_words(number: int, pause: Pause) -> dict[str, str]:
    return {
        "mark": chr(ord("A") + number),
        "when": _clock(pause.start),
        "long": duration(pause.end - pause.start),
        "why": printable(pause.why[:240]),
    }


def _answer(status: str) -> str:
    meanings = {
        "202": "accepted", "200": "accepted", "207": "told one by one", "400": "refused", "401": "secret refused",
        "403": "not allowed", "404": "no such store", "413": "too large", "422": "refused", "429": "too many requests",
    }  # fmt: skip
    if not status.isdigit():
        return {"none": "no answer", "other": "other answers"}[status]
    return f"{status} {meanings.get(status, 'server trouble' if status.startswith('5') else 'unexpected')}"


def _millis(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.0f} s"


def _clock(seconds: float) -> str:
    """`0:34`, `1:02:03`; tenths in the first minute."""
    whole = int(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
