"""Each form and option of a value, as the mapping file's contract has it."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.canonical import as_text
from backfill.errors import MappingError
from tests.shape.support import data, extra, field_of, make

# Forms


@pytest.mark.parametrize("value", ["plain", "a {{b}}", 5, 1.5, True, False, 0, -0.5, 2**53])
def test_constants(value: Any) -> None:
    expected = "a {b}" if value == "a {{b}}" else value
    assert data(value, {"a": ["x", None]}) == [expected] * 2
    assert extra(value, {"a": ["x", None]}) == [expected] * 2


def test_a_column_is_its_own_value_in_its_own_type() -> None:
    assert data("{a}", {"a": ["007", "1e5", "TRUE", " ", None]}) == ["007", "1e5", "TRUE", " ", None]
    assert data("{a}", {"a": [1, None, 2**53]}) == [1, None, 2**53]
    assert data({"column": "a"}, {"a": [1.5, -0.0, 1e22]}) == [1.5, 0, 1e22]
    assert data("{a}", {"a": [True, False, None]}) == [True, False, None]


def test_templates() -> None:
    columns = {"a": ["x", None, "", "z"], "b": ["1", "2", "3", None], "n": [1.0, 2.5, 3.0, 4.0]}
    assert data("{a}-{b} {{c}}", columns) == ["x-1 {c}", None, None, None]
    assert data({"template": "{b}:{n}"}, columns) == ["1:1", "2:2.5", "3:3", None]
    assert data({"template": "{a}"}, columns) == ["x", None, None, "z"]


def test_a_template_over_a_column_without_any_value() -> None:
    assert data("{a}-{b}", pl.DataFrame({"a": [None], "b": ["x"]})) == [None]
    assert data("{a}-{b}", {"a": pl.Series([None], dtype=pl.String), "b": ["x"]}) == [None]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_template_takes_no_nan(value: float) -> None:
    assert data("{a}-{b}", {"a": [1.5, value], "b": ["x", "x"]}) == ["1.5-x", "!not_a_number"]


def test_sql() -> None:
    columns = {"discount": ["0", "5.5", None, "x"], "name": ["a", "b", "c", "d"]}
    assert data({"sql": "discount > 0"}, columns) == [False, True, None, "!not_a_number"]
    assert data({"sql": "UPPER(name) || '!'"}, columns) == ["A!", "B!", "C!", "D!"]
    assert data({"sql": "discount + 1"}, columns) == [1, 6.5, None, "!not_a_number"]
    assert data({"sql": "COALESCE(discount, 'none')"}, columns) == ["0", "5.5", "none", "x"]


def test_sql_reads_numbers_as_they_are_declared() -> None:
    columns = {"n": ["1.234,5", "7"]}
    assert data({"sql": "n * 2"}, columns, numbers={"decimal": ",", "thousands": "."}) == [2469, 14]


def test_sql_that_fails_costs_its_row() -> None:
    columns = {"a": ["1", "x", "3", None, "y"]}
    assert data({"sql": "CAST(a AS INTEGER)"}, columns) == [1, "!sql_failed", 3, None, "!sql_failed"]
    assert data({"sql": "TRY_CAST(a AS INTEGER)"}, columns) == [1, None, 3, None, None]


def test_nested_columns() -> None:
    columns = pl.DataFrame({"at": [{"city": "Köln", "geo": {"lat": 1.5}}, None], "a.b": ["x", "y"]})
    assert data("{at.city}", columns) == ["Köln", None]
    assert data("{at.geo.lat}", columns) == [1.5, None]
    assert data("{a.b}", columns) == ["x", "y"]
    assert extra("{at}", columns) == [{"city": "Köln", "geo": {"lat": 1.5}}, None]


# Types


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1.50", -1.5), ("+5", 5), (" 5 ", 5), ("1e3", 1000), ("5.", 5), (".5", 0.5), ("-0", 0), ("0.1", 0.1),
        ("1e-7", 1e-7), ("123456789.123456789", 123456789.123456789), ("9007199254740992", 2**53), ("1e22", 1e22),
        ("", None), (" ", None), (None, None), ("9007199254740993", "!integer_too_large"), ("9007199254740993.0", "!integer_too_large"),
        ("-123456789012345678901234567890", "!integer_too_large"), ("1,5", "!not_a_number"), ("1,234.50", "!not_a_number"),
        ("(12.00)", "!not_a_number"), ("NaN", "!not_a_number"), ("inf", "!not_a_number"), ("1e400", "!not_a_number"),
        ("0x10", "!not_a_number"), ("1_000", "!not_a_number"), ("1 2", "!not_a_number"), ("$5", "!not_a_number"),
    ],
)  # fmt: skip
def test_numbers(text: str | None, value: Any) -> None:
    columns = {"a": pl.Series([text], dtype=pl.String)}
    assert data({"column": "a", "type": "number"}, columns) == [value]
    assert field_of("value", "{a}", columns) == [value]


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
@example([5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2, 2.0**53, 1e16, -1e22, 123456789012345680.0])
def test_numbers_survive_exactly(numbers: list[float]) -> None:
    """As texts and as doubles: what JSON holds is the same double."""
    assert data("{a}", {"a": numbers}) == numbers
    small = [number for number in numbers if abs(number) < 2**53] or [0.0]
    assert data({"column": "a", "type": "number"}, {"a": [repr(number) for number in small]}) == small


@settings(max_examples=30)
@given(st.lists(st.integers(-(2**70), 2**70) | st.integers(2**53 - 2, 2**53 + 2), min_size=1, max_size=20))
@example([2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 2**63, 2**64, 10**37])
def test_integers_survive_exactly_or_are_rejected(numbers: list[int]) -> None:
    expected = [number if abs(number) <= 2**53 else "!integer_too_large" for number in numbers]
    texts = [str(number) for number in numbers]
    assert data({"column": "a", "type": "integer"}, {"a": texts}) == expected
    assert data({"column": "a", "type": "number"}, {"a": texts}) == expected
    typed = {"a": pl.Series(numbers, dtype=pl.Int128)}
    assert data("{a}", typed) == expected
    assert data({"column": "a", "type": "string"}, typed) == texts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("5.0", 5), ("1e3", 1000), ("-7", -7), ("5.5", "!not_an_integer"), ("x", "!not_a_number"), ("", None),
        ("9007199254740992.0", 2**53), ("1e17", "!integer_too_large"),
    ],
)  # fmt: skip
def test_integers(text: str, value: Any) -> None:
    assert data({"column": "a", "type": "integer"}, {"a": [text]}) == [value]


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "value"),
    [
        (",", ".", "1.234.567,50", 1234567.5), (",", ".", "12,5", 12.5), (",", ".", "1.23", "!not_a_number"),
        (",", ".", "1,234.50", "!not_a_number"), (",", None, "1,5", 1.5), (",", None, "1.5", "!not_a_number"),
        (".", ",", "1,234.5", 1234.5), (".", ",", "12,34.5", "!not_a_number"), (".", " ", "1 234", 1234),
        (".", "'", "1'234.5", 1234.5), (",", ".", "9.007.199.254.740.993", "!integer_too_large"),
    ],
)  # fmt: skip
def test_declared_numbers(decimal: str, thousands: str | None, text: str, value: Any) -> None:
    numbers = {"decimal": decimal} | ({"thousands": thousands} if thousands else {})
    assert data({"column": "a", "type": "number"}, {"a": [text]}, numbers=numbers) == [value]
    whole = value if isinstance(value, str) or float(value).is_integer() else "!not_an_integer"
    assert data({"column": "a", "type": "integer"}, {"a": [text]}, numbers=numbers) == [whole]


def test_booleans() -> None:
    texts = ["true", "NO", " y ", "0", "on", "F", "", None, "maybe", "2"]
    expected = [True, False, True, False, True, False, None, None, "!not_a_boolean", "!not_a_boolean"]
    assert data({"column": "a", "type": "boolean"}, {"a": texts}) == expected
    assert data({"column": "a", "type": "boolean"}, {"a": [0, 1, 2]}) == [False, True, "!not_a_boolean"]


def test_json() -> None:
    texts = ['{"b": [1, 1.50, "é\\u0000"]}', " [] ", "5", '"x"', "null", "", None, "{", "NaN", '{"a": 1, "a": 2}',
             "[9007199254740993]", '"\\ud800"', "1e400", "[" * 100_000]  # fmt: skip
    expected = [{"b": [1, 1.5, "é\0"]}, [], 5, "x", None, None, None] + ["!not_json_value"] * 3
    expected += ["!integer_too_large"] + ["!not_json_value"] * 3
    assert extra({"column": "a", "type": "json"}, {"a": texts}) == expected


def test_json_of_typed_columns() -> None:
    assert extra({"column": "a", "type": "json"}, {"a": [1.5, float("nan")]}) == [1.5, "!not_a_number"]
    assert extra({"column": "a", "type": "json"}, {"a": [[1], None]}) == [[1], None]


# Times are in test_times


# Options


def test_map() -> None:
    tier = {"column": "a", "map": {"g": "Gold", "s": "Silver"}}
    assert data(tier, {"a": ["g", "s", None, "", "x"]}) == ["Gold", "Silver", None, None, "!not_in_map"]
    assert data({**tier, "on_invalid": "omit"}, {"a": ["g", "x"]}) == ["Gold", None]
    assert data({**tier, "otherwise": "Bronze"}, {"a": ["g", "x", None]}) == ["Gold", "Bronze", None]
    assert data({**tier, "otherwise": "{a}!"}, {"a": ["g", "x"]}) == ["Gold", "x!"]
    both = {**tier, "otherwise": "{a}", "default": "none"}
    assert data(both, {"a": ["g", "x", None, ""]}) == ["Gold", "x", "none", "none"]
    assert data({"column": "a", "map": {"1": True, "0": False}}, {"a": [1, 0, None]}) == [True, False, None]
    assert data({"column": "a", "map": {"a": 1, "b": 2.5}}, {"a": ["a", "b"]}) == [1, 2.5]
    assert data({"sql": "a > 1", "map": {"true": "much", "false": "little"}}, {"a": ["1", "2"]}) == ["little", "much"]


def test_default() -> None:
    assert data({"column": "a", "default": "none"}, {"a": ["x", None, ""]}) == ["x", "none", "none"]
    assert data({"column": "a", "default": "{b}"}, {"a": ["x", None, None], "b": ["1", "2", None]}) == ["x", "2", None]
    nested = {"column": "a", "default": {"column": "b", "default": "c"}}
    assert data(nested, {"a": [None, None], "b": ["1", None]}) == ["1", "c"]
    assert data({"column": "a", "type": "integer", "default": 0}, {"a": ["5", None]}) == [5, 0]


def test_a_default_of_another_type_stays_what_it_is() -> None:
    assert data({"column": "a", "default": "none"}, {"a": [1.5, None]}) == [1.5, "none"]
    assert data({"column": "a", "default": 5}, {"a": ["x", None]}) == ["x", 5]
    assert extra({"column": "a", "default": "none"}, {"a": [[1, 2], None]}) == [[1, 2], "none"]
    parsed = {"column": "a", "type": "json", "default": "none"}
    assert extra(parsed, {"a": ["[1]", None]}) == [[1], "none"]


def test_a_default_is_checked_only_where_it_counts() -> None:
    value = {"column": "a", "type": "number", "default": "{b}"}
    assert data(value, {"a": ["1", None, None], "b": ["x", "x", "2"]}) == [1, "!not_a_number", 2]


def test_required() -> None:
    assert data({"column": "a", "required": True}, {"a": ["x", None, ""]}) == ["x", "!missing", "!missing"]
    kept = {"column": "a", "required": True, "default": "d"}
    assert data(kept, {"a": ["x", None]}) == ["x", "d"]


def test_on_invalid_omit() -> None:
    value = {"column": "a", "type": "number", "on_invalid": "omit"}
    assert data(value, {"a": ["1", "x", None]}) == [1, None, None]
    made = make({"data": {"x": value}}, {"a": ["1", "x", "y"]})
    assert [(notice.code, notice.count, notice.row, notice.value) for notice in made.notices] == [
        ("not_a_number", 2, 2, "x")
    ]
    large = {"column": "a", "type": "integer", "on_invalid": "omit"}
    assert data(large, {"a": ["9007199254740993", "1.5", "2"]}) == [None, None, 2]


# Typed columns


@pytest.mark.parametrize(
    ("series", "own", "text"),
    [
        (pl.Series([1], dtype=pl.UInt8), 1, "1"),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), "!integer_too_large", str(2**64 - 1)),
        (pl.Series([0.1], dtype=pl.Float32), 0.1, "0.1"),
        (pl.Series([12.0]), 12, "12"),
        (pl.Series([float("nan")]), "!not_a_number", "!not_a_number"),
        (pl.Series([float("-inf")], dtype=pl.Float32), "!not_a_number", "!not_a_number"),
        (pl.Series([Decimal("1.10")]), 1.1, "1.1"),
        (pl.Series([Decimal(100)], dtype=pl.Decimal(20, 0)), 100, "100"),
        (pl.Series([Decimal("12345678901234567.89")], dtype=pl.Decimal(38, 2)), "!integer_too_large", "12345678901234567.89"),
        (pl.Series([True]), True, "true"),
        (pl.Series(["a"], dtype=pl.Categorical), "a", "a"),
        (pl.Series(["a"], dtype=pl.Enum(["a"])), "a", "a"),
        (pl.Series([None]), None, None),
        (pl.Series([date(2024, 1, 2)]), "2024-01-02", "2024-01-02"),
        (pl.Series([datetime(2024, 1, 2, 3, tzinfo=UTC)]), "2024-01-02T03:00:00Z", "2024-01-02T03:00:00Z"),
        (pl.Series([datetime(2024, 1, 2, 3)]), "!time_without_zone", "2024-01-02T03:00:00"),
        (pl.Series([time(3, 4, 5, 600_000)]), "03:04:05.600", "03:04:05.600"),
        (pl.Series([timedelta(days=1, seconds=5)]), "P1DT5S", "P1DT5S"),
        (pl.Series([b"caf\xc3\xa9"]), "café", "café"),
        (pl.Series([b"\xff"]), "!undecodable", "!undecodable"),
        (pl.Series([""]), "", ""),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)  # fmt: skip
def test_typed_columns(series: pl.Series, own: Any, text: Any) -> None:
    columns = {"a": series}
    assert data("{a}", columns) == [own]
    assert extra("{a}", columns) == [own]
    assert data({"column": "a", "type": "string"}, columns) == [text]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([[1, None], [], None]), [[1, None], [], None]),
        (pl.Series([['a\n"', "é"]]), [['a\n"', "é"]]),
        (pl.Series([[1.5, float("nan")], [1.5]]), ["!not_a_number", [1.5]]),
        (pl.Series([[2**53 + 1], [2**53]]), ["!integer_too_large", [2**53]]),
        (pl.Series([{"a": {"b": [{"c": float("inf")}]}}, {"a": {"b": [{"c": 1.0}]}}]), ["!not_a_number", {"a": {"b": [{"c": 1}]}}]),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), [[1, 2]]),
        (pl.Series([[[0.1]]], dtype=pl.List(pl.List(pl.Float32))), [[[0.1]]]),
        (pl.Series([[date(2024, 1, 2)]]), [["2024-01-02"]]),
        (pl.Series([[datetime(2024, 1, 2, tzinfo=UTC)]]), [["2024-01-02T00:00:00Z"]]),
        (pl.Series([[Decimal("1.50")]]), [[1.5]]),
        (pl.Series([[b"a", b"\xff"]]), [["a", "/w=="]]),
        (pl.Series([[time(1, 2)]]), [["01:02:00"]]),
        (pl.Series([[timedelta(hours=1)]]), [["PT1H"]]),
        (pl.Series([["a"]], dtype=pl.List(pl.Categorical)), [["a"]]),
        (pl.Series([{"a": None, "b": "x"}, None]), [{"b": "x"}, None]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)  # fmt: skip
def test_nested_values(series: pl.Series, expected: list[Any]) -> None:
    assert extra("{a}", {"a": series}) == expected


def test_a_long_text_deep_in_extra() -> None:
    columns = {"a": pl.Series([["x" * 100_001], ["é" * 50_000], ["é" * 50_001]])}
    assert [value if isinstance(value, str) else len(value[0]) for value in extra("{a}", columns)] == [
        "!text_too_long",
        50_000,
        "!text_too_long",
    ]
    key = {"a": [json.dumps({"k" * 100_001: 1})]}
    assert extra({"column": "a", "type": "json"}, key) == ["!text_too_long"]


def test_what_a_column_can_not_be() -> None:
    with pytest.raises(MappingError, match=r"a column of type List\(Int64\) can't be a"):
        data({"column": "a", "type": "number"}, {"a": [[1]]})
    with pytest.raises(MappingError, match="is a time only with a format"):
        data({"column": "a", "type": "datetime"}, {"a": [5]})
    with pytest.raises(MappingError, match='no column "b"'):
        data("{b}", {"a": ["x"]})


@pytest.mark.parametrize("value", ["{a}", {"column": "a", "type": "number"}, {"column": "a", "type": "boolean"},
                                   {"column": "a", "type": "datetime"}, {"column": "a", "map": {"x": "y"}}])  # fmt: skip
def test_a_column_without_any_value(value: Any) -> None:
    assert data(value, pl.DataFrame({"a": [None, None]}), timezone="UTC") == [None, None]


# $extra


def test_nested_objects_and_lists() -> None:
    node = {"Note": "{a}", "In": {"b": "{b}", "c": {"d": "{a}"}}, "List": ["{a}", 5, {"e": "{b}"}]}
    columns = {"a": ["x", None], "b": pl.Series(["y", None], dtype=pl.String)}
    assert extra(node, columns) == [
        {"Note": "x", "In": {"b": "y", "c": {"d": "x"}}, "List": ["x", 5, {"e": "y"}]},
        {"List": [None, 5, None]},
    ]


def test_an_object_with_nothing_left_goes() -> None:
    customer = {"email": "a@example.com", "location": {"city": "{a}"}, "customFields": {"F": "{a}"}}
    made = make({"customer": customer, "data": {"x": "{a}", "$extra": {"y": {"z": "{a}"}}}}, {"a": ["v", None]})
    assert made.bodies[0]["data"] == {"x": "v", "$extra": {"y": {"z": "v"}}}
    assert made.bodies[1]["customer"] == {"email": "a@example.com"}
    assert "data" not in made.bodies[1]


# Against Python's own arithmetic

DIGITS = st.text("0123456789", max_size=19)
EXPONENTS = st.just("") | st.builds("e{}".format, st.integers(-400, 400))
WRITTEN = st.builds("{}{}.{}{}".format, st.sampled_from(["", "-", "+"]), DIGITS, DIGITS, EXPONENTS)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


# Python takes U+001C to U+001F for blanks as well, Unicode does not.
BLANKS = "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace() and not "\x1c" <= sign <= "\x1f")


def by_decimal(text: str) -> Any:
    """What a text is as a number that JavaScript takes, by the definition."""
    text = text.strip(BLANKS)
    if not text:
        return None
    if not NUMBER.fullmatch(text):
        return "!not_a_number"
    exact, double = Decimal(text), float(text)
    # Written back as JSON does, by the shortest digits that give the double.
    if abs(exact) > 2**53 and "e" not in text.lower():
        return "!integer_too_large"
    if math.isinf(double) or (double == 0) != (exact == 0):
        return "!not_a_number"
    if abs(double) >= 2**53 and Decimal(repr(double)) != exact:
        return "!integer_too_large"
    return double


@settings(max_examples=150)
@given(st.lists(WRITTEN | st.text("0123456789.eE+- ", max_size=8) | st.text(max_size=3), min_size=1, max_size=20))
@example(
    [
        "9007199254740993e0",
        "9.007199254740993e15",
        "9007199254740992.5",
        "1e-400",
        "1e22",
        "1e400",
        "9" * 400,
        ".",
        "0e-999",
        "\x1f",
        "\u3000 7\x85",
    ]
)
def test_numbers_are_pythons(texts: list[str]) -> None:
    columns = {"a": texts}
    expected = [by_decimal(text) for text in texts]
    assert data({"column": "a", "type": "number"}, columns) == expected
    assert data({"sql": "a + 0"}, columns) == expected


@settings(max_examples=100)
@given(st.lists(WRITTEN, min_size=1, max_size=20))
@example(["-0.0", "9007199254740993.0", "9007199254740994.0", "1e-400", "1.0"])
def test_numbers_in_json_are_exact_or_rejected(texts: list[str]) -> None:
    for text, found in zip(texts, extra({"column": "a", "type": "json"}, {"a": texts}), strict=True):
        if not isinstance(found, str):
            exact = Decimal(text)
            assert float(found) == float(text)
            assert (found == 0) == (exact == 0)
            assert abs(exact) <= 2**53 or Decimal(repr(found)) == exact
        else:
            assert found in {"!not_json_value", "!integer_too_large"}


@settings(max_examples=50)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=6), min_size=1, max_size=20))
def test_decimals_are_pythons(numbers: list[Decimal]) -> None:
    small = [number for number in numbers if abs(number) < 10**30]
    expected = [float(number) if abs(number) <= 2**53 else "!integer_too_large" for number in small]
    assert data("{a}", {"a": pl.Series(small, dtype=pl.Decimal(38, 6))}) == expected


# The canonical text of each type: ids hang on it, so that it may never change


@pytest.mark.parametrize(
    ("series", "texts"),
    [
        (pl.Series([1.0, -0.0, 0.1, 1e15, 1e16, 1e22, 123456789012345680.0, 1e-5, 1e-7, 5e-324, 1.7976931348623157e308]),
         ["1", "0", "0.1", "1000000000000000", "1e+16", "1e+22", "1.2345678901234568e+17", "0.00001", "1e-7", "5e-324", "1.7976931348623157e+308"]),
        (pl.Series([0.1, 16777216.0, 1e10, 1e20], dtype=pl.Float32), ["0.1", "16777216", "10000000000", "1e+20"]),
        (pl.Series([Decimal("1.10"), Decimal("-0.05"), Decimal("100.00")], dtype=pl.Decimal(38, 2)), ["1.1", "-0.05", "100"]),
        (pl.Series([2**64 - 1, 0], dtype=pl.UInt64), ["18446744073709551615", "0"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series([date(2024, 1, 2), date(1, 1, 1)]), ["2024-01-02", "0001-01-01"]),
        (pl.Series([datetime(2024, 1, 2, 3), datetime(2024, 1, 2, 3, 4, 5, 678)]), ["2024-01-02T03:00:00", "2024-01-02T03:04:05.000678"]),
        (pl.Series([datetime(2024, 1, 2, 3, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo"), ["2024-01-02T03:00:00Z"]),
        (pl.Series([1, 2**63 - 1]).cast(pl.Datetime("ns")), ["1970-01-01T00:00:00.000000001", "2262-04-11T23:47:16.854775807"]),
        (pl.Series([1500, 2**63 - 1]).cast(pl.Datetime("ms")), ["1970-01-01T00:00:01.500", "9223372036854775807"]),
        (pl.Series([time(1, 2), time(1, 2, 3, 4)]), ["01:02:00", "01:02:03.000004"]),
        (pl.Series([timedelta(days=1, seconds=5), timedelta(milliseconds=-1)]), ["P1DT5S", "-PT0.001S"]),
        (pl.Series([b"caf\xc3\xa9", b"\xff"]), ["café", "/w=="]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)  # fmt: skip
def test_golden_texts(series: pl.Series, texts: list[str]) -> None:
    assert pl.DataFrame({"a": series}).select(as_text(pl.col("a"), series.dtype).alias("a"))["a"].to_list() == texts
