"""Lists and structs: what they are in bodies and in ids, which hang on nothing but the row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.errors import MappingError
from tests.shape.support import data, event, extra, make, mapping


def plainly(value: Any) -> Any:
    """The definition in plain Python: without null keys, in order; None for an object with none left."""
    if isinstance(value, list):
        return [plainly(item) for item in value]
    if isinstance(value, dict):
        kept = {key: plainly(item) for key, item in sorted(value.items())}
        return {key: item for key, item in kept.items() if item is not None} or None
    return value


def of_type(dtype: int) -> st.SearchStrategy[Any]:
    """A value of one of some nested types, so that rows of one file fit each other."""
    number, text = st.none() | st.integers(-5, 5), st.none() | st.sampled_from(["", "x", 'say "hi"'])
    inner = st.fixed_dictionaries({}, optional={"B": number, "a": text, "é": number})
    kinds = [number, text, st.none() | inner, st.none() | st.lists(st.none() | inner, max_size=3)]
    return kinds[dtype]


OBJECTS = st.fixed_dictionaries({}, optional={"n": of_type(0), "t": of_type(1), "o": of_type(2), "l": of_type(3)})
PARTS: dict[str, Any] = {"uniqueId": {"hash": "*"}, "data": {"$extra": {"C": "{c}"}}}


def column(objects: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame({"id": ["x"] * len(objects), "c": pl.Series(objects, strict=False)})


@settings(max_examples=60)
@given(OBJECTS, st.lists(OBJECTS, max_size=3), st.booleans())
@example({"n": 1}, [{"n": 2, "o": {"a": "x"}}], False)
@example({"l": [{"a": "x"}, None, {"a": None}]}, [{"l": [{"B": 1}]}], True)
def test_what_only_other_rows_have_changes_neither_id_nor_body(
    one: dict[str, Any], others: list[dict[str, Any]], after: bool
) -> None:
    alone = make(PARTS, column([{"n": 1}, one]))
    rows = [{"n": 1}, one, *others] if after else [*reversed(others), {"n": 1}, one]
    together = make(PARTS, column(rows))
    at = 0 if after else len(others)
    assert together.texts[at : at + 2] == alone.texts
    assert alone.bodies[1].get("data", {}).get("$extra", {}).get("C") == plainly(one)


def test_golden_ids_of_nested_columns() -> None:
    """They may never change, as those of plain columns."""
    columns = pl.DataFrame({"id": ["1"], "c": [{"b": 1.0, "a": None, "B": [{"y": "é\n", "x": None}, {"x": None}]}]})
    text = '{"B":[{"y":"é\\n"},null],"b":1}'
    assert make({"uniqueId": "{c}"}, columns).ids == [text]
    # `printf '1:c%d:%s2:id1:1' 31 TEXT | sha256sum | cut -c1-32`
    assert make({"uniqueId": {"hash": "*"}}, columns).ids == ["0e485ae4967b9f0beaa5d83eccdd9492"]


def test_null_fields_are_left_out_at_every_depth() -> None:
    columns = pl.DataFrame(
        {"c": [{"a": 1, "b": {"d": None}}, {"a": None, "b": {"d": None}}, {"a": 1, "b": {"d": [None]}}]}
    )
    assert extra("{c}", columns) == [{"a": 1}, None, {"a": 1, "b": {"d": [None]}}]


def test_an_object_of_nulls_in_a_list_is_null() -> None:
    columns = pl.DataFrame({"c": [[{"a": None}, {"a": 1}, None]]})
    assert extra("{c}", columns) == [[None, {"a": 1}, None]]


def test_the_digits_of_nested_decimals() -> None:
    digits = "12345678901234.123456789012"
    columns = pl.DataFrame({"c": pl.Series([[Decimal(digits)]], dtype=pl.List(pl.Decimal(38, 12)))})
    made = make({"data": {"$extra": {"x": "{c}", "y": [{"z": "{c}"}]}}}, columns)
    assert f'"x":[{digits}]' in made.texts[0]
    inside = pl.DataFrame({"c": pl.Series([{"a": Decimal(digits)}], dtype=pl.Struct({"a": pl.Decimal(38, 12)}))})
    assert f'"x":{{"a":{digits}}}' in make({"data": {"$extra": {"x": "{c}"}}}, inside).texts[0]


@pytest.mark.parametrize("unique_id", ["{c}", "o:{id}:{c}", {"hash": "*"}, {"hash": ["c"]}])
@pytest.mark.parametrize("nan", [float("nan"), float("inf")])
def test_an_id_takes_no_nan_in_a_list_or_struct(unique_id: Any, nan: float) -> None:
    for value, wrong in (([1.5], [nan]), ({"a": [1.5]}, {"a": [nan]})):
        made = make({"uniqueId": unique_id}, pl.DataFrame({"id": ["1", "2"], "c": [value, wrong]}))
        assert (made.rows, made.problems) == ([1], ["not_a_number"])


def test_a_template_takes_no_nan_in_a_list() -> None:
    assert data("{c}!", pl.DataFrame({"c": [[1.5], [float("nan")]]})) == ["[1.5]!", "!not_a_number"]


@pytest.mark.parametrize("place", ["data", "customFields"])
@pytest.mark.parametrize("value", ["{c}", {"column": "c", "default": "x"}, {"column": "d", "default": "{c}"}])
def test_a_nested_column_has_its_place_in_extra(place: str, value: Any) -> None:
    columns = pl.DataFrame({"c": [[1]], "d": ["x"]})
    parts = {"data": {"x": value}} if place == "data" else {"customer": {"id": "1", "customFields": {"x": value}}}
    with pytest.raises(MappingError) as error:
        make(parts, columns)
    [problem] = error.value.problems
    assert place in problem.message
    assert problem.hint == "put it under data.$extra, or give type: string"
    assert problem.line == mapping([event(**parts)]).position(("events", 0))[0]


def test_a_nested_column_as_a_text() -> None:
    columns = pl.DataFrame({"c": [[1.5, None], [float("nan")], None]})
    assert data({"column": "c", "type": "string"}, columns) == ["[1.5,null]", "!not_a_number", None]
    assert extra({"column": "c", "type": "string"}, columns) == ["[1.5,null]", "!not_a_number", None]
