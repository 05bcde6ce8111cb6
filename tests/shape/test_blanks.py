"""Values that are absent, though a cell is there: blanks, and invalid values that are left out."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.shape.support import data, field_of, make

CELLS = ["  ", "", None]


@pytest.mark.parametrize(
    ("kind", "cell", "value", "default"),
    [
        ("number", "5", 5, 7),
        ("integer", "5", 5, 7),
        ("boolean", "yes", True, False),
        ("date", "2024-01-02", "2024-01-02", "2020-01-01"),
        ("datetime", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00Z", "2020-01-01T00:00:00Z"),
    ],
)
def test_a_blank_is_absent_where_no_text_is_wanted(kind: str, cell: str, value: Any, default: Any) -> None:
    columns = {"a": [cell, *CELLS]}
    assert data({"column": "a", "type": kind, "required": True}, columns) == [value, *["!missing"] * 3]
    assert data({"column": "a", "type": kind, "default": default}, columns) == [value, *[default] * 3]


@pytest.mark.parametrize(
    ("name", "cell"),
    [("value", 5), ("valueCurrency", "USD"), ("customer.email", "a@b.de"), ("customer.location.countryCode", "DE")],
)
def test_a_blank_is_absent_in_a_field_that_the_api_types(name: str, cell: Any) -> None:
    columns = {"a": [str(cell), *CELLS]}
    parts = {"customer.email": field_of_two}.get(name, field_of)
    assert parts(name, {"column": "a", "required": True}, columns) == [cell, *["!missing"] * 3]
    assert parts(name, {"column": "a", "default": cell}, columns) == [cell] * 4


def field_of_two(name: str, value: Any, columns: dict[str, Any]) -> list[Any]:
    """An email beside a phone, so that an absent one costs no event."""
    made = make({"customer": {"email": value, "phoneNumber": "+14155552671"}}, columns)
    found = dict(zip(made.rows, (body["customer"].get("email") for body in made.bodies), strict=True))
    found |= {bad.row: f"!{bad.problem}" for bad in made.invalid}
    return [found[row] for row in sorted(found)]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Binary])
def test_a_blank_is_absent_in_other_types_of_text(dtype: Any) -> None:
    columns = {"a": pl.Series(["5", *CELLS]).cast(dtype)}
    assert data({"column": "a", "type": "number", "default": 7}, columns) == [5, 7, 7, 7]
    assert data({"column": "a", "default": "x"}, columns) == ["5", "  ", "x", "x"]
    assert data({"column": "a", "required": True}, columns) == ["5", "  ", "!missing", "!missing"]


def test_a_blank_is_a_text() -> None:
    assert data({"column": "a", "required": True}, {"a": ["  ", ""]}) == ["  ", "!missing"]
    assert data({"column": "a", "type": "string", "default": "x"}, {"a": ["  ", ""]}) == ["  ", "x"]
    assert field_of("customer.firstName", {"column": "a", "default": "x"}, {"a": ["  ", ""]}) == ["  ", "x"]


def test_a_value_that_was_left_out_is_missing_when_required() -> None:
    email = {"column": "a", "required": True}
    assert field_of_two("customer.email", email, {"a": ["a@b.de", "x", " "]}) == ["a@b.de", "!missing", "!missing"]
    number = {"column": "a", "type": "number", "on_invalid": "omit", "required": True}
    assert data(number, {"a": ["5", "x"]}) == [5, "!missing"]


def test_a_wrong_value_is_not_called_missing() -> None:
    assert data({"column": "a", "type": "number", "required": True}, {"a": ["5", "x"]}) == [5, "!not_a_number"]


def test_a_default_that_is_absent_too_is_missing() -> None:
    value = {"column": "a", "type": "number", "default": "{b}", "required": True}
    assert data(value, {"a": [" ", " ", "1"], "b": ["2", " ", None]}) == [2, "!missing", 1]
