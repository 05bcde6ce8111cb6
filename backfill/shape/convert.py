"""Raw values → the type that a field has, with what can be wrong with each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from backfill import api
from backfill.shape.contacts import valid_email, valid_phone
from backfill.shape.texts import Let, as_json, as_text, flat
from backfill.shape.times import Zone, from_epoch, from_format, from_iso, localize

__all__ = ["UTC", "Converted", "Numerals", "Target", "convert", "parse_number"]

UTC = pl.Datetime("us", "UTC")
TRUE = ("true", "yes", "y", "t", "1", "on")
FALSE = ("false", "no", "n", "f", "0", "off")


@dataclass(frozen=True, slots=True)
class Numerals:
    """How numbers are written in texts: the decimal mark, and the one between thousands, if any."""

    decimal: str = "."
    thousands: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a field takes. `kind` is a mapping's `type`, or one of the API's own: name, time, currency,
    country, time_zone, email, phone; `own` leaves the value in its own type. `bound` is the largest absolute
    value.
    """

    kind: str
    format: str | None = None
    zone: Zone = field(default_factory=lambda: Zone(None))
    region: str | None = None
    numerals: Numerals = field(default_factory=Numerals)
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """The value, null where it is absent or wrong, its type, and (problem code, where it applies) pairs.

    `json` marks a value whose text is JSON already.
    """

    value: pl.Expr
    dtype: pl.DataType
    problems: Sequence[tuple[str, pl.Expr]] = ()
    json: bool = False


def convert(raw: pl.Expr, dtype: pl.DataType, target: Target, let: Let) -> Converted | str:
    """`raw`, of `dtype`, as the target; or, in words, why this type can't become that one."""
    kind = target.kind
    if kind == "json":
        return _json(raw, dtype, let)
    if kind == "own":
        kind = _own(dtype)
        if isinstance(dtype, pl.List | pl.Struct | pl.Array):
            return Converted(as_json(raw, dtype, let), pl.String(), json=True)
    if not flat(dtype) or isinstance(dtype, pl.Binary):
        return f"a column of type {dtype} can't be a {kind}"
    if kind == "number":
        return _number(raw, dtype, target, let)
    if kind == "integer":
        return _integer(raw, dtype, target, let)
    if kind == "boolean":
        return _boolean(raw, dtype, let)
    if kind in ("datetime", "date", "time"):
        return _time(raw, dtype, target, let)
    return _text(let(as_text(raw, dtype)), kind, target, let)


