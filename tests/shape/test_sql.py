"""SQL in a mapping: what it may do to a row, and to numbers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.shape.support import Made, data, field_of, make

CAST = {"data": {"x": {"sql": "CAST(c AS INT)"}}}


@pytest.mark.parametrize("source", [{}, {"group_by": ["id"]}])
def test_sql_that_fails_beside_a_where_that_needs_numbers(source: dict[str, Any]) -> None:
    made = make(CAST, {"id": ["1", "2"], "n": ["6", "7"], "c": ["x", "3"]}, where="n > 5", **source)
    assert (made.rows, made.problems) == ([2], ["sql_failed"])
    assert made.bodies[0]["data"] == {"x": 3}


LARGE = {"big": ["9007199254740993", "9007199254740992", "-9007199254740993", " 9007199254740993.0 ", "1.5", " "]}
TOO_LARGE = ["!integer_too_large", 2**53, "!integer_too_large", "!integer_too_large", 1.5, None]


def test_sql_changes_no_integer_without_a_word() -> None:
    assert data({"sql": "big + 0"}, LARGE) == TOO_LARGE
    assert field_of("value", {"sql": "big"}, LARGE) == TOO_LARGE
    whole = [*TOO_LARGE[:4], "!not_an_integer", None]
    assert data({"sql": "big", "type": "integer"}, LARGE) == whole


def test_where_rejects_an_integer_that_it_can_not_tell() -> None:
    made = make({}, {"n": ["9007199254740993", "5", "-9007199254740993", "x"]}, where="n > 5")
    assert (made.problems, made.filtered) == (["integer_too_large", "integer_too_large", "not_a_number"], 1)
    made = make({"where": "n > 5"}, {"n": ["9007199254740993", "5", "6"]})
    assert (made.problems, made.filtered, made.rows) == (["integer_too_large"], 1, [3])


def test_an_aggregate_rejects_the_group_of_an_integer_that_it_can_not_tell() -> None:
    columns = {"id": ["1", "1", "2"], "n": ["1", "9007199254740993", "2"]}
    made = make({"value": {"sql": "SUM(n)"}}, columns, group_by=["id"])
    assert (made.rows, made.problems) == ([3], ["integer_too_large"])


def told(made: Made) -> list[tuple[str, int, int]]:
    found = [(one.field, one.count, one.row) for one in made.notices if one.code == "where_unknown"]
    return sorted(found, key=lambda one: one[2])


def test_a_condition_that_is_null_is_told_with_the_columns_that_are_empty() -> None:
    columns = {"n": ["5", None, "9", None, "x"], "s": ["a", "b", None, None, "b"]}
    made = make({}, columns, where="s <> 'a' AND n > 6")
    assert (made.filtered, made.problems) == (4, ["not_a_number"])
    assert told(made) == [
        ('source.where (where "n" is empty)', 1, 2),
        ('source.where (where "s" is empty)', 1, 3),
        ('source.where (where "n", "s" are empty)', 1, 4),
    ]
    assert told(make({}, columns, where="s IS NOT NULL AND COALESCE(n, '') <> ''")) == []
    assert told(make({"where": "s <> 'a'"}, columns)) == [('events[0].where (where "s" is empty)', 2, 3)]


def test_a_condition_over_a_group_that_is_null_is_told() -> None:
    made = make({"where": "MAX(n) > 6"}, {"n": ["7", None, None], "g": ["1", "1", "2"]}, group_by=["g"])
    assert (made.filtered, told(made)) == (1, [("events[0].where", 1, 3)])
