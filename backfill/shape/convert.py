"""Raw values → the type that a field has, with what can be wrong with each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import polars as pl

from backfill import api
from backfill.shape.contacts import valid_email, valid_phone
from backfill.shape.layers import Layers
from backfill.shape.texts import Fault, as_json, as_text, beyond_calendar, decoded, faults, flat, textless
from backfill.shape.times import Times, Zone, from_epoch, from_format, from_iso, localize

__all__ = ["UTC", "Converted", "Numerals", "Target", "convert", "number_digits", "parse_number", "too_large"]

UTC = pl.Datetime("us", "UTC")
TRUE = ("true", "yes", "y", "t", "1", "on")
FALSE = ("false", "no", "n", "f", "0", "off")
NOT_ZERO = r"^[+-]?[0.]*[1-9]"
LONG = len(str(api.SAFE_INTEGER))
# The microseconds since 1970 of the years 1 to 9999.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Numerals:
    """How numbers are written in texts: the decimal mark, and the one between thousands, if any."""

    decimal: str = "."
    thousands: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a field takes. `kind` is a mapping's `type`, or one of the API's own: name, time, currency,
    country, time_zone, email, phone; `own` leaves the value in its own type, which may be `nested` in $extra only.
    `bound` is the largest absolute value.
    """

    kind: str
    format: str | None = None
    zone: Zone = field(default_factory=lambda: Zone(None))
    region: str | None = None
    numerals: Numerals = field(default_factory=Numerals)
    bound: float | None = None
    nested: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """The value, null where it is absent or wrong, its type, and what can be wrong with it.

    `json` marks a value whose text is JSON already, `plain` a text that has nothing to escape in JSON.
    """

    value: pl.Expr
    dtype: pl.DataType
    problems: Sequence[Fault] = ()
    json: bool = False
    plain: bool = False


def convert(raw: pl.Expr, dtype: pl.DataType, target: Target, layers: Layers) -> Converted | str:
    """`raw`, of `dtype`, as the target; or, in words, why this type can't become that one."""
    if dtype == pl.Null or isinstance(dtype, pl.Categorical | pl.Enum):
        return convert(raw.cast(pl.String), pl.String(), target, layers)
    if isinstance(dtype, pl.Binary):
        return _binary(raw, target, layers)
    kind = target.kind
    if kind == "json" and dtype == pl.String:
        return _json(raw, layers)
    if not flat(dtype):
        if kind not in ("own", "json"):
            return f"a column of type {dtype} can't be a {kind}"
        return Converted(layers.let(as_json(raw, dtype, layers)), pl.String(), faults(raw, dtype), json=True)
    if kind in ("own", "json"):
        kind = _own(dtype)
    if kind == "number":
        return _number(raw, dtype, target, layers)
    if kind == "integer":
        return _integer(raw, dtype, target, layers)
    if kind == "boolean":
        return _boolean(raw, dtype, layers)
    if kind in ("datetime", "date", "time"):
        return _time(raw, dtype, replace(target, kind=kind), layers)
    done = _text(layers.let(as_text(raw, dtype)), kind, target, layers)
    # What has no text is not as good as absent.
    return replace(done, problems=[*done.problems, *textless(raw, dtype)])


def _binary(raw: pl.Expr, target: Target, layers: Layers) -> Converted | str:
    text = layers.let(decoded(raw))
    done = convert(text, pl.String(), target, layers)
    if isinstance(done, str):
        return done
    return replace(done, problems=[Fault("undecodable", raw.is_not_null() & text.is_null()), *done.problems])


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