def _own(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    return "date" if dtype == pl.Date else "string"


def _text(text: pl.Expr, kind: str, target: Target, let: Let) -> Converted:
    if kind == "email":
        return _checked(text, let(valid_email(text)), "invalid_email")
    if kind == "phone":
        return _checked(text, let(valid_phone(text, target.region, let)), "invalid_phone")
    if kind in ("currency", "country"):
        upper = let(text.str.strip_chars().str.to_uppercase())
        known = api.CURRENCIES if kind == "currency" else api.COUNTRIES
        return _checked(text, let(pl.when(upper.is_in(sorted(known))).then(upper)), f"invalid_{kind}")
    if kind == "time_zone":
        import zoneinfo

        known_zones = sorted(zoneinfo.available_timezones())
        return _checked(text, pl.when(text.is_in(known_zones)).then(text), "invalid_time_zone")
    long = text.str.len_bytes() > api.TEXT_BYTES
    return Converted(text, pl.String(), [("text_too_long", long)])


def _checked(text: pl.Expr, valid: pl.Expr, code: str) -> Converted:
    return Converted(
        valid, pl.String(), [(code, text.is_not_null() & (text.str.strip_chars() != "") & valid.is_null())]
    )


def parse_number(text: pl.Expr, numerals: Numerals) -> pl.Expr:
    """A text as Float64; null where it is none. `1,234.50` only where the thousands mark is declared."""
    text = text.str.strip_chars()
    if numerals.thousands or numerals.decimal != ".":
        mark, decimal = _literal(numerals.thousands or ""), _literal(numerals.decimal)
        whole = rf"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|[0-9]+)" if numerals.thousands else "[0-9]+"
        form = rf"^[+-]?(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
        fine = text.str.contains(form)
        if numerals.thousands:
            text = text.str.replace_all(numerals.thousands, "", literal=True)
        text = pl.when(fine).then(text.str.replace(numerals.decimal, ".", literal=True))
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _literal(mark: str) -> str:
    return rf"\x{{{ord(mark):x}}}" if mark else ""


def _number(raw: pl.Expr, dtype: pl.DataType, target: Target, let: Let) -> Converted | str:
    problems: list[tuple[str, pl.Expr]] = []
    if dtype == pl.String:
        value = let(parse_number(raw, target.numerals))
        digits = let(raw.str.strip_chars().cast(pl.Int64, strict=False))
        wide = (value.abs() >= api.SAFE_INTEGER) & (
            digits.abs().gt(api.SAFE_INTEGER) | (digits.is_null() & raw.str.contains(r"^\s*[+-]?[0-9]+\s*$"))
        ).fill_null(False)
        problems.append(("integer_too_large", wide))
        problems.append(("not_a_number", _filled(raw) & value.is_null()))
    elif dtype.is_numeric():
        value = raw.cast(pl.Float64)
        value = let(pl.when(value.is_finite()).then(value))
        if dtype.is_integer():
            wide = raw.cast(pl.Float64).abs() > api.SAFE_INTEGER
            problems.append(("integer_too_large", wide | _beyond(raw, dtype)))
        else:
            problems.append(("not_a_number", raw.is_not_null() & value.is_null()))
    else:
        return f"a column of type {dtype} can't be a number"
    if target.bound is not None:
        problems.append(("number_out_of_range", value.abs() > target.bound))
    return Converted(value, pl.Float64(), problems)


def _beyond(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Float64 can't tell 2^53 + 1 from 2^53; 64-bit integers can."""
    if dtype in (pl.Int64, pl.UInt64, pl.Int128):
        return (
            (raw > api.SAFE_INTEGER) | (raw < -api.SAFE_INTEGER)
            if dtype != pl.UInt64
            else raw > api.SAFE_INTEGER
        )
    return pl.lit(False)


def _integer(raw: pl.Expr, dtype: pl.DataType, target: Target, let: Let) -> Converted | str:
    if dtype.is_integer():
        safe = pl.when(~(_beyond(raw, dtype) | (raw.cast(pl.Float64).abs() > api.SAFE_INTEGER))).then(raw)
        value = safe.cast(pl.Int64, strict=False)
        return Converted(value, pl.Int64(), [("integer_too_large", raw.is_not_null() & value.is_null())])
    if dtype == pl.Boolean:
        return Converted(raw.cast(pl.Int64), pl.Int64())
    number = _number(raw, dtype, target, let)
    if isinstance(number, str):
        return number
    whole = let(number.value.floor() == number.value)
    exact = (
        raw.str.strip_chars().cast(pl.Int64, strict=False)
        if dtype == pl.String
        else pl.lit(None, dtype=pl.Int64)
    )
    # Beside its digits an integer may be written 3.0, as spreadsheets and pandas do; as a double it is exact
    # up to 2^53.
    value = let(
        exact.fill_null(
            pl.when(whole & (number.value.abs() < api.SAFE_INTEGER)).then(number.value).cast(pl.Int64)
        )
    )
    wide = (value.abs() > api.SAFE_INTEGER).fill_null(False) | (whole & value.is_null())
    value = pl.when(value.abs() <= api.SAFE_INTEGER).then(value)
    broken = number.value.is_null() if dtype != pl.String else _filled(raw) & number.value.is_null()
    return Converted(
        value,
        pl.Int64(),
        [
            ("integer_too_large", wide),
            ("not_a_number", raw.is_not_null() & broken),
            ("not_an_integer", number.value.is_not_null() & ~whole),
        ],
    )


def _boolean(raw: pl.Expr, dtype: pl.DataType, let: Let) -> Converted | str:
    if dtype == pl.Boolean:
        return Converted(raw, pl.Boolean())
    if dtype != pl.String and not dtype.is_integer():
        return f"a column of type {dtype} can't be a boolean"
    text = let(as_text(raw, dtype).str.strip_chars().str.to_lowercase())
    value = let(pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False))
    return Converted(
        value, pl.Boolean(), [("not_a_boolean", text.is_not_null() & (text != "") & value.is_null())]
    )


def _time(raw: pl.Expr, dtype: pl.DataType, target: Target, let: Let) -> Converted | str:
    epoch = target.format in ("epoch_s", "epoch_ms")
    given = raw.is_not_null()
    if dtype == pl.String:
        given = _filled(raw)
        if epoch:
            assert target.format is not None
            time = let(from_epoch(parse_number(raw, Numerals()), target.format))
            understood = time.is_not_null()
        elif target.format:
            time, understood = from_format(raw, target.format, target.zone, let)
        else:
            time, understood = from_iso(raw, target.zone, let)
    elif isinstance(dtype, pl.Datetime):
        time = raw.dt.cast_time_unit("us")
        time = localize(time, target.zone) if dtype.time_zone is None else time.dt.convert_time_zone("UTC")
        understood = given
    elif dtype == pl.Date:
        time, understood = localize(raw.cast(pl.Datetime("us")), target.zone), given
    elif dtype.is_numeric() and epoch:
        assert target.format is not None
        time = let(from_epoch(raw.cast(pl.Float64), target.format))
        understood = time.is_not_null()
    elif dtype.is_numeric():
        return f"a column of type {dtype} is a time only with a format: epoch_s or epoch_ms"
    else:
        return f"a column of type {dtype} can't be a time"
    time, understood = let(time), let(understood)
    year = time.dt.year()
    problems = [
        ("not_a_time", given & ~understood),
        (
            "time_without_zone" if target.zone.name is None else "ambiguous_time",
            given & understood & time.is_null(),
        ),
        ("time_out_of_range", (year < 1) | (year > 9999)),
    ]
    if target.kind == "date":
        return _date(raw, dtype, target, time, given, understood, let)
    return Converted(time, UTC, problems)


def _date(
    raw: pl.Expr,
    dtype: pl.DataType,
    target: Target,
    time: pl.Expr,
    given: pl.Expr,
    understood: pl.Expr,
    let: Let,
) -> Converted:
    """The calendar day as it is written: a day needs no zone, and none may shift it."""
    if dtype == pl.String and target.format not in ("epoch_s", "epoch_ms"):
        naive = Zone("UTC")
        local = (from_format(raw, target.format, naive, let) if target.format else from_iso(raw, naive, let))[
            0
        ]
    elif dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        local = raw
    else:
        local = time.dt.convert_time_zone(target.zone.name or "UTC")
    text = let(local.dt.strftime("%Y-%m-%d"))
    return Converted(text, pl.String(), [("not_a_time", given & (~understood | text.is_null()))])


def _json(raw: pl.Expr, dtype: pl.DataType, let: Let) -> Converted | str:
    if dtype != pl.String:
        return Converted(as_json(raw, dtype, let), pl.String(), json=True)
    value = let(raw.map_batches(_compact, return_dtype=pl.String))
    return Converted(value, pl.String(), [("not_json_value", _filled(raw) & value.is_null())], json=True)


def _compact(series: pl.Series) -> pl.Series:
    """Each text as compact JSON; null where it is none, or would not survive (NaN, a lone surrogate)."""
    return pl.Series(
        series.name, [None if text is None else _compact_one(text) for text in series], dtype=pl.String
    )


def _compact_one(text: str) -> str | None:
    try:
        value = json.loads(text, parse_constant=_refuse)
        compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        compact.encode()
    except (ValueError, RecursionError):
        return None
    return compact


def _refuse(name: str) -> None:
    raise ValueError(name)


def _filled(raw: pl.Expr) -> pl.Expr:
    """Neither null nor blank: a text column of a typed file has "" where CSV has null."""
    return raw.is_not_null() & (raw.str.strip_chars() != "")
