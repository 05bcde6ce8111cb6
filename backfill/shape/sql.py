"""SQL in a mapping over columns that are texts: `discount > 0` means the number in the text.

A CSV has only texts, and Polars refuses to compare or add them to numbers. So a text column that stands where
SQL wants a number is read as one, by the same rules as any other number of the mapping; a text that is none
rejects its row instead of becoming null without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from backfill.shape.columns import Columns

__all__ = ["NUMBER_PREFIX", "Sql", "SqlError", "read_sql"]

NUMBER_PREFIX = ":number:"
# The functions of sqlglot's tree whose arguments are numbers, whatever else they are called in.
NUMERIC_FUNCTIONS = frozenset(
    """
    Sum Avg Abs Round Floor Ceil Sqrt Cbrt Median Stddev StddevSamp StddevPop Variance Sign Ln Log Exp Pow Mod Trunc
    Quantile PercentileCont PercentileDisc
    """.split()  # noqa: SIM905  a list of words reads better
)
NUMERIC_RESULTS = NUMERIC_FUNCTIONS | {"Count", "Length", "StrPosition", "Year", "Month", "Day", "Extract"}
# What has the type of its arguments: whether numbers are wanted, the outside says.
TRANSPARENT = frozenset(
    """
    Paren Min Max Coalesce Case If Greatest Least First Last FirstValue LastValue Filter Nullif Distinct
    """.split()  # noqa: SIM905  a list of words reads better
)
ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "IntDiv", "Mod", "Neg"})
COMPARISONS = frozenset({"EQ", "NEQ", "GT", "GTE", "LT", "LTE", "NullSafeEQ", "NullSafeNEQ"})
CASTS = frozenset({"Cast", "TryCast"})
NUMERIC_TYPES = frozenset({"INT", "BIGINT", "SMALLINT", "TINYINT", "FLOAT", "DOUBLE", "DECIMAL"})


class SqlError(ValueError):
    """Polars refuses the SQL over these columns; the message is its first line."""


@dataclass(frozen=True, slots=True)
class Sql:
    """`text` as Polars takes it; `numbers` are the text columns that it reads as NUMBER_PREFIX columns."""

    text: str
    numbers: tuple[str, ...]
    aggregate: bool

    def expression(self) -> pl.Expr:
        return pl.sql_expr(self.text)


def read_sql(text: str, columns: Columns, *, wants_number: bool) -> Sql:
    """Rewrite `text` so that text columns are numbers where numbers are wanted (`wants_number`: by its
    field).
    """
    tree = _parse(text)
    cuts: list[tuple[int, int, str]] = []
    for column in tree.find_all(_exp().Column):
        name = ".".join(part.name for part in column.parts)
        known = columns.schema.get(name)
        if known == pl.String and _numeric(column, wants_number, columns):
            start, end = column.parts[0].meta["start"], column.parts[-1].meta["end"]
            cuts.append((start, end + 1, name))
    names = tuple(dict.fromkeys(name for _, _, name in cuts))
    for start, end, name in sorted(cuts, reverse=True):
        quoted = (NUMBER_PREFIX + name).replace('"', '""')
        text = f'{text[:start]}"{quoted}"{text[end:]}'
    return Sql(text, names, any(True for _ in _aggregates(tree)))


def type_of(sql: Sql, columns: Columns) -> pl.DataType:
    """The type that the SQL gives, by trying it on no rows. Raises SqlError."""
    schema = {**columns.schema, **{NUMBER_PREFIX + name: pl.Float64() for name in sql.numbers}}
    try:
        return pl.DataFrame(schema=schema).select(sql.expression()).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise SqlError(str(error).strip().splitlines()[0]) from error


def _exp() -> Any:
    from sqlglot import exp

    return exp


def _parse(text: str) -> Any:
    import sqlglot
    import sqlglot.errors

    try:
        return sqlglot.parse_one(text)
    except sqlglot.errors.ParseError:
        return sqlglot.parse_one(text, dialect="postgres")


def _aggregates(tree: Any) -> Iterator[Any]:
    return tree.find_all(_exp().AggFunc)  # type: ignore[no-any-return]  # sqlglot's tree is untyped here


def _kind(node: Any) -> str:
    return type(node).__name__


def _numeric(node: Any, outermost: bool, columns: Columns) -> bool:
    """Whether what stands at this node is wanted as a number."""
    parent = node.parent
    if parent is None:
        return outermost
    kind = _kind(parent)
    if kind in ARITHMETIC or kind in NUMERIC_FUNCTIONS:
        return kind not in ("Round", "Log", "Quantile") or parent.this is node or kind == "Log"
    if kind in COMPARISONS:
        other = parent.expression if parent.this is node else parent.this
        return _is_number(other, columns)
    if kind == "Between":
        return any(
            _is_number(parent.args[key], columns) for key in ("low", "high", "this") if parent.args[key] is not node
        )
    if kind == "In":
        return any(_is_number(item, columns) for item in parent.expressions)
    if kind in TRANSPARENT and not (kind in ("Case", "If") and node.arg_key == "this" and kind == "If"):
        return _numeric(parent, outermost, columns)
    return False


def _is_number(node: Any, columns: Columns) -> bool:
    kind = _kind(node)
    if kind == "Literal":
        return not node.is_string
    if kind == "Column":
        dtype = columns.schema.get(node.name)
        return dtype is not None and dtype.is_numeric()
    if kind in CASTS:
        return _kind_of_type(node) in NUMERIC_TYPES
    if kind in TRANSPARENT:
        return any(_is_number(child, columns) for child in node.iter_expressions())
    return kind in ARITHMETIC or kind in NUMERIC_RESULTS


def _kind_of_type(node: Any) -> str:
    return str(getattr(node.to.this, "name", node.to.this))
