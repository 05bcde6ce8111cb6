"""Texts and numbers → points in time, as Datetime in µs and UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from backfill.shape.layers import Layers

__all__ = ["Times", "Zone", "from_epoch", "from_format", "from_iso", "localize"]

Ambiguous = Literal["reject", "earliest", "latest"]

# Without a declared format: ISO 8601 and what databases make of it. A day or month first is for the user to say.
# The most frequent come first, as each is tried on what the ones before did not read; %.f costs four times as much.
LOCAL_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
)
ZONE = r"(?i)[0-9] ?(Z|UTC|GMT|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)$"
OFFSET = r"^([+-])([0-9]{2}):?([0-9]{2})?$"
DATE_LENGTH = 10
# The directives that tell a time of day; without one, Polars reads a date only.
CLOCKS = ("%H", "%I", "%T", "%R", "%c", "%X", "%s", "%k", "%l", "%r")
YEAR_1000 = -30_610_224_000_000_000
MINUTE = 60_000_000
NAIVE, UTC = pl.Datetime("us"), pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone of times that carry none, None when it is not known; and what to do where clocks change."""

    name: str | None
    ambiguous: Ambiguous = "reject"


@dataclass(frozen=True, slots=True)
class Times:
    """`time` in UTC and `local` as it is written, without its zone, both Datetime in µs.

    `local` is null for what is no time; `time` also for what has no zone, or is skipped or repeated by clocks.
    """

    time: pl.Expr
    local: pl.Expr

    @classmethod
    def of_utc(cls, time: pl.Expr, zone: Zone) -> Times:
        """A point in time, whose local time is that of `zone`."""
        return cls(
            time.dt.convert_time_zone("UTC"),
            time.dt.convert_time_zone(zone.name or "UTC").dt.replace_time_zone(None),
        )


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
    # But for the days that countries left out to cross the date line, which are rejected, no change skips over three
    # hours, so that three hours before or after it the offset is the one wanted.
    away = pl.duration(hours=-3 if zone.ambiguous == "earliest" else 3)
    return exact.fill_null(_utc(local + away, zone.name, choice) - away)


def _utc(local: pl.Expr, name: str, ambiguous: Literal["earliest", "latest", "null"]) -> pl.Expr:
    return local.dt.replace_time_zone(name, ambiguous=ambiguous, non_existent="null").dt.convert_time_zone("UTC")


def from_iso(text: pl.Expr, zone: Zone, layers: Layers) -> Times:
    """The times in ISO 8601 texts, with a zone or without."""
    dtype = pl.Struct({"time": UTC, "local": NAIVE})
    read = layers.let(text.map_batches(lambda texts: _iso(texts, zone), return_dtype=dtype))
    # Most files have one format, and most chunks nothing odd in it.
    quick = layers.let(text.str.strptime(NAIVE, LOCAL_FORMATS[0], strict=False, cache=False))
    micros = quick.to_physical()
    # For the second 60 see `_as_written`.
    leap = text.filter(micros % MINUTE == 0).str.contains(":60", literal=True).any()
    fits = (quick.null_count() == text.null_count()) & (micros >= YEAR_1000).all() & ~leap
    local = layers.either(fits, quick, read.struct.field("local"))
    if zone.ambiguous == "reject" or not zone.name or zone.name == "UTC":
        return Times(layers.either(fits, localize(quick, zone), read.struct.field("time")), local)
    exact = layers.let(_utc(quick, zone.name, zone.ambiguous))
    fits &= exact.null_count() == quick.null_count()
    return Times(layers.either(fits, exact, read.struct.field("time")), local)


def _iso(texts: pl.Series, zone: Zone) -> pl.Series:
    """Structs of time (UTC) and local (naive)."""
    # What is not in the first format is looked at again, with its zone.
    local = _as_written(_parsed(texts, LOCAL_FORMATS[0]), texts)
    frame = pl.DataFrame({"local": local, "time": _localized(local, zone)})
    rest = (local.is_null() & texts.is_not_null() & (texts != "")).fill_null(value=False)
    if rest.any():
        at = rest.arg_true()
        read = _iso_rest(texts.gather(at), zone)
        frame = frame.with_columns(column.scatter(at, read[column.name]) for column in frame.get_columns())
    return frame.select(pl.struct("time", "local").alias(texts.name)).to_series()