def _text(text: pl.Expr, kind: str, target: Target, layers: Layers) -> Converted:
    if kind == "email":
        return _checked(text, valid_email(text, layers), "invalid_email")
    if kind == "phone":
        return _checked(text, valid_phone(text, target.region, layers), "invalid_phone")
    if kind in ("currency", "country"):
        upper = layers.let(text.str.strip_chars().str.to_uppercase())
        known = sorted(api.CURRENCIES if kind == "currency" else api.COUNTRIES)
        valid = layers.either(text.is_in(known).all(), text, pl.when(upper.is_in(known)).then(upper))
        return _checked(text, valid, f"invalid_{kind}")
    if kind == "time_zone":
        import zoneinfo

        known_zones = sorted(zoneinfo.available_timezones())
        return _checked(text, layers.let(pl.when(text.is_in(known_zones)).then(text)), "invalid_time_zone")
    long = text.str.len_bytes() > api.TEXT_BYTES
    return Converted(text, pl.String(), [Fault("text_too_long", long)])


def _checked(text: pl.Expr, valid: pl.Expr, code: str) -> Converted:
    maybe = text.is_not_null() & valid.is_null()
    bad = maybe & (text.str.strip_chars() != "")
    return Converted(valid, pl.String(), [Fault(code, bad, maybe, no_value=True)], plain=True)


def parse_number(text: pl.Expr, numerals: Numerals) -> pl.Expr:
    """A text as Float64; null where it is none. `1,234.50` only where the thousands mark is declared."""
    return number_digits(text.str.strip_chars(), numerals).map_batches(_doubles, return_dtype=pl.Float64)


def too_large(text: pl.Expr, numerals: Numerals) -> pl.Expr:
    """Where a text is a number beyond 2^53, of which `parse_number` may give another."""
    digits = number_digits(text.str.strip_chars(), numerals)
    return digits.map_batches(_beyond, return_dtype=pl.Boolean).fill_null(value=False)


def number_digits(text: pl.Expr, numerals: Numerals) -> pl.Expr:
    """A text without its thousands marks and with a decimal point; null where the marks are not where they belong."""
    if not numerals.thousands and numerals.decimal == ".":
        return text
    mark, decimal = _literal(numerals.thousands or ""), _literal(numerals.decimal)
    whole = rf"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|[0-9]+)" if numerals.thousands else "[0-9]+"
    form = rf"^[+-]?(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
    fine = text.str.contains(form)
    if numerals.thousands:
        text = text.str.replace_all(numerals.thousands, "", literal=True)
    return pl.when(fine).then(text.str.replace(numerals.decimal, ".", literal=True))


def _literal(mark: str) -> str:
    return rf"\x{{{ord(mark):x}}}" if mark else ""


def _number(raw: pl.Expr, dtype: pl.DataType, target: Target, layers: Layers) -> Converted | str:
    if dtype == pl.String:
        stripped = layers.let(raw.str.strip_chars())
        digits = layers.let(number_digits(stripped, target.numerals))
        value = digits.map_batches(_doubles, return_dtype=pl.Float64)
        long = raw.str.len_bytes() >= LONG
        if not target.numerals.thousands and target.numerals.decimal == ".":
            value = layers.either(*_quick_doubles(raw, layers), value)
        else:
            value = layers.let(value)
        problems = [
            Fault("integer_too_large", digits.map_batches(_beyond, return_dtype=pl.Boolean), long),
            Fault("not_a_number", (stripped != "") & value.is_null(), raw.is_not_null() & value.is_null()),
        ]
    elif dtype.is_numeric():
        # 0.1 as Float32 means 0.1, not the double 0.10000000149011612.
        number = raw.cast(pl.String).cast(pl.Float64, strict=False) if dtype == pl.Float32 else raw.cast(pl.Float64)
        value = layers.let(pl.when(number.is_finite()).then(number))
        problems = faults(raw, dtype)
    else:
        return f"a column of type {dtype} can't be a number"
    if target.bound is not None:
        problems.append(Fault("number_out_of_range", value.abs() > target.bound))
    return Converted(value, pl.Float64(), problems)


def _quick_doubles(text: pl.Expr, layers: Layers) -> tuple[pl.Expr, pl.Expr]:
    """Whether texts are plainly doubles, and these: without blanks around them, as `_doubles` has them."""
    number = layers.let(text.cast(pl.Float64, strict=False))
    zero = text.filter(number == 0).str.contains(NOT_ZERO).any()
    return (number.null_count() == text.null_count()) & number.is_finite().all() & ~zero, number


