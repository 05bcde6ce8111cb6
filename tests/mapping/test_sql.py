"""What SQL a mapping may hold, and that nothing in it can read, write or run."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.mapping import parse
from backfill.mapping.sql import AGGREGATES, FUNCTIONS, SqlColumn, read_sql

Said = Callable[..., list[str]]

RIGHT = [
    "a", "a > 0", "a.b > 3", '"Two Words" = 1', "a || '-' || b", "a::int", "CAST(a AS DECIMAL(10,2))",
    "TRY_CAST(a AS DOUBLE)", "a IN (1, 2)", "a NOT IN ('x')", "a IS NULL", "a IS NOT NULL AND NOT b",
    "a BETWEEN 1 AND 2", "a LIKE '%x%'", "a ILIKE 'x'", "a ~ 'x+'", "CASE WHEN a = 'x' THEN 1 ELSE 0 END",
    "CASE a WHEN 1 THEN 'x' END", "COALESCE(a, b, 'c')", "NULLIF(a, '')", "EXTRACT(year FROM a)", "TRIM(a)",
    "SUBSTRING(a FROM 2)", "LEFT(a, 3)", "a + INTERVAL '1 day'", "DATE '2024-01-01'", "ROUND(a * 1.2, 2)", "-a % 7",
    "STRPTIME(a, '%Y')", "a = ''", "'it''s'", "a -- why", "a IS DISTINCT FROM b", '"now" > 1', '"current_date" > 1',
    "IF(a > 1, 'x', 'y')", "(a AND b) OR c", "a\n  > 1",
]  # fmt: skip

HOSTILE = [
    "read_csv('/etc/passwd')", "READ_PARQUET('x')", "read_ipc('x')", "read_json('x')", "scan_csv('x')",
    "(SELECT 1)", "SELECT a", "SELECT * FROM read_csv('/etc/passwd')", "a FROM b", "a IN (SELECT b FROM c)",
    "EXISTS (SELECT 1)", "a = ANY(SELECT 1)", "a; DROP TABLE b", "a; b", "DROP TABLE a", "CREATE TABLE a AS SELECT 1",
    "DELETE FROM a", "INSERT INTO a VALUES (1)", "UPDATE a SET b = 1", "TRUNCATE TABLE a", "COPY a TO 'b'",
    "ATTACH 'a'", "EXPLAIN SELECT 1", "a UNION SELECT b", "a LIMIT 1", "a WHERE b", "WITH x AS (SELECT 1) SELECT 1",
    "VALUES (1)", "TABLE a", "a AS b", "a, b", "*", "a.*", "COLUMNS('x')", "SUM(a) OVER (PARTITION BY b)",
    "ROW_NUMBER()", "LAG(a)", "NOW()", "now()", "CURRENT_DATE", "current_timestamp", "LOCALTIME", "RANDOM()", "UNNEST(a)",
    "GENERATE_SERIES(1, 1000000000)", "eval('x')", "system('x')", "load_extension('x')", "getenv('HOME')", "a(b)",
    '"read_csv"(\'x\')', "read_csv ('x')", '"upper"(a)', '"Two Words"(a)', "pg_catalog.read_csv('x')", "read_csv/**/('x')", "$1", ":a", "?", "{a}", "@a", "a +", "a = 'x", "(a", "",
    " ", "-- a", "SUBSTR(a)", "CONCAT()", "CONCAT_WS()", "COALESCE()", "a" + " + a" * 3000, "(" * 500 + "a" + ")" * 500,
    "NOT " * 200 + "a", "CASE WHEN a THEN " * 60 + "a" + " END" * 60, "x" * 20_000, "\x00", "a\x00b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_right(text: str) -> None:
    sql = read_sql(text)
    assert sql.mistakes == []
    assert sql.aggregate is None
    pl.sql_expr(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_refused(text: str) -> None:
    mistakes = read_sql(text).mistakes
    assert mistakes
    assert all(mistake.message and "Traceback" not in mistake.message for mistake in mistakes)
    assert all(mistake.offset is None or 0 <= mistake.offset <= len(text) for mistake in mistakes)


@pytest.mark.parametrize("text", ["SUM(a)", "COUNT(*)", "COUNT(DISTINCT a)", "max(a) - MIN(b)", "STRING_AGG(a, ', ')"])
def test_aggregates(text: str) -> None:
    sql = read_sql(text)
    assert sql.mistakes == []
    assert sql.aggregate == 0


@pytest.mark.parametrize("name", sorted(FUNCTIONS | AGGREGATES))
def test_polars_knows_every_function(name: str) -> None:
    """Only the arguments may be wrong: a function that Polars dropped would be offered to users in vain."""
    special = {"CAST": "a AS INT", "TRY_CAST": "a AS INT", "POSITION": "'x' IN a", "EXTRACT": "year FROM a"}
    said = ""
    try:
        pl.sql_expr(f"{name}({special.get(name, 'a, b')})")
    except pl.exceptions.PolarsError as error:
        said = str(error)
    assert "unsupported function" not in said


def test_columns_and_their_places() -> None:
    text = "COALESCE(a, w.x) > 1\n AND \"Two Words\" = 'b'"
    assert read_sql(text).columns == [
        SqlColumn("a", 9), SqlColumn("w.x", 12, nested=True), SqlColumn("Two Words", text.index('"Two')),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sql,message",
    [
        ("uper(a)", '6:22: the function UPER is not among those that a mapping\'s SQL may use; did you mean "UPPER"?'),
        ("a > 1 AND uper(a)", '6:32: the function UPER is not among those that a mapping\'s SQL may use; did you mean "UPPER"?'),
        ("a from b", "6:24: SQL here is one expression over the row's columns; leave out SELECT, FROM and all that follows them"),
        ("a + / b", '6:28: this SQL does not parse at "b"; a text goes in \'…\', a column with spaces in "…"'),
        ("a = 'x", "6:21: this SQL has a quote that is never closed; double a quote that is part of a text"),
        ("a AS b", "6:21: SQL here is one expression, without AS; the key in the mapping is its name"),
        ("SUM(a) OVER ()", "6:21: OVER (...) is not read; rows are mapped one by one; use group_by for what spans rows"),
        ("1 + SUM(a)", "6:26: an aggregate needs several rows; say which in source.group_by"),
        ("now ()", "6:22: NOW differs from run to run; events have to come out the same"),
        ("current_date", '6:22: CURRENT_DATE differs from run to run; a column of that name is written "current_date", in double quotes'),
    ],
)  # fmt: skip
def test_places(said: Said, sql: str, message: str) -> None:
    found = said(event=f'data: {{A: {{sql: "{sql}"}}}}')
    assert found[0] == message


def test_places_in_texts_over_several_lines(said: Said) -> None:
    [message] = said(event="data:\n  A:\n    sql: |\n      a > 1\n      AND uper(b)")
    assert message.startswith("8:14: the function UPER")


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(
    ["a", "b", "'x'", "1", "(", ")", ",", ".", "+", "-", "*", "/", "=", ">", "AND", "OR", "NOT", "IN", "CASE", "WHEN", "THEN", "END", "SUM(", "LENGTH(", "CAST(", "AS", "INT", "::", "[", "]", "||", "LIKE", "SELECT"]
), max_size=12).map(" ".join)))  # fmt: skip
def test_any_text_is_read_or_refused(text: str) -> None:
    sql = read_sql(text)
    if not sql.mistakes:
        pl.sql_expr(text)
    parse(f"events: [{{where: {text!r}}}]")