def _localized(local: pl.Series, zone: Zone) -> pl.Series:
    """`localize`; what it does with skipped times is done only for a chunk that has one."""
    frame = local.to_frame("local")
    if zone.name and zone.name != "UTC" and zone.ambiguous != "reject":
        exact = frame.select(_utc(pl.col("local"), zone.name, zone.ambiguous)).to_series()
        if exact.null_count() == local.null_count():
            return exact
    return frame.with_columns(time=localize(pl.col("local"), zone))["time"]


def _iso_rest(texts: pl.Series, zone: Zone) -> pl.DataFrame:
    text = texts.str.strip_chars()
    marks = pl.select(pl.when(text.str.len_bytes() > DATE_LENGTH).then(text.str.extract(ZONE, 1))).to_series()
    # Compared without case: a mark is cut off by its length.
    body = pl.select(text.str.head(text.str.len_chars() - marks.str.len_chars().fill_null(0))).to_series()
    local = _as_written(_first_format(body.str.strip_chars_end()), text)
    frame = pl.DataFrame({"local": local, "mark": marks.rename("mark")})
    hours, minutes = (pl.col("mark").str.extract(OFFSET, i).cast(pl.Int32).fill_null(0) for i in (2, 3))
    sign = pl.when(pl.col("mark").str.starts_with("-")).then(-1).otherwise(1)
    absolute = pl.col("local").dt.replace_time_zone("UTC") - pl.duration(minutes=sign * (hours * 60 + minutes))
    placed = pl.when(pl.col("mark").is_not_null()).then(absolute).otherwise(localize(pl.col("local"), zone))
    return frame.select("local", time=placed)


def _first_format(texts: pl.Series) -> pl.Series:
    """Each text by the first format that it has."""
    local = pl.Series("local", [None] * len(texts), dtype=NAIVE)
    for form in LOCAL_FORMATS:
        at = local.is_null().arg_true()
        if not len(at):
            break
        local = local.scatter(at, _parsed(texts.gather(at), form))
    return local


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    return texts.str.strptime(NAIVE, form, strict=False, cache=False)


def _as_written(local: pl.Series, texts: pl.Series) -> pl.Series:
    """Null for what chrono reads otherwise than it is written: the year 24 for 2024, and the second 60, which it takes
    for the next minute's first.
    """
    odd = ((local.to_physical() < YEAR_1000) | texts.str.contains(":60", literal=True)) & local.is_not_null()
    if not odd.any():
        return local
    years = local.dt.strftime("%Y")
    fine = [year in text and ":60" not in text for year, text in zip(years.filter(odd), texts.filter(odd), strict=True)]
    return local.scatter(odd.arg_true().filter(~pl.Series(fine)), None)


def from_format(text: pl.Expr, form: str, zone: Zone, layers: Layers, *, day: bool = False) -> Times:
    """The times in texts of a declared strptime format; with `day` only their days, as they are written."""
    text = layers.let(text.str.strip_chars())
    plain = form.replace("%%", "")
    zoned = any(directive in plain for directive in ("%z", "%:z", "%#z", "%+"))
    # %#z is %z that takes Z and a bare hour too.
    form = form.replace("%:z", "%#z").replace("%z", "%#z") if zoned else form
    day = day and "%s" not in plain
    if day or not (zoned or any(directive in plain for directive in CLOCKS)):
        read, dtype = text.str.to_date(form, strict=False).cast(NAIVE), NAIVE
    else:
        read, dtype = text.str.to_datetime(form, strict=False, time_unit="us"), UTC if zoned else NAIVE
    local = layers.let(pl.map_batches([read, text], lambda both: _as_written(*both), return_dtype=dtype))
    if day:
        return Times(local.dt.replace_time_zone("UTC"), local)
    if zoned:
        return Times.of_utc(local, zone)
    if "%s" in plain:
        return Times.of_utc(local.dt.replace_time_zone("UTC"), zone)
    return Times(localize(local, zone), local)


def from_epoch(number: pl.Expr, unit: str) -> pl.Expr:
    """Seconds (`epoch_s`) or milliseconds (`epoch_ms`) since 1970, as Float64, in UTC. Beyond year 9999:
    null.
    """
    scale = 1_000_000 if unit == "epoch_s" else 1_000
    # Apart, as a double has fewer digits than far years have microseconds.
    whole = pl.when(number.abs() < 253402300800e6 / scale).then(number.floor())
    micros = whole.cast(pl.Int64) * scale + ((number - whole) * scale).round().cast(pl.Int64)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
