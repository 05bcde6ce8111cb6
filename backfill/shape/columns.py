"""Column references: a name, or `a.b` for the field b of the nested column a."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from backfill.shape.texts import instance

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns:
    """The columns of a frame, by name and type."""

    schema: Mapping[str, pl.DataType]

    def find(self, name: str) -> tuple[pl.Expr, pl.DataType] | None:
        """The expression of a reference and its type. A column whose own name has the dots comes first;
        None where there is none.
        """
        if name in self.schema:
            return pl.col(name), self.schema[name]
        parts = name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            head = ".".join(parts[:cut])
            if head in self.schema:
                return _reach(pl.col(head), self.schema[head], parts[cut:])
        return None

    def nested(self, name: str) -> bool:
        """Whether a dotted path resolves."""
        return self.find(name) is not None


def _reach(value: pl.Expr, dtype: pl.DataType, path: list[str]) -> tuple[pl.Expr, pl.DataType] | None:
    for cut in range(len(path), 0, -1):
        name = ".".join(path[:cut])
        fields = {f.name: instance(f.dtype) for f in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        if name in fields:
            value, dtype = value.struct.field(name), fields[name]
            return (value, dtype) if cut == len(path) else _reach(value, dtype, path[cut:])
    return None
