"""SQL in a mapping: one row-wise expression (or, under group_by, an aggregate), of safe functions.

sqlglot reads the text, because it says where a mistake is; the lists below say what may stand in it, because
Polars' SQL could also read files and make subqueries; Polars has the last word on what is left. Both are
imported only when a mapping has SQL.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from backfill.mapping.words import suggest

__all__ = ["AGGREGATES", "FUNCTIONS", "Sql", "SqlColumn", "SqlMistake", "read_sql"]

CHARACTERS = 10_000
DEPTH = 100

# What pl.sql_expr of Polars 2.1 takes; a test holds this list to the Polars that is installed. Left out on
# purpose: what differs from run to run (NOW, CURRENT_DATE, RANDOM), what makes rows (UNNEST,
# GENERATE_SERIES), what needs an order of rows (ROW_NUMBER, LAG), and all that reads (READ_CSV, READ_PARQUET,
# ...).
FUNCTIONS = frozenset(
    """
    ABS ACOS ACOSD ARRAY_CONTAINS ARRAY_GET ARRAY_LENGTH ARRAY_LOWER ARRAY_MEAN ARRAY_REVERSE ARRAY_SUM
    ARRAY_TO_STRING ARRAY_UNIQUE ARRAY_UPPER ASIN ASIND ATAN ATAN2 ATAN2D ATAND BIT_AND BIT_COUNT
    BIT_LENGTH BIT_NOT BIT_OR BIT_XOR CAST CBRT CEIL CEILING CHARACTER_LENGTH CHAR_LENGTH COALESCE CONCAT
    CONCAT_WS COS COSD COT COTD DATE DATE_PART DATE_TRUNC DAY DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES DIV
    ENDS_WITH EXP EXTRACT FLOOR GREATEST HOUR IF IFNULL INITCAP LEAST LEFT LENGTH LN LOG LOG10 LOG1P LOG2
    LOWER LPAD LTRIM MINUTE MOD MONTH NULLIF OCTET_LENGTH PI POSITION POW POWER QUARTER RADIANS
    REGEXP_LIKE REGEXP_REPLACE REPLACE REVERSE RIGHT ROUND RPAD RTRIM SECOND SIGN SIN SIND SPLIT_PART SQRT
    STARTS_WITH STRFTIME STRING_TO_ARRAY STRPOS STRPTIME SUBSTR SUBSTRING TAN TAND TIMESTAMP TRIM TRUNC
    TRUNCATE TRY_CAST UPPER WEEK YEAR
    """.split()  # noqa: SIM905  a list of words reads better
)
AGGREGATES = frozenset(
    """
    ARRAY_AGG AVG CORR COUNT COVAR COVAR_POP COVAR_SAMP FIRST FIRST_VALUE GROUP_CONCAT LAST LAST_VALUE
    LISTAGG MAX MEDIAN MIN QUANTILE_CONT QUANTILE_DISC STDDEV STDDEV_SAMP STDEV STDEV_SAMP STRING_AGG SUM
    VAR VARIANCE VAR_SAMP
    """.split()  # noqa: SIM905  a list of words reads better
)
# What differs from run to run, and needs no parentheses.
_VOLATILE = frozenset({"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"})
_VOLATILE_CALLS = frozenset({"NOW", "RANDOM", "RAND", "UUID", "GEN_RANDOM_UUID"})
# Words that a parenthesis may follow without being functions.
_WORDS = frozenset(
    """
    AND OR NOT IN IS LIKE ILIKE RLIKE REGEXP BETWEEN CASE WHEN THEN ELSE ANY ALL ARRAY DISTINCT INTERVAL
    FROM AS BY FILTER SELECT EXISTS OVER VALUES UNION DECIMAL NUMERIC VARCHAR CHAR FLOAT TIME DATETIME XOR
    FOR
    """.split()  # noqa: SIM905  a list of words reads better
)


@dataclass(frozen=True, slots=True)
class SqlMistake:
    """What is wrong, and at which character of the text (from 0), where that is known."""

    message: str
    hint: str = ""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column that SQL refers to; `nested` when it is a field of one, as in `a.b`."""

    name: str
    offset: int | None
    nested: bool = False


@dataclass(slots=True)
class Sql:
    """What a text comes to; `aggregate` is the offset of the first aggregate in it."""

    mistakes: list[SqlMistake] = field(default_factory=list)
    columns: list[SqlColumn] = field(default_factory=list)
    aggregate: int | None = None


def read_sql(text: str) -> Sql:
    """What the text refers to, and every reason why it is not one safe expression."""
    sql = Sql()
    if not text.strip():
        sql.mistakes.append(SqlMistake("this SQL is empty"))
    elif len(text) > CHARACTERS:
        sql.mistakes.append(SqlMistake(f"this SQL has more than {CHARACTERS:,} characters"))
    else:
        sql.mistakes.extend(_check(text, sql))
        if not sql.mistakes:
            sql.mistakes.extend(_ask_polars(text))
    return sql


def _check(text: str, sql: Sql) -> Iterator[SqlMistake]:
    import sqlglot.errors

    try:
        tokens = sqlglot.tokenize(text)
    except sqlglot.errors.TokenError:
        yield SqlMistake("this SQL has a quote that is never closed", "double a quote that is part of a text")
        return
    refused = list(_calls(tokens, text, sql))
    yield from refused
    tree = _parse(text)
    if isinstance(tree, SqlMistake):
        if not refused:
            yield tree
        return
    yield from _kinds(tree, bool(refused))
    sql.columns.extend(sorted(_columns(tree), key=lambda column: column.offset or 0))


