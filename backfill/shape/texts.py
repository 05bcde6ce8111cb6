"""Values of any type as text: canonical for ids and templates, JSON for bodies. All are Polars expressions.

Measured on 500,000 values, 2 cores: JSON of a text 35 ns, of a number 35 ns, of a time 80 ns; the same from
Python objects about 1,000 ns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

__all__ = ["RFC3339", "Let", "as_json", "as_text", "flat", "json_object", "number_text", "quoted"]

Let = Callable[[pl.Expr], pl.Expr]
"""Computes an expression in a column of its own, and names that: what is used twice is not computed twice."""

# chrono's %.f writes no fraction where there is none.
RFC3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
LOCAL = "%Y-%m-%dT%H:%M:%S%.f"


def flat(dtype: pl.DataType) -> bool:
    """Whether a value of this type can stand where the API takes a string, number or boolean."""
    return not isinstance(dtype, pl.List | pl.Struct | pl.Array | pl.Binary | pl.Object)


def number_text(value: pl.Expr) -> pl.Expr:
    """A Float64 as JSON writes it, shortest digits that give the same double; 12.0 as 12, -0.0 as 0."""
    return (value + 0.0).cast(pl.String).str.strip_suffix(".0")


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The canonical text: the same whether the value came from CSV or, typed, from Parquet. null stays
    null."""
    if dtype == pl.String:
        return value
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        return number_text(value.cast(pl.Float64))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return value.dt.strftime(LOCAL)
        return value.dt.convert_time_zone("UTC").dt.strftime(RFC3339)
    if flat(dtype):
        return value.cast(pl.String)
    return pl.when(value.is_not_null()).then(_encoded(_plain(value, dtype)))


def quoted(text: pl.Expr, let: Let) -> pl.Expr:
    """A text as a JSON string. `struct.json_encode` is the one escape that Polars has."""
    text = let(text)
    return pl.when(text.is_not_null()).then(_encoded(text))


def _encoded(value: pl.Expr) -> pl.Expr:
    return pl.struct(value.alias("x")).struct.json_encode().str.strip_prefix('{"x":').str.strip_suffix("}")


def as_json(value: pl.Expr, dtype: pl.DataType, let: Let) -> pl.Expr:
    """A value of any type as JSON text; null stays null."""
    if dtype == pl.Boolean or dtype.is_integer():
        return value.cast(pl.String)
    if dtype.is_float() or isinstance(dtype, pl.Decimal):
        return number_text(value.cast(pl.Float64))
    if dtype.is_temporal() and not isinstance(dtype, pl.Duration):
        return pl.concat_str([pl.lit('"'), as_text(value, dtype), pl.lit('"')])
    if flat(dtype):
        return quoted(as_text(value, dtype), let)
    return pl.when(value.is_not_null()).then(_encoded(_plain(value, dtype)))


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A nested value with texts for the types that JSON has not."""
    if isinstance(dtype, pl.Array):
        return _plain(value.arr.to_list(), pl.List(dtype.inner))
    if isinstance(dtype, pl.List):
        return value.list.eval(_plain(pl.element(), instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        fields = [_plain(value.struct.field(f.name), instance(f.dtype)).alias(f.name) for f in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(fields)) if fields else value
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("base64")
    if isinstance(dtype, pl.Decimal):
        return value.cast(pl.Float64)
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null):
        return value
    return as_text(value, dtype)


def instance(dtype: object) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator, no-any-return]  # a type class


def json_object(members: Sequence[tuple[str, pl.Expr]], let: Let) -> pl.Expr:
    """`{"a":1,"b":"x"}` from names and JSON texts; a null member is left out, an object with none left is
    null."""
    if not members:
        return pl.lit(None, dtype=pl.String)
    parts = [pl.concat_str([pl.lit("," + key_text(name)), text]) for name, text in members]
    joined = let(pl.concat_str(parts, ignore_nulls=True))
    return pl.when(joined != "").then(pl.concat_str([pl.lit("{"), joined.str.strip_prefix(","), pl.lit("}")]))


def key_text(name: str) -> str:
    import json

    return json.dumps(name, ensure_ascii=False) + ":"
