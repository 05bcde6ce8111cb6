"""rejected.csv: inert in a spreadsheet, and the original again when it comes back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backfill.read import REPORT_COLUMNS, escape
from backfill.read.repaired import plain, unescape
from tests.read.support import read_text

CELLS = st.text(alphabet="'=+-@\t\rab1 ", max_size=6) | st.text(max_size=8)


@given(CELLS)
@example("'=1")
@example("''")
@example("\t")
def test_escaped_and_back(cell: str) -> None:
    shown = escape(cell)
    assert shown[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert plain(shown) == cell
    assert unescape(pl.DataFrame({"a": [shown, None]})).rows() == [(cell,), (None,)]


def rejected(rows: list[list[str]], names: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*map(escape, names), *REPORT_COLUMNS])
    for at, row in enumerate(rows, 2):
        writer.writerow([*map(escape, row), "not_a_number", '"x" is no number', "orders.csv", at])
    return out.getvalue()


@given(st.lists(st.lists(CELLS.map(lambda cell: cell.replace("\r", "")), min_size=2, max_size=2), max_size=5))
def test_what_was_rejected_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    found = read_text(tmp_path_factory.mktemp("r"), rejected(rows, ["-id", "name"]), "rejected.csv")
    assert found.columns == ["-id", "name"]
    assert found.rows == [tuple(cell or None for cell in row) for row in rows]
    assert found.export.files[0].repaired


def test_the_mappings_own_csv_settings_are_not_its(tmp_path: Path) -> None:
    text = rejected([["1,5", "ü"], ["#2", "NULL"]], ["id", "name"])
    settings = {"separator": ";", "encoding": "cp1252", "skip_lines": 3, "comment": "#", "columns": ["a", "b"]}
    found = read_text(tmp_path, text, "rejected.csv", **settings, null_values=["NULL"])
    assert found.columns == ["id", "name"]
    assert found.rows == [("1,5", "ü"), ("#2", None)]


def test_it_may_come_back_through_a_spreadsheet(tmp_path: Path) -> None:
    text = rejected([["'=x", "-5"], ["1", "2"]], ["id", "name"])
    resaved = "\ufeff" + "\r\n".join(";".join(row) for row in csv.reader(io.StringIO(text))) + "\r\n"
    found = read_text(tmp_path, resaved, "rejected.csv")
    assert found.rows == [("'=x", "-5"), ("1", "2")]


def test_apostrophes_of_other_files_stay(tmp_path: Path) -> None:
    assert read_text(tmp_path, "id,name\n'=1,'-2\n").rows == [("'=1", "'-2")]


def test_beside_other_files(tmp_path: Path) -> None:
    (tmp_path / "rejected.csv").write_text(rejected([["=1", "x"]], ["id", "name"]))
    found = read_text(tmp_path, "id,name,problem\n2,y,z\n", "a.csv")
    assert found.columns == ["id", "name", "problem"]
