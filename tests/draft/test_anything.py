"""Whatever an export holds: its draft is a mapping, says nothing of its customers, and is taken by `check`."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import polars as pl
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.draft.support import Shelf

HINTS = [
    "id", "order_id", "Order ID", "email", "E-Mail", "phone", "Telefon", "name", "first_name", "created_at", "date", "ts", "total",
    "price", "currency", "country", "zip", "city", "state", "lat", "status", "event", "note", "test", "password", "qty", "items",
    "customer_id", "customer.email", "updated", "Name", "Lineitem name", "timezone", "is_active", "$extra", "sql", "column", "a.b",
]  # fmt: skip
ODD = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12).filter(lambda text: "@" not in text)
NAMES = st.lists(st.one_of(st.sampled_from(HINTS), ODD), min_size=1, max_size=8)
EMAILS = st.from_regex(r"\A[a-z]{5,9}@example\.com\Z")
PHONES = st.sampled_from(["(212) 555-0101", "+12125550147", "2125550199", "0171 5550123", "+49 171 5550123", "5550188"])
KINDS = [
    EMAILS, PHONES, st.integers(-5, 10**17).map(str), st.floats(allow_nan=False).map(str), st.sampled_from(["1.234,50", "12,5", "-", "N/A"]),
    st.sampled_from(["01/02/2024", "31/12/2023", "12/31/2023"]), st.dates().map(str), st.datetimes().map(str), st.sampled_from(["yes", "no"]),
    st.sampled_from(["1709284500", "1709284500123", "20240131"]), st.sampled_from(["$5", "€ 7", "8 EUR", "USD"]), st.sampled_from(["DE", "Germany"]),
    st.text(max_size=20), st.sampled_from(["{}", '[{"a": 1}]', "{{x}}", "#1001", "{a"]), st.just(""), st.sampled_from(["a", "b"]),
]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    names = draw(NAMES)
    kinds = [draw(st.sampled_from(KINDS)) for _ in names]
    height = draw(st.integers(0, 12))
    return names, [[draw(kind) for kind in kinds] for _ in range(height)]


def secrets(rows: list[list[str]]) -> set[str]:
    cells = {cell.strip() for row in rows for cell in row}
    return {
        cell for cell in cells if "@example.com" in cell or (sum(c.isdigit() for c in cell) >= 7 and cell in _PHONES)
    }


_PHONES = {"(212) 555-0101", "+12125550147", "2125550199", "0171 5550123", "+49 171 5550123", "5550188"}


@settings(max_examples=20)
@given(tables(), st.sampled_from([",", ";", "\t"]), st.sampled_from(["orders.csv", "data.csv", "newsletter.csv"]))
@example((["email"], [["a@example.com"]]), ",", "data.csv")
def test_any_csv(table, separator, file):
    names, rows = table
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([names, *rows])
    with tempfile.TemporaryDirectory() as folder:
        judge(Shelf(Path(folder)), file, text.getvalue().encode("utf-8", "replace"), secrets(rows))


@settings(max_examples=10)
@given(tables(), st.data())
def test_any_parquet(table, data):
    names, rows = table
    columns = {}
    for at, name in enumerate(dict.fromkeys(names)):
        cells = [row[at] or None for row in rows]
        as_type = data.draw(st.sampled_from([pl.String, pl.Int64, pl.Float64, pl.Categorical, pl.Boolean]))
        series = pl.Series(cells, dtype=pl.String)
        if as_type in (pl.String, pl.Categorical):
            columns[name] = series.cast(as_type)
        elif as_type == pl.Boolean:
            columns[name] = series == "yes"
        else:
            columns[name] = series.cast(as_type, strict=False)
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    with tempfile.TemporaryDirectory() as folder:
        judge(Shelf(Path(folder)), "orders.parquet", buffer.getvalue(), secrets(rows))


def judge(shelf: Shelf, file: str, content: bytes, private: set[str]) -> None:
    from backfill.errors import ExportError

    try:
        drafted = shelf.draft(file, content)
    except ExportError:
        return
    yaml.compose(drafted.text, Loader=yaml.SafeLoader)
    for line, words in drafted.todos:
        assert words[:20] in drafted.text.splitlines()[line - 1]
    for secret in private:
        assert secret not in drafted.text
        assert all(secret not in line for line in drafted.checked)
    shelf.check(drafted)
    looked = shelf.look(file)
    for question in looked.questions:
        other = [choice for choice in question.choices if choice != question.default]
        shelf.check(looked.draft({question.key: other[0] if other else question.default}))
