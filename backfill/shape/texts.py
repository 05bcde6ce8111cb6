"""Values of any type as text: canonical for ids and templates, JSON for bodies. All are Polars expressions.

Measured on 500,000 values, 2 cores: JSON of a text 30 ns, of a number 35 ns, of a time 80 ns; the same from
Python objects about 1,000 ns.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence

import polars as pl

from backfill import api

__all__ = [
    "RFC3339",
    "Let",
    "as_json",
    "as_text",
    "decoded",
    "faults",
    "flat",
    "instance",
    "is_native",
    "json_object",
    "number_text",
]

Let = Callable[[pl.Expr], pl.Expr]
"""Computes an expression in a column of its own, and names that: what is used twice is not computed twice."""

# chrono's %.f writes no fraction where there is none.
RFC3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
LOCAL = "%Y-%m-%dT%H:%M:%S%.f"
# A member that can't be: it takes the place of the first, so that a comma leads each of the others.
NOTHING = '{"":null'


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
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return value.dt.strftime(LOCAL)
        return value.dt.convert_time_zone("UTC").dt.strftime(RFC3339)
    if dtype == pl.Time:
        return value.dt.to_string("%H:%M:%S%.f")
    if isinstance(dtype, pl.Duration):
        return value.dt.to_string("iso")
    if isinstance(dtype, pl.Binary):
        return value.map_batches(_decoded_or_base64, return_dtype=pl.String)
    if flat(dtype):
        return value.cast(pl.String)
    return pl.when(value.is_not_null()).then(_encoded(_plain(value, dtype)))


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


def is_native(dtype: pl.DataType) -> bool:
    """Whether Polars' own JSON of this type is ours: a double is not, 12.0 instead of 12."""
    return dtype in (pl.String, pl.Boolean, pl.Int64)


def as_json(value: pl.Expr, dtype: pl.DataType, before: str = "") -> pl.Expr:
    """A value of any type as JSON text with `before` in front of it; null stays null."""
    if dtype == pl.Boolean or dtype.is_integer() or dtype.is_float() or isinstance(dtype, pl.Decimal):
        text = as_text(value, dtype)
        return pl.concat_str([pl.lit(before), text]) if before else text
    if dtype.is_temporal():
        return pl.concat_str([pl.lit(before + '"'), as_text(value, dtype), pl.lit('"')])
    encoded = _encoded(as_text(value, dtype) if flat(dtype) else _plain(value, dtype))
    return pl.when(value.is_not_null()).then(pl.concat_str([pl.lit(before), encoded]) if before else encoded)


def _encoded(value: pl.Expr) -> pl.Expr:
    """JSON of what Polars can write; `struct.json_encode` is the one escape that it has."""
    return pl.struct(value.alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A nested value with texts for the types that JSON has not."""
    if isinstance(dtype, pl.Array):
        return _plain(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        return value.list.eval(_plain(pl.element(), instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        fields = [_plain(value.struct.field(f.name), instance(f.dtype)).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields)) if fields else value
    if isinstance(dtype, pl.Decimal):
        return value.cast(pl.Float64)
    if dtype == pl.Float32:
        return value.cast(pl.String).cast(pl.Float64, strict=False)
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null):
        return value
    return as_text(value, dtype)


def faults(value: pl.Expr, dtype: pl.DataType) -> list[tuple[str, pl.Expr]]:
    """What JSON can't hold of a value, nested ones too, as (problem code, where it applies) pairs."""
    pairs = [("not_a_number", _not_finite), ("integer_too_large", _too_large)]
    found = [(code, _anywhere(value, dtype, leaf)) for code, leaf in pairs]
    return [(code, bad) for code, bad in found if bad is not None]


def _not_finite(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    return value.is_not_null() & ~value.is_finite() if dtype.is_float() else None


def _too_large(value: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Beyond 2^53 a server that reads JSON as JavaScript does has another integer."""
    if isinstance(dtype, pl.Decimal) or dtype in (pl.Int64, pl.Int128):
        return (value > api.SAFE_INTEGER) | (value < -api.SAFE_INTEGER)
    return value > api.SAFE_INTEGER if dtype == pl.UInt64 else None


def _anywhere(
    value: pl.Expr, dtype: pl.DataType, leaf: Callable[[pl.Expr, pl.DataType], pl.Expr | None]
) -> pl.Expr | None:
    if isinstance(dtype, pl.Array):
        return _anywhere(value.arr.to_list(), pl.List(dtype.inner), leaf)
    if isinstance(dtype, pl.List):
        inner = _anywhere(pl.element(), instance(dtype.inner), leaf)
        return None if inner is None else value.list.eval(inner.fill_null(value=False)).list.any()
    if isinstance(dtype, pl.Struct):
        fields = [_anywhere(value.struct.field(f.name), instance(f.dtype), leaf) for f in dtype.fields]
        bad = [field.fill_null(value=False) for field in fields if field is not None]
        return pl.any_horizontal(bad) if bad else None
    return leaf(value, dtype)


def instance(dtype: object) -> pl.DataType:
    """A type of Polars, where its class is as good to Polars itself."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]  # a type's class


def json_object(
    native: Sequence[tuple[str, pl.Expr]], others: Sequence[tuple[str, Callable[[str], pl.Expr]]], let: Let
) -> pl.Expr:
    """`{"a":1,"b":"x"}`: a null member is left out, an object with none left is null.

    `native` are members of a type that `is_native`; `others` are functions that write their JSON behind a text.
    """
    parts = [write("," + key_text(name)) for name, write in others]
    if native:
        parts.insert(0, _members(native))
    if not parts:
        return pl.lit(None, dtype=pl.String)
    joined = let(pl.concat_str(parts, ignore_nulls=True))
    return pl.when(joined != "").then(pl.concat_str([pl.lit("{"), joined.str.strip_prefix(","), pl.lit("}")]))


def _members(native: Sequence[tuple[str, pl.Expr]]) -> pl.Expr:
    """`,"a":1,"b":"x"` in one pass of Polars' encoder, which writes nulls too: these are cut out.

    Within a JSON text each quote has a backslash before it, so that `,"a":null` is never part of a value.
    """
    fields = [pl.lit(None, dtype=pl.String).alias(""), *(value.alias(name) for name, value in native)]
    encoded = pl.struct(fields).struct.json_encode()
    keys = "|".join(pl.escape_regex(key_text(name)) for name, _ in native)
    cut = encoded.str.replace_all(f",(?:{keys})null", "")
    return cut.str.strip_prefix(NOTHING).str.strip_suffix("}")


def key_text(name: str) -> str:
    """`"name":` as Polars' encoder writes it."""
    return json.dumps(name, ensure_ascii=False) + ":"
