"""Expressions in layers: what others build on is computed once, in a column of its own, and only where it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import polars as pl

__all__ = ["Layers", "roots"]

Make = Callable[[pl.DataFrame], pl.Expr]


@dataclass(frozen=True, slots=True)
class _Column:
    """`make` gives a column's expression when the columns `after` are in the frame."""

    after: frozenset[str]
    make: Make


@dataclass(frozen=True, slots=True)
class _Choice:
    """Of two ways to make a column, `quick` where the Boolean `fits` holds for the chunk; it reads the columns
    `after`.
    """

    after: frozenset[str]
    fits: pl.Expr
    quick: _Column
    full: _Column


@dataclass
class Layers:
    """Columns that are computed one layer after the other; each of a layer's columns beside the others, in
    parallel.

    Polars would find common parts by itself, but for Python functions and across `when` branches it does not. Once
    built it does not change: threads may share it.
    """

    name: str = ""
    _columns: dict[str, _Column | _Choice] = field(default_factory=dict)

    def let(self, expression: pl.Expr) -> pl.Expr:
        """Compute the expression in its own column; what is given back names that column."""
        return expression if expression.meta.is_column() else self._add(_column(expression))

    def either(self, fits: pl.Expr, quick: pl.Expr, full: pl.Expr) -> pl.Expr:
        """The column `quick` where `fits`, one Boolean for the whole chunk, is true; else the column `full`.

        What only the other one needs is not computed: most chunks have nothing that needs care.
        """
        return self._add(_Choice(roots([fits]), fits, _column(quick), _column(full)))

    def late(self, after: Iterable[str], make: Make) -> pl.Expr:
        """A column whose expression depends on what is in the columns `after`."""
        return self._add(_Column(frozenset(after), make))

    def apply(self, frame: pl.DataFrame, wanted: Iterable[str]) -> pl.DataFrame:
        """The frame with those of the `wanted` columns that are made here, and the ones that they build on."""
        names = [name for name in wanted if name in self._columns]
        chosen: dict[str, _Column] = {}
        while True:
            ready, asked = self._next(names, frame, chosen)
            if asked:
                fits = frame.select(choice.fits.alias(name) for name, choice in asked.items()).row(0)
                for (name, choice), one in zip(asked.items(), fits, strict=True):
                    chosen[name] = choice.quick if one else choice.full
                ready, _ = self._next(names, frame, chosen)
            if ready:
                frame = frame.with_columns(column.make(frame).alias(name) for name, column in ready.items())
            elif not asked:
                return frame

    def roots(self) -> set[str]:
        """The columns that the layers read."""
        found: set[str] = set()
        for column in self._columns.values():
            found |= column.after
            if isinstance(column, _Choice):
                found |= column.quick.after | column.full.after
        return found

    def _add(self, column: _Column | _Choice) -> pl.Expr:
        name = f":{self.name}{len(self._columns)}"
        self._columns[name] = column
        return pl.col(name)

    def _next(
        self, names: list[str], frame: pl.DataFrame, chosen: dict[str, _Column]
    ) -> tuple[dict[str, _Column], dict[str, _Choice]]:
        """What can be computed now, and what has to be chosen now, on the way to some columns."""
        ready: dict[str, _Column] = {}
        asked: dict[str, _Choice] = {}
        have = set(frame.columns)
        todo = [name for name in names if name not in have]
        seen = set(todo)
        while todo:
            name = todo.pop()
            column = chosen.get(name) or self._columns[name]
            missing = column.after - have
            if missing:
                todo += missing - seen
                seen |= missing
            elif isinstance(column, _Choice):
                asked[name] = column
            else:
                ready[name] = column
        return ready, asked


def roots(expressions: Iterable[pl.Expr]) -> frozenset[str]:
    """The columns that some expressions read."""
    return frozenset(name for expression in expressions for name in expression.meta.root_names())


def _column(expression: pl.Expr) -> _Column:
    return _Column(roots([expression]), lambda _: expression)
