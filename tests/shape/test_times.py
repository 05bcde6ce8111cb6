"""Times as texts, numbers and types: in UTC, or rejected; no zone is guessed, no clock change passed over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.shape import compile_shaper
from tests.shape.support import data, event, extra, field_of, mapping, run, table

BERLIN = "Europe/Berlin"


def stamps(texts: list[Any] | pl.Series, value: Any = "{at}", **source: Any) -> list[Any]:
    return field_of("eventTimestamp", value, {"at": texts}, **source)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"), ("2024-01-02 03:04:05", "2024-01-02T02:04:05Z"),
        ("2024-07-02T03:04", "2024-07-02T01:04:00Z"), ("2024-01-02", "2024-01-01T23:00:00Z"),
        ("2024-01-02T03:04:05.123456Z", "2024-01-02T03:04:05.123456Z"), ("2024-01-02 03:04:05.1", "2024-01-02T02:04:05.100Z"),
        ("2024-01-02 03:04:05 UTC", "2024-01-02T03:04:05Z"), ("2024-01-02 03:04:05 -0500", "2024-01-02T08:04:05Z"),
        ("2024-01-02T03:04:05+05:30", "2024-01-01T21:34:05Z"), ("2024-01-02T03:04:05-02", "2024-01-02T05:04:05Z"),
        ("2024-01-02 03:04 +0100", "2024-01-02T02:04:00Z"), ("2024-01-02 03:04:05 gmt", "2024-01-02T03:04:05Z"),
        (" 2024-01-02T03:04:05z ", "2024-01-02T03:04:05Z"), ("0001-01-02T00:00:00Z", "0001-01-02T00:00:00Z"),
        ("2024-01-02 24:00:00", "!not_a_time"), ("2024-02-30", "!not_a_time"), ("02.01.2024", "!not_a_time"),
        ("yesterday", "!not_a_time"), ("2024", "!not_a_time"), ("1704164645", "!not_a_time"), ("", "!missing_time"),
        ("9999-12-31T23:59:59Z", "!time_in_future"), ("2025-01-01T00:11:00Z", "!time_in_future"),
        ("2025-01-01T00:09:00Z", "2025-01-01T00:09:00Z"), ("0000-01-01T00:00:00Z", "!time_out_of_range"),
        ("2024-01-02T03:04:05+25:00", "!not_a_time"), ("2024-01-02 03:04:05 EST", "!not_a_time"),
        # chrono takes these for the year 24, and for the next minute.
        ("24-01-02", "!not_a_time"), ("24-01-02 03:04:05", "!not_a_time"), ("024-01-02", "!not_a_time"),
        ("0024-01-02T00:00:00Z", "0024-01-02T00:00:00Z"), ("2016-12-31T23:59:60Z", "!not_a_time"),
        ("2024-01-02 03:04:60", "!not_a_time"), ("2024-01-02 03:04:60.5", "!not_a_time"),
    ],
)  # fmt: skip
def test_iso(text: str, utc: str) -> None:
    assert stamps([text], timezone=BERLIN) == [utc]
    # Alone, and among others of the usual form.
    assert stamps(["2024-01-02 03:04:05", text], timezone=BERLIN) == ["2024-01-02T02:04:05Z", utc]


def test_a_time_without_a_zone() -> None:
    texts = ["2024-01-02 03:04:05", "2024-01-02T03:04:05Z"]
    assert stamps(texts) == ["!time_without_zone", "2024-01-02T03:04:05Z"]
    assert stamps(texts, {"column": "at", "timezone": "Asia/Tokyo"})[0] == "2024-01-01T18:04:05Z"
    assert stamps(texts, {"column": "at", "timezone": "UTC"}, timezone=BERLIN)[0] == "2024-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("ambiguous", "repeated", "skipped"),
    [
        ("reject", "!ambiguous_time", "!ambiguous_time"),
        ("earliest", "2024-10-27T00:30:00Z", "2024-03-31T01:30:00Z"),
        ("latest", "2024-10-27T01:30:00Z", "2024-03-31T00:30:00Z"),
    ],
)
@pytest.mark.parametrize("form", ["text", "typed", "format"])
def test_clock_changes(ambiguous: str, repeated: str, skipped: str, form: str) -> None:
    times = [datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 31, 2, 30), datetime(2024, 3, 31, 3, 0)]
    value: Any = {"column": "at", "format": "%d.%m.%Y %H:%M"} if form == "format" else "{at}"
    written = {"text": "%Y-%m-%d %H:%M:%S", "format": "%d.%m.%Y %H:%M"}
    column = times if form == "typed" else [time.strftime(written[form]) for time in times]
    assert stamps(column, value, timezone=BERLIN, ambiguous=ambiguous) == [repeated, skipped, "2024-03-31T01:00:00Z"]


@settings(max_examples=25)
@given(
    st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2024, 12, 31)), min_size=1, max_size=30),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe"]),
)
@example([datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 31, 2, 30)], BERLIN)
def test_local_times_are_pythons(locals_: list[datetime], zone: str) -> None:
    """PEP 495's fold 0 is `earliest`, fold 1 `latest`."""
    for fold, ambiguous in ((0, "earliest"), (1, "latest")):
        found = stamps([local.isoformat(" ") for local in locals_], timezone=zone, ambiguous=ambiguous)
        expected = [local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for local in locals_]
        assert [datetime.fromisoformat(text) for text in found] == expected


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1, 1, 3), datetime(2024, 12, 29)), st.integers(-23 * 60, 23 * 60), st.sampled_from("T "),
            st.sampled_from(["", ":"]),
        ),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_offsets_are_pythons(times: list[tuple[datetime, int, str, str]]) -> None:
    texts = [
        f"{local.isoformat(separator)}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"
        for local, minutes, separator, colon in times
    ]
    expected = [local.replace(tzinfo=UTC) - timedelta(minutes=minutes) for local, minutes, _, _ in times]
    assert [datetime.fromisoformat(text) for text in stamps(texts)] == expected


