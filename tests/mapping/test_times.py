"""Formats and zones: the linter's word is held against what Polars does."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from backfill.mapping.times import bad_format, bad_zone

RIGHT = [
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f%:z", "%d.%m.%y", "%-d/%-m/%Y %H:%M", "%b %d, %Y", "%A %d %B %Y",
    "%Y %j", "%G-%V-%u", "%F %T", "%D %r", "%Y-%m-%d %I:%M %p", "%s", "%Y-%m", "%Y", "%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S%z",
    "%d %b %Y %l:%M%P", "100%% %F",
]  # fmt: skip
WRONG = [
    "", "Y-m-d", "%%", "%H:%M", "%m-%d", "%Y-%d", "%Y-%m-%d %H", "%Y-%m-%d %M", "%Y-%m-%d %I:%M", "%F %H:%M %p", "%Y-%J",
    "%", "%Y %", "%Y-%m-%d %E", "%-", "YYYY-MM-DD", "%F %T.%f", "%F %H:%M:%S %Z",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_right_formats_are_read_back(text: str) -> None:
    assert bad_format(text) is None
    zone = "UTC" if text.endswith("z") else None
    moment = pl.Series([dt.datetime(2024, 5, 6, 19, 8, 9)]).dt.replace_time_zone("UTC")
    read = moment.dt.strftime(text).str.strptime(pl.Datetime("us", zone), text, strict=False)
    assert read[0] is not None
    assert read[0].year == 2024


@pytest.mark.parametrize("text", WRONG)
def test_wrong_formats(text: str) -> None:
    bad = bad_format(text)
    assert bad is not None
    assert bad[0]
    assert 0 <= bad[2] <= len(text)


@pytest.mark.parametrize("text", ["epoch_s", "epoch_ms"])
def test_epochs(text: str) -> None:
    assert bad_format(text) is None


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Etc/GMT+5", "EST5EDT", "Asia/Kolkata"])
def test_right_zones(name: str) -> None:
    assert bad_zone(name) is None
    pl.Series([dt.datetime(2024, 5, 6)]).dt.replace_time_zone(name)


@pytest.mark.parametrize(
    "name,hint",
    [
        ("new york", 'did you mean "America/New_York"?'),
        ("Europe/Berln", 'did you mean "Europe/Berlin"?'),
        ("PDT", 'did you mean "America/Los_Angeles"?'),
        ("UTC+5", 'a fixed offset is written "Etc/GMT-5" (the sign is reversed there)'),
        ("-05:00", 'a fixed offset is written "Etc/GMT+5" (the sign is reversed there)'),
        ("America", ""),
        ("../../etc/passwd", ""),
        ("/etc/passwd", ""),
        ("a\x00b", ""),
        ("\ud800", ""),
        ("localtime", ""),
        ("posix/UTC", ""),
    ],
)
def test_wrong_zones(name: str, hint: str) -> None:
    bad = bad_zone(name)
    assert bad is not None
    assert hint in bad[1]
