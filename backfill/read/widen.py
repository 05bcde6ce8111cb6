"""One type for a column that two files, or two lines of JSON, give different types."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

__all__ = ["EXACT_FLOAT", "exact_float", "merge", "no_nulls"]

DECIMAL_DIGITS = 38
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
        return pl.List(no_nulls(_instance(dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: no_nulls(_instance(field.dtype)) for field in dtype.fields})
    return dtype


def exact_float(integers: pl.Series) -> bool:
    """Whether integers survive as Float64."""
    return not ((integers > EXACT_FLOAT) | (integers < -EXACT_FLOAT)).any()


def _wider(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    if right in (left, pl.Null):
        return left
    if left == pl.Null:
        return right
    if isinstance(left, pl.Struct) and isinstance(right, pl.Struct):
        return pl.Struct(merge(_fields(left), _fields(right)))
    if isinstance(left, pl.List) and isinstance(right, pl.List):
        return pl.List(_wider(_instance(left.inner), _instance(right.inner)))
    if left.is_numeric() and right.is_numeric():
        return _wider_number(left, right)
    if isinstance(left, pl.Datetime | pl.Date) and isinstance(right, pl.Datetime | pl.Date):
        return _wider_time(left, right)
    return pl.String()


def _wider_number(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    if left.is_integer() and right.is_integer():
        wide = pl.Int128 in (left, right) or pl.UInt64 in (left, right)
        return pl.Int128() if wide else pl.Int64()
    if isinstance(left, pl.Decimal) and isinstance(right, pl.Decimal):
        return pl.Decimal(DECIMAL_DIGITS, max(left.scale, right.scale))
    return pl.Float64()


def _wider_time(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    times = [dtype for dtype in (left, right) if isinstance(dtype, pl.Datetime)]
    zones = {dtype.time_zone for dtype in times}
    if len(zones) > 1 or (len(times) == 1 and zones != {None}):
        return pl.String()
    unit = max((dtype.time_unit for dtype in times), key=UNITS.index)
    return pl.Datetime(unit, zones.pop())


def _fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {field.name: _instance(field.dtype) for field in dtype.fields}


def _instance(dtype: object) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]  # a type's class