def _calls(tokens: list[Any], text: str, sql: Sql) -> Iterator[SqlMistake]:
    """The functions by their written names: sqlglot's own names for them differ."""
    for token in tokens:
        if token.text.upper() in _VOLATILE and text[token.start : token.end + 1] == token.text:
            hint = f'a column of that name is written "{token.text}", in double quotes'
            yield SqlMistake(f"{token.text.upper()} differs from run to run", hint, token.start)
    for token, following in pairwise(tokens):
        quoted = text[token.start] == '"'
        if following.token_type.name != "L_PAREN" or not (quoted or re.fullmatch(r"\w+", token.text)):
            continue
        if token.token_type.name in ("STRING", "NUMBER"):
            continue
        if quoted:
            yield SqlMistake("a function's name has no quotes", "", token.start)
            continue
        name = token.text.upper()
        if name in AGGREGATES:
            sql.aggregate = token.start if sql.aggregate is None else sql.aggregate
        elif name in _VOLATILE_CALLS:
            yield SqlMistake(f"{name} differs from run to run", "events have to come out the same", token.start)
        elif name not in FUNCTIONS | _WORDS | _VOLATILE:
            message = f"the function {name} is not among those that a mapping's SQL may use"
            yield SqlMistake(message, suggest(name, sorted(FUNCTIONS | AGGREGATES)), token.start)


def _parse(text: str) -> Any:
    """The expression, or the mistake; `~` is known to the postgres dialect only."""
    import sqlglot
    import sqlglot.errors

    # It warns of statements that it does not read, with their text as it is.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    first: SqlMistake | None = None
    for dialect in (None, "postgres"):
        try:
            return sqlglot.parse_one(text, dialect=dialect)
        except sqlglot.errors.ParseError as error:
            first = first or _parse_mistake(text, error)
        except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
            first = first or SqlMistake("this SQL can't be read")
    return first


def _parse_mistake(text: str, error: Any) -> SqlMistake:
    details = error.errors[0] if error.errors else {}
    word = str(details.get("highlight") or "")
    lines = text.splitlines(keepends=True)
    line, column = details.get("line") or 1, details.get("col") or 0
    offset = sum(map(len, lines[: line - 1])) + column - len(word)
    known = bool(word) and text[offset : offset + len(word)] == word
    if word.upper() in ("FROM", "WHERE", "GROUP", "ORDER", "LIMIT", "UNION", "JOIN"):
        return SqlMistake(*_NOT_ONE, offset if known else None)
    where = f' at "{word}"' if known else ""
    return SqlMistake(
        f"this SQL does not parse{where}",
        "a text goes in '…', a column with spaces in \"…\"",
        offset if known else None,
    )


_NOT_ONE = (
    "SQL here is one expression over the row's columns",
    "leave out SELECT, FROM and all that follows them",
)


def _kinds(tree: Any, silent: bool) -> Iterator[SqlMistake]:
    from sqlglot import exp

    allowed = (
        exp.Func, exp.Binary, exp.Unary, exp.Predicate, exp.Column, exp.Identifier, exp.Literal, exp.Boolean,
        exp.Null, exp.In, exp.Between, exp.Case, exp.If, exp.DataType, exp.DataTypeParam, exp.Interval,
        exp.Var, exp.Tuple,
        exp.Bracket, exp.Distinct, exp.Star, exp.Order, exp.Ordered, exp.Filter, exp.Where, exp.IntervalSpan,
    )  # fmt: skip
    depths = {id(tree): 0}
    for node in tree.walk():
        depth = depths.get(id(node.parent), 0) + 1
        depths[id(node)] = depth
        if depth > DEPTH:
            yield SqlMistake(f"this SQL is nested more than {DEPTH} deep")
            return
        if isinstance(node, exp.Window | exp.WindowSpec):
            yield SqlMistake("OVER (...) is not read", "rows are mapped one by one; use group_by for what spans rows")
            return
        if isinstance(node, exp.Alias):
            yield SqlMistake("SQL here is one expression, without AS", "the key in the mapping is its name")
            return
        query = isinstance(node, exp.Query | exp.Table | exp.Subquery | exp.Exists)
        if (
            query
            or not isinstance(node, allowed)
            or (isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count))
        ):
            if not silent:
                yield SqlMistake(*_NOT_ONE)
            return


def _columns(tree: Any) -> Iterator[SqlColumn]:
    from sqlglot import exp

    for column in tree.find_all(exp.Column):
        parts = [part for part in column.parts if isinstance(part, exp.Identifier)]
        if parts:
            name = ".".join(part.name for part in parts)
            yield SqlColumn(name, parts[0].meta.get("start"), len(parts) > 1)


def _ask_polars(text: str) -> Iterator[SqlMistake]:
    import polars as pl

    try:
        pl.sql_expr(text)
    except UnicodeError:
        yield SqlMistake("this SQL has characters that are no text")
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split())
        yield SqlMistake(f"Polars does not take this SQL: {said[:200]}")
    except BaseException as error:  # a Rust panic is no Exception
        if type(error).__name__ != "PanicException":
            raise
        yield SqlMistake("Polars does not take this SQL", "does each function have its arguments?")
