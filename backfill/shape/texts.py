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
    "json_members",
    "json_object",
    "json_pieces",
    "key_text",
    "number_text",
]

Let = Callable[[pl.Expr], pl.Expr]
"""Computes an expression in a column of its own, and names that: what is used twice is not computed twice."""

# chrono's %.f writes no fraction where there is none.
RFC3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
LOCAL = "%Y-%m-%dT%H:%M:%S%.f"
# All that Polars' encoder escapes, so that a text is the same whether or not its chunk goes through it.
ESCAPED = ['"', "\\", *map(chr, range(0x20))]


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


def json_pieces(value: pl.Expr, dtype: pl.DataType, let: Let, before: str = "") -> list[pl.Expr]:
    """What makes the JSON text of a value with `before` in front of it, to be joined; all null where the value is.

    Pieces, because a text is copied each time that it is put together.
    """
    if dtype == pl.Boolean or dtype.is_numeric():
        return [_where(value, before), as_text(value, dtype)]
    if dtype.is_temporal():
        return [_where(value, before + '"'), as_text(value, dtype), _where(value, '"')]
    if flat(dtype):
        text = let(as_text(value, dtype))
        escaped = let(text.map_batches(_escaped, return_dtype=pl.String))
        return [_where(text, before + '"'), escaped, _where(text, '"')]
    return [_where(value, before), _encoded(_plain(value, dtype))]


def as_json(value: pl.Expr, dtype: pl.DataType, let: Let) -> pl.Expr:
    """A value of any type as JSON text; null stays null."""
    return pl.concat_str(json_pieces(value, dtype, let))


def _where(value: pl.Expr, text: str) -> pl.Expr:
    return pl.when(value.is_not_null()).then(pl.lit(text))


def _escaped(texts: pl.Series) -> pl.Series:
    """Each text as it stands between the quotes of JSON. Most columns have nothing to escape, and are not copied."""
    if not texts.str.contains_any(ESCAPED).any():
        return texts
    encoded = pl.struct(pl.lit(texts).alias("x")).struct.json_encode()
    between = encoded.str.strip_prefix('{"x":"').str.strip_suffix('"}')
    return pl.select(pl.when(pl.lit(texts).is_not_null()).then(between)).to_series()


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


def json_members(pieces: Sequence[pl.Expr]) -> pl.Expr:
    """`,"a":1,"b":"x"` from the pieces of members, each of which a comma leads; empty when none has a value."""
    return pl.concat_str(pieces, ignore_nulls=True) if pieces else pl.lit("")


def json_object(members: pl.Expr, before: str = "") -> list[pl.Expr]:
    """The pieces of an object of some members, with `before` in front of it; all null when there is no member."""
    given = members != ""
    inner = pl.when(given).then(members.str.strip_prefix(","))
    return [pl.when(given).then(pl.lit(before + "{")), inner, pl.when(given).then(pl.lit("}"))]


def key_text(name: str) -> str:
    """`"name":` as JSON writes it."""
    return json.dumps(name, ensure_ascii=False) + ":"
