"""Time zones of a schedule: the machine's own, and the hour of another one in UTC."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from backfill.errors import UsageError
from backfill.mapping.words import suggest

__all__ = ["checked_zone", "machine_zone", "utc_times"]

LOCALTIME = Path("/etc/localtime")


def machine_zone(environment: Mapping[str, str] = os.environ, localtime: Path = LOCALTIME) -> str:
    """The name of this machine's time zone; UTC where it has none that is known."""
    named = environment.get("TZ", "").removeprefix(":")
    linked = str(localtime.resolve()).rpartition("zoneinfo/")[2]
    return next((name for name in (named, linked) if _known(name)), "UTC")


def checked_zone(name: str) -> str:
    """The name of a time zone that there is. Raises UsageError."""
    if _known(name):
        return name
    hint = suggest(name, available_timezones()) or "as in Europe/Berlin, America/New_York or UTC"
    raise UsageError(f"--timezone {name}: there is no such time zone", hint=hint)


def utc_times(at: time, zone: str, year: int) -> tuple[str, str]:
    """The time of day in UTC, HH:MM, under a zone's standard time and in its summer; alike where no clock changes."""
    place = ZoneInfo(zone)
    days = [datetime.combine(date(year, month, 15), at, place) for month in (1, 7)]
    days.sort(key=lambda day: day.utcoffset() or timedelta())
    winter, summer = (day.astimezone(UTC).strftime("%H:%M") for day in days)
    return winter, summer


def _known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no name, no such zone, a folder of zones, a path out of it
        return False
    return True