def _doubles(digits: pl.Series) -> pl.Series:
    """Texts as doubles; null for what is none, and for numbers too large or too small for one: infinite there, or 0."""
    numbers = digits.cast(pl.Float64, strict=False)
    wrong = numbers.is_infinite() | numbers.is_nan()
    zero = numbers == 0
    if digits.filter(zero).str.contains(NOT_ZERO).any():
        wrong |= zero & digits.str.contains(NOT_ZERO)
    return numbers.set(wrong, None) if wrong.any() else numbers


def _beyond(digits: pl.Series) -> pl.Series:
    """Whether a text is a number beyond 2^53 that a double changes: any that has all its digits, and one with an
    exponent unless it is written back as the same. A double can't tell 2^53 + 1 from 2^53: the digits are looked at.
    """
    long = digits.str.len_bytes() >= LONG
    if not long.any():
        return long
    whole = digits.str.extract(r"^([+-]?[0-9]+)(?:\.[0-9]*)?$", 1)
    # What has too many digits for Int128 is beyond as well.
    number = whole.cast(pl.Int128, strict=False).abs()
    beyond = whole.is_not_null() & ~(number <= api.SAFE_INTEGER).fill_null(value=False)
    beyond |= (number == api.SAFE_INTEGER) & digits.str.contains(r"\.0*[1-9]")
    for at in (long & whole.is_null() & digits.str.contains("[eE]")).fill_null(value=False).arg_true():
        beyond[at] = _changes(digits[at])
    return beyond


def _changes(digits: str) -> bool:
    """Whether a number's double is beyond 2^53 and, written back, another."""
    try:
        number = float(digits)
    except ValueError:
        return False
    return api.SAFE_INTEGER <= abs(number) < math.inf and Decimal(digits) != Decimal(repr(number))


def _integer(raw: pl.Expr, dtype: pl.DataType, target: Target, layers: Layers) -> Converted | str:
    if dtype.is_integer():
        value = raw.cast(pl.Int64, strict=False)
        return Converted(value, pl.Int64(), faults(raw, dtype))
    if dtype == pl.Boolean:
        return Converted(raw.cast(pl.Int64), pl.Int64())
    number = _number(raw, dtype, target, layers)
    if isinstance(number, str):
        return number
    # Beside its digits an integer may be written 3.0, as spreadsheets and pandas do.
    fraction = number.value.floor() != number.value
    value = pl.when(number.value.abs() <= api.SAFE_INTEGER).then(number.value).cast(pl.Int64, strict=False)
    beyond = (number.value.abs() > api.SAFE_INTEGER) & ~fraction
    return Converted(
        pl.when(~fraction).then(value),
        pl.Int64(),
        [Fault("integer_too_large", beyond), *number.problems, Fault("not_an_integer", fraction)],
    )


def _boolean(raw: pl.Expr, dtype: pl.DataType, layers: Layers) -> Converted | str:
    if dtype == pl.Boolean:
        return Converted(raw, pl.Boolean())
    if dtype != pl.String and not dtype.is_integer():
        return f"a column of type {dtype} can't be a boolean"
    text = layers.let(as_text(raw, dtype).str.strip_chars().str.to_lowercase())
    value = layers.let(pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False))
    return Converted(value, pl.Boolean(), [Fault("not_a_boolean", text.is_not_null() & (text != "") & value.is_null())])


