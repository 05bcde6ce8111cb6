"""When events are: days, hours and names, counted chunk by chunk, and put into bins that can be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.timeline import MOST_NAMES, Timeline, binned
from tests.report.pages import times_of

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, 12, tzinfo=UTC)


def times(*moments: datetime) -> pl.Series:
    return pl.Series(moments, dtype=pl.Datetime("us", "UTC"))


@pytest.mark.parametrize(
    ("days", "unit", "bins"),
    [(1, "day", 1), (62, "day", 62), (63, "week", 9), (430, "week", 62), (431, "month", 15), (2_190, "month", 72), (2_300, "quarter", 26), (7_400, "year", 21)],
)  # fmt: skip
def test_the_bins_fit_the_span(days, unit, bins):
    found = times_of([("a", START), ("a", START + (days - 1) * DAY)])
    assert found is not None
    assert found.unit == unit
    assert len(found.starts) == len(found.series[0].new) + 1 == bins + 1
    assert found.series[0].new[0] + (found.series[0].new[-1] if bins > 1 else 0) == 2
    assert found.starts[0] <= "2024-01-01" < found.starts[1]
    if unit == "week":
        assert {datetime.fromisoformat(start).weekday() for start in found.starts} == {0}


def test_names_in_order_of_their_counts_and_the_rest_as_one():
    found = times_of([(f"n{i}", START) for i in range(20) for _ in range(20 - i)])
    assert found is not None
    assert [one.name for one in found.series] == [*(f"n{i}" for i in range(12)), ""]
    assert found.others == 8
    assert found.series[-1].new == [sum(range(1, 9))]
    assert found.total == 210


def test_ten_thousand_names_take_no_more_room():
    timeline = Timeline()
    for chunk in range(10):
        timeline.add(np.arange(1_000, dtype=np.uint16) + 1_000 * chunk, times(*[START] * 1_000), None)
    assert timeline.counts.shape == (MOST_NAMES + 1, 2, 1)
    found = binned(timeline, [f"n{i}" for i in range(10_000)])
    assert found is not None
    assert found.others == 10_000 - 12
    assert sum(sum(one.new) for one in found.series) == 10_000


def test_a_wrong_century_costs_no_memory_and_is_told():
    """Excel's day 0, Unix' day 0, and a year of which two digits were lost: months are counted from then on."""
    timeline = Timeline("Europe/Berlin")
    timeline.add(0, times(START, START + DAY), None)
    timeline.add(0, times(datetime(1899, 12, 30, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)), None)
    timeline.add(
        0,
        times(datetime(24, 1, 1, tzinfo=UTC), START, datetime(9998, 1, 1, tzinfo=UTC)),
        np.array([False, True, False]),
    )
    assert timeline.counts.size <= 2 * 2_400
    found = binned(timeline, ["a"])
    assert found is not None
    assert (found.unit, found.before_2000, found.total) == ("year", 3, 7)
    assert (found.first, found.last) == ("0024-01-01", "9998-01-01")
    assert found.series[0].known.count(1) == 1
    assert found.series[0].new[found.starts.index("2024-01-01")] == 2


def test_nothing_is_nothing():
    assert binned(Timeline(), []) is None
    assert times_of([]) is None


def test_known_and_new_are_told_apart():
    found = times_of([("a", START), ("b", START), ("a", START + DAY)], known=[True, False, False])
    assert found is not None
    assert {one.name: (one.new, one.known) for one in found.series} == {"a": ([0, 1], [1, 0]), "b": ([1, 0], [0, 0])}


# Of what is to come, two databases of zones may think otherwise.
moments = st.datetimes(datetime(1950, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(
    ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"]
)


@given(st.lists(moments, min_size=1, max_size=30), zones, st.integers(1, 30))
def test_days_and_hours_are_those_of_the_zone(found, zone, size):
    """In chunks of any size, and the same as Python's own zones say."""
    timeline = Timeline(zone)
    for at in range(0, len(found), size):
        timeline.add(0, times(*found[at : at + size]), None)
    local = [moment.astimezone(ZoneInfo(zone)) for moment in found]
    assert timeline.hours.tolist() == [sum(one.hour == hour for one in local) for hour in range(24)]
    assert timeline.midnight == sum(one.timetz().replace(tzinfo=None) == datetime.min.time() for one in local)
    starts, counts = timeline.days()
    days = [one.date() for one in local]
    if timeline.in_months:
        days = [day.replace(day=1) for day in days]
    told = {
        str(np.datetime64(int(start), "D")): int(count)
        for start, count in zip(starts, counts[0, 0], strict=True)
        if count
    }
    assert told == {str(day): days.count(day) for day in days}