@settings(max_examples=40)
@given(st.lists(st.text(alphabet="0123456789-T :+Z.", max_size=26), min_size=1, max_size=20))
def test_what_no_time_is_is_rejected(texts: list[str]) -> None:
    """What is taken for a time is one to Python as well."""
    for found in stamps(texts, timezone="UTC"):
        assert found.startswith("!") or datetime.fromisoformat(found).year >= 1


@pytest.mark.parametrize(
    ("form", "text", "utc"),
    [
        ("%d.%m.%Y %H:%M", "02.01.2024 03:04", "2024-01-02T02:04:00Z"), ("%d.%m.%Y", "02.01.2024", "2024-01-01T23:00:00Z"),
        ("%m/%d/%y %I:%M %p", "01/02/24 03:04 PM", "2024-01-02T14:04:00Z"), ("%Y%m%d", "20240102", "2024-01-01T23:00:00Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T03:04:05-0500", "2024-01-02T08:04:05Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("%Y-%m-%d %H:%M:%S %:z", "2024-01-02 03:04:05 +02:00", "2024-01-02T01:04:05Z"),
        ("%Y-%m-%d %H:%M:%S%.f", "2024-01-02 03:04:05.25", "2024-01-02T02:04:05.250Z"),
        ("%s", "1704164645", "2024-01-02T03:04:05Z"), ("epoch_s", "1704164645", "2024-01-02T03:04:05Z"),
        ("epoch_s", "1704164645.5", "2024-01-02T03:04:05.500Z"), ("epoch_ms", "1704164645123", "2024-01-02T03:04:05.123Z"),
        ("epoch_s", "x", "!not_a_time"), ("epoch_s", "1e300", "!not_a_time"), ("%d.%m.%Y", "2024-01-02", "!not_a_time"),
        ("%d.%m.%Y", "31.02.2024", "!not_a_time"), ("epoch_s", "", "!missing_time"),
        ("%d.%m.%Y", "02.01.24", "!not_a_time"), ("%Y-%m-%dT%H:%M:%S%z", "24-01-02T03:04:05Z", "!not_a_time"),
        ("%F %T", "2024-01-02 23:59:60", "!not_a_time"), ("%d.%m.%Y %H:%M", "02.01.2024 24:00", "!not_a_time"),
        ("epoch_s", "-1.5", "1969-12-31T23:59:58.500Z"), ("epoch_s", "-62135596801", "!time_out_of_range"),
        ("epoch_s", "1704164645123", "!not_a_time"), ("epoch_ms", "253402300800000", "!not_a_time"),
    ],
)  # fmt: skip
def test_formats(form: str, text: str, utc: str) -> None:
    assert stamps([text], {"column": "at", "format": form}, timezone=BERLIN) == [utc] if "epoch" not in form else True
    if "epoch" in form:
        assert stamps([text], {"column": "at", "format": form}) == [utc]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt32, pl.Float64, pl.Decimal(20, 3)])
