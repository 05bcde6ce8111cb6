"""Texts and numbers → points in time, as Datetime in µs and UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from backfill.shape.texts import Let

__all__ = ["Zone", "from_epoch", "from_format", "from_iso", "localize"]

Ambiguous = Literal["reject", "earliest", "latest"]

# Without a declared format: ISO 8601 and what databases make of it. A day or month first is for the user to
# say.
LOCAL_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
)
ZONED = r"[ZzTtCc]$|[0-9] ?[+-][0-9]{2}:?(?:[0-9]{2})?$"
ZONE = r"(?i)(Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)$"
OFFSET = r"^[+-]([0-9]{2}):?([0-9]{2})?$"
DATE_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone of times that carry none, None when it is not known; and what to do where clocks change."""

    name: str | None
    ambiguous: Ambiguous = "reject"


def localize(local: pl.Expr, zone: Zone) -> pl.Expr:
    """A naive Datetime as UTC; null where the zone is not known, or clocks repeat or skip the time and that
    rejects.

    `earliest` and `latest` take the first or second of a repeated time; a skipped time counts with the offset
    before (earliest) or after (latest) the change, as PEP 495's fold does.
    """
    if zone.name is None:
        return pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    if zone.name == "UTC":
        return local.dt.replace_time_zone("UTC")
    choice: Literal["earliest", "latest", "null"] = "null" if zone.ambiguous == "reject" else zone.ambiguous
    exact = _utc(local, zone.name, choice)
    if zone.ambiguous == "reject":
        return exact
    # No change skips over three hours, so that three hours before or after it the offset is the one wanted.
    away = pl.duration(hours=-3 if zone.ambiguous == "earliest" else 3)
    return exact.fill_null(_utc(local + away, zone.name, choice) - away)


def _utc(local: pl.Expr, name: str, ambiguous: Literal["earliest", "latest", "null"]) -> pl.Expr:
    return local.dt.replace_time_zone(name, ambiguous=ambiguous, non_existent="null").dt.convert_time_zone(
        "UTC"
    )


def from_iso(text: pl.Expr, zone: Zone, let: Let) -> tuple[pl.Expr, pl.Expr]:
    """(the time in UTC, whether it was understood but for its zone) of ISO 8601 texts, with a zone or
    without."""
    text = let(text.str.strip_chars())
    zoned = let((text.str.len_bytes() > DATE_LENGTH) & text.str.contains(ZONED))
    # Most files have no zones: what only a zone needs is skipped where a whole chunk has none.
    zone_part = let(pl.when(zoned).then(text).map_batches(_zone_part, return_dtype=pl.String))
    body = let(pl.when(zoned).then(text.str.strip_suffix(zone_part).str.strip_chars_end()).otherwise(text))
    local = let(
        pl.coalesce(body.str.to_datetime(form, strict=False, time_unit="us") for form in LOCAL_FORMATS)
    )
    minutes = let(zone_part.map_batches(_offset, return_dtype=pl.Int32))
    absolute = local.dt.replace_time_zone("UTC") - pl.duration(minutes=minutes)
    return pl.when(zoned).then(absolute).otherwise(localize(local, zone)), local.is_not_null()


def _zone_part(texts: pl.Series) -> pl.Series:
    if texts.null_count() == len(texts):
        return texts
    return texts.str.extract(ZONE, 1)


def _offset(zones: pl.Series) -> pl.Series:
    """Minutes east of UTC."""
    if zones.null_count() == len(zones):
        return pl.Series(zones.name, [None] * len(zones), dtype=pl.Int32)
    sign = pl.when(zones.str.starts_with("-")).then(-1).otherwise(1)
    hours = zones.str.extract(OFFSET, 1).cast(pl.Int32)
    minutes = zones.str.extract(OFFSET, 2).cast(pl.Int32).fill_null(0)
    return pl.select((sign * (hours * 60 + minutes).fill_null(0)).cast(pl.Int32)).to_series()


def from_format(text: pl.Expr, form: str, zone: Zone, let: Let) -> tuple[pl.Expr, pl.Expr]:
    """(the time in UTC, whether it was understood but for its zone) of texts in a declared strptime
    format."""
    text = text.str.strip_chars()
    plain = form.replace("%%", "")
    if any(directive in plain for directive in ("%z", "%:z", "%#z", "%+")):
        # %#z is %z that takes Z and a bare hour too.
        parsed = let(
            text.str.to_datetime(
                form.replace("%:z", "%#z").replace("%z", "%#z"), strict=False, time_unit="us"
            )
        )
        return parsed.dt.convert_time_zone("UTC"), parsed.is_not_null()
    if any(directive in plain for directive in ("%H", "%I", "%T", "%R", "%c", "%X", "%s", "%k", "%l", "%r")):
        local = let(text.str.to_datetime(form, strict=False, time_unit="us"))
    else:
        local = let(text.str.to_date(form, strict=False).cast(pl.Datetime("us")))
    if "%s" in plain:
        return local.dt.replace_time_zone("UTC"), local.is_not_null()
    return localize(local, zone), local.is_not_null()


def from_epoch(number: pl.Expr, unit: str) -> pl.Expr:
    """Seconds (`epoch_s`) or milliseconds (`epoch_ms`) since 1970, as Float64, in UTC. Beyond year 9999:
    null."""
    micros = (number * (1e6 if unit == "epoch_s" else 1e3)).round()
    safe = pl.when(micros.abs() < 253402300800e6).then(micros).cast(pl.Int64, strict=False)
    return safe.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
