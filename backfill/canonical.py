"""The canonical text of a value: the same whichever type a file gives it. Ids, templates and widened columns are of it.

Ids hang on it: nothing here may change.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import polars as pl

__all__ = ["RFC3339", "as_text", "beyond_calendar", "decoded", "flat", "instance", "nested_json", "number_text"]

# chrono's %.f writes no fraction where there is none.
RFC3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
LOCAL = "%Y-%m-%dT%H:%M:%S%.f"
# The days since 1970 that chrono can hold, by which Polars writes times, less a year; beyond them Polars panics.
FIRST_DAY, LAST_DAY = -96_465_000, 95_026_000
DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def flat(dtype: pl.DataType) -> bool:
    """Whether a value of this type can stand where the API takes a string, number or boolean."""
    return not isinstance(dtype, pl.List | pl.Struct | pl.Array | pl.Object)


def number_text(value: pl.Expr) -> pl.Expr:
    """A float as JSON writes it, shortest digits that give the same float; 12.0 as 12, -0.0 as 0.

    null where it is NaN or infinite.
    """
    # Adding 0.0 would turn -0.0 into 0.0 for one value and, by a short cut of Polars, not for many.
    text = value.cast(pl.String).str.strip_suffix(".0")
    return pl.when(value == 0).then(pl.lit("0")).when(value.is_finite()).then(text)


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The canonical text: the same whether the value came from CSV or, typed, from Parquet. null stays null."""
    if dtype == pl.String:
        return value
    if dtype.is_float():
        return number_text(value)
    if isinstance(dtype, pl.Decimal):
        text = value.cast(pl.String)
        return text.str.strip_chars_end("0").str.strip_suffix(".") if dtype.scale else text
    beyond = beyond_calendar(value, dtype)
    if beyond is not None:
        number = value.to_physical().cast(pl.String)
        return pl.when(beyond).then(number).otherwise(_calendar_text(pl.when(~beyond).then(value), dtype))
    if isinstance(dtype, pl.Duration):
        return value.dt.to_string("iso")
    if isinstance(dtype, pl.Binary):
        return value.map_batches(_decoded_or_base64, return_dtype=pl.String)
    if flat(dtype):
        return value.cast(pl.String)
    return nested_json(value, dtype)


def beyond_calendar(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Where a date or time is none that has a text, such as PostgreSQL's infinity in Parquet; its text is then the bare
    number. None where its type has no such thing.
    """
    if isinstance(dtype, pl.Datetime):
        day = DAY[dtype.time_unit]
        # Nanoseconds do not reach so far.
        low, high = (max(FIRST_DAY * day, -(2**63)), min(LAST_DAY * day, 2**63 - 1))
    elif dtype == pl.Date:
        low, high = FIRST_DAY, LAST_DAY
    elif dtype == pl.Time:
        low, high = 0, DAY["ns"] - 1
    else:
        return None
    return ~value.to_physical().is_between(low, high)


def _calendar_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return value.dt.strftime(LOCAL)
        return value.dt.convert_time_zone("UTC").dt.strftime(RFC3339)
    return value.cast(pl.String) if dtype == pl.Date else value.dt.to_string("%H:%M:%S%.f")


def decoded(value: pl.Expr) -> pl.Expr:
    """Bytes as the UTF-8 that old writers of Parquet mean by them; null where they are none."""
    return value.map_batches(lambda series: _decode(series, lambda _: None), return_dtype=pl.String)


def _decoded_or_base64(series: pl.Series) -> pl.Series:
    return _decode(series, lambda value: base64.b64encode(value).decode())


def _decode(series: pl.Series, otherwise: Callable[[bytes], str | None]) -> pl.Series:
    def one(value: bytes) -> str | None:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return otherwise(value)

    return pl.Series(series.name, [None if v is None else one(v) for v in series.to_list()], dtype=pl.String)


def nested_json(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A value as JSON text, whose keys stand in the order of their code points; null stays null.

    A struct has the fields of all rows of its file, so what is null leaves its key out at every depth, and what has no
    key left is null: a field that only other rows have changes nothing. In a list, null is `null`: places count there.
    Numbers are as in `as_text`, so that a fraction in another row does not turn 12 into 12.0.
    """
    if isinstance(dtype, pl.Array):
        return nested_json(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        items = value.list.eval(nested_json(pl.element(), instance(dtype.inner)).fill_null("null"))
        return pl.concat_str([pl.lit("["), items.list.join(","), pl.lit("]")])
    if isinstance(dtype, pl.Struct):
        members = []
        for name, inner in sorted({f.name: instance(f.dtype) for f in dtype.fields}.items(), key=lambda one: one[0]):
            key = json.dumps(name, ensure_ascii=False)
            members.append(pl.concat_str([pl.lit(f",{key}:"), nested_json(value.struct.field(name), inner)]))
        if not members:
            return pl.when(value.is_null()).then(pl.lit(None, dtype=pl.String))
        joined = pl.concat_str(members, ignore_nulls=True).str.strip_prefix(",")
        # Named once: an expression that names its parts twice doubles with each level.
        return pl.concat_str([pl.lit("{"), joined, pl.lit("}")]).replace("{}", None)
    text = as_text(value, dtype)
    if dtype == pl.Boolean or dtype.is_numeric():
        return text
    return pl.when(value.is_not_null()).then(_quoted(text))


def _quoted(text: pl.Expr) -> pl.Expr:
    """A text as JSON; `struct.json_encode` is the one escape that Polars has."""
    return pl.struct(text.alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")


def instance(dtype: object) -> pl.DataType:
    """A type of Polars, where its class is as good to Polars itself."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]  # a type's class