def _time(raw: pl.Expr, dtype: pl.DataType, target: Target, layers: Layers) -> Converted | str:
    beyond = beyond_calendar(raw, dtype)
    if beyond is not None:
        raw = layers.let(pl.when(~beyond).then(raw))
    times = _times(raw, dtype, target, layers)
    if isinstance(times, str):
        return times
    far = [] if beyond is None else [Fault("time_out_of_range", beyond)]
    given = _filled(raw) if dtype == pl.String else raw.is_not_null()
    untimely = Fault("not_a_time", given & times.local.is_null(), raw.is_not_null() & times.local.is_null())
    if target.kind == "date":
        # The calendar day as it is written: a day needs no zone, and none may shift it.
        text = layers.let(times.local.dt.strftime("%Y-%m-%d"))
        return Converted(text, pl.String(), [untimely, _far(times.local), *far], plain=True)
    time = layers.let(times.time)
    unplaced = times.local.is_not_null() & time.is_null()
    no_zone = "time_without_zone" if target.zone.name is None else "ambiguous_time"
    problems = [untimely, Fault(no_zone, unplaced), _far(time), *far]
    return Converted(time, UTC, problems)


def _far(time: pl.Expr) -> Fault:
    return Fault("time_out_of_range", ~time.dt.year().is_between(1, 9999), ~time.to_physical().is_between(FIRST, LAST))


def _times(raw: pl.Expr, dtype: pl.DataType, target: Target, layers: Layers) -> Times | str:
    epoch = target.format if target.format in ("epoch_s", "epoch_ms") else None
    zone = target.zone
    if dtype == pl.String and not epoch:
        day = target.kind == "date"
        return from_format(raw, target.format, zone, layers, day=day) if target.format else from_iso(raw, zone, layers)
    if epoch and (dtype == pl.String or dtype.is_numeric()):
        number = parse_number(raw, target.numerals) if dtype == pl.String else raw.cast(pl.Float64)
        return Times.of_utc(layers.let(from_epoch(number, epoch)), zone)
    if isinstance(dtype, pl.Datetime):
        time = raw.dt.cast_time_unit("us")
        return Times(localize(time, zone), time) if dtype.time_zone is None else Times.of_utc(time, zone)
    if dtype == pl.Date:
        midnight = raw.cast(pl.Datetime("us"))
        return Times(localize(midnight, zone), midnight)
    if dtype.is_numeric():
        return f"a column of type {dtype} is a time only with a format: epoch_s or epoch_ms"
    return f"a column of type {dtype} can't be a time"


def _json(raw: pl.Expr, layers: Layers) -> Converted:
    """A text that is JSON, written compactly. No JSON begins with an exclamation mark: it leads a problem's code."""
    found = layers.let(raw.map_batches(_compact, return_dtype=pl.String))
    wrong = layers.let(found.str.starts_with("!"))
    codes = ("not_json_value", "integer_too_large")
    return Converted(
        layers.let(pl.when(~wrong).then(found)),
        pl.String(),
        [Fault(code, found == f"!{code}") for code in codes],
        json=True,
    )


def _compact(series: pl.Series) -> pl.Series:
    texts = [None if text is None or not text.strip() else _compact_one(text) for text in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)


def _compact_one(text: str) -> str:
    try:
        value = json.loads(
            text, parse_constant=_refuse, object_pairs_hook=_object, parse_int=_small, parse_float=_fraction
        )
        compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        compact.encode()
    except _JsonProblem as problem:
        return f"!{problem}"
    except (ValueError, RecursionError):
        # Also a number that is infinite as a double, and half of a surrogate pair.
        return "!not_json_value"
    return compact


class _JsonProblem(Exception):
    """JSON that would not survive; the text is the problem's code."""


def _refuse(_: str) -> None:
    raise _JsonProblem("not_json_value")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # One of two values under one key would be lost.
        raise _JsonProblem("not_json_value")
    return found


def _small(digits: str) -> int:
    number = int(digits)
    if abs(number) > api.SAFE_INTEGER:
        raise _JsonProblem("integer_too_large")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if number == 0 and any(digit in "123456789" for digit in digits.lower().partition("e")[0]):
        raise _JsonProblem("not_json_value")
    if _changes(digits):
        raise _JsonProblem("integer_too_large")
    return number


def _filled(raw: pl.Expr) -> pl.Expr:
    """Neither null nor blank: a text column of a typed file has "" where CSV has null."""
    return raw.is_not_null() & (raw.str.strip_chars() != "")
