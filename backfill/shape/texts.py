"""Values of any type as text: canonical for ids and templates, JSON for bodies. All are Polars expressions.

Measured on 500,000 values, 2 cores: JSON of a text 30 ns, of a number 35 ns, of a time 80 ns; the same from
Python objects about 1,000 ns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import polars as pl

from backfill import api
from backfill.canonical import RFC3339, as_text, beyond_calendar, decoded, flat, instance, nested_json, number_text

__all__ = [
    "RFC3339",
    "Let",
    "as_json",
    "as_text",
    "beyond_calendar",
    "decoded",
    "faults",
    "flat",
    "instance",
    "json_members",
    "json_object",
    "json_pieces",
    "key_text",
    "number_text",
    "textless",
]

Let = Callable[[pl.Expr], pl.Expr]
"""Computes an expression in a column of its own, and names that: what is used twice is not computed twice."""

# All that Polars' encoder escapes, so that a text is the same whether or not its chunk goes through it.
ESCAPED = ['"', "\\", *map(chr, range(0x20))]


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
    text = let(nested_json(value, dtype))
    return [_where(text, before), text]


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


def faults(value: pl.Expr, dtype: pl.DataType) -> list[tuple[str, pl.Expr]]:
    """What JSON can't hold of a value, nested ones too, as (problem code, where it applies) pairs."""
    large = _anywhere(value, dtype, _too_large)
    return textless(value, dtype) + ([] if large is None else [("integer_too_large", large)])


def textless(value: pl.Expr, dtype: pl.DataType) -> list[tuple[str, pl.Expr]]:
    """What has no text of a value, nested ones too: NaN, infinity, times beyond the calendar. As `faults` has it."""
    pairs = [("not_a_number", _not_finite), ("time_out_of_range", beyond_calendar)]
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