def test_typed_epochs(dtype: Any) -> None:
    column = pl.Series([1704164645, None]).cast(dtype)
    assert stamps(column, {"column": "at", "format": "epoch_s"}) == ["2024-01-02T03:04:05Z", "!missing_time"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_typed_times(unit: Any) -> None:
    column = pl.Series([datetime(2024, 1, 2, 3, 4, 5, 123_000)]).cast(pl.Datetime(unit))
    assert stamps(column, timezone=BERLIN) == ["2024-01-02T02:04:05.123Z"]
    assert stamps(column) == ["!time_without_zone"]
    assert stamps(column.dt.replace_time_zone("Asia/Tokyo")) == ["2024-01-01T18:04:05.123Z"]
    assert stamps(pl.Series([date(2024, 1, 2)]), timezone=BERLIN) == ["2024-01-01T23:00:00Z"]


def test_days_are_as_they_are_written() -> None:
    day = {"column": "at", "type": "date"}
    texts = ["2024-01-02", "2024-01-02T23:30:00-05:00", "2024-01-02 00:30:00", "x", None]
    expected = ["2024-01-02"] * 3 + ["!not_a_time", None]
    assert data(day, {"at": texts}) == expected
    assert data(day, {"at": texts}, timezone="Asia/Tokyo") == expected
    assert data({**day, "format": "%d.%m.%Y"}, {"at": ["02.01.2024"]}, timezone=BERLIN) == ["2024-01-02"]
    assert data(day, {"at": [date(2024, 1, 2)]}, timezone=BERLIN) == ["2024-01-02"]
    assert data(day, {"at": [datetime(2024, 1, 2, 23)]}, timezone=BERLIN) == ["2024-01-02"]
    zoned = pl.Series([datetime(2024, 1, 2, 23, tzinfo=UTC)])
    assert data(day, {"at": zoned}, timezone=BERLIN) == ["2024-01-03"]


def test_a_day_with_an_offset_is_as_it_is_written() -> None:
    for form, text in (
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T23:30:00-0500"),
        ("%Y-%m-%d %H:%M:%S", "2024-01-02 23:59:59"),
    ):
        found = data({"column": "at", "type": "date", "format": form}, {"at": [text, "x"]}, timezone="Asia/Tokyo")
        assert found == ["2024-01-02", "!not_a_time"]


@pytest.mark.parametrize(
    "dtype", [pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Datetime("us", "Asia/Tokyo"), pl.Date]
)
@pytest.mark.parametrize("end", ["largest", "smallest"])
def test_what_no_calendar_has_costs_its_row(dtype: Any, end: str) -> None:
    """Such as PostgreSQL's infinity: Polars panics over it."""
    bits = 31 if dtype == pl.Date else 63
    wild = 2**bits - 1 if end == "largest" else -(2**bits)
    column = pl.Series([0, wild], dtype=pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)
    far = "!time_out_of_range"
    assert stamps(column, timezone="UTC") == ["1970-01-01T00:00:00Z", far]
    for kind in ("datetime", "date", "string"):
        assert data({"column": "at", "type": kind}, {"at": column}, timezone="UTC")[1] == far
    assert field_of("uniqueId", "{at}", {"at": column})[1] == far
    nested = pl.DataFrame({"at": column}).select(pl.struct("at").alias("c"), pl.concat_list("at").alias("l"))
    assert [extra(f"{{{name}}}", nested)[1] for name in ("c", "l")] == [far, far]
    # A hash tells it from others, used or not.
    assert len(set(field_of("uniqueId", {"hash": ["at"]}, {"at": column}))) == 2
    sql = {"sql": "STRFTIME(at, '%Y')"}
    assert data(sql, {"at": column}) == ["1970", "!sql_failed"]


def test_times_in_data_and_custom_fields() -> None:
    value = {"column": "at", "type": "datetime"}
    assert data(value, {"at": ["2024-01-02 03:04:05", None]}, timezone=BERLIN) == ["2024-01-02T02:04:05Z", None]
    assert data({**value, "on_invalid": "omit"}, {"at": ["x"]}) == [None]
    assert data("{at}", {"at": ["2024-01-02 03:04:05"]}) == ["2024-01-02 03:04:05"]
    found = field_of("customer.customFields.f", value, {"at": ["2024-01-02T03:04:05Z"]})
    assert found == ["2024-01-02T03:04:05Z"]


def test_times_in_a_default() -> None:
    value = {"column": "at", "default": "2024-01-02T03:04:05Z"}
    assert stamps(["2023-01-02T03:04:05Z", None], value) == ["2023-01-02T03:04:05Z", "2024-01-02T03:04:05Z"]


def test_no_rows() -> None:
    frame = table({"at": pl.Series([], dtype=pl.String)})
    shaper = compile_shaper(mapping([event(eventTimestamp="{at}")], timezone=BERLIN), frame.schema, datetime.now(UTC))
    assert run(shaper, [frame]).bodies == []
