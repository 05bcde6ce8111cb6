"""Expressions in layers: what others build on is computed once, in a column of its own."""

from __future__ import annotations

import polars as pl

__all__ = ["Layers"]


class Layers:
    """Columns that are computed one layer after the other; each of a layer's columns beside the others, in
    parallel.

    Polars would find common parts by itself, but for Python functions and across `when` branches it does not.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._layers: list[list[pl.Expr]] = []
        self._depth: dict[str, int] = {}

    def let(self, expression: pl.Expr) -> pl.Expr:
        """Compute the expression in its own column; what is given back names that column."""
        depth = 1 + max((self._depth.get(name, -1) for name in expression.meta.root_names()), default=-1)
        name = f":{self._name}{len(self._depth)}"
        while len(self._layers) <= depth:
            self._layers.append([])
        self._layers[depth].append(expression.alias(name))
        self._depth[name] = depth
        return pl.col(name)

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with all columns of all layers."""
        for layer in self._layers:
            frame = frame.with_columns(layer)
        return frame

    def roots(self) -> set[str]:
        """The columns that the layers read."""
        return {name for layer in self._layers for expression in layer for name in expression.meta.root_names()}
