"""One type for a column that two files, or two lines of JSON, give different types."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from backfill.canonical import as_text, instance

__all__ = ["EXACT_FLOAT", "merge", "no_nulls", "widened"]

DECIMAL_DIGITS = 38
# What a 64-bit integer needs before a decimal's point.
INTEGER_DIGITS = 20
# Beyond this a Float64 no longer tells neighbouring integers apart.
EXACT_FLOAT = 2**53
UNITS = ("ms", "us", "ns")


def merge(left: Mapping[str, pl.DataType], right: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The columns of both, each with a type that holds what either has."""
    merged = dict(left)
    for name, dtype in right.items():
        merged[name] = _wider(merged[name], dtype) if name in merged else dtype
    return merged


def no_nulls(dtype: pl.DataType) -> pl.DataType:
    """The type with text for Null: JSON's nulls alone have no type, and text holds them as well as any."""
    if dtype == pl.Null:
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(no_nulls(instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: no_nulls(instance(field.dtype)) for field in dtype.fields})
    return dtype


def widened(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The column in the type that `merge` gave it: every value keeps its canonical text.

    Raises a PolarsError where that can't be.
    """
    # Under a name of ours: Polars takes one such as "*" or "^a$" for a pattern.
    found = column.alias("x").to_frame().select(_widened(pl.col("x"), column.dtype, dtype).alias("x"))
    return found.to_series().alias(column.name)


def _widened(value: pl.Expr, source: pl.DataType, target: pl.DataType) -> pl.Expr:
    if source == target:
        return value
    if target == pl.String:
        return as_text(value, source)
    if isinstance(source, pl.List) and isinstance(target, pl.List):
        return value.list.eval(_widened(pl.element(), instance(source.inner), instance(target.inner)))
    if isinstance(source, pl.Struct) and isinstance(target, pl.Struct):
        own = _fields(source)
        fields = [
            _widened(value.struct.field(name), own[name], dtype).alias(name)
            if name in own
            else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in _fields(target).items()
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    if target.is_float():
        if source.is_float():
            # 0.1 is another number in 32 bits than in 64, and the one that is meant is the one that is written.
            return value.cast(pl.String).cast(target)
        return value.map_batches(_exact_floats, return_dtype=target)
    return value.cast(target)


def _exact_floats(integers: pl.Series) -> pl.Series:
    if ((integers > EXACT_FLOAT) | (integers < -EXACT_FLOAT)).any():
        raise pl.exceptions.InvalidOperationError("an integer beyond 2^53 would lose digits")
    return integers.cast(pl.Float64)


def _wider(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    if right in (left, pl.Null):
        return left
    if left == pl.Null:
        return right
    if isinstance(left, pl.Struct) and isinstance(right, pl.Struct):
        return pl.Struct(merge(_fields(left), _fields(right)))
    if isinstance(left, pl.List) and isinstance(right, pl.List):
        return pl.List(_wider(instance(left.inner), instance(right.inner)))
    if left.is_numeric() and right.is_numeric():
        return _wider_number(left, right)
    if isinstance(left, pl.Datetime) and isinstance(right, pl.Datetime) and left.time_zone == right.time_zone:
        return pl.Datetime(max(left.time_unit, right.time_unit, key=UNITS.index), left.time_zone)
    return pl.String()


def _wider_number(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    if left.is_integer() and right.is_integer():
        wide = pl.Int128 in (left, right) or pl.UInt64 in (left, right)
        return pl.Int128() if wide else pl.Int64()
    if isinstance(left, pl.Decimal) and isinstance(right, pl.Decimal):
        return pl.Decimal(DECIMAL_DIGITS, max(left.scale, right.scale))
    decimals = [dtype for dtype in (left, right) if isinstance(dtype, pl.Decimal)]
    if not decimals:
        return pl.Float64()
    scale = decimals[0].scale
    if (left.is_integer() or right.is_integer()) and scale + INTEGER_DIGITS <= DECIMAL_DIGITS:
        return pl.Decimal(DECIMAL_DIGITS, scale)
    # A double has not the digits of a decimal, nor a decimal the range of a double.
    return pl.String()


def _fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {field.name: instance(field.dtype) for field in dtype.fields}
